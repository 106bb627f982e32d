//! Commands that are killed in the middle: the next one puts things in order.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::remote::{Remote, Silent};
use crate::harness::{Env, json};

pub(super) const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn register(env: &Env, name: &str, url: &str) {
    let registry = env.home().join(".podspawn/projects.yaml");
    let text = std::fs::read_to_string(&registry).unwrap_or_default();
    std::fs::write(&registry, format!("{text}{name}:\n  repo: {url}\n")).unwrap();
    if let Some(account) = env.engine.and_then(|engine| engine.account()) {
        std::os::unix::fs::chown(&registry, Some(account.uid), Some(account.gid)).unwrap();
    }
}

/// Names in the directory of checkouts.
pub(super) fn checkouts(env: &Env) -> Vec<String> {
    let entries = std::fs::read_dir(env.home().join(".podspawn/workspaces"));
    let mut names: Vec<String> = entries
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

pub(super) fn checkout(env: &Env, name: &str) -> PathBuf {
    env.home().join(".podspawn/workspaces").join(name)
}

on_engines! {
    [docker; soak: podman]
    fn a_create_that_was_killed_while_it_cloned_is_begun_anew(env: Env) {
        let (remote, silent) = (Remote::start(), Silent::start());
        register(&env, "api", &remote.url("api"));
        register(&env, "slow", &silent.url());
        let running = env.podspawn(["create", "dev", "--project", "slow", "--branch", "main"]).start();
        let connection = silent.asked();
        assert_eq!(checkouts(&env).len(), 1);
        running.signal(Signal::KILL);
        let _ = running.wait(LIMIT).status(137);
        drop(connection);
        let all = json::parse(&env.podspawn(["list", "--output", "json"]).run().ok());
        assert_eq!(all[0]["status"], "uninitialized", "{all}");
        // Whatever was begun, what is asked for now is made.
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        assert_eq!(checkouts(&env), ["dev"]);
        assert_eq!(std::fs::read_to_string(checkout(&env, "dev").join("where")).unwrap(), "main\n");
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();

        let running = env.podspawn(["create", "dev", "--project", "slow", "--branch", "main"]).start();
        let connection = silent.asked();
        running.signal(Signal::KILL);
        let _ = running.wait(LIMIT).status(137);
        drop(connection);
        let _ = env.podspawn(["rm", "dev"]).run().ok();
        let _ = env.podspawn(["cleanup"]).run().ok();
        assert_eq!(checkouts(&env), Vec::<String>::new());
    }
}

on_engines! {
    [docker]
    fn ctrl_c_while_it_clones_leaves_nothing(env: Env) {
        let silent = Silent::start();
        register(&env, "slow", &silent.url());
        for args in [&["create", "dev", "--project", "slow"][..], &["run", "dev", "--project", "slow"]] {
            let running = env.podspawn(args).start();
            silent.answer_refs();
            let connection = silent.asked();
            running.signal(Signal::INT);
            let run = running.wait(LIMIT).status(130);
            assert!(run.stderr.ends_with("Error: interrupted\n"), "{}", run.stderr);
            drop(connection);
            assert_eq!(checkouts(&env), Vec::<String>::new());
            assert_eq!(env.podspawn(["list"]).run().ok().out(), "No machines.\n");
        }
    }
}

on_engines! {
    [docker; soak: podman]
    fn a_run_that_was_killed_leaves_its_checkout_to_the_next_command(env: Env) {
        let remote = Remote::start();
        register(&env, "api", &remote.url("api"));
        let mut terminal = env.terminal(["run", "try", "--project", "api"]);
        terminal.expect(&format!("{}@try", env.user));
        let before = checkouts(&env);
        assert!(before.len() == 1 && before[0].starts_with(".tmp-try-"), "{before:?}");
        // One that is in use is nobody's to remove.
        let _ = env.podspawn(["cleanup"]).run().ok();
        assert_eq!(checkouts(&env), before);
        terminal.signal(Signal::KILL);
        let _ = terminal.wait();
        let _ = env.podspawn(["cleanup"]).run().ok();
        assert_eq!(checkouts(&env), Vec::<String>::new());
        assert_eq!(env.objects(), Vec::<String>::new());

        let mut terminal = env.terminal(["run", "try", "--project", "api"]);
        terminal.expect(&format!("{}@try", env.user));
        terminal.signal(Signal::KILL);
        let _ = terminal.wait();
        let run = env.podspawn(["run", "try", "--project", "api", "--", "cat", "where"]).run().ok();
        assert_eq!(run.out(), "main\n");
        assert_eq!(checkouts(&env), Vec::<String>::new());
    }
}

on_engines! {
    [docker; soak: podman]
    fn a_checkout_that_somebody_works_in_stays_until_they_leave(env: Env) {
        let remote = Remote::start();
        register(&env, "api", &remote.url("api"));
        let mut terminal = env.terminal(["run", "try", "--project", "api"]);
        terminal.expect(&format!("{}@try", env.user));
        let mut other = env.terminal(["shell", "try"]);
        other.expect(&format!("{}@try", env.user));
        terminal.signal(Signal::KILL);
        let _ = terminal.wait();
        let _ = env.podspawn(["cleanup"]).run().ok();
        assert_eq!(checkouts(&env).len(), 1);
        other.line("cat /workspace/api/where && echo still-$((40 + 2))");
        other.expect("still-42");
        other.line("exit");
        let _ = other.wait();
        let _ = env.podspawn(["cleanup"]).run().ok();
        assert_eq!(checkouts(&env), Vec::<String>::new());
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

on_engines! {
    [docker; soak: podman]
    fn the_end_of_a_runs_shell_is_the_end_of_its_machine(env: Env) {
        let remote = Remote::start();
        register(&env, "api", &remote.url("api"));
        let mut terminal = env.terminal(["run", "try", "--project", "api"]);
        terminal.expect(&format!("{}@try", env.user));
        let mut other = env.terminal(["shell", "try"]);
        other.expect(&format!("{}@try", env.user));
        terminal.line("exit 7");
        let (status, screen) = terminal.wait();
        assert_eq!(status, 7, "{screen}");
        assert_eq!(env.objects(), Vec::<String>::new());
        assert_eq!(checkouts(&env), Vec::<String>::new());
        let (_, screen) = other.wait();
        assert!(screen.contains("the machine `try` was stopped"), "{screen}");
    }
}

on_engines! {
    [podman]
    fn what_root_inside_left_in_a_killed_runs_checkout_goes_too(env: Env) {
        let remote = Remote::start();
        register(&env, "api", &remote.url("api"));
        let mut terminal = env.terminal(["run", "try", "--project", "api"]);
        terminal.expect(&format!("{}@try", env.user));
        terminal.send("sudo sh -c 'mkdir deep && touch deep/file && chmod 700 deep' && echo made-$((40 + 2))\n");
        terminal.expect("made-42");
        terminal.signal(Signal::KILL);
        let _ = terminal.wait();
        let _ = env.podspawn(["cleanup"]).run().ok();
        assert_eq!(checkouts(&env), Vec::<String>::new());
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
