//! What is recognised, asked and written.

use std::os::unix::fs::{PermissionsExt, symlink};

use podspawn::podfile::templates::built_in;

use super::Project;
use crate::harness::Env;

const CREATED: &str = "✓ Created podfile.yaml\nhint: `podspawn dev` opens a shell in it\n";

#[test]
fn without_questions_the_template_that_fits_is_written_as_it_is() {
    for (files, template, said) in [
        (&["go.mod"][..], "go", "Detected: go project (go.mod found)"),
        (&["package.json"], "node", "Detected: node project (package.json found)"),
        (&["requirements.txt"], "python", "Detected: python project (requirements.txt found)"),
        (&["Cargo.toml"], "rust", "Detected: rust project (Cargo.toml found)"),
        (&["go.mod", "package.json"], "fullstack", "Detected: fullstack project (package.json found)"),
        (&[], "minimal", "No kind of project was detected: using the minimal template"),
    ] {
        let project = Project::with(files);
        let run = project.env.podspawn(["init", "--yes"]).run().ok();
        assert_eq!(run.stderr, format!("{said}\n{CREATED}"));
        assert_eq!(run.out(), "");
        assert_eq!(Some(project.podfile().as_str()), built_in(template));
        let mode = project.path("podfile.yaml").metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }
}

#[test]
fn a_directory_with_the_name_of_a_marker_is_none() {
    let project = Project::with(&["go.mod/x"]);
    let run = project.env.podspawn(["init", "-y"]).run().ok();
    assert!(run.stderr.starts_with("No kind of project was detected"), "{}", run.stderr);
}

#[test]
fn a_named_template_needs_no_detection() {
    let project = Project::with(&["go.mod"]);
    let run = project.env.podspawn(["init", "-t", "rust", "-y"]).run().ok();
    assert_eq!(run.stderr, CREATED);
    assert_eq!(Some(project.podfile().as_str()), built_in("rust"));

    let run = project.env.podspawn(["init", "--template", "ruts", "--yes"]).run().status(1);
    assert_eq!(
        run.stderr,
        "Error: there is no template \"ruts\"; did you mean `rust`?\n\
         hint: templates: go, node, python, rust, fullstack, minimal\n"
    );
    for odd in ["", "../../etc/passwd", "a\x1b[2J"] {
        let run = project.env.podspawn(["init", "--yes", "--template", odd]).run().status(1);
        assert!(run.stderr.starts_with("Error: there is no template "), "{}", run.stderr);
        assert!(!run.stderr.contains('\x1b'), "{:?}", run.stderr);
    }
    assert_eq!(Some(project.podfile().as_str()), built_in("rust"), "nothing else was written");
}

#[test]
fn with_nobody_to_ask_nothing_is_written() {
    let project = Project::with(&["go.mod"]);
    let run = project.env.podspawn(["init"]).stdin("\n\n\n\n").run().status(1);
    assert_eq!(
        run.stderr,
        "Error: there is nobody to ask: standard input is no terminal\nhint: `--yes` takes the template as it is\n"
    );
    assert_eq!(project.made(), Vec::<String>::new());
}

#[test]
fn enter_keeps_what_the_template_says() {
    let project = Project::with(&["go.mod"]);
    let mut person = project.env.terminal(["init"]);
    person.expect("Detected: go project (go.mod found)");
    person.expect("Base image? [ubuntu-dev] ");
    person.line("").expect("Packages? [go@1.25.0, make] ");
    person.line("").expect("Add services? (postgres/redis/none) [none] ");
    person.line("").expect("Expose ports? [8080] ");
    person.line("").expect("Created podfile.yaml");
    assert_eq!(person.wait().0, 0);
    assert_eq!(Some(project.podfile().as_str()), built_in("go"));
}

