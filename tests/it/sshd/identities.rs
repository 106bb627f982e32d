//! Users that exist for one piece of work.

use std::process::Command;
use std::time::Duration;

use crate::harness::server::{Server, Wishes};

const SOON: Duration = Duration::from_secs(60);

fn rounds() -> usize {
    if crate::harness::soak() { 20 } else { 2 }
}

fn at_once() -> usize {
    if crate::harness::soak() { 10 } else { 5 }
}

on_engines! {
    [docker; soak: podman]
    fn an_identity_for_one_command_leaves_nothing_behind(engine: EngineName) {
        let wishes = Wishes { mode: "destroy-on-disconnect", ..Wishes::default() };
        let server = Server::with(engine, &wishes);
        let key = server.path("ssh/key.pub").display().to_string();
        for round in 0..rounds() {
            let users: Vec<String> = (0..at_once()).map(|n| server.name(&format!("n{round:02}{n}"))).collect();
            // All at once, each step of one user after the step before.
            let each = |args: &dyn Fn(&str) -> crate::harness::command::Invocation| {
                let started: Vec<_> = users.iter().map(|user| args(user).start()).collect();
                started.into_iter().map(|running| running.wait(SOON)).collect::<Vec<_>>()
            };
            for run in each(&|user| server.podspawn(&["add-user", user, "--key-file", &key])) {
                let _ = run.ok();
            }
            let status = |user: &str| 10 + user.bytes().last().map_or(0, |digit| i32::from(digit - b'0'));
            let runs = each(&|user| server.ssh(user, &[], &[&format!("id -un; exit {}", status(user))]));
            for (user, run) in users.iter().zip(runs) {
                assert_eq!(run.status(status(user)).out().trim(), user);
            }
            for run in each(&|user| server.podspawn(&["remove-user", user, "--force", "--purge"])) {
                let _ = run.ok();
            }
            for user in &users {
                for kind in ["container", "network", "volume"] {
                    let left = engine.labelled(kind, &format!("podspawn-user={user}"));
                    assert_eq!(left, Vec::<String>::new(), "{kind}");
                }
                let known = Command::new("id").arg(user).output().expect("start id").status.success();
                assert!(!known, "{user} is still an account");
                let places = ["etc/keys", "etc/accounts", "run/homes", "state/homes"];
                let left: Vec<_> = places.iter().filter(|place| server.path(place).join(user).exists()).collect();
                assert!(left.is_empty(), "{user} is left in {left:?}");
            }
        }
        // Of the rows `list` hides those that nobody attached to.
        let store = rusqlite::Connection::open(server.path("state/state.db")).expect("open the store");
        let rows: i64 = store.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).expect("a number");
        assert_eq!(rows, 0);
        let leases = std::fs::read_dir(server.path("state/locks/leases")).expect("read the leases");
        assert_eq!(leases.count(), 0);
    }
}
