//! Commands without a terminal: bytes, ends, statuses, signals, environment, descriptors.

use std::time::Duration;

use super::{create, inside};
use crate::harness::soak;

/// Bytes that do not repeat, so that a piece lost, doubled or swapped is seen.
fn noise(length: usize) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn much_comes_back_unchanged(env: Env) {
        create(&env);
        // A gigabyte in the long rounds.
        let sent = noise(if soak() { 1 << 30 } else { 128 << 20 });
        let run = env.podspawn(["exec", "-i", "m", "--", "cat"]).stdin(&sent).limit(Duration::from_secs(600)).run().ok();
        assert_eq!(run.stdout.len(), sent.len());
        assert!(run.stdout == sent);
    }

    [docker, docker26, podman, gvisor]
    fn output_error_and_status_come_back_apart(env: Env) {
        create(&env);
        let run = inside(&env, "echo out; echo err >&2; exit 42").status(42);
        assert_eq!((run.out(), run.stderr.as_str()), ("out\n".into(), "err\n"));
        let _ = inside(&env, "kill -TERM $$").status(128 + 15);
        let _ = inside(&env, "kill -KILL $$").status(128 + 9);
        let _ = env.podspawn(["exec", "m", "--", "no-such-program"]).run().status(127);
        let _ = env.podspawn(["exec", "m", "--", "/etc/passwd"]).run().status(126);
    }

    [docker, podman, gvisor]
    fn the_end_of_input_is_seen_and_output_goes_on(env: Env) {
        create(&env);
        let run = env.podspawn(["exec", "-i", "m", "--", "sh", "-c", "cat; echo after"]).stdin("before ").run().ok();
        assert_eq!(run.out(), "before after\n");
        let unconnected = env.podspawn(["exec", "m", "--", "cat"]).stdin("not for it").run().ok();
        assert_eq!(unconnected.out(), "");
    }

    [docker, podman, gvisor]
    fn the_streams_can_be_opened_by_name_and_lead_nowhere_else(env: Env) {
        create(&env);
        let run = inside(&env, "echo e > /dev/stderr; echo o > /dev/stdout").ok();
        assert_eq!((run.out(), run.stderr.as_str()), ("o\n".into(), "e\n"));
        let links = inside(&env, "for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done; set -- /proc/self/fd/*; echo $#").ok().out();
        let (links, count) = links.trim().rsplit_once('\n').expect("several lines");
        for link in links.lines() {
            assert!(link.starts_with("pipe:") || link.starts_with("socket:"), "{links}");
        }
        // The three, and the directory that is being listed: nothing else was left open.
        assert_eq!((links.lines().count(), count), (3, "4"));
    }

    [docker, podman, gvisor]
    fn the_environment_is_the_users_own(env: Env) {
        create(&env);
        let shown = env.podspawn(["exec", "m", "--", "env"]).var("SECRET_OF_THE_HOST", "s").run().ok().out();
        let value = |name: &str| {
            let found = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {name} in\n{shown}"))
        };
        let name = env.user.as_str();
        assert_eq!((value("USER"), value("LOGNAME"), value("SHELL")), (name, name, "/bin/bash"));
        assert_eq!(value("HOME"), format!("/home/{name}"));
        assert!(value("PATH").split(':').any(|directory| directory == "/usr/bin"));
        assert!(!shown.contains("SECRET_OF_THE_HOST"));
        let who = inside(&env, "id -u; id -g; id -un; pwd; hostname; umask").ok().out();
        assert_eq!(who, format!("1000\n1000\n{name}\n/home/{name}\nm\n0022\n"));
    }

    [docker, podman, gvisor]
    fn what_runs_in_the_background_neither_delays_the_end_nor_dies_with_it(env: Env) {
        create(&env);
        let script = "nohup sleep 1000 >/dev/null 2>&1 & echo $!; sleep 1001 & exit 3";
        let run = inside(&env, script).status(3);
        assert!(run.took < Duration::from_secs(60));
        let pid = run.out().trim().to_owned();
        let _ = inside(&env, &format!("kill -0 {pid} && kill {pid}")).ok();
    }

    [docker, podman, gvisor]
    fn processes_are_signalled_by_their_user(env: Env) {
        create(&env);
        let script = "sleep 1000 & kill -TERM $!; wait $!; echo $?; sleep 1000 & sudo kill -KILL $!; wait $!; echo $?";
        assert_eq!(inside(&env, script).ok().out(), "143\n137\n");
    }
}
