//! What a user does inside, with everything that a container lets them do.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use crate::harness::Server;
use crate::harness::server::Wishes;
use crate::harness::system::run;

on_engines! {
    /// The sshd of these stories accepts every variable.
    [docker, podman; soak: gvisor]
    fn a_socket_that_the_client_names_is_not_its_agent(server: Server) {
        let ann = server.user("ann");
        let (uid, gid) = (server.uid(&ann), server.gid());
        // Her own, where she alone may look; and one that looks like sshd's, of somebody else.
        let hers = server.path("hers");
        let others = tempfile::Builder::new().prefix("ssh-").rand_bytes(10).tempdir_in("/tmp").expect("a directory");
        for (directory, uid) in [(hers.as_path(), uid), (others.path(), 0)] {
            std::fs::create_dir_all(directory).expect("a directory");
            let socket = directory.join("agent.1");
            let _listener = UnixListener::bind(&socket).expect("listen");
            for place in [directory, &socket] {
                std::os::unix::fs::chown(place, Some(uid), Some(gid)).expect("chown");
            }
            std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700)).expect("a mode");
            let named = format!("SetEnv=SSH_AUTH_SOCK={}", socket.display());
            let run = server.ssh(&ann, &["-o", &named], &["echo \"[$SSH_AUTH_SOCK]\""]).run().ok();
            assert_eq!(run.out(), "[]\n", "{named}");
        }
    }

    [docker, podman, gvisor]
    fn what_a_command_says_is_done_inside_only(server: Server) {
        let ann = server.user("ann");
        let dir = server.scratch().join("touched");
        std::fs::create_dir(&dir).expect("mkdir");
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
        let place = dir.join("it").display().to_string();
        let make = format!("{{ mkdir -p {} && touch {place} && echo inside; }} 2>/dev/null", dir.display());
        for command in [
            format!("$({make})"),
            format!("`{make}`"),
            format!("true; {make} #'\""),
            format!("true\n{make}\n"),
            format!("../../../bin/sh -c '{make}'"),
            format!("'\"; {make}; \"'"),
            format!("true || {make} | tee {place} & {make} > {place}"),
        ] {
            // Whatever it comes to: only that it has come to it elsewhere counts.
            let _ = server.ssh(&ann, &["-T"], &[&command]).run();
            assert_eq!(std::fs::read_dir(&dir).expect("a directory").count(), 0, "{command}");
        }
        assert_eq!(server.sh(&ann, &make), "inside");
        assert_eq!(std::fs::read_dir(&dir).expect("a directory").count(), 0);
    }

    [docker, podman]
    fn long_commands_run_or_are_refused_in_a_line(server: Server) {
        let ann = server.user("ann");
        for length in [20_000, 100_000] {
            let text = "x".repeat(length);
            let run = server.ssh(&ann, &[], &[&format!("printf %s {text} | wc -c")]).run();
            let refused = run.status != 0 && run.out().is_empty() && run.stderr.lines().count() <= 2;
            let ran = run.status == 0 && run.out().trim() == length.to_string();
            assert!(ran || (refused && length > 60_000), "{}: {:?} {}", run.status, run.out(), run.stderr);
        }
        // And nobody is worse off.
        assert_eq!(server.sh(&ann, "echo well"), "well");
    }

    [docker, podman]
    fn root_inside_is_nobody_outside(server: Server) {
        let ann = server.user("ann");
        let (path, text) = server.marker();
        assert_eq!(server.sh(&ann, "sudo id -u"), "0");
        // Each of these gives something of the host to somebody who is root outside.
        let tries = [
            format!("cat {path}"),
            format!("cat /proc/1/root{path}"),
            format!("nsenter -t 1 -m cat {path}"),
            format!("unshare -m sh -c 'mount --bind / /mnt && cat /mnt{path}'"),
            "mount -t proc none /mnt && echo mounted".into(),
            "mount -o remount,rw /proc/sys && echo mounted".into(),
            "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk && echo read".into(),
            "mknod /tmp/memory c 1 1 && head -c 1 /tmp/memory && echo read".into(),
            "echo x >/proc/sys/kernel/core_pattern && echo written".into(),
            "echo b >/proc/sysrq-trigger && echo written".into(),
            "echo 1 >/proc/sys/kernel/sysrq && echo written".into(),
            "for f in $(find /sys/fs/cgroup -name notify_on_release -o -name cgroup.procs); do echo 1 >$f && echo written; done".into(),
            "find / -xdev -name '*.sock' -path '*docker*' | sed 's/^/found /'".into(),
            "for s in /run/docker.sock /var/run/docker.sock /run/podman/podman.sock; do test -e $s && echo found; done".into(),
        ];
        for attempt in tries {
            let run = server.ssh(&ann, &[], &["sudo sh 2>/dev/null"]).stdin(attempt.clone()).run();
            let told = run.out();
            assert!(!told.contains(text), "{attempt}: {told}");
            assert!(!["mounted", "read", "written", "found"].iter().any(|word| told.contains(word)), "{attempt}: {told}");
        }
        // A program that is to run as root does not: the kernel gives no session more than it has.
        let script = "sudo cp /bin/cat /tmp/cat && sudo chmod 4755 /tmp/cat && /tmp/cat /proc/self/status | grep -E '^(Uid|NoNewPrivs|CapEff)'";
        let status = server.sh(&ann, script);
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        let uids = status.lines().find(|line| line.starts_with("Uid:")).expect("uids");
        assert!(uids.split_whitespace().skip(1).all(|uid| uid == "1000"), "{uids}");
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    }

    [docker, podman]
    fn nothing_of_the_terminal_gets_into_what_an_administrator_reads(server: Server) {
        let ann = server.user("ann");
        let nasty = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\rforged\n{\"event\":\"connect\"}";
        let _ = server.ssh(&ann, &[], &[&format!("true '{nasty}'")]).run().ok();
        server.audited(&ann, "command", 1, Duration::from_secs(20));
        let log = std::fs::read(server.path("state/audit.jsonl")).expect("the log");
        let log = String::from_utf8(log).expect("text");
        assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
        assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
        // The host's name inside, the processes, the files: none of it is shown, so none of it can draw.
        let _ = server.ssh(&ann, &[], &[&format!("sudo hostname '{nasty}'; sudo touch '/tmp/{}'", nasty.replace('/', "_"))]).run();
        for command in [vec!["list"], vec!["status"], vec!["doctor"], vec!["list-users"]] {
            let run = server.podspawn(&command).run();
            let shown = format!("{}{}", run.out(), run.stderr);
            assert!(shown.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{command:?}: {shown:?}");
        }
    }

    [docker, podman]
    fn links_in_a_home_that_stays_lead_nowhere_on_the_host(engine: EngineName) {
        let server = Server::with(engine, &Wishes { mode: "persistent", ..Wishes::default() });
        let ann = server.user("ann");
        let (path, text) = server.marker();
        let before = run(Command::new("stat").args(["-c", "%u %g %a", &path]));
        let script = format!(
            "cd; rm -rf .ssh .bashrc .profile; for f in .bashrc .profile .Xauthority .hushlogin link; do ln -sfn {path} $f; done
             ln -sfn {dir} .ssh; ln -sfn / root; ln -sfn / .config; ls -A | wc -l",
            dir = server.path("etc").display(),
        );
        assert_eq!(server.sh(&ann, &script), "8");
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        // The home is taken up again, and who comes back finds links that lead to places of the container.
        assert_eq!(server.sh(&ann, "cd; readlink link"), path);
        let again = server.ssh(&ann, &["-X"], &["cd; cat link .bashrc .ssh/* .Xauthority 2>/dev/null; ls -A root/ | head -3"]).run();
        assert!(!again.out().contains(text), "{}", again.out());
        let after = run(Command::new("stat").args(["-c", "%u %g %a", &path]));
        assert_eq!(before, after);
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), text);
        let _ = server.podspawn(&["stop", &ann]).run().ok();
    }
}
