//! A host without an engine that the user may use.

use crate::harness::engines::fact;
use crate::harness::{EngineName, Env, json};

#[test]
fn without_an_engine_it_says_what_was_tried_and_how_to_get_one() {
    let env = Env::as_an_outsider();
    for command in [vec!["create", "dev"], vec!["run", "dev"], vec!["verify-image", "debian:12"]] {
        let run = env.podspawn(&command).run().status(1);
        let error = run.stderr.lines().find(|line| line.starts_with("Error: ")).expect("an error line");
        assert!(error.starts_with("Error: failed to find a container engine: "), "{error}");
        for tried in ["`DOCKER_HOST`", "`CONTAINER_HOST`", "docker.sock", "podman.sock"] {
            assert!(error.contains(tried), "{tried} in {error}");
        }
        let hints: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("hint: ")).collect();
        assert!(hints.iter().any(|hint| hint.contains("apt-get install docker.io")), "{hints:?}");
        assert!(hints.iter().any(|hint| hint.contains("apt-get install podman")), "{hints:?}");
    }
    assert_eq!(env.podspawn(["list"]).run().ok().out(), "No machines.\n");
}

#[test]
fn a_variable_that_names_no_engine_is_not_passed_over() {
    let mut env = Env::without_engine();
    for (value, told) in
        [("unix:///nonexistent.sock", "/nonexistent.sock"), ("ssh://host", "SSH"), ("nonsense", "unix://")]
    {
        env.set("DOCKER_HOST", value);
        let run = env.podspawn(["create", "dev"]).run().status(1);
        assert!(
            run.stderr.contains("Error: failed to use DOCKER_HOST") && run.stderr.contains(told),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn doctor_fails_where_there_is_no_engine_and_shows_the_rest() {
    let env = Env::as_an_outsider();
    let run = env.podspawn(["doctor"]).run().status(1);
    let out = run.out();
    assert!(out.starts_with("  [FAIL] engine choice: "), "{out}");
    assert!(out.contains("         fix: ") && out.contains("  [pass] state directory\n"), "{out}");
    // One that is there and not for everybody is told by itself.
    let warning = "  [warn] Docker socket: unix:///var/run/docker.sock is not accessible for you\n";
    assert!(out.contains(warning) && out.contains("         fix: use rootless Podman, or ask "), "{out}");
    assert!(out.ends_with(", 1 failed\n"), "{out}");
    let report = json::parse(&env.podspawn(["doctor", "--output", "json"]).run().status(1));
    assert_eq!(report["summary"]["failed"], 1);
}

#[test]
fn the_engine_is_the_one_that_variables_and_contexts_name() {
    let socket = |engine: EngineName| format!("unix://{}", engine.socket());
    let mut env = Env::without_engine();
    // Docker's usual socket answers as well, and is passed over for what is named.
    let chosen = |env: &Env, engine: EngineName, reason: &str| {
        let out = env.podspawn(["doctor"]).run().out();
        let told =
            format!("engine choice: {} at {}, because {reason} says so", engine.label(), socket(engine));
        assert!(out.lines().next().expect("a line").contains(&told), "{told}: {out}");
    };
    env.set("CONTAINER_HOST", socket(EngineName::Podman));
    chosen(&env, EngineName::Podman, "CONTAINER_HOST");

    let config = env.directory().join("client").display().to_string();
    let host = format!("host={}", socket(EngineName::Docker26));
    let create = ["--config", &config, "context", "create", "other", "--docker", &host];
    let _ = env.program(fact("DOCKER_CLI"), create).run().ok();
    env.set("DOCKER_CONFIG", &config);
    env.set("DOCKER_CONTEXT", "other");
    chosen(&env, EngineName::Docker26, "Docker's context `other`");
    env.unset("DOCKER_CONTEXT");
    let _ = env.program(fact("DOCKER_CLI"), ["context", "use", "other"]).run().ok();
    chosen(&env, EngineName::Docker26, "Docker's context `other`");
}
