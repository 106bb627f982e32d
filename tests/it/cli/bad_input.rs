//! What is refused before anything is made.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::harness::{EngineName, Env};

/// The name is refused by every command that takes one, with this text in the message.
#[track_caller]
fn refused(env: &Env, name: &str, told: &str) {
    for command in ["run", "create", "shell", "stop", "rm"] {
        let run = match (command, name.starts_with('-')) {
            // Behind `--` stands the command to run.
            ("run", true) => continue,
            (_, true) => env.podspawn([command, "--", name]),
            (_, false) => env.podspawn([command, name]),
        };
        let run = run.run().status(1);
        let mut lines = run.stderr.lines();
        let first = lines.next().unwrap_or_default();
        assert!(
            first.starts_with("Error: invalid ") && first.contains(told),
            "{command} {name:?}: {}",
            run.stderr
        );
        assert!(lines.all(|line| line.starts_with("hint: ")), "{}", run.stderr);
        assert!(!run.stderr.contains(['\x1b', '\x07']), "{:?}", run.stderr);
    }
}

#[test]
fn a_name_that_is_none_is_refused_with_the_rule_that_it_breaks() {
    let env = Env::on(EngineName::Docker);
    refused(&env, "", "must not be empty");
    refused(&env, "../up", "not a path");
    refused(&env, "a/b", "must not contain `/`");
    refused(&env, "-rf", "must not begin with `-`");
    refused(&env, "a\x1b]0;x\x07", "control character");
    refused(&env, "Dev", "capital letters");
    refused(&env, &"a".repeat(200), "200 characters");
    assert_eq!(env.objects(), Vec::<String>::new());
    assert!(
        !env.home().join(".podspawn/state.db").exists()
            || env.podspawn(["list"]).run().ok().out() == "No machines.\n"
    );
}

#[test]
fn an_option_in_the_place_of_a_name_is_refused() {
    let env = Env::without_engine();
    let run = env.podspawn(["create", "-dev"]).run().status(1);
    assert!(
        run.stderr.starts_with("Error: invalid machine name \"-dev\": it must not begin with `-`"),
        "{}",
        run.stderr
    );
    let run = env.podspawn(["create", "--dev"]).run().status(1);
    assert!(run.stderr.starts_with("Error: unexpected argument '--dev' found\nhint: "), "{}", run.stderr);
}

on_engines! {
    [docker, podman]
    fn an_image_reference_that_is_none_is_refused(env: Env) {
        for wrong in ["", "UPPER/case", "-x", "a b", "x:", "x@sha256:12", "http://host/x"] {
            for command in ["run", "create"] {
                let image = format!("--image={wrong}");
                let run = env.podspawn([command, "dev", &image]).run().status(1);
                assert!(run.stderr.starts_with("Error: invalid image reference "), "{wrong:?}: {}", run.stderr);
            }
        }
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

on_engines! {
    [docker, podman, gvisor]
    fn an_image_that_does_not_exist_is_told_with_the_registrys_answer(env: Env) {
        let image = format!("{}/podspawn-test/nowhere-{}:1", crate::harness::engines::fact("REGISTRY"), env.user);
        let run = env.podspawn(["create", "dev", "--image", &image]).run().status(1);
        assert!(run.stderr.contains(&format!("✗ Creating dev ({image})\n")), "{}", run.stderr);
        assert!(run.stderr.contains(&format!("Error: failed to pull image `{image}`: ")), "{}", run.stderr);
        assert!(run.stderr.contains("unknown") || run.stderr.contains("not found"), "{}", run.stderr);
        assert!(run.stderr.contains("hint: check the name of the image"), "{}", run.stderr);
        assert_eq!(env.objects(), Vec::<String>::new());
        assert_eq!(env.podspawn(["list", "--output", "json"]).run().ok().out().trim(), "[]");
    }
}

#[test]
fn an_engine_that_hangs_is_given_up() {
    let mut env = Env::without_engine();
    let socket = env.directory().join("engine.sock");
    // Accepts connections into its backlog and never says a word.
    let _silent = UnixListener::bind(&socket).expect("listen");
    env.set("DOCKER_HOST", format!("unix://{}", socket.display()));
    let limit = Duration::from_secs(40);
    let commands =
        [vec!["create", "dev"], vec!["run", "other"], vec!["verify-image", "debian:12"], vec!["cleanup"]];
    // All at once: what costs time is waiting.
    let doctor = env.podspawn(["doctor"]).start();
    let running = commands.each_ref().map(|command| env.podspawn(command).start());
    for (command, running) in commands.iter().zip(running) {
        let run = running.wait(limit).status(1);
        assert!(run.stderr.contains("no answer within"), "{command:?}: {}", run.stderr);
        assert!(run.stderr.contains("hint: `podspawn doctor` checks the engine"), "{}", run.stderr);
    }
    let run = doctor.wait(limit).status(1);
    assert!(run.out().contains("[FAIL] Docker daemon: "), "{}", run.out());
    assert_eq!(env.podspawn(["list", "--output", "json"]).run().ok().out().trim(), "[]");
}

#[test]
fn a_missing_user_or_home_is_told() {
    let mut env = Env::without_engine();
    let run = env.podspawn(["list"]).var("USER", "").run().status(1);
    assert_eq!(
        run.stderr,
        "Error: the variable `USER` is not set\nhint: set it to the name of your account\n"
    );
    // Where nobody has set it, the account says it.
    env.unset("USER");
    assert_eq!(env.podspawn(["list", "--output", "json"]).run().ok().out().trim(), "[]");
    env.unset("HOME");
    let run = env.podspawn(["list"]).run().status(1);
    assert!(run.stderr.starts_with("Error: the variable `HOME` is not set"), "{}", run.stderr);
}

#[test]
fn wrong_configuration_is_told_with_its_place() {
    let env = Env::without_engine();
    env.write_config("local:\n  imge: x\n");
    let run = env.podspawn(["create", "dev"]).run().status(1);
    assert!(run.stderr.contains("config.yaml:2") && run.stderr.contains("`local.imge`"), "{}", run.stderr);
    let run = env.podspawn(["--config", "/nonexistent.yaml", "create", "dev"]).run().status(1);
    assert!(run.stderr.contains("/nonexistent.yaml"), "{}", run.stderr);
}
