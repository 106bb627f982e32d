//! Backup, restore and upgrade under live sessions (docs/operations.md).

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::command::Running;
use crate::harness::moments::let_pass;
use crate::harness::server::Server;
use crate::harness::system;

const SOON: Duration = Duration::from_secs(30);

/// Younger containers without a session are left alone by a cleanup.
const ORPHAN_AGE: Duration = Duration::from_secs(11);

/// The database with what SQLite keeps beside it.
const DATABASE: [&str; 3] = ["state/state.db", "state/state.db-wal", "state/state.db-shm"];

/// As an administrator copies what is there: it stays its owner's.
fn copy(server: &Server, from: &str, to: &str) {
    if server.path(from).exists() {
        system::run(Command::new("cp").arg("-p").arg(server.path(from)).arg(server.path(to)));
    }
}

/// A connection that lives until a file called `go` is made in its container, and then ends with 7.
fn stays(server: &Server, user: &str) -> Running {
    server.running(user, &[], "echo here >/tmp/file; until test -e /tmp/go; do sleep 0.1; done; exit 7")
}

/// Ends what [`stays`] began: it had not noticed anything.
#[track_caller]
fn goes(server: &Server, user: &str, running: Running) {
    server.sh(user, "touch /tmp/go");
    let _ = running.wait(SOON * 4).status(7);
}

/// A connection whose container went has one line about it, and fails.
#[track_caller]
fn told(running: Running) {
    let run = running.wait(SOON * 4);
    assert_ne!(run.status, 0);
    // No broker knows of it any more, so that none can say why.
    assert_eq!(run.stderr, "Error: the connection to your container was lost\nhint: connect again\n");
}

/// The end of a user's containers, by the audit log: who, and why.
fn ends(server: &Server, user: &str) -> Vec<String> {
    let ended = |line: &&serde_json::Value| line["user"] == user && line["event"] == "container_destroy";
    server
        .audit()
        .iter()
        .filter(ended)
        .map(|line| ["actor", "reason"].map(|field| line[field].as_str().expect(field)).join(" "))
        .collect()
}

