//! Which session a login leads to.

use crate::harness::server::{Server, Wishes};

fn project(name: &str) -> String {
    format!("SetEnv=PODSPAWN_PROJECT={name}")
}

on_engines! {
    [docker; soak: podman]
    fn a_project_that_nobody_registered_is_a_session_of_its_own(server: Server) {
        let ann = server.user("ann");
        let name = |before: &[&str]| server.sh_with(&ann, before, "cat /etc/hostname");
        let default = name(&[]);
        let api = name(&["-o", &project("api")]);
        assert_ne!(default, api);
        // As a client's configuration for `Host *.pod` sends it.
        assert_eq!(name(&["-o", &project("api.pod")]), api);
        assert_eq!(name(&["-o", &project("%n")]), default);
        let mut names: Vec<_> = server.list().iter().map(|one| one["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        assert_eq!(names, [None, Some("api".into())]);
        let _ = server.podspawn(&["stop", &format!("{ann}@api")]).run().ok();
        assert_eq!(server.list().len(), 1);
        assert_eq!(name(&[]), default);
    }

    [docker; soak: podman]
    fn names_that_no_project_can_have_are_refused(server: Server) {
        let ann = server.user("ann");
        let long = "a".repeat(100_000);
        for bad in ["../x", "$(touch /tmp/x)", "a/b", "-x", "..", ".", "UPPER", "a;id", "ä", "two\nlines", "a b", "\u{1b}[31m", long.as_str()] {
            let run = server.ssh(&ann, &["-o", "SendEnv=PODSPAWN_PROJECT"], &["echo in"]).var("PODSPAWN_PROJECT", bad).run();
            let said = format!("{}: {}", &bad[..bad.len().min(20)], run.stderr);
            assert!(run.status != 0 && run.out().is_empty(), "{said}");
            assert!(run.stderr.contains("invalid project name"), "{said}");
        }
        assert!(server.list().is_empty());
    }

    [docker, podman]
    fn nobody_has_more_sessions_than_they_may(engine: EngineName) {
        let server = Server::with(engine, &Wishes { most: 2, ..Wishes::default() });
        let ann = server.user("ann");
        server.sh(&ann, "true");
        server.sh_with(&ann, &["-o", &project("one")], "true");
        let run = server.ssh(&ann, &["-o", &project("two")], &["echo in"]).run();
        assert!(run.status != 0 && run.out().is_empty(), "{}", run.stderr);
        assert!(run.stderr.contains('2') && run.stderr.contains("podspawn stop"), "{}", run.stderr);
        // What is there can be joined, and others are not concerned.
        server.sh_with(&ann, &["-o", &project("one")], "true");
        let ben = server.user("ben");
        server.sh(&ben, "true");
        assert_eq!(server.list().len(), 3);
    }
}
