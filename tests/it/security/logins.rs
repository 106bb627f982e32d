//! Ways in that must not exist, and what a way in must not show.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::harness::Server;
use crate::harness::command::Invocation;
use crate::harness::system::run;

/// A login with another key than the one that is in the user's key file.
fn with_other_key(server: &Server, user: &str) -> Invocation {
    let key = server.path("ssh/other").display().to_string();
    let mut args: Vec<String> = server.client_options();
    args.retain(|arg| !arg.starts_with("IdentityFile="));
    // The option's name stood before what is gone.
    let at = args.windows(2).position(|two| two[0] == "-o" && two[1] == "-o").expect("the gap");
    args.remove(at);
    args.extend(["-i".into(), key, format!("{user}@127.0.0.1"), "echo in".into()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    server.tool("ssh", &args)
}

/// A directory or file of a user's own, which nobody else may write.
fn own(server: &Server, path: &Path, user: &str, mode: u32) {
    chown(path, Some(server.uid(user)), None).expect("chown");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Whether a login with the other key works for nobody but an ordinary user.
#[track_caller]
fn only_for_others(server: &Server, ann: &str, olaf: &str) {
    assert_eq!(with_other_key(server, olaf).run().ok().out(), "in\n");
    let run = with_other_key(server, ann).run();
    assert_eq!((run.status, run.out().as_str()), (255, ""), "{}", run.stderr);
}

on_engines! {
    [docker]
    fn a_key_counts_only_where_the_administrator_put_it(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let other = fs::read_to_string(server.path("ssh/other.pub")).expect("a key");
        for (user, home) in [(&ann, server.run_home(&ann)), (&olaf, server.path("homes").join(&olaf))] {
            let dir = home.join(".ssh");
            fs::create_dir(&dir).expect("mkdir");
            fs::write(dir.join("authorized_keys"), &other).expect("write");
            own(&server, &dir, user, 0o700);
            own(&server, &dir.join("authorized_keys"), user, 0o600);
        }
        only_for_others(&server, &ann, &olaf);

        // In a file of the host's own for all its users.
        for (user, home) in [(&ann, server.run_home(&ann)), (&olaf, server.path("homes").join(&olaf))] {
            fs::remove_dir_all(home.join(".ssh")).expect("remove");
            fs::write(server.path("ordinary").join(user), &other).expect("write");
        }
        only_for_others(&server, &ann, &olaf);

        // By a certificate of the host's own authority.
        for user in [&ann, &olaf] {
            fs::remove_file(server.path("ordinary").join(user)).expect("remove");
        }
        let names = format!("{ann},{olaf}");
        run(Command::new("ssh-keygen")
            .args(["-q", "-I", "test", "-n", &names, "-s"])
            .args([server.path("ssh/ca"), server.path("ssh/other.pub")]));
        only_for_others(&server, &ann, &olaf);
    }

    [docker]
    fn an_authority_of_the_key_file_vouches_for_its_user_alone(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let authority = fs::read_to_string(server.path("ssh/ca.pub")).expect("a key");
        for user in [&ann, &ben] {
            fs::write(server.path("etc/keys").join(user), format!("cert-authority {authority}")).expect("write");
        }
        let denied = |user: &str| {
            let run = with_other_key(&server, user).run();
            assert_eq!((run.status, run.out().as_str()), (255, ""), "{}", run.stderr);
        };
        denied(&ann);
        run(Command::new("ssh-keygen")
            .args(["-q", "-I", "test", "-n", &ann, "-s"])
            .args([server.path("ssh/ca"), server.path("ssh/other.pub")]));
        assert_eq!(with_other_key(&server, &ann).run().ok().out(), "in\n");
        denied(&ben);
        // What it leads into is the container, by the forced command of the line.
        let (path, text) = server.marker();
        let run = server.ssh(&ann, &["-i", server.path("ssh/other").to_str().expect("text")], &[&format!("cat {path}")]).run();
        assert!(run.status != 0 && !run.out().contains(text), "{}", run.out());
    }

    [docker]
    fn an_emergency_key_lets_root_in_and_nobody_else(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        server.set_up();
        server.reload_sshd();
        let denied = |user: &str| {
            let run = with_other_key(&server, user).run();
            assert_eq!((run.status, run.out().as_str()), (255, ""), "{user}: {}", run.stderr);
        };
        denied("root");
        fs::copy(server.path("ssh/other.pub"), server.path("etc/emergency.keys")).expect("copy");
        assert_eq!(with_other_key(&server, "root").run().ok().out(), "in\n");
        denied(&ann);
        denied(&olaf);
    }

    [docker]
    fn a_password_is_not_even_asked_for(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let ways = |user: &str| {
            let run = server.ssh(user, &["-o", "PreferredAuthentications=none"], &["echo in"]).run().status(255);
            run.stderr.trim().to_owned()
        };
        assert!(ways(&olaf).ends_with("(publickey,password)."), "{}", ways(&olaf));
        assert!(ways(&ann).ends_with("(publickey)."), "{}", ways(&ann));
    }

    [docker]
    fn nothing_that_lies_in_a_home_of_the_host_is_read_or_run_at_a_login(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let marks = server.scratch().join("marks");
        fs::create_dir(&marks).expect("mkdir");
        fs::set_permissions(&marks, fs::Permissions::from_mode(0o777)).expect("chmod");
        let dir = marks.display();
        for (user, home) in [(&ann, server.run_home(&ann)), (&olaf, server.path("homes").join(&olaf))] {
            let ssh = home.join(".ssh");
            fs::create_dir(&ssh).expect("mkdir");
            own(&server, &ssh, user, 0o700);
            for (name, text) in [
                (".ssh/rc", format!("touch {dir}/rc-{user}\n")),
                (".ssh/environment", "LEFT=here\nBASH_ENV=.profile\n".to_owned()),
                (".profile", format!("touch {dir}/profile-{user}\n")),
            ] {
                fs::write(home.join(name), text).expect("write");
                own(&server, &home.join(name), user, 0o600);
            }
        }
        let left = |user: &str| {
            let said = server.ssh(user, &[], &["echo $LEFT"]).run().ok().out();
            let _ = server.ssh(user, &["-tt"], &[]).stdin("exit\n").run();
            let mut marks: Vec<String> = fs::read_dir(&marks)
                .expect("marks")
                .map(|mark| mark.expect("a mark").file_name().into_string().expect("text"))
                .filter(|mark| mark.ends_with(user))
                .collect();
            marks.sort();
            (said.trim().to_owned(), marks)
        };
        assert_eq!(left(&olaf), ("here".to_owned(), vec![format!("profile-{olaf}"), format!("rc-{olaf}")]));
        assert_eq!(left(&ann), (String::new(), Vec::new()));
    }

    [docker; soak: podman]
    fn start_up_files_of_a_shell_that_an_account_had_before_are_not_read(server: Server) {
        let bob = server.ordinary("bob");
        let entry = || run(Command::new("getent").args(["passwd", &bob]));
        let _ = run(Command::new("usermod").args(["--shell", "/bin/bash", &bob]));
        let (before, home) = (entry(), server.path("homes").join(&bob));
        let mark = home.join("mark");
        for name in [".bashrc", ".profile", ".bash_profile", ".zshenv", ".bash_env"] {
            fs::write(home.join(name), format!("touch {}\n", mark.display())).expect("write");
            own(&server, &home.join(name), &bob, 0o600);
        }
        // It does what it says, as long as the account is one of the host's.
        let _ = server.ssh(&bob, &[], &["true"]).run().ok();
        fs::remove_file(&mark).expect("a mark");

        let key = server.path("ssh/key.pub");
        let key = key.to_str().expect("text");
        let _ = server.podspawn(&["add-user", &bob, "--key-file", key, "--existing"]).run().ok();
        let (path, text) = server.marker();
        let bash_env = format!("SetEnv=BASH_ENV={}", home.join(".bash_env").display());
        let inside = server.ssh(&bob, &["-o", &bash_env], &["cat", &path, ";", "echo", "inside"]).run();
        assert_eq!(inside.out(), "inside\n", "{}", inside.stderr);
        let _ = server.ssh(&bob, &["-tt"], &[]).stdin("exit\n").run();
        let _ = server.ssh(&bob, &["-s"], &["sftp"]).run();
        assert!(!inside.out().contains(text));
        assert!(!mark.exists(), "a file of the account's ran on the host");

        let _ = server.podspawn(&["remove-user", &bob, "--force", "--purge"]).run().ok();
        assert_eq!(entry(), before);
    }

    [docker; soak: podman]
    fn what_a_client_sends_moves_nothing_of_the_host(server: Server) {
        let ann = server.user("ann");
        let _ = server.ssh(&ann, &[], &["true"]).run().ok();
        // This sshd accepts every variable from everybody. The dynamic linker would write its report for each process.
        let reports = server.scratch().join("reports");
        fs::create_dir(&reports).expect("mkdir");
        fs::set_permissions(&reports, fs::Permissions::from_mode(0o777)).expect("chmod");
        let set = format!("SetEnv=LD_DEBUG=files LD_DEBUG_OUTPUT={}/of", reports.display());
        let run = server.ssh(&ann, &["-o", &set], &["echo inside"]).run().ok();
        assert_eq!(run.out(), "inside\n");
        assert_eq!(fs::read_dir(&reports).expect("reports").count(), 0);
        // It writes them where nobody stops it.
        let olaf = server.ordinary("olaf");
        let _ = server.ssh(&olaf, &["-o", &set], &["/bin/true"]).run().ok();
        assert_ne!(fs::read_dir(&reports).expect("reports").count(), 0);
    }

    [docker; soak: podman]
    fn no_way_in_shows_a_file_of_the_host(server: Server) {
        let (ann, olaf, eve) = (server.user("ann"), server.ordinary("olaf"), server.existing("eve"));
        let (path, text) = server.marker();
        let ways = |user: &str| {
            let script = format!(
                "rm -rf got; mkdir got; set +eo pipefail
                 $SSH {user}@127.0.0.1 cat {path} >got/command
                 $SSH -tt {user}@127.0.0.1 cat {path} >got/terminal
                 echo cat {path} | $SSH {user}@127.0.0.1 >got/shell
                 printf 'get {path} got/sftp\\n' | sftp -q $OPTIONS -b - {user}@127.0.0.1 >/dev/null
                 scp -q -s $OPTIONS {user}@127.0.0.1:{path} got/scp
                 scp -q -O $OPTIONS {user}@127.0.0.1:{path} got/scp-old
                 rsync -e \"$SSH\" {user}@127.0.0.1:{path} got/rsync
                 $SSH -s {user}@127.0.0.1 {path} >got/subsystem
                 grep -l '{text}' got/* | wc -l"
            );
            server.script(&script).run().ok().out().trim().to_owned()
        };
        // All but the last, which is no subsystem.
        assert_eq!(ways(&olaf), "7");
        assert_eq!(ways(&ann), "0");
        // Nor for a member of the group whose account is of this host's own making.
        assert_eq!(ways(&eve), "0");
    }

    [docker, podman]
    fn the_login_shell_leads_into_the_container_whoever_starts_it(server: Server) {
        let ann = server.user("ann");
        let (path, text) = server.marker();
        let inside = server.sh(&ann, "cat /etc/hostname");
        let script = format!(
            "su - {ann} -c 'cat /etc/hostname'; su {ann} -c 'cat {path}'; echo 'cat {path} /etc/hostname' | su - {ann}"
        );
        let run = server.tool("sh", &["-c", &script]).run();
        assert!(!run.out().contains(text), "{}", run.out());
        assert_eq!(run.out().matches(&inside).count(), 2, "{}\n{}", run.out(), run.stderr);
    }

    [docker, podman]
    fn the_stub_serves_nobody_under_another_name(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let olaf = server.ordinary("olaf");
        let (gid, socket) = (server.gid().to_string(), server.socket().display().to_string());
        let stub = |as_user: &str, gid: &str, user: &str| {
            let uid = server.uid(as_user).to_string();
            let program = server.program().display().to_string();
            let args = ["--reuid", &uid, "--regid", gid, "--clear-groups", &program, "spawn", "--user", user, "--socket", &socket];
            server.tool("setpriv", &args).var("SSH_ORIGINAL_COMMAND", "id -un").run()
        };
        assert_eq!(stub(&ann, &gid, &ann).ok().out().trim(), ann);
        let run = stub(&ann, &gid, &ben);
        assert!(run.status != 0 && run.out().is_empty(), "{}", run.out());
        assert!(run.stderr.contains("the request is for another user"), "{}", run.stderr);
        assert_eq!(server.containers(&ben), Vec::<String>::new());
        // Somebody who is no container user does not come as far as that.
        let run = stub(&olaf, "65534", &ann);
        assert!(run.status != 0 && run.stderr.contains("Permission denied"), "{}", run.stderr);
        let run = stub(&olaf, &gid, &olaf);
        assert!(run.status != 0 && run.stderr.contains("not a container user"), "{}", run.stderr);
    }
}
