//! Ctrl-C and its like while a machine is being made.

use std::time::Duration;

use rustix::process::Signal;

on_engines! {
    [docker, podman]
    fn ctrl_c_while_a_machine_is_being_made_leaves_nothing_behind(env: Env) {
        // The spinner tells how far it is; each moment is hit by another round.
        for moment in ["Creating dev (", "Creating podspawn-", "Setting up user"] {
            let mut terminal = env.terminal(["create", "dev"]);
            terminal.expect(moment);
            terminal.send("\x03");
            let (status, screen) = terminal.wait();
            let early = moment.starts_with("Creating dev");
            if !early && (status == 0 || screen.contains('✓')) {
                // It was done before the signal arrived: then it is a machine like any other.
                let _ = env.podspawn(["stop", "dev"]).run().ok();
            } else {
                assert_eq!(status, 130, "{screen}");
                assert!(screen.contains("interrupted"), "{screen}");
            }
            assert_eq!(env.objects(), Vec::<String>::new(), "after {moment:?}");
            assert_eq!(env.podspawn(["list", "--output", "json"]).run().ok().out().trim(), "[]");
        }
    }
}

on_engines! {
    [docker]
    fn a_request_to_end_is_heeded_like_ctrl_c(env: Env) {
        for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
            let mut terminal = env.terminal(["run", "scratch"]);
            terminal.expect("Creating scratch (");
            terminal.signal(signal);
            let (ended, screen) = terminal.wait();
            assert_eq!(ended, status, "{screen}");
            assert_eq!(env.objects(), Vec::<String>::new());
        }
    }
}

on_engines! {
    [docker, podman]
    fn a_command_that_is_asked_to_end_takes_its_throwaway_machine_with_it(env: Env) {
        let mut terminal = env.terminal(["run", "scratch"]);
        terminal.expect(&format!("{}@scratch", env.user));
        terminal.signal(Signal::TERM);
        let (status, screen) = terminal.wait();
        assert_eq!(status, 143, "{screen}");
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

on_engines! {
    [docker]
    fn ctrl_c_during_a_hanging_pull_ends_it(env: Env) {
        // A registry that accepts and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        let image = format!("{}/x/y:1", silent.local_addr().expect("an address"));
        let running = env.podspawn(["create", "dev", "--image", &image]).start();
        let _first = silent.accept().expect("the engine asks the registry");
        running.signal(Signal::INT);
        let run = running.wait(Duration::from_secs(20)).status(130);
        assert!(run.stderr.contains("Error: interrupted"), "{}", run.stderr);
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
