//! Fetching the newest bases and templates.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use podspawn::podfile::templates::built_in;

use super::Project;
use crate::accounts::web::Web;
use crate::harness::Run;

const REGISTRY: &str = "schema_version: 1\n\
    bases:\n- {name: ubuntu-dev, file: bases/ubuntu-dev.yaml}\n\
    templates:\n\
    - {name: go, file: templates/go.yaml, detect: {files: [go.mod], priority: 10}}\n\
    - {name: zig, file: templates/zig.yaml, detect: {files: [build.zig], priority: 30}}\n\
    - {name: gone, file: templates/gone.yaml}\n";

fn serve(project: &Project, pages: &[(&str, &str)]) -> Web {
    let pages =
        pages.iter().map(|(path, text)| (format!("/podspawn/podfiles/raw/main/{path}"), (*text).to_owned()));
    let web = Web::with(project.env.directory(), pages.collect::<BTreeMap<_, _>>());
    project.env.write_config(&format!("github_url: {}\n", web.url));
    web
}

fn init(project: &Project, web: &Web, args: &[&str]) -> Run {
    project.env.podspawn([&["init"], args].concat()).var("SSL_CERT_FILE", &web.authority).run()
}

#[test]
fn fetched_templates_come_before_those_that_are_built_in() {
    let project = Project::with(&["build.zig", "go.mod"]);
    let go = "# Ours\nbase: debian:12\n";
    let web = serve(
        &project,
        &[
            ("registry.yaml", REGISTRY),
            ("bases/ubuntu-dev.yaml", "base: ubuntu:24.04\n"),
            ("templates/go.yaml", go),
            ("templates/zig.yaml", "# Zig\nbase: alpine:3\n"),
        ],
    );
    let run = init(&project, &web, &["--update", "--yes"]).ok();
    let cache = project.path(".podspawn/cache/podfiles");
    let missing =
        format!("{}/podspawn/podfiles/raw/main/templates/gone.yaml: there is no such file", web.url);
    assert_eq!(
        run.stderr,
        format!(
            "warning: {missing}\nFetched 4 file(s) into {}\nDetected: zig project (build.zig found)\n\
             ✓ Created podfile.yaml\nhint: `podspawn dev` opens a shell in it\n",
            cache.display()
        )
    );
    assert_eq!(project.podfile(), "# Zig\nbase: alpine:3\n");
    for dir in [cache.clone(), cache.join("bases"), cache.join("templates")] {
        assert_eq!(dir.metadata().expect("a directory").permissions().mode() & 0o7777, 0o755, "{dir:?}");
    }

    // From then on without asking anybody.
    let _ = project.env.podspawn(["init", "--yes", "--template", "go"]).run().ok();
    assert_eq!(project.podfile(), go);
    let _ = project.env.podspawn(["init", "--yes", "--template", "rust"]).run().ok();
    assert_eq!(Some(project.podfile().as_str()), built_in("rust"));
    let run = project.env.podspawn(["init", "--yes", "--template", "gone"]).run().status(1);
    assert_eq!(
        run.stderr,
        "Error: the template `gone` cannot be used: it is not here\nhint: `podspawn init --update` fetches it\n"
    );

    // What is damaged is told and not used.
    project.write(".podspawn/cache/podfiles/templates/go.yaml", "}{");
    let run = project.env.podspawn(["init", "--yes", "--template", "go"]).run().ok();
    assert!(
        run.stderr.starts_with("warning: `") && run.stderr.contains("templates/go.yaml` is not used"),
        "{}",
        run.stderr
    );
    assert_eq!(Some(project.podfile().as_str()), built_in("go"));
}

#[test]
fn a_hostile_registry_writes_nothing_anywhere() {
    for entry in [
        "{name: ../../evil, file: templates/../../evil.yaml}",
        "{name: evil, file: ../../../evil.yaml}",
        "{name: evil, file: /tmp/evil.yaml}",
        "{name: \"a\\eb\", file: \"templates/a\\eb.yaml\"}",
    ] {
        let project = Project::with(&[]);
        let registry = format!("schema_version: 1\ntemplates:\n- {entry}\n");
        let web = serve(&project, &[("registry.yaml", &registry), ("evil.yaml", "base: x\n")]);
        let run = init(&project, &web, &["--update", "--yes"]).status(1);
        assert!(run.stderr.starts_with("Error: failed to use https://"), "{}", run.stderr);
        assert!(
            run.stderr.contains("hint: check `github_url`") && !run.stderr.contains('\x1b'),
            "{:?}",
            run.stderr
        );
        assert!(!project.path(".podspawn/cache").exists());
        assert_eq!(project.made(), Vec::<String>::new());
    }
}

#[test]
fn a_server_that_cannot_be_had_or_trusted_is_told() {
    let project = Project::with(&[]);
    let web = serve(&project, &[("registry.yaml", REGISTRY)]);
    let untrusted = project.env.podspawn(["init", "--update", "--yes"]).run().status(1);
    assert!(untrusted.stderr.contains("certificate"), "{}", untrusted.stderr);
    project.env.write_config("github_url: https://127.0.0.1:1\n");
    let run = init(&project, &web, &["--update", "--yes"]).status(1);
    assert!(
        run.stderr.starts_with(
            "Error: failed to fetch https://127.0.0.1:1/podspawn/podfiles/raw/main/registry.yaml: "
        ),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.ends_with("hint: check `github_url` and the network, or leave `--update` out\n"),
        "{}",
        run.stderr
    );
    assert_eq!(project.made(), Vec::<String>::new());
}

#[test]
fn a_file_without_end_is_cut_off_and_the_rest_is_fetched() {
    let project = Project::with(&[]);
    let huge = format!("base: x\n# {}\n", "x".repeat(2 << 20));
    let web = serve(
        &project,
        &[
            ("registry.yaml", REGISTRY),
            ("bases/ubuntu-dev.yaml", &huge),
            ("templates/go.yaml", "base: debian:12\n"),
        ],
    );
    let run = init(&project, &web, &["--update", "--yes", "--template", "go"]).ok();
    assert!(
        run.stderr.contains("bases/ubuntu-dev.yaml: the answer is larger than 1024 KiB"),
        "{}",
        run.stderr
    );
    assert!(!project.path(".podspawn/cache/podfiles/bases/ubuntu-dev.yaml").exists());
    assert_eq!(project.podfile(), "base: debian:12\n");
}
