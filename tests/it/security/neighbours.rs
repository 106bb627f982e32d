//! What one user of the host could do to another, and what files that others could have written are worth.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::system::run;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

on_engines! {
    [docker, podman]
    fn nothing_of_another_user_can_be_read_or_changed_on_the_host(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let running = server.running(&ann, &[], "exec sleep 1000");
        let root = server.path("").display().to_string();
        // As somebody who had a process of this host under ben's account: everything that podspawn keeps, file by file.
        let script = format!(
            "find {root}/state {root}/run {root}/etc -type f 2>/dev/null | while read -r f; do
                 case $f in {root}/etc/config.yaml|{root}/etc/of-the-host|{root}/etc/pam-service) continue;; esac
                 if head -c 1 \"$f\" >/dev/null 2>&1; then echo \"read $f\"; fi
                 if : 2>/dev/null >>\"$f\"; then echo \"write $f\"; fi
             done
             ls {root}/state {root}/run/homes/{ann} {root}/etc/keys 2>/dev/null
             touch {root}/run/x {root}/state/x {root}/etc/x {root}/run/homes/x 2>/dev/null && echo made
             kill -TERM {broker} 2>/dev/null && echo killed; true",
            broker = server.broker_pid(),
        );
        let (uid, gid) = (server.uid(&ben).to_string(), server.gid().to_string());
        let done = server
            .tool("setpriv", &["--reuid", &uid, "--regid", &gid, "--clear-groups", "sh", "-c", &script])
            .run()
            .ok();
        assert_eq!(done.out(), "", "{}", done.stderr);
        assert_eq!(server.list().len(), 1);
        drop(running);
    }

    [docker, podman]
    fn what_the_administrator_puts_into_a_users_environment_stands_in_no_arguments_of_the_host(server: Server) {
        let ann = server.user("ann");
        let secret = format!("secret-of-{ann}");
        fs::create_dir(server.path("etc/users")).expect("mkdir");
        fs::write(server.path("etc/users").join(format!("{ann}.yaml")), format!("env:\n  TOKEN: {secret}\n"))
            .expect("write");
        let running = server.running(&ann, &[], "exec sleep 1000");
        assert_eq!(server.sh(&ann, "echo $TOKEN"), secret);
        let lines = fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
            let line = fs::read(entry.expect("an entry").path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        let lines: Vec<String> = lines.collect();
        let first = format!("\"name\":\"{ann}\"");
        assert!(lines.iter().any(|line| line.contains(" init {") && line.contains(&first)), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains(&secret)), "{lines:#?}");
        drop(running);
    }

    [docker]
    fn a_key_file_that_others_can_write_opens_nothing(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let keys = server.path("etc/keys");
        let file = keys.join(&ann);
        let refused = |why: &str| {
            let run = server.ssh(&ann, &[], &["echo in"]).run();
            assert_eq!((run.status, run.out().as_str()), (255, ""), "{why}");
        };
        assert_eq!(server.sh(&ann, "echo in"), "in");
        for mode in [0o622, 0o602, 0o666] {
            set_mode(&file, mode);
            refused("a file that others can write");
        }
        set_mode(&file, 0o600);
        assert_eq!(server.sh(&ann, "echo in"), "in");
        set_mode(&keys, 0o777);
        refused("a directory that others can write");
        set_mode(&keys, 0o700);
        // Another user's file under this one's name.
        fs::remove_file(&file).expect("remove");
        std::os::unix::fs::symlink(keys.join(&ben), &file).expect("link");
        refused("a link");
        fs::remove_file(&file).expect("remove");
        let mut text = String::from("environment=\"LD_PRELOAD=/x\",command=\"cat /etc/passwd\",port-forwarding ");
        text.push_str(&fs::read_to_string(server.path("ssh/key.pub")).expect("a key"));
        fs::write(&file, text).expect("write");
        run(Command::new("chown").arg("--reference").arg(keys.join(&ben)).arg(&file));
        let run = server.ssh(&ann, &[], &["env; echo in"]).run();
        assert!(!run.out().contains("root:") && !run.out().contains("LD_PRELOAD"), "{}", run.out());
    }

    [docker, podman]
    fn what_is_decided_for_a_user_in_a_file_that_others_can_write_ends_the_login(server: Server) {
        let ann = server.user("ann");
        let dir = server.path("etc/users");
        fs::create_dir(&dir).expect("mkdir");
        let file = dir.join(format!("{ann}.yaml"));
        fs::write(&file, "env:\n  DECIDED: here\n").expect("write");
        set_mode(&file, 0o644);
        assert_eq!(server.sh(&ann, "echo $DECIDED"), "here");
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        set_mode(&file, 0o666);
        let run = server.ssh(&ann, &[], &["echo in"]).run();
        assert!(run.status != 0 && run.out().is_empty(), "{}", run.out());
        // Paths of the host are the administrator's to know.
        assert!(!run.stderr.contains(&*dir.to_string_lossy()), "{}", run.stderr);
        server.broker_log().wait(&format!("{ann}.yaml"), Duration::from_secs(20));
        assert_eq!(server.containers(&ann), Vec::<String>::new());
    }
}
