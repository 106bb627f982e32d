//! `podspawn logs`

on_engines! {
    [docker, podman]
    fn what_a_machine_wrote_is_shown_and_a_service_that_it_lacks_is_told(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        // A guest that is well says nothing.
        let run = env.podspawn(["logs", "dev", "--tail", "5"]).run().ok();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("", ""));
        let run = env.podspawn(["logs", "dev", "postgres"]).run().status(1);
        assert_eq!(run.stderr, "Error: `dev` has no service `postgres`: it has none\n");
        let run = env.podspawn(["logs", "nope"]).run().status(1);
        assert!(run.stderr.contains("there is no machine `nope`"), "{}", run.stderr);
        let run = env.podspawn(["logs", "dev", "../x"]).run().status(1);
        assert!(run.stderr.contains("invalid service name"), "{}", run.stderr);
    }
}
