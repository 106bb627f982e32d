//! Engines that crash and come back under live sessions.

use std::time::Duration;

use crate::harness::EngineName;
use crate::harness::dockerd::Dockerd;
use crate::harness::podman::PodmanService;
use crate::harness::server::{LATE, Server, Wishes};

const SOON: Duration = Duration::from_secs(30);

/// Whoever needs the engine for something is told in a line that it is away.
#[track_caller]
fn refused(server: &Server, user: &str) {
    let run = server.ssh(user, &[], &["echo in"]).run();
    assert_eq!((run.status, run.out().as_str()), (1, ""), "{}", run.stderr);
    assert!(run.stderr.starts_with("Error: the container engine does not answer\n"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
}

/// Connections of a user's one session; none if there is no session.
fn connections(server: &Server, user: &str) -> Option<u64> {
    let listed = server.list();
    let own: Vec<_> = listed.iter().filter(|one| one["user"] == user).collect();
    assert!(own.len() <= 1, "{own:?}");
    own.first().and_then(|one| one["connections"].as_u64())
}

/// A pass over everything fails with the reason, and loses nothing.
#[track_caller]
fn cleanup_says_why_not(server: &Server) {
    let run = server.podspawn(&["cleanup"]).run();
    assert!(run.status != 0 && run.stderr.contains("engine"), "{} {}", run.status, run.stderr);
}

/// A connection whose container ended has one line about it, and fails.
#[track_caller]
fn told(run: &crate::harness::Run) {
    assert_eq!((run.status, run.stderr.as_str()), (1, "Error: the container of this session has ended\n"));
}

#[test]
fn sessions_outlive_a_docker_that_crashes_until_it_ends_them() {
    let mut dockerd = Dockerd::start();
    let wishes = Wishes { image: "IMAGE_BUSYBOX", grace: "2s", ..Wishes::default() };
    let server = Server::with(EngineName::Private, &wishes);
    let (ann, ben) = (server.user("ann"), server.user("ben"));
    let command = server.running(&ann, &[], "echo here >/tmp/file; exec sleep 1000");
    let mut terminal = server.login(&ann, &[]);
    terminal.expect("$ ");
    server.sh(&ben, "true");
    dockerd.kill();

    // Nothing of a running session needs the engine.
    terminal.line("echo still-$((40 + 2))").expect("still-42");
    assert_eq!(server.sh(&ann, "cat /tmp/file"), "here");
    server.audited(&ann, "disconnect", 1, SOON);
    assert_eq!(connections(&server, &ann), Some(2));
    refused(&server, &server.user("cleo"));
    // What is over now cannot be removed, and is not forgotten.
    server.broker_log().wait("reach the ", SOON);
    assert_eq!(connections(&server, &ben), Some(0));
    cleanup_says_why_not(&server);
    // What is not known of the engine keeps no metric back.
    let run = server.podspawn(&["status", "--prometheus", "--check"]).run().ok();
    for line in ["podspawn_sessions_total 2", "podspawn_containers_docker 0"] {
        assert!(run.out().lines().any(|found| found == line), "{}", run.out());
    }

    // A Docker that starts ends what one that crashed has left.
    dockerd.again();
    told(&command.wait(SOON));
    let (status, screen) = terminal.wait();
    assert_ne!(status, 0);
    assert_eq!(screen.matches("has ended").count(), 1, "{screen}");
    for user in [&ann, &ben] {
        server.gone(user, 1, SOON);
        assert_eq!(server.engine.labelled("network", &format!("podspawn-user={user}")), Vec::<String>::new());
    }
    assert!(server.list().is_empty());
    assert_eq!(std::fs::read_dir(server.path("state/locks/leases")).expect("read").count(), 0);
    for user in [&ann, &ben] {
        assert_eq!(server.sh(user, "id -un"), *user);
    }
}

#[test]
#[ignore = "a longer proof: make soak"]
fn sessions_in_sandboxes_end_with_their_docker() {
    let mut dockerd = Dockerd::start();
    let wishes = Wishes { image: "IMAGE_BUSYBOX", sandboxes: true, ..Wishes::default() };
    let server = Server::with(EngineName::Private, &wishes);
    for (names, crash) in [(["ann", "ben"], false), (["cleo", "dan"], true)] {
        let [ann, ben] = names.map(|name| server.user(name));
        let command = server.running(&ann, &[], "exec sleep 1000");
        let mut terminal = server.login(&ben, &[]);
        terminal.expect("$ ");
        if crash {
            dockerd.kill();
        } else {
            dockerd.end();
        }
        // Their bytes travel through it. That the containers may go on is of no use to them.
        let run = command.wait(SOON);
        told(&run);
        let (status, screen) = terminal.wait();
        assert_ne!(status, 0);
        assert_eq!(screen.matches("has ended").count(), 1, "{screen}");
        refused(&server, &ann);

        dockerd.again();
        for user in [&ann, &ben] {
            server.gone(user, 1, SOON);
            assert_eq!(
                server.engine.labelled("network", &format!("podspawn-user={user}")),
                Vec::<String>::new()
            );
        }
        assert!(server.list().is_empty());
        assert_eq!(std::fs::read_dir(server.path("state/locks/leases")).expect("read").count(), 0);
        for user in [&ann, &ben] {
            assert_eq!(server.sh(user, "id -un"), *user);
            let _ = server.podspawn(&["stop", user]).run().ok();
        }
    }
}

#[test]
fn sessions_do_not_notice_that_podmans_service_is_restarted() {
    let mut service = PodmanService::start();
    let wishes = Wishes { engine_dir: Some(service.dir().to_owned()), grace: "2s", ..Wishes::default() };
    let server = Server::with(EngineName::Podman, &wishes);
    let (ann, ben) = (server.user("ann"), server.user("ben"));
    let command =
        server.running(&ann, &[], "echo here >/tmp/file; until test -e /tmp/go; do sleep 0.1; done; exit 7");
    let mut terminal = server.login(&ann, &[]);
    terminal.expect("$ ");
    server.sh(&ben, "true");
    service.kill();

    terminal.line("echo still-$((40 + 2))").expect("still-42");
    assert_eq!(server.sh(&ann, "cat /tmp/file"), "here");
    server.audited(&ann, "disconnect", 1, SOON);
    assert_eq!(connections(&server, &ann), Some(2));
    let cleo = server.user("cleo");
    refused(&server, &cleo);
    server.broker_log().wait("reach the ", SOON);
    assert_eq!(connections(&server, &ben), Some(0));
    cleanup_says_why_not(&server);

    // As soon as it is there again, what was due is done.
    service.again();
    server.gone(&ben, 1, SOON);
    assert_eq!(server.sh(&cleo, "id -un"), cleo);
    terminal.line("echo still-$((50 + 2))").expect("still-52");
    assert_eq!(server.containers(&ann).len(), 1);
    server.sh(&ann, "touch /tmp/go");
    let _ = command.wait(SOON).status(7);
    terminal.line("exit 3");
    assert_eq!(terminal.wait().0, 3);
    server.gone(&ann, 1, Duration::from_secs(2) + LATE);
}
