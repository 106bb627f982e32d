//! `dev` sessions: names, modes, mounts, ports, hooks.

use std::net::TcpListener;
use std::time::Duration;

use super::yard::{directory, forget_images, only_row, podfile};
use crate::harness::engines::fact;

const LIMIT: Duration = Duration::from_secs(200);

on_engines! {
    [docker; soak: podman, gvisor]
    fn an_ephemeral_session_goes_with_its_command_and_a_fresh_one_begins_anew(env: Env) {
        let app = directory(&env, "app", &podfile("on_create: echo made > ~/made\n"));
        let run = env.podspawn(["dev", "--ephemeral", "--name", "once", "--", "cat", "/home/$USER/made"]);
        assert_ne!(run.at(&app).limit(LIMIT).run().status, 0, "no shell expands what stands behind `--`");
        assert_eq!(env.objects(), Vec::<String>::new(), "it goes with its command");

        let dev = |flags: &[&str], script: &str| {
            let args = [&["dev", "--name", "kept"], flags, &["--", "sh", "-c", script]].concat();
            env.podspawn(args).at(&app).limit(LIMIT).run()
        };
        assert_eq!(dev(&[], "cat ~/made; touch ~/mine").ok().out(), "made\n");
        assert_eq!(only_row(&env)["status"], "grace_period");
        assert_eq!(dev(&[], "test -e ~/mine && echo kept").ok().out(), "kept\n");
        assert_eq!(dev(&["--fresh"], "test -e ~/mine || echo new; cat ~/made").ok().out(), "new\nmade\n");
        // What cannot be made again is not taken away.
        let _ = dev(&[], "touch ~/mine").ok();
        let text = std::fs::read_to_string(app.join("podfile.yaml")).expect("a Podfile");
        std::fs::write(app.join("podfile.yaml"), format!("{text}resources: {{memory: 4m}}\n")).expect("write");
        let refused = dev(&["--fresh"], "true");
        assert!(refused.status != 0 && refused.stderr.contains("at least 6m"), "{}", refused.stderr);
        assert_eq!(dev(&[], "test -e ~/mine && echo kept").ok().out(), "kept\n");
        let _ = env.podspawn(["down", "--name", "kept"]).at(&app).run().ok();
        for name in ["once", "kept"] {
            forget_images(&env, name);
        }
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn the_first_session_says_what_it_is_made_of(env: Env) {
        // One for each engine: the host has each port once.
        let inside = 18080 + env.engine.expect("an engine") as u16;
        let app = directory(&env, "app", &podfile(&format!("ports: {{expose: [{inside}]}}\nenv: {{EDITOR: vi}}\n")));
        let run = env.podspawn(["dev", "--name", "told", "--", "sh", "-c", "echo $EDITOR"]);
        let run = run.at(&app).limit(LIMIT).run().ok();
        assert_eq!(run.out(), "vi\n");
        for line in [
            format!("told ({})\n", fact("IMAGE_SUDO")),
            format!("  mount: {} -> /workspace/app\n", app.display()),
            "  to remove it: podspawn down --name told\n".into(),
        ] {
            assert!(run.stderr.contains(&line), "{line}: {}", run.stderr);
        }
        let port = run.stderr.lines().find(|line| line.starts_with("  ports: localhost:")).expect("the ports");
        assert!(port.ends_with(&format!(" -> :{inside}")), "{port}");
        let _ = env.podspawn(["down", "--name", "told"]).at(&app).run().ok();
        forget_images(&env, "told");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_session_that_was_made_in_another_directory_is_joined_and_said_to_be_one(env: Env) {
        let app = directory(&env, "app", &podfile(""));
        let other = directory(&env, "other", &podfile("packages: [git]\nmount: copy\n"));
        let dev = |at: &std::path::Path| {
            env.podspawn(["dev", "--name", "shared", "--", "pwd"]).at(at).limit(LIMIT).run().ok()
        };
        let _ = dev(&app);
        let run = dev(&app);
        assert!(run.out() == "/workspace/app\n" && !run.stderr.contains("warning"), "{}", run.stderr);
        let run = dev(&other);
        assert_eq!(run.out(), "/workspace/app\n");
        let said: Vec<&str> = run.stderr.lines().skip(1).collect();
        let warning = format!("warning: `shared` has the files of `{}`, not of this directory", app.display());
        assert_eq!(said, [warning.as_str(), "hint: `--fresh` makes it anew"]);
        // A copy is of one directory too.
        let _ = env.podspawn(["down", "--name", "shared"]).at(&app).run().ok();
        forget_images(&env, "shared");
        let other = directory(&env, "other", &podfile("mount: copy\n"));
        let _ = dev(&other);
        assert!(dev(&app).stderr.contains(&format!("has the files of `{}`", other.display())));
        let _ = env.podspawn(["down", "--name", "shared"]).at(&app).run().ok();
        forget_images(&env, "shared");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_session_of_an_older_podfile_is_joined_and_said_to_be_one(env: Env) {
        let app = directory(&env, "app", &podfile(""));
        let dev = || env.podspawn(["dev", "--name", "older", "--", "true"]).at(&app).limit(LIMIT).run().ok();
        let _ = dev();
        assert!(!dev().stderr.contains("has changed"));
        let app = directory(&env, "app", &podfile("env: {NEW: x}\n"));
        let run = env.podspawn(["dev", "--name", "older", "--", "true"]).at(&app).limit(LIMIT).run().ok();
        let expected = "warning: the Podfile has changed since this session was made\nhint: `--fresh` makes it anew\n";
        assert!(run.stderr.contains(expected), "{}", run.stderr);
        let _ = env.podspawn(["down", "--name", "older"]).at(&app).run().ok();
        forget_images(&env, "older");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn whoever_comes_back_needs_no_file_of_the_build(env: Env) {
        let json = r#"{"build": {"dockerfile": "Dockerfile"}, "postAttachCommand": "echo attached >>~/attached"}"#;
        let app = directory(&env, "app", &[
            (".devcontainer.json", json.to_owned()),
            ("Dockerfile", format!("FROM {}\nCOPY note /note\n", fact("IMAGE_SUDO"))),
            ("note", "from the build\n".into()),
        ]);
        let dev = |script: &str| {
            env.podspawn(["dev", "--name", "built", "--", "sh", "-c", script]).at(&app).limit(LIMIT).run().ok()
        };
        assert_eq!(dev("cat /note ~/attached").out(), "from the build\nattached\n");
        // More than a build takes: the engine would not be given it, and nobody who comes back waits for it to be read.
        let large = std::fs::File::create(app.join("large")).expect("a file");
        large.set_len(300 << 20).expect("a length");
        let run = dev("cat /note ~/attached");
        assert_eq!(run.out(), "from the build\nattached\nattached\n");
        assert!(!run.stderr.contains("has changed"), "{}", run.stderr);
        let _ = env.podspawn(["down", "--name", "built"]).at(&app).run().ok();
        forget_images(&env, "built");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn what_a_session_does_not_take_over_is_said(env: Env) {
        env.write_config("local:\n  dotfiles:\n    repo: git://127.0.0.1:1/none\n");
        let app = directory(&env, "app", &podfile(""));
        let dev = |flags: &[&str]| {
            let args = [&["dev", "--name", "as-made"], flags, &["--", "true"]].concat();
            env.podspawn(args).at(&app).limit(LIMIT).run().ok().stderr
        };
        let told = |text: &str| format!("warning: {text} when it is made\nhint: `--fresh` makes it anew\n");
        let dotfiles = told("`--dotfiles` changes nothing: a session gets its dotfiles");
        let ephemeral = "warning: `--ephemeral` changes nothing: a session keeps the mode that it was made with\n\
                         hint: `--fresh` makes it anew\n";
        assert!(!dev(&[]).contains("changes nothing"));
        assert!(!dev(&[]).contains("changes nothing"));
        let said = dev(&["--ephemeral", "--dotfiles"]);
        assert!(said.contains(ephemeral) && said.contains(&dotfiles), "{said}");
        assert_eq!(only_row(&env)["status"], "grace_period", "it stays");
        let said = dev(&["--fresh", "--ephemeral", "--dotfiles"]);
        assert!(!said.contains("changes nothing"), "{said}");
        assert_eq!(env.objects(), Vec::<String>::new());
        forget_images(&env, "as-made");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_port_that_is_taken_moves_on_or_is_refused(env: Env) {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("its address").port();
        let ports = format!("ports: {{expose: [{port}], strategy: expose}}\n");
        let app = directory(&env, "app", &podfile(&ports));
        let dev = |more: &[&str]| {
            let args = [&["dev", "--name", "busy"], more, &["--", "true"]].concat();
            env.podspawn(args).at(&app).limit(LIMIT).run()
        };
        let run = dev(&[]).status(1);
        assert!(run.stderr.contains(&format!("{port}")), "{}", run.stderr);
        assert_eq!(env.objects(), Vec::<String>::new());

        let app = directory(&env, "app", &podfile(&ports.replace("strategy: expose", "strategy: auto")));
        let run = env.podspawn(["dev", "--name", "busy", "--", "true"]).at(&app).limit(LIMIT).run().ok();
        let line = run.stderr.lines().find(|line| line.starts_with("  ports: ")).expect("the ports").to_owned();
        assert!(!line.contains(&format!("localhost:{port} ")) && line.ends_with(&format!(":{port}")), "{line}");
        let _ = env.podspawn(["down", "--name", "busy"]).at(&app).run().ok();
        forget_images(&env, "busy");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_copy_is_a_copy_and_nothing_is_nothing(env: Env) {
        let mut files = podfile("mount: copy\n");
        files.push(("src/main.c", "int main;\n".into()));
        files.push((".git/config", "secret\n".into()));
        let app = directory(&env, "app", &files);
        let dev = |script: &str| {
            env.podspawn(["dev", "--name", "copied", "--", "sh", "-c", script]).at(&app).limit(LIMIT).run()
        };
        let run = dev("pwd; cat src/main.c; test -e .git || echo no history; echo y > src/made; id -u").ok();
        assert_eq!(run.out(), "/workspace/app\nint main;\nno history\n1000\n", "{}", run.stderr);
        assert!(!app.join("src/made").exists(), "nothing comes back");
        let _ = env.podspawn(["down", "--name", "copied"]).at(&app).run().ok();

        let app = directory(&env, "app", &podfile("mount: none\n"));
        let run = env.podspawn(["dev", "--ephemeral", "--name", "none", "--", "sh", "-c", "pwd; find /workspace -mindepth 1"]);
        assert_eq!(run.at(&app).limit(LIMIT).run().ok().out(), format!("/home/{}\n", env.user));
        for name in ["copied", "none"] {
            forget_images(&env, name);
        }
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn an_image_is_built_before_anybody_needs_it(env: Env) {
        let app = directory(&env, "app", &podfile("packages: [tree]\n"));
        let tag = format!("podspawn-test/{}:x", env.user);
        let run = env.podspawn(["prebuild", "--tag", &tag]).at(&app).limit(LIMIT).run().ok();
        assert!(run.stderr.contains("Installing packages: tree... done"), "{}", run.stderr);
        assert!(run.stderr.ends_with(&format!("Built {tag}\n")), "{}", run.stderr);
        assert_eq!(run.out(), format!("{tag}\n"), "the name alone");
        let again = env.podspawn(["prebuild"]).at(&app).limit(LIMIT).run().ok();
        let image = again.out().trim().to_owned();
        assert!(image.starts_with("podspawn/app-") && image.contains(":podfile-"), "{image}");
        assert_eq!(again.stderr, format!("✓ {image} is there already\n"));
        assert_eq!(env.objects(), Vec::<String>::new(), "no container, no network");
        let run = env.podspawn(["dev", "--ephemeral", "--", "tree", "--version"]).at(&app).limit(LIMIT).run().ok();
        assert!(run.out().starts_with("tree v"), "{}", run.out());
        assert!(!run.stderr.contains("Building environment"), "{}", run.stderr);
        let engine = env.engine.expect("an engine");
        let _ = engine.cli().args(["rmi", &tag]).output();
        forget_images(&env, podspawn::local::session_name(None, &app).as_str());
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_development_container_is_understood(env: Env) {
        let json = format!(
            "// written by an editor\n{{ \"image\": \"{}\", \"containerEnv\": {{ \"COLOUR\": \"blue\" }},\n\
             \"features\": {{ \"ghcr.io/devcontainers/features/go:1\": {{}} }},\n\
             \"postCreateCommand\": [\"touch\", \"made here\"], \"postAttachCommand\": {{ \"a\": \"touch a\", \"b\": \"touch b\" }}, }}\n",
            fact("IMAGE_SUDO")
        );
        let app = directory(&env, "app", &[(".devcontainer/devcontainer.json", json.clone())]);
        let run = env.podspawn(["dev", "--ephemeral", "--name", "editor", "--", "sh", "-c", "echo $COLOUR; ls"]);
        let run = run.at(&app).limit(LIMIT).run().ok();
        assert_eq!(run.out(), "blue\na\nb\nmade here\n", "{}", run.stderr);
        assert!(run.stderr.contains("features"), "{}", run.stderr);

        // A command that fails is named as the file has it, and who comes back has read the warnings.
        let text = json.replace(r#"["touch", "made here"]"#, r#""exit 7""#);
        let app = directory(&env, "app", &[(".devcontainer/devcontainer.json", text)]);
        let dev = || env.podspawn(["dev", "--name", "editor", "--", "true"]).at(&app).limit(LIMIT).run().ok();
        let run = dev();
        assert!(run.stderr.contains("features") && run.stderr.contains("WARN postCreateCommand failed with status 7 "), "{}", run.stderr);
        let run = dev();
        assert!(run.stderr.starts_with("Re-attaching to editor ") && run.stderr.lines().count() == 1, "{}", run.stderr);
        let check = env.podspawn(["podfile", "check"]).at(&app).run().ok();
        let row = check.out().lines().find(|line| line.starts_with("postCreateCommand ")).expect("a row").to_owned();
        assert!(row.contains("  exit 7  ") && row.ends_with("devcontainer.json:4"), "{row}");
        let _ = env.podspawn(["down", "--name", "editor"]).at(&app).run().ok();
        forget_images(&env, "editor");
    }
}
