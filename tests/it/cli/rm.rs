//! `podspawn rm`

on_engines! {
    [docker, podman, gvisor]
    fn a_running_machine_is_removed_only_by_force(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let before = env.objects();
        let run = env.podspawn(["rm", "dev"]).run().status(1);
        assert_eq!(run.stderr, "Error: the machine `dev` is running\nhint: podspawn rm dev --force\n");
        assert_eq!(env.objects(), before);
        let run = env.podspawn(["rm", "dev", "--force"]).run().ok();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("", "✓ Removed machine dev\n"));
        assert_eq!(env.objects(), Vec::<String>::new());
        let run = env.podspawn(["rm", "dev"]).run().status(1);
        assert!(run.stderr.starts_with("Error: there is no machine `dev`"), "{}", run.stderr);
    }
}

on_engines! {
    [docker, podman]
    fn a_machine_that_does_not_run_needs_no_force(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        env.engine.expect("an engine").run(&["kill", &env.container("dev")]);
        let _ = env.podspawn(["rm", "dev"]).run().ok();
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
