//! Real processes, killed at random moments; and many of them at once.
//!
//! `PODSPAWN_SOAK=1` raises the counts; nothing is ever skipped. `PODSPAWN_SEED` repeats a run.

use std::collections::BTreeSet;
use std::time::Duration;

use podspawn::names::UserName;
use podspawn::state::UserLocks;
use rustix::process::Signal;

use crate::harness::moments::{Moments, let_pass};
use crate::harness::{Env, soak};

/// Longer than the age below which cleanup leaves things without a row alone.
const ORPHAN_AGE: Duration = Duration::from_secs(12);

/// How many kills of one kind.
fn rounds() -> u32 {
    if soak() { 50 } else { 3 }
}

/// Runs a command that is to succeed.
fn done(env: &Env, args: &[&str]) {
    drop(env.podspawn(args).run().ok());
}

/// Runs a command and sends it a signal after a while, unless it has ended by then.
fn interrupt(env: &Env, args: &[&str], after: Duration, signal: Signal) -> i32 {
    let running = env.podspawn(args).start();
    let_pass(after);
    running.signal(signal);
    running.wait(Duration::from_secs(120)).status
}

/// How long a command takes when nobody disturbs it; by then it is over for certain.
fn time_of(env: &Env, args: &[&str]) -> Duration {
    env.podspawn(args).run().ok().took
}

/// The names that podspawn lists.
fn listed(env: &Env) -> BTreeSet<String> {
    let run = env.podspawn(["list", "--output", "json"]).run().ok();
    let rows: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let rows = rows.as_array().or_else(|| rows["machines"].as_array()).expect("an array").clone();
    rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
}

/// Asserts that engine and list agree: a container and a network for each machine, and nothing else.
fn assert_consistent(env: &Env, story: &str) {
    let names = listed(env);
    let objects = env.objects();
    let of = |kind: &str| objects.iter().filter(|object| object.starts_with(kind)).count();
    assert_eq!(of("container"), names.len(), "{story}: {names:?}, {objects:?}");
    assert_eq!(of("network"), names.len(), "{story}: {names:?}, {objects:?}");
    assert_eq!(of("volume"), 0, "{story}: {objects:?}");
}

/// What is left of sessions on this host: directories, leases, mounts, held locks. (Database, lock file and the guest's
/// program are there to stay.)
fn remains(env: &Env) -> Vec<String> {
    let root = env.home().join(".podspawn");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let here = env.directory().display().to_string();
    let mut found: Vec<String> =
        mounts.lines().filter(|line| line.contains(&here)).map(str::to_owned).collect();
    let owner: UserName = env.user.parse().expect("a name");
    if UserLocks::new(root.join("locks")).try_lock(&owner).expect("the lock").is_none() {
        found.push(format!("the lock of {owner} is held"));
    }
    for directory in ["sessions", "locks/leases"] {
        if let Ok(entries) = std::fs::read_dir(root.join(directory)) {
            found.extend(entries.map(|entry| entry.expect("an entry").path().display().to_string()));
        }
    }
    found
}

/// An engine may finish what a killed process had asked for just before. What came so late that no reconcile saw it has no
/// row, and a cleanup removes it as soon as it is old enough.
fn clean_up_late_comers(env: &Env) {
    let_pass(ORPHAN_AGE);
    done(env, &["cleanup"]);
}

