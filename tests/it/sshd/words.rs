//! What people at terminals are told, and programs are not.

use std::time::Duration;

use crate::harness::server::{Server, Wishes};

const SOON: Duration = Duration::from_secs(30);

on_engines! {
    [docker; soak: podman]
    fn people_are_warned_before_the_lifetime_ends_and_told_when_it_has(engine: EngineName) {
        let server = Server::with(engine, &Wishes { lifetime: "10s", ..Wishes::default() });
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("podspawn: this session ends in 1 minute: it reaches its maximum lifetime");
        let program = server.ssh(&ann, &[], &["exec sleep 1000"]).start();
        terminal.expect("*** podspawn: this session has reached its maximum lifetime and ends now ***");
        let (status, screen) = terminal.wait();
        assert_ne!(status, 0, "{screen}");
        assert!(!screen.contains("has ended"), "{screen}");
        let run = program.wait(SOON);
        assert_ne!(run.status, 0);
        assert_eq!(run.stderr, "Error: this session has reached its maximum lifetime and ends now\n");
        server.gone(&ann, 1, SOON);
        // A program hears nothing of it, the next person does, once.
        let run = server.ssh(&ann, &[], &["true"]).run().ok();
        assert_eq!(run.stderr, "");
        for times in [1, 0] {
            let mut terminal = server.login(&ann, &[]);
            terminal.line("exit");
            let (_, screen) = terminal.wait();
            let replaced = "podspawn: your previous container was replaced by a new one: it had reached its maximum lifetime";
            assert_eq!(screen.matches(replaced).count(), times, "{screen}");
        }
    }

    [docker]
    fn the_last_minute_is_announced_when_it_begins(engine: EngineName) {
        let server = Server::with(engine, &Wishes { lifetime: "67s", ..Wishes::default() });
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        terminal.expect("*** podspawn: this session ends in 1 minute: it reaches its maximum lifetime ***");
        // What they were typing is still theirs.
        terminal.line("echo still-$((40 + 2))").expect("still-42");
        terminal.line("exit");
        terminal.wait();
    }

    [docker, podman]
    fn people_are_told_that_forwarding_is_off(engine: EngineName) {
        let server = Server::with(engine, &Wishes { forwarding: "off", ..Wishes::default() });
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.line("exit");
        let (_, screen) = terminal.wait();
        let off = "podspawn: port forwarding is switched off on this host";
        assert_eq!(screen.matches(off).count(), 1, "{screen}");
        let run = server.ssh(&ann, &[], &["true"]).run().ok();
        assert_eq!(run.stderr, "");
        let run = server.ssh(&ann, &["-W", "127.0.0.1:22"], &[]).run();
        assert!(run.status != 0 && run.out().is_empty(), "{}", run.out());
    }
}
