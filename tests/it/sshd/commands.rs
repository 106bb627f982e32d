//! Commands, their streams and their status.

use crate::on_engines;

on_engines! {
    [docker, podman]
    fn a_command_runs_in_the_users_container(server: Server) {
        let ann = server.user("ann");
        assert_eq!(server.sh(&ann, "id -un"), ann);
        assert_ne!(server.sh(&ann, "cat /etc/hostname"), std::fs::read_to_string("/etc/hostname").unwrap().trim());
        let run = server.ssh(&ann, &[], &["exit 42"]).run();
        assert_eq!(run.status, 42, "{}", run.stderr);
        assert_eq!(server.containers(&ann).len(), 1);

        let run = server.ssh(&ann, &[], &["tr a-z A-Z; echo error >&2"]).stdin("in and out\n").run().ok();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("IN AND OUT\n", "error\n"));
    }
}
