//! `add-project`, `update-project`, `remove-project`

use super::remote::Remote;
use crate::harness::{Env, Run};

fn registry(env: &Env) -> String {
    std::fs::read_to_string(env.home().join(".podspawn/projects.yaml")).unwrap_or_default()
}

/// What a command said last.
fn last(run: &Run) -> &str {
    run.stderr.lines().last().unwrap_or_default()
}

on_engines! {
    [docker, podman]
    fn a_project_is_registered_updated_and_forgotten(env: Env) {
        let remote = Remote::start();
        let run = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).run().ok();
        assert_eq!(run.out(), "");
        assert_eq!(last(&run), format!("project api registered, image: {}", env.image));
        let clone = env.home().join(".podspawn/projects/api");
        assert_eq!(std::fs::read_to_string(clone.join("where")).unwrap(), "main\n");
        let text = registry(&env);
        assert!(text.starts_with(&format!("api:\n  repo: {}\n", remote.url("api"))), "{text}");
        assert!(text.contains("  local_path: ") && text.contains("  image_tag: "), "{text}");

        let run = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).run().status(1);
        assert_eq!(
            run.stderr,
            "Error: the project `api` is registered already\nhint: `podspawn update-project api` fetches it anew, \
             `podspawn remove-project api` forgets it\n"
        );

        // What a person wrote by hand stays, whatever podspawn writes.
        std::fs::write(
            env.home().join(".podspawn/projects.yaml"),
            format!("# mine\nweb:\n  repo: {}\n  mode: persistent # for ever\n{text}", remote.url("api")),
        )
        .unwrap();
        remote.commit("api", "main", &[("where", "main, later\n")]);
        let run = env.podspawn(["update-project", "api"]).run().ok();
        assert_eq!(last(&run), "project api: podfile unchanged, skipping rebuild");
        assert_eq!(std::fs::read_to_string(clone.join("where")).unwrap(), "main, later\n");
        let run = env.podspawn(["update-project", "web"]).run().ok();
        assert!(last(&run).starts_with("project web rebuilt, image: "), "{}", run.stderr);
        assert!(registry(&env).starts_with("# mine\nweb:\n"), "{}", registry(&env));
        assert!(registry(&env).contains("  mode: persistent\n"), "{}", registry(&env));

        let run = env.podspawn(["remove-project", "api"]).run().ok();
        assert_eq!(run.stderr, "removed project api\n");
        assert!(!clone.exists());
        assert!(!registry(&env).contains("api:\n"), "{}", registry(&env));
        let run = env.podspawn(["update-project", "api"]).run().status(1);
        assert_eq!(
            run.stderr,
            "Error: there is no project `api`\nhint: podspawn add-project api --repo <url>\n"
        );
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

#[test]
fn what_cannot_be_cloned_leaves_nothing() {
    let env = Env::without_engine();
    let remote = Remote::start();
    for (url, branch, told) in [
        (remote.url("none"), "main", "Error: failed to clone git://"),
        (remote.url("api"), "none", "Remote branch none not found"),
        ("git://127.0.0.1:1/api".to_owned(), "main", "Error: failed to clone git://127.0.0.1:1/api: "),
    ] {
        let run = env.podspawn(["add-project", "api", "--repo", &url, "--branch", branch]).run().status(1);
        assert!(run.stderr.contains(told) && run.stderr.contains("\nhint: "), "{}", run.stderr);
        let left: Vec<_> = std::fs::read_dir(env.home().join(".podspawn/projects")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(registry(&env), "");
    }
}

#[test]
fn what_git_or_ssh_would_take_for_something_else_is_refused_before_anything_is_done() {
    let env = Env::without_engine();
    for args in [
        ["--repo", "ext::sh -c 'touch x'", "--branch", "main"],
        ["--repo", "--upload-pack=touch x", "--branch", "main"],
        ["--repo", "file:///etc", "--branch", "main"],
        ["--repo", "ssh://-oProxyCommand=touch%20x/y", "--branch", "main"],
        ["--repo", "github.com/a/b", "--branch", "--upload-pack=touch x"],
        ["--repo", "github.com/a/b", "--branch", "-b"],
    ] {
        let run = env.podspawn(["add-project", "api"].iter().chain(&args)).run().status(1);
        assert!(run.stderr.starts_with("Error: "), "{}", run.stderr);
    }
    let run = env.podspawn(["add-project", "../api", "--repo", "github.com/a/b"]).run().status(1);
    assert!(run.stderr.contains("invalid project name"), "{}", run.stderr);
    assert!(!env.home().join(".podspawn").exists() && !env.home().join("x").exists());
    let run = env.podspawn(["create", "dev", "--branch", "main"]).run().status(1);
    assert!(run.stderr.starts_with("Error: `--branch` needs `--project`\n"), "{}", run.stderr);
    let run = env.podspawn(["create", "dev", "--project", "api", "--image", "debian:12"]).run().status(1);
    assert!(
        run.stderr.starts_with("Error: `--image` and `--project` cannot be used together\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_registry_with_a_mistake_is_told_by_its_line() {
    let env = Env::without_engine();
    env.write_config("");
    std::fs::write(env.home().join(".podspawn/projects.yaml"), "api:\n  rpeo: github.com/a/b\n").unwrap();
    let run = env.podspawn(["update-project", "api"]).run().status(1);
    assert!(
        run.stderr.contains("projects.yaml:2: unknown key `api.rpeo`; did you mean `api.repo`?"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_project_may_stand_in_the_configuration_file() {
    let env = Env::without_engine();
    let remote = Remote::start();
    env.write_config(&format!("projects:\n  api:\n    repo: {}\n", remote.url("api")));
    let run = env.podspawn(["remove-project", "api"]).run().status(1);
    assert!(run.stderr.contains("stands in the configuration file"), "{}", run.stderr);
    let run = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).run().status(1);
    assert!(run.stderr.contains("is registered already"), "{}", run.stderr);
}
