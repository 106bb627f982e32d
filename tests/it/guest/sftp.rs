//! The SFTP server that the guest carries, in a machine whose image has none.

use std::os::unix::fs::PermissionsExt;

use super::{create_from, inside};
use crate::harness::engines::fact;

on_engines! {
    [docker, gvisor]
    fn files_come_and_go_through_the_bundled_server(env: Env) {
        create_from(&env, fact("IMAGE_BUSYBOX"));
        let server = env.directory().join("sftp-server");
        let command = env.podspawn(["exec", "-i", "m", "--", "/.podspawn/guest", "sftp-server"]).text();
        std::fs::write(&server, format!("#!/bin/sh\nexec {command}\n")).expect("write a script");
        std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(env.home().join("content"), &content).expect("write a file");
        let batch = "put content there\nmkdir d\nrename there d/moved\nchmod 600 d/moved\nsymlink d/moved link\nget link back\n";
        let server = server.to_str().expect("a path");
        let _ = env.program("sftp", ["-b", "-", "-D", server]).stdin(batch).run().ok();
        assert!(std::fs::read(env.home().join("back")).expect("read a file") == content);
        let shown = inside(&env, "stat -c '%a %U %s' d/moved; readlink link").ok().out();
        assert_eq!(shown, format!("600 {} {}\nd/moved\n", env.user, content.len()));
    }
}
