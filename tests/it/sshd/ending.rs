//! Sessions that somebody or something else ends, and brokers that end.

use std::fs::{self, File};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use crate::harness::server::{LATE, Server, Wishes};

const SOON: Duration = Duration::from_secs(30);

on_engines! {
    [docker, podman; soak: gvisor]
    fn an_administrator_ends_a_session_under_a_connection_which_is_told(server: Server) {
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        let running = server.running(&ann, &[], "exec sleep 1000");
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        let (status, screen) = terminal.wait();
        assert_ne!(status, 0);
        assert_eq!(screen.matches("ended").count(), 1, "{screen}");
        let run = running.wait(SOON);
        assert_ne!(run.status, 0);
        assert_eq!(run.stderr, "Error: the administrator has ended this session\n");
        assert_eq!(run.out(), "");
        server.gone(&ann, 1, SOON);
        assert!(server.list().is_empty());
        let run = server.podspawn(&["stop", &ann]).run();
        assert!(run.status != 0 && run.stderr.contains("no active session"), "{}", run.stderr);
    }

    [docker, podman]
    fn two_logins_are_one_session_with_two_connections(server: Server) {
        let ann = server.user("ann");
        let mut first = server.login(&ann, &[]);
        first.expect("$ ");
        let mut second = server.login(&ann, &[]);
        second.expect("$ ");
        let listed = server.list();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["connections"], 2);
        assert_eq!(listed[0]["user"], ann.as_str());
        second.line("exit");
        second.wait();
        server.audited(&ann, "disconnect", 1, SOON);
        assert_eq!(server.list()[0]["connections"], 1);
        first.line("exit");
        first.wait();
    }

    [docker, podman, gvisor]
    fn a_multiplexed_connection_counts_once(server: Server) {
        let ann = server.user("ann");
        let control = server.scratch().join("control").display().to_string();
        let _ = server.ssh(&ann, &["-f", "-N", "-M", "-S", &control], &[]).run().ok();
        let started: Vec<_> =
            (0..4).map(|n| server.ssh(&ann, &["-S", &control], &[&format!("echo {n}")]).start()).collect();
        for (n, running) in started.into_iter().enumerate() {
            assert_eq!(running.wait(SOON).ok().out(), format!("{n}\n"));
        }
        assert_eq!(server.list()[0]["connections"], 1);
        let _ = server.ssh(&ann, &["-S", &control, "-O", "exit"], &[]).run().ok();
        server.audited(&ann, "disconnect", 1, SOON);
    }

    [docker; soak: podman]
    fn a_broker_whose_socket_was_taken_away_makes_room_for_another(server: Server) {
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        let log = server.broker_log();
        fs::remove_file(server.socket()).expect("remove");
        // The PAM module starts it, and it gets the lock of the first one.
        assert_eq!(server.sh(&ann, "echo served"), "served");
        log.wait("is another broker's now, or gone", SOON);
        // The client is gone before its connection is.
        server.audited(&ann, "disconnect", 1, SOON);
        assert_eq!(server.list()[0]["connections"], 1);
        terminal.line("exit");
        terminal.wait();
    }

    [docker; soak: podman]
    fn a_broker_that_the_init_system_starts_waits_for_the_one_before(server: Server) {
        let ann = server.user("ann");
        server.kill_broker();
        let before = File::open(server.path("state/broker.lock")).expect("open");
        flock(&before, FlockOperation::LockExclusive).expect("lock");
        server.start_broker_with_its_first_client();
        let running = server.ssh(&ann, &[], &["echo served"]).start();
        server.broker_log().wait("another broker works here", SOON);
        drop(before);
        assert_eq!(running.wait(SOON).ok().out(), "served\n");
    }

    [docker; soak: podman]
    fn nobody_who_comes_starts_a_broker_while_root_works_on_the_server(server: Server) {
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        fs::write(server.path("run/maintenance"), "").expect("write");
        server.end_brokers(Signal::TERM);
        let run = server.ssh(&ann, &[], &["echo in"]).run();
        assert!(run.status == 1 && run.out().is_empty(), "{}", run.stderr);
        let told = "Error: this server is being worked on, and takes no new connections\nhint: ";
        assert!(run.stderr.starts_with(told) && run.stderr.lines().count() == 2, "{}", run.stderr);
        let run = server.podspawn(&["list"]).run();
        assert!(run.status != 0 && run.stderr.contains("run/maintenance` is there"), "{}", run.stderr);
        assert!(server.brokers().is_empty());
        // Who is in goes on.
        terminal.line("echo still-$((40 + 2))").expect("still-42");
        fs::remove_file(server.path("run/maintenance")).expect("remove");
        assert_eq!(server.sh(&ann, "echo served"), "served");
        server.audited(&ann, "disconnect", 1, SOON);
        assert_eq!(server.list()[0]["connections"], 1);
        terminal.line("exit");
        terminal.wait();
    }

    [docker; soak: podman]
    fn what_ends_without_its_broker_is_in_the_audit_log_all_the_same(server: Server) {
        let ann = server.user("ann");
        let gate = |name: &str| format!("touch /tmp/in-{name}; until test -e /tmp/{name}; do sleep 0.1; done; exit 3");
        let (early, late) = (gate("early"), gate("late"));
        let running = [&early, &late].map(|command| server.ssh(&ann, &[], &[command]).start());
        let [first, second] = running;
        let _ = server.sh(&ann, "until test -e /tmp/in-early -a -e /tmp/in-late; do sleep 0.1; done");
        server.audited(&ann, "disconnect", 1, SOON);
        let container = server.containers(&ann).pop().expect("a container");
        let open = |name: &str| server.engine.run(&["exec", &container, "touch", &format!("/tmp/{name}")]);
        server.kill_broker();
        // One ends while no broker runs, the other one under the next.
        open("early");
        let _ = first.wait(SOON).status(3);
        server.start_broker();
        let of = |command: &str| {
            let lines = server.audit().into_iter().filter(|line| line["command"] == command);
            lines.map(|line| (line["exit_code"].clone(), line["outcome"].clone())).collect::<Vec<_>>()
        };
        let unknown = (serde_json::Value::Null, serde_json::json!("failure"));
        server.audited(&ann, "command", 2, SOON);
        assert_eq!(of(&early), std::slice::from_ref(&unknown));
        assert_eq!(server.audited(&ann, "disconnect", 2, SOON)["remaining_connections"], 1);
        open("late");
        let _ = second.wait(SOON).status(3);
        server.audited(&ann, "command", 3, SOON);
        assert_eq!(of(&late), [unknown]);
        assert_eq!(server.audited(&ann, "disconnect", 3, SOON)["remaining_connections"], 0);
        // Each of it once.
        assert_eq!(of(&early).len(), 1);
    }

    [docker, podman; soak: gvisor]
    fn a_broker_that_dies_ends_no_session_and_forgets_none(engine: EngineName) {
        let server = Server::with(engine, &Wishes { grace: "3s", ..Wishes::default() });
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        server.kill_broker();
        terminal.line("echo still-$((40 + 2)) | tee /tmp/file").expect("still-42");
        // The PAM module starts another one.
        assert_eq!(server.sh(&ann, "cat /tmp/file"), "still-42");
        // The client is gone before its connection is.
        server.audited(&ann, "disconnect", 1, SOON);
        let listed = server.list();
        assert_eq!((listed.len(), listed[0]["connections"].as_u64()), (1, Some(1)), "{listed:?}");
        terminal.line("exit 3");
        let (status, screen) = terminal.wait();
        assert_eq!(status, 3, "{screen}");
        server.gone(&ann, 1, Duration::from_secs(3) + LATE);
    }
}