on_engines! {
    [docker; soak: podman]
    fn killed_at_random_moments_of_creation_nothing_is_left_after_reconcile(env: Env) {
        let image = env.image.clone();
        let limit = time_of(&env, &["create", "first", "--image", &image]).mul_f64(1.1);
        done(&env, &["stop", "first"]);
        let mut moments = Moments::new();
        for round in 0..rounds() {
            let after = moments.next(limit);
            interrupt(&env, &["create", "web", "--image", &image], after, Signal::KILL);
            // Whoever comes next finds a machine that works, or makes one.
            done(&env, &["create", "web", "--image", &image]);
            let out = env.podspawn(["exec", "web", "--", "echo", "works"]).run().ok().out();
            assert_eq!(out, "works\n", "round {round}, killed after {after:?}");
            done(&env, &["stop", "web"]);
        }
        clean_up_late_comers(&env);
        assert_consistent(&env, "in the end");
        assert_eq!(env.objects(), Vec::<String>::new());
        assert_eq!(remains(&env), Vec::<String>::new());
    }

    [docker; soak: podman]
    fn killed_at_random_moments_of_removal_nothing_is_left_after_reconcile(env: Env) {
        let image = env.image.clone();
        done(&env, &["create", "web", "--image", &image]);
        let limit = time_of(&env, &["stop", "web"]).mul_f64(1.1);
        let mut moments = Moments::new();
        for round in 0..rounds() {
            done(&env, &["create", "web", "--image", &image]);
            let after = moments.next(limit);
            interrupt(&env, &["stop", "web"], after, Signal::KILL);
            done(&env, &["cleanup"]);
            assert_consistent(&env, &format!("round {round}, killed after {after:?}"));
            if listed(&env).contains("web") {
                // Killed before it had begun: the machine still works.
                let out = env.podspawn(["exec", "web", "--", "echo", "works"]).run().ok().out();
                assert_eq!(out, "works\n", "round {round}, killed after {after:?}");
                done(&env, &["stop", "web"]);
            }
        }
        clean_up_late_comers(&env);
        assert_eq!(env.objects(), Vec::<String>::new());
        assert_eq!(remains(&env), Vec::<String>::new());
    }

    [docker; soak: podman]
    fn interrupted_at_random_moments_of_creation_nothing_is_left_at_once(env: Env) {
        let image = env.image.clone();
        let limit = time_of(&env, &["create", "first", "--image", &image]);
        done(&env, &["stop", "first"]);
        let mut moments = Moments::new();
        for round in 0..rounds() {
            let after = moments.next(limit);
            let status = interrupt(&env, &["create", "web", "--image", &image], after, Signal::INT);
            if listed(&env).contains("web") {
                // It was quicker than the signal.
                assert!(after > limit / 4, "round {round}, interrupted after {after:?}: it goes on, {status}");
                done(&env, &["stop", "web"]);
            } else {
                assert_eq!(status, 130, "round {round}, interrupted after {after:?}");
            }
            assert_eq!(env.objects(), Vec::<String>::new(), "round {round}, interrupted after {after:?}");
            assert_eq!(remains(&env), Vec::<String>::new(), "round {round}, interrupted after {after:?}");
        }
    }

    [docker, podman]
    fn two_processes_that_create_the_same_machine_at_once_get_one(env: Env) {
        let image = env.image.clone();
        let create = || env.podspawn(["create", "web", "--image", &image]).start();
        let (one, two) = (create(), create());
        let limit = Duration::from_secs(120);
        drop((one.wait(limit).ok(), two.wait(limit).ok()));
        assert_eq!(listed(&env), BTreeSet::from(["web".to_owned()]));
        assert_consistent(&env, "made by two");
        done(&env, &["stop", "web"]);
    }

    [docker]
    fn twenty_processes_on_one_state_file_lose_nothing(env: Env) {
        let image = env.image.clone();
        let names: Vec<String> = (0..20).map(|number| format!("m{number}")).collect();
        let all: Vec<_> = names
            .iter()
            .map(|name| env.podspawn(["create", name, "--image", &image]).limit(Duration::from_secs(300)).start())
            .collect();
        for running in all {
            drop(running.wait(Duration::from_secs(300)).ok());
        }
        assert_eq!(listed(&env), names.iter().cloned().collect::<BTreeSet<_>>());
        assert_consistent(&env, "twenty made");
        let all: Vec<_> = names.iter().map(|name| env.podspawn(["stop", name]).start()).collect();
        for running in all {
            drop(running.wait(Duration::from_secs(300)).ok());
        }
        assert_eq!(listed(&env), BTreeSet::new());
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
