//! `podspawn stop`

on_engines! {
    [docker, podman]
    fn a_stopped_machine_is_gone_with_its_contents(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let _ = env.podspawn(["exec", "dev", "--", "touch", "here"]).run().ok();
        let run = env.podspawn(["stop", "dev"]).run().ok();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("", "✓ Stopped machine dev\n"));
        assert_eq!(env.objects(), Vec::<String>::new());

        let run = env.podspawn(["stop", "dev"]).run().status(1);
        assert_eq!(run.stderr, format!("Error: no active machine dev of {}\nhint: podspawn list\n", env.user));
        let _ = env.podspawn(["shell", "dev"]).run().status(1);
    }
}

on_engines! {
    [docker, podman]
    fn a_person_in_the_machine_is_told_when_it_stops(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let mut terminal = env.terminal(["shell", "dev"]);
        terminal.expect(&format!("{}@dev", env.user));
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        let (status, screen) = terminal.wait();
        assert_ne!(status, 0, "{screen}");
        assert!(screen.contains("the machine `dev` was stopped"), "{screen}");
    }
}

on_engines! {
    [docker]
    fn a_machine_whose_container_somebody_removed_can_be_stopped(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        env.engine.expect("an engine").run(&["rm", "-f", &env.container("dev")]);
        assert!(env.podspawn(["list"]).run().ok().out().contains("stopped"));
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
