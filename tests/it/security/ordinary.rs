//! Everybody else on the host.

use std::fs;
use std::time::Duration;

on_engines! {
    [docker]
    fn an_ordinary_user_logs_in_whatever_becomes_of_podspawn(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let host = fs::read_link("/proc/self/ns/net").expect("readlink").display().to_string();
        // What sshd gives them is what it gives them without podspawn, to the byte.
        let given = |user: &str| {
            let config = server.sshd_config().display().to_string();
            let connection = format!("user={user},host=localhost,addr=127.0.0.1");
            server.tool("/usr/sbin/sshd", &["-T", "-f", &config, "-C", &connection]).run().ok().out()
        };
        let with = [given(&olaf), given(&ann)];
        assert!(with[1].contains("forcecommand") && with[1].contains("trustedusercakeys none"), "{}", with[1]);
        let (block, aside) = (server.path("ssh/podspawn.conf"), server.path("ssh/aside"));
        fs::rename(&block, &aside).expect("rename");
        assert_eq!(given(&olaf), with[0]);
        assert_ne!(given(&ann), with[1]);
        fs::rename(&aside, &block).expect("rename");
        server.set_up();
        assert_eq!(given(&olaf), with[0]);

        let ordinary = || {
            let run = server.ssh(&olaf, &[], &["readlink /proc/self/ns/net; echo $0"]).run().ok();
            assert_eq!(run.out().lines().next(), Some(host.as_str()), "{}", run.out());
            assert!(run.took < Duration::from_secs(5), "{:?}", run.took);
        };
        ordinary();
        assert_eq!(server.sh(&ann, "id -un"), ann);
        server.kill_broker();
        ordinary();
        for part in ["lib/pam_podspawn.so", "lib/podspawn-shell", "etc/config.yaml", "bin/podspawn"] {
            fs::remove_file(server.path(part)).expect("remove");
            ordinary();
            // A container user is let in nowhere else.
            let (path, text) = server.marker();
            let run = server.ssh(&ann, &[], &[&format!("cat {path}")]).run();
            assert!(run.status != 0 && !run.out().contains(text), "{part}: {}", run.out());
        }
        fs::remove_dir_all(server.path("state")).expect("remove");
        ordinary();
    }
}