#[test]
fn answers_replace_what_the_template_says() {
    let project = Project::with(&[]);
    let mut person = project.env.terminal(["init", "--template", "minimal"]);
    person.expect("Base image? [ubuntu:24.04] ");
    person.line("debian:12").expect("Packages? [git, curl, ca-certificates] ");
    person.line("git, nodejs@22").expect("Add services? (postgres/redis/none) [none] ");
    person.line("postgres, redis").expect("Expose ports? [] ");
    person.line("3000,8080").expect("Created podfile.yaml");
    assert_eq!(person.wait().0, 0);
    assert_eq!(
        project.podfile(),
        "# yaml-language-server: $schema=https://podspawn.dev/schema/podfile.json\n\
         # The least that is of use.\n\
         base: debian:12\n\
         \n\
         packages:\n  - git\n  - nodejs@22\n\
         \n\
         services:\n  - name: postgres\n    image: postgres:16\n    ports: [5432]\n    env:\n      \
         POSTGRES_PASSWORD: devpass\n      POSTGRES_DB: dev\n  - name: redis\n    image: redis:7\n    ports: [6379]\n\
         \n\
         ports:\n  expose: [3000, 8080]\n\
         \n\
         resources:\n  cpus: 1\n  memory: 2g\n\
         \n\
         # For each connection.\non_start: git --version\n"
    );
}

#[test]
fn an_answer_that_makes_no_sense_is_asked_for_again() {
    let project = Project::with(&[]);
    let mut person = project.env.terminal(["init"]);
    person.expect("Base image? [ubuntu:24.04] ");
    person.line("Ubuntu").expect("warning: invalid image reference \"Ubuntu\"");
    person.expect("Base image? [ubuntu:24.04] ");
    // The escape key and what follows it: shown, never passed on to the terminal or the file.
    person.line("\x16\x1b]0;x").expect("warning: invalid image reference \"\\u{1b}]0;x\"");
    person.expect("Base image? [ubuntu:24.04] ");
    person.line("data-science").expect("Packages? ");
    person.line("git; rm -rf /").expect("is not the name of a package");
    person.expect("Packages? ");
    person.line("none").expect("Add services? ");
    person.line("mysql").expect("\"mysql\" is none of postgres, redis, none");
    person.expect("Add services? ");
    person.line("none").expect("Expose ports? ");
    person.line("80, 99999").expect("\"99999\" is not a port");
    person.expect("Expose ports? ");
    person.line("80").expect("Created podfile.yaml");
    assert_eq!(person.wait().0, 0);
    let text = project.podfile();
    assert!(text.contains("\nextends: data-science\n") && text.contains("\n  expose: [80]\n"), "{text}");
    assert!(!text.contains("packages") && !text.contains("base:") && !text.contains('\x1b'), "{text}");
}

#[test]
fn an_existing_file_is_only_overwritten_by_somebody_who_says_so() {
    let project = Project::with(&[]);
    project.write("podfile.yaml", "base: mine\n");
    for answer in ["", "n", "what"] {
        let mut person = project.env.terminal(["init"]);
        person.expect("podfile.yaml exists. Overwrite it? [y/N] ");
        person.line(answer).expect("Error: aborted");
        assert_eq!(person.wait().0, 1);
        assert_eq!(project.podfile(), "base: mine\n");
    }
    let mut person = project.env.terminal(["init"]);
    person.expect("[y/N] ");
    person.send("\x04").expect("Error: aborted");
    assert_eq!(person.wait().0, 1);

    let mut person = project.env.terminal(["init"]);
    person.expect("[y/N] ");
    person.line("y").expect("Base image? ");
    for _ in 0..4 {
        person.line("");
    }
    person.expect("Created podfile.yaml");
    assert_eq!(person.wait().0, 0);
    assert_eq!(Some(project.podfile().as_str()), built_in("minimal"));

    project.write("podfile.yaml", "base: mine\n");
    let _ = project.env.podspawn(["init", "--yes"]).run().ok();
    assert_eq!(Some(project.podfile().as_str()), built_in("minimal"));
}

#[test]
fn who_leaves_in_the_middle_leaves_nothing_behind() {
    let project = Project::with(&["Cargo.toml"]);
    for key in ["\x04", "\x03"] {
        let mut person = project.env.terminal(["init"]);
        person.expect("Base image? ");
        person.line("debian:12").expect("Packages? ");
        person.send(key);
        let (status, screen) = person.wait();
        match key {
            "\x04" => assert!(status == 1 && screen.contains("Error: aborted"), "{status}: {screen}"),
            _ => assert_eq!(status, 130, "{screen}"),
        }
        assert_eq!(project.made(), Vec::<String>::new());
    }
    let mut person = project.env.terminal(["init"]);
    person.expect("Base image? ");
    person.hang_up();
    let _ = person.wait();
    assert_eq!(project.made(), Vec::<String>::new());
}

