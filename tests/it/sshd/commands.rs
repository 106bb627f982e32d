//! Commands, their streams and their status.

on_engines! {
    [docker, podman, gvisor]
    fn a_command_runs_in_the_users_container_and_its_status_is_the_clients(server: Server) {
        let ann = server.user("ann");
        assert_eq!(server.sh(&ann, "id -un"), ann);
        let own = std::fs::read_to_string("/etc/hostname").expect("this host's name");
        assert_ne!(server.sh(&ann, "cat /etc/hostname"), own.trim());
        for (command, status) in [("true", 0), ("exit 42", 42), ("kill -TERM $$", 143), ("no-such-program", 127)] {
            let run = server.ssh(&ann, &[], &[command]).run();
            assert_eq!(run.status, status, "{command}: {}", run.stderr);
        }
        assert_eq!(server.containers(&ann).len(), 1);
    }

    [docker, podman, gvisor]
    fn the_three_streams_stay_apart(server: Server) {
        let ann = server.user("ann");
        // The first connection makes the container, and nothing of that is on standard output.
        let run = server.ssh(&ann, &[], &["tr a-z A-Z; echo error >&2"]).stdin("in and out\n").run().ok();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("IN AND OUT\n", "error\n"));
        let run = server.ssh(&ann, &[], &["echo again >/dev/stderr; cat"]).run().ok();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("", "again\n"));
        // What ends its input early does not keep the client.
        let run = server.ssh(&ann, &[], &["head -c 3"]).stdin(vec![b'x'; 1 << 20]).run().ok();
        assert_eq!(run.out(), "xxx");
    }

    [docker; soak: podman, gvisor]
    fn what_goes_through_a_pipe_arrives_as_it_was(server: Server) {
        let ann = server.user("ann");
        let run = server.script(&format!(
            "head -c 64M /dev/urandom >sent; sha256sum <sent
             $SSH {ann}@127.0.0.1 'tee big | sha256sum' <sent
             $SSH {ann}@127.0.0.1 'cat big' | sha256sum"
        ));
        let out = run.run().ok().out();
        let sums: Vec<&str> = out.lines().collect();
        assert_eq!((sums.len(), sums[0]), (3, sums[1]));
        assert_eq!(sums[0], sums[2]);
    }

    [docker, podman]
    fn a_client_sets_language_and_terminal_and_nothing_else(server: Server) {
        let ann = server.user("ann");
        let plain = server.sh(&ann, "env");
        let set = "SetEnv=LANG=C.UTF-8 LC_ALL=de_DE.UTF-8 LC_x=1 FOO=bar LD_PRELOAD=/x BASH_ENV=/x PATH=/x LD_AUDIT=/x";
        let run = server.ssh(&ann, &["-o", set], &["env"]).run().ok();
        // This sshd accepts every variable from everybody.
        let words = |text: &str| {
            let changing = |line: &&str| !["_=", "SSH_", "PODSPAWN_CONN"].iter().any(|start| line.starts_with(start));
            text.lines().filter(changing).map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
        };
        let (before, after) = (words(&plain), words(&run.out()));
        let mut added: Vec<&str> = after.difference(&before).map(String::as_str).collect();
        added.retain(|line| !line.starts_with("LANG="));
        assert_eq!(added, ["LC_ALL=de_DE.UTF-8"], "{plain}");
        assert!(after.contains("LANG=C.UTF-8"), "{}", run.out());

        let (status, screen) = server.ssh(&ann, &["-tt", "-o", set], &["env"]).var("TERM", "vt220").terminal(24, 80).wait();
        assert_eq!(status, 0, "{screen}");
        assert!(screen.contains("TERM=vt220"), "{screen}");
        assert!(!screen.contains("FOO="), "{screen}");
    }
}
