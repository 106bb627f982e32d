//! A round of random events under live sessions, after which nothing may be left anywhere.
//!
//! `PODSPAWN_SOAK_SECONDS` sets its length, `PODSPAWN_SEED` repeats its choices.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::command::Running;
use crate::harness::moments::{Moments, let_pass};
use crate::harness::round;
use crate::harness::server::{Server, Wishes};

/// Most clients at a time.
const CROWD: usize = 8;

/// Longest pause between two events.
const PAUSE: Duration = Duration::from_millis(400);

/// Longest until everything is gone after the last client.
const GONE: Duration = Duration::from_secs(120);

/// Processes on this host of a user's own: stubs, and what sshd runs for them.
fn processes(server: &Server, user: &str) -> Vec<i32> {
    let uid = server.uid(user);
    let pids = fs::read_dir("/proc").expect("read /proc").flatten();
    let own = pids.filter(|entry| entry.metadata().is_ok_and(|facts| facts.uid() == uid));
    own.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whatever is still there of these users' sessions, on this host and in the engine.
fn left(server: &Server, users: &[String]) -> Vec<String> {
    let mut left: Vec<String> = server.list().iter().map(|row| format!("listed: {row}")).collect();
    for user in users {
        for kind in ["container", "network", "volume"] {
            let found = server.engine.labelled(kind, &format!("podspawn-user={user}"));
            left.extend(found.into_iter().map(|id| format!("{kind} {id}")));
        }
        left.extend(processes(server, user).into_iter().map(|pid| format!("process {pid} of {user}")));
        let home = fs::read_dir(server.run_home(user)).into_iter().flatten().flatten();
        left.extend(home.map(|entry| entry.path().display().to_string()));
    }
    for place in ["state/locks/leases", "state/locks/setup", "state/sessions"] {
        let entries = fs::read_dir(server.path(place)).into_iter().flatten().flatten();
        for entry in entries {
            left.push(entry.path().display().to_string());
            left.extend(holders(&entry.path()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let root = server.path("").display().to_string();
    left.extend(mounts.lines().filter(|line| line.contains(&root)).map(str::to_owned));
    left
}

/// Who has a file of this directory open, for whoever has to find out what keeps a lock.
fn holders(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.push(format!("  {}", file.path().display()));
        for process in fs::read_dir("/proc").expect("read /proc").flatten() {
            let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            let mut open = descriptors.filter_map(|one| fs::read_link(one.path()).ok());
            if open.any(|to| to == file.path()) {
                let read = |what: &str| fs::read_to_string(process.path().join(what)).unwrap_or_default();
                let (called, stack) = (read("cmdline").replace('\0', " "), read("stack"));
                found.push(format!("    open in {}: {called}\n{stack}", process.path().display()));
            }
        }
    }
    found
}

/// Does one thing at random; its name.
fn event(
    server: &Server,
    users: &[String],
    clients: &mut Vec<Running>,
    random: &mut Moments,
) -> &'static str {
    let user = &users[random.below(users.len())];
    let any = random.below(clients.len().max(1));
    match random.below(12) {
        0..=3 if clients.len() < CROWD => {
            let commands =
                ["true", "exec sleep 1000", "sleep 1; echo said", "cat", "trap '' HUP; sleep 1000 & wait"];
            let command = commands[random.below(commands.len())];
            let project = format!("SetEnv=PODSPAWN_PROJECT={}", ["", "api"][random.below(2)]);
            clients.push(server.ssh(user, &["-o", &project], &[command]).start());
            "connect"
        }
        0..=4 if !clients.is_empty() => {
            drop(clients.swap_remove(any));
            "kill a client"
        }
        5 => {
            for pid in processes(server, user) {
                let _ = kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL);
            }
            "kill a user's stubs"
        }
        6 => {
            clients.push(server.ssh(user, &[], &["kill -9 -1"]).start());
            "kill what runs inside"
        }
        7 => {
            if let Some(id) = server.containers(user).first() {
                // It may have gone by itself meanwhile.
                let _ = server.engine.cli().args(["kill", id]).output();
            }
            "kill a container"
        }
        8 => {
            server.end_brokers(Signal::KILL);
            "kill the broker"
        }
        9 => {
            server.end_brokers(Signal::TERM);
            "end the broker"
        }
        10 => {
            // There may be no such session, and no broker.
            let _ = server.podspawn(&["stop", user]).run();
            "stop"
        }
        _ => {
            let _ = server.podspawn(&["cleanup"]).run();
            "cleanup"
        }
    }
}

on_engines! {
    [docker; soak: podman]
    fn after_a_round_of_random_events_nothing_is_left(engine: EngineName) {
        let server = Server::with(engine, &Wishes { grace: "2s", ..Wishes::default() });
        let users: Vec<String> = ["ann", "ben", "cleo", "dan"].map(|name| server.user(name)).into();
        let mut random = Moments::new();
        let (begun, mut clients, mut counts) = (Instant::now(), Vec::new(), std::collections::BTreeMap::new());
        while begun.elapsed() < round() {
            *counts.entry(event(&server, &users, &mut clients, &mut random)).or_insert(0u32) += 1;
            let_pass(random.next(PAUSE));
            clients.retain_mut(|client| !client.has_ended());
        }
        drop(clients);
        // Nobody is locked out by what has happened, and the login starts a broker if there is none.
        for user in &users {
            assert_eq!(server.sh(user, "id -un"), *user);
        }
        let deadline = Instant::now() + GONE;
        loop {
            // What an engine finished late for a process that was dead by then is old enough at some moment.
            let _ = server.podspawn(&["cleanup"]).run();
            let left = left(&server, &users);
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "{counts:?}\n{left:#?}");
            let_pass(Duration::from_secs(1));
        }
        writeln!(std::io::stderr(), "{} s on {}: {counts:?}", begun.elapsed().as_secs(), engine.label())
            .expect("standard error");
    }
}
