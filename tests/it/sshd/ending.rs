//! Sessions that somebody or something else ends, and brokers that end.

use std::time::Duration;

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