#[test]
fn a_terminal_of_one_column_is_enough() {
    let project = Project::with(&["package.json"]);
    let mut person = project.env.podspawn(["init"]).terminal(1, 1);
    for question in ["Base image? [ubuntu-dev] ", "Packages? [nodejs@22] ", "[none] ", "[3000, 5173] "] {
        person.expect(question);
        person.line("");
    }
    person.expect("Created podfile.yaml");
    assert_eq!(person.wait().0, 0);
    assert_eq!(Some(project.podfile().as_str()), built_in("node"));
}

#[test]
fn where_nothing_can_be_written_nobody_is_asked() {
    let mut env = Env::as_an_outsider();
    env.set("NO_COLOR", "1");
    let home = env.home();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o555)).expect("chmod");
    let mut person = env.terminal(["init"]);
    let told = format!("Error: failed to write `{}`: Permission denied", home.join("podfile.yaml").display());
    let before = person.expect(&told);
    assert!(!before.contains("Base image?"), "{before}");
    person.expect("hint: ");
    assert_eq!(person.wait().0, 1);
    let run = env.podspawn(["init", "--yes"]).run().status(1);
    assert!(run.stderr.contains(&told), "{}", run.stderr);
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).expect("chmod");
}

#[test]
fn what_cannot_be_replaced_is_told_and_left_alone() {
    let project = Project::with(&["podfile.yaml/x"]);
    let run = project.env.podspawn(["init", "--yes"]).run().status(1);
    assert!(run.stderr.contains("Error: failed to write `"), "{}", run.stderr);
    assert_eq!(project.made(), ["podfile.yaml"], "no temporary file stays");

    let project = Project::with(&["elsewhere"]);
    symlink(project.path("elsewhere"), project.path("podfile.yaml")).expect("a link");
    let _ = project.env.podspawn(["init", "--yes"]).run().ok();
    assert_eq!(
        std::fs::read_to_string(project.path("elsewhere")).expect("the file"),
        "",
        "a link is not followed"
    );
    assert_eq!(Some(project.podfile().as_str()), built_in("minimal"));
}

#[test]
fn a_podfile_that_comes_first_is_mentioned() {
    let project = Project::with(&[".podspawn/podfile.yaml"]);
    let run = project.env.podspawn(["init", "--yes"]).run().ok();
    assert!(
        run.stderr.contains("warning: `.podspawn/podfile.yaml` is there too and comes first"),
        "{}",
        run.stderr
    );
}

/// Runs the python template's hook as a session would, with programs that only note what they are asked.
fn python_hook(files: &[&str]) -> String {
    let project = Project::with(files);
    let bin = project.path("bin");
    std::fs::create_dir(&bin).expect("mkdir");
    for (name, text) in [("curl", "exit 0"), ("sudo", "cat >/dev/null"), ("uv", "echo uv \"$@\"")] {
        let program = bin.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("write");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let template = built_in("python").expect("a template");
    let from = template.find("on_create: |\n").expect("a hook") + "on_create: |\n".len();
    let script: String = template[from..]
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    let script = script.replace("cd /workspace/*", &format!("cd {}", project.path("").display()));
    let path = format!("{}:/usr/bin:/bin", bin.display());
    project.env.program("/bin/sh", ["-c", &script]).var("PATH", path).run().ok().out()
}

#[test]
fn the_python_template_installs_what_the_project_lists() {
    assert_eq!(python_hook(&["pyproject.toml", "requirements.txt"]), "uv sync\n");
    assert_eq!(python_hook(&["requirements.txt"]), "uv venv\nuv pip install -r requirements.txt\n");
    assert_eq!(python_hook(&["requirements.txt", ".venv/x"]), "uv pip install -r requirements.txt\n");
    assert_eq!(python_hook(&[]), "");
}

#[test]
fn hooks_that_need_what_was_not_chosen_are_left_out_and_named() {
    let project = Project::with(&["go.mod"]);
    let mut person = project.env.terminal(["init"]);
    person.expect("Base image? ");
    person.line("").expect("Packages? ");
    person.line("none").expect("Add services? ");
    person.line("").expect("Expose ports? ");
    person.line("");
    person.expect("Left out on_create: it needs go, which is not among the packages");
    person.expect("Left out on_start: it needs go, which is not among the packages");
    person.expect("Created podfile.yaml");
    assert_eq!(person.wait().0, 0);
    let text = project.podfile();
    assert!(
        !text.contains("on_create") && !text.contains("on_start") && !text.contains("packages"),
        "{text}"
    );
    let _ = project.env.podspawn(["podfile", "check"]).run().ok();
}
