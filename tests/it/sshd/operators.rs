//! What an administrator's commands do on a server, and what the audit log says of who did it.

use std::time::Duration;

use serde_json::Value;

use crate::harness::engines::fact;
use crate::harness::server::{LATE, Server, Wishes};

const SOON: Duration = Duration::from_secs(30);

/// Who ended the session of a user that ended last, and why.
#[track_caller]
fn end(server: &Server, user: &str, count: usize) -> [Value; 3] {
    let event = server.audited(user, "container_destroy", count, SOON);
    ["actor", "actor_kind", "reason"].map(|field| event[field].clone())
}

on_engines! {
    [docker; soak: podman]
    fn the_audit_log_says_who_ended_a_session(engine: EngineName) {
        let server = Server::with(engine, &Wishes { grace: "2s", ..Wishes::default() });
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let long = server.running(&ann, &[], "exec sleep 1000");
        for event in ["container_create", "connect"] {
            let came = server.audited(&ann, event, 1, SOON);
            assert_eq!((&came["actor"], &came["actor_kind"]), (&format!("human:{ann}").into(), &"human".into()));
        }
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        assert_eq!(end(&server, &ann, 1), ["operator:root", "operator", "stop"]);
        drop(long);

        // Nobody asked for it.
        server.sh(&ben, "true");
        server.gone(&ben, 1, Duration::from_secs(2) + LATE);
        assert_eq!(end(&server, &ben, 1), ["operator:podspawn", "operator", "grace_expired"]);
    }

    [docker; soak: podman]
    fn a_session_that_ends_with_its_last_connection_was_ended_by_its_owner(engine: EngineName) {
        let server = Server::with(engine, &Wishes { mode: "destroy-on-disconnect", ..Wishes::default() });
        let ann = server.user("ann");
        server.sh(&ann, "true");
        assert_eq!(end(&server, &ann, 1), [&format!("human:{ann}"), "human", "disconnect"]);
    }

    [docker; soak: podman]
    fn a_user_who_only_forwards_is_removed_as_one_without_sessions(server: Server) {
        let ann = server.user("ann");
        let control = server.scratch().join("control").display().to_string();
        let _ = server.ssh(&ann, &["-f", "-N", "-M", "-S", &control], &[]).run().ok();
        server.audited(&ann, "connect", 1, SOON);
        assert_eq!(server.containers(&ann).len(), 1);
        assert_eq!(server.list(), Vec::<Value>::new());
        let run = server.podspawn(&["remove-user", &ann]).run().ok();
        assert_eq!(run.stderr, format!("removed user {ann}\n"));
        assert_eq!(end(&server, &ann, 1), ["operator:root", "operator", "rm"]);
        assert_eq!(server.containers(&ann), Vec::<String>::new());
        let _ = server.ssh(&ann, &["-S", &control, "-O", "exit"], &[]).run();
    }

    /// Whatever the caller's own environment leads to.
    [docker, podman, gvisor]
    fn an_image_is_tried_out_in_the_engine_of_the_sessions(server: Server) {
        let verify = |image| {
            let run = server.podspawn(&["verify-image", image]).var("DOCKER_HOST", "unix:///nowhere.sock").run();
            assert_eq!(run.stderr, "");
            run
        };
        let run = verify(fact("IMAGE_DEBIAN")).status(1);
        assert_eq!(
            run.out(),
            "  OK    bash\n  FAIL  sftp-server\n        fix: apt-get install -y openssh-sftp-server\n  OK    locale\n  \
             OK    git\n\n3 passed, 1 failed\n"
        );
        let run = verify(fact("IMAGE_SUDO")).ok();
        assert!(run.out().ends_with("\n4 passed, 0 failed\n"), "{}", run.out());
        let id = std::fs::read_to_string(server.path("state/state.db.id")).expect("the installation's id");
        let label = format!("podspawn-installation={}", id.trim());
        assert_eq!(server.engine.labelled("container", &label), Vec::<String>::new());

        let run = server.podspawn(&["verify-image", "127.0.0.1:1/none:1"]).run().status(1);
        assert!(run.stderr.starts_with("Error: failed to pull image `127.0.0.1:1/none:1`: "), "{}", run.stderr);
    }
}