on_engines! {
    [docker; soak: podman]
    fn a_state_that_is_older_or_missing_loses_no_container_and_harms_nobody(server: Server) {
        let [ann, ben, cleo, dan] = ["ann", "ben", "cleo", "dan"].map(|name| server.user(name));
        let stranger = server.engine.run(&[
            "run", "-d", "--label", "managed-by=podspawn", "--label", "podspawn-installation=of-another-host",
            "--label", &format!("podspawn-user={dan}"), "--label", "podspawn-session=unknown",
            crate::harness::engines::fact("IMAGE_BUSYBOX"), "sleep", "1000",
        ]);
        let of_dan = |server: &Server| {
            let all = server.containers(&dan);
            all.into_iter().filter(|id| *id != stranger).collect::<Vec<_>>()
        };
        let anns = stays(&server, &ann);
        let container = server.containers(&ann);
        server.sh(&cleo, "true");
        server.audited(&cleo, "disconnect", 1, SOON);

        // The backup of this moment, and what happens after it.
        server.kill_broker();
        for name in DATABASE {
            copy(&server, name, &format!("{name}.backup"));
        }
        server.start_broker();
        let (bens, dans) = (stays(&server, &ben), stays(&server, &dan));
        let made = Instant::now();
        let first = server.containers(&ben);
        let _ = server.podspawn(&["stop", &cleo]).run().ok();

        server.kill_broker();
        for name in DATABASE {
            let _ = fs::remove_file(server.path(name));
            copy(&server, &format!("{name}.backup"), name);
        }
        server.start_broker();
        // What the old state knows goes on as if nothing had been.
        assert_eq!(server.sh(&ann, "cat /tmp/file"), "here");
        assert_eq!(server.containers(&ann), container);
        // What ended meanwhile is found to be gone.
        assert_eq!(server.sh(&cleo, "id -un"), cleo);
        assert_eq!(server.containers(&cleo).len(), 1);
        // What began meanwhile gives its place to a new one, or goes with the next pass.
        assert_eq!(server.sh(&ben, "test ! -e /tmp/file && id -un"), ben);
        told(bens);
        assert!(server.containers(&ben).len() == 1 && server.containers(&ben) != first);
        assert_eq!(ends(&server, &ben), ["operator:podspawn orphan"]);
        let_pass(ORPHAN_AGE.saturating_sub(made.elapsed()));
        let cleaned = server.podspawn(&["cleanup"]).run().ok();
        let lines = format!("{}{}", cleaned.out(), cleaned.stderr);
        assert!(lines.contains("removing orphaned container name=") && lines.contains("orphans_removed="), "{lines}");
        told(dans);
        assert_eq!(of_dan(&server), Vec::<String>::new());
        // The pass was root's.
        assert_eq!(ends(&server, &dan), ["operator:root orphan"]);

        // Without a backup: everything that is there is an orphan of this very installation.
        let anew = stays(&server, &ben);
        server.kill_broker();
        for name in DATABASE {
            let _ = fs::remove_file(server.path(name));
        }
        server.start_broker();
        assert_eq!(server.list(), Vec::<serde_json::Value>::new());
        assert_eq!(server.sh(&ann, "test ! -e /tmp/file && id -un"), ann);
        told(anns);
        let_pass(ORPHAN_AGE);
        let _ = server.podspawn(&["cleanup"]).run().ok();
        told(anew);
        for user in [&ben, &cleo] {
            assert_eq!(server.containers(user), Vec::<String>::new());
        }
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        for user in [&ann, &ben, &cleo] {
            assert_eq!(server.containers(user), Vec::<String>::new());
            assert_eq!(server.engine.labelled("network", &format!("podspawn-user={user}")), Vec::<String>::new());
        }
        let _ = server.podspawn(&["cleanup"]).run().ok();
        assert_eq!(fs::read_dir(server.path("state/locks/leases")).expect("read").count(), 0);
        assert_eq!(fs::read_dir(server.path("state/sessions")).into_iter().flatten().count(), 0);
        // What another installation made is nobody's here.
        assert_eq!(server.containers(&dan), [stranger]);
    }

    [docker; soak: podman]
    fn a_new_program_serves_the_sessions_of_the_old_one(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let command = stays(&server, &ann);
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        let container = server.containers(&ann);
        server.replace_program();
        // New stubs, the old broker.
        assert_eq!(server.sh(&ann, "cat /tmp/file"), "here");
        assert_eq!(server.sh(&ben, "id -un"), ben);
        // Old stubs and old guests, the new broker.
        server.kill_broker();
        server.start_broker();
        assert_eq!(server.sh(&ann, "cat /tmp/file"), "here");
        assert_eq!(server.containers(&ann), container);
        terminal.line("echo still-$((40 + 2))").expect("still-42");
        let listed = server.list();
        let own = listed.iter().find(|one| one["user"] == ann.as_str()).expect("listed");
        assert_eq!(own["connections"], 2, "{own}");
        terminal.line("exit 3");
        assert_eq!(terminal.wait().0, 3);
        goes(&server, &ann, command);
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        assert_eq!(server.containers(&ann), Vec::<String>::new());
    }
}

#[test]
fn a_broker_of_another_version_is_told_in_a_line_and_replaced_without_ending_a_session() {
    let server = Server::on(crate::harness::EngineName::Docker);
    server.set_up();
    let ann = server.user("ann");
    let command = stays(&server, &ann);
    server.kill_broker();
    let other = crate::harness::elder::Elder::listen(&server.socket(), server.gid());
    let run = server.ssh(&ann, &[], &["true"]).run();
    assert_eq!(run.status, 1);
    assert_eq!(
        run.stderr,
        "Error: the broker is of another version of podspawn\nhint: the administrator has to start it again\n"
    );
    let config = server.sshd_config();
    let doctor = ["doctor", "--sshd-config", config.to_str().expect("text")];
    let run = server.podspawn(&doctor).run().status(1);
    let expected = "  [FAIL] broker: the broker is of another version of podspawn\n         \
                    fix: end the broker's process: the next login starts another, and no session ends\n";
    assert!(run.out().contains(expected), "{}", run.out());
    drop(other);
    assert_eq!(server.sh(&ann, "cat /tmp/file"), "here");
    let out = server.podspawn(&doctor).run().out();
    assert!(out.contains("  [pass] broker\n"), "{out}");
    goes(&server, &ann, command);
}
