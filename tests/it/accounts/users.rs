//! `add-user`, `list-users`, `remove-user`, in both ways of making accounts.

use std::os::unix::fs::MetadataExt;

use super::lab::{KEY, Lab, OTHER, names, tool};

macro_rules! both_ways {
    ($($name:ident)*) => {
        mod userdb { $(#[test] fn $name() { super::$name("userdb"); })* }
        mod useradd { $(#[test] fn $name() { super::$name("useradd"); })* }
    };
}

both_ways! {
    a_user_is_made_with_its_keys_and_removed_whole
    a_failure_at_the_last_step_leaves_nothing
    a_full_disk_leaves_the_old_state
    the_home_of_persistent_sessions_stays_until_it_is_purged
    processes_of_a_removed_user_are_ended
}

fn a_user_is_made_with_its_keys_and_removed_whole(way: &'static str) {
    let lab = Lab::new(way);
    let sarah = lab.user("sarah");
    let file = lab.path("sarah.pub");
    std::fs::write(&file, format!("# laptop\n{OTHER}\nnonsense\n")).unwrap();
    let file_name = file.to_str().unwrap();
    let run = lab.podspawn(&["add-user", &sarah, "--key", KEY, "--key-file", file_name]).run().ok();
    assert_eq!(
        run.stderr,
        format!(
            "warning: {file_name}:3 ignored: \"nonsense\" is no type of public key\nadded 2 key(s) for {sarah}\n"
        )
    );
    assert_eq!(run.out(), "");
    assert_eq!(lab.keys(&sarah), [KEY, OTHER]);

    let record = lab.record(&sarah).unwrap();
    let (uid, gid) = (record["uid"].as_u64().unwrap(), record["gid"].as_u64().unwrap());
    assert_eq!(record["way"], way);
    assert_eq!(record.get("unfinished"), None);
    let home = lab.path("run/homes").join(&sarah);
    let account = lab.account(&sarah).unwrap();
    let fields: Vec<&str> = account.split(':').collect();
    assert_eq!(fields[2..4], [uid.to_string(), gid.to_string()]);
    assert_eq!(fields[5..], [home.to_str().unwrap(), lab.path("lib/podspawn-shell").to_str().unwrap()]);
    let groups = tool("id", &["-Gn", &sarah]).stdout;
    assert_eq!(
        String::from_utf8(groups).unwrap().trim(),
        format!("{}-g", lab.word),
        "one group and no other"
    );
    let shadow = String::from_utf8(tool("getent", &["shadow", &sarah]).stdout).unwrap();
    let password = shadow.split(':').nth(1).unwrap();
    assert!(password.starts_with(['*', '!']), "{shadow}");

    let facts = |path: &std::path::Path| {
        let metadata = std::fs::symlink_metadata(path).unwrap();
        (metadata.mode() & 0o7777, u64::from(metadata.uid()))
    };
    assert_eq!(facts(&home), (0o700, uid));
    assert_eq!(facts(&lab.path("keys")), (0o700, lab.auth_account().uid.into()));
    assert_eq!(facts(&lab.path("keys").join(&sarah)), (0o644, 0));
    assert_eq!(facts(&lab.path("accounts").join(&sarah)), (0o644, 0));

    // More keys for the same account.
    let _ = lab.podspawn(&["add-user", &sarah, "--key", OTHER]).run().ok();
    assert_eq!(lab.keys(&sarah), [KEY, OTHER, OTHER]);
    assert_eq!(lab.record(&sarah).unwrap(), record);
    std::fs::create_dir(lab.path("keys/directory")).unwrap();
    std::fs::write(lab.path("keys/.hidden"), KEY).unwrap();
    let ann = lab.user("ann");
    let _ = lab.podspawn(&["add-user", &ann, "--key", KEY]).run().ok();
    let listed = lab.podspawn(&["list-users"]).run().ok().out();
    assert_eq!(listed, format!("{ann}  (1 key)\n{sarah}  (3 keys)\n"));
    std::fs::remove_dir(lab.path("keys/directory")).unwrap();
    std::fs::remove_file(lab.path("keys/.hidden")).unwrap();
    assert_ne!(lab.record(&ann).unwrap()["uid"], record["uid"]);

    for user in [&sarah, &ann] {
        let run = lab.podspawn(&["remove-user", user]).run().ok();
        assert_eq!(run.stderr, format!("removed user {user}\n"));
        assert_eq!(lab.account(user), None);
    }
    assert_eq!(lab.leftovers(), Vec::<String>::new());
    assert_eq!(lab.podspawn(&["list-users"]).run().ok().out(), "No users registered.\n");

    // The name may come back; the uid does not.
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    assert!(lab.record(&sarah).unwrap()["uid"].as_u64().unwrap() > uid + 1);
}

fn a_failure_at_the_last_step_leaves_nothing(way: &'static str) {
    let lab = Lab::new(way);
    let sarah = lab.user("sarah");
    std::fs::create_dir_all(lab.path("keys").join(&sarah)).unwrap();
    let run = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().status(1);
    assert!(run.stderr.contains("is not a regular file"), "{}", run.stderr);
    assert_eq!(lab.account(&sarah), None);
    assert_eq!(lab.leftovers(), [format!("keys/{sarah}")]);
    std::fs::remove_dir(lab.path("keys").join(&sarah)).unwrap();
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
}

/// A tiny file system on a directory; unmounted when it is dropped.
struct Tiny(std::path::PathBuf);

impl Tiny {
    fn on(path: std::path::PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = tool("mount", &["-t", "tmpfs", "-o", "size=32k", "tmpfs", path.to_str().unwrap()]);
        assert!(mounted.status.success(), "{mounted:?}");
        Self(path)
    }

    fn fill(&self) {
        let error = std::fs::write(self.0.join("filler"), vec![0; 1 << 16]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = tool("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

fn a_full_disk_leaves_the_old_state(way: &'static str) {
    let lab = Lab::new(way);
    let (sarah, ann) = (lab.user("sarah"), lab.user("ann"));
    for dir in ["keys", "accounts"] {
        let tiny = Tiny::on(lab.path(dir));
        let _ = lab.podspawn(&["add-user", &ann, "--key", KEY]).run().ok();
        let before = (lab.keys(&ann), names(&lab.path("accounts")));
        tiny.fill();
        let held =
            |dir: &str| names(&lab.path(dir)).into_iter().filter(|name| name != "filler").collect::<Vec<_>>();
        for user in [&sarah, &ann] {
            // Where the keys are not on that disk, more keys for an account that exists need nothing of it.
            if dir == "accounts" && user == &ann {
                continue;
            }
            let run = lab.podspawn(&["add-user", user, "--key", OTHER]).run().status(1);
            assert!(run.stderr.contains("No space left on device"), "{}", run.stderr);
        }
        assert_eq!(lab.account(&sarah), None);
        assert_eq!((lab.keys(&ann), held("accounts")), before);
        tiny.empty();
        let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
        for user in [&sarah, &ann] {
            let _ = lab.podspawn(&["remove-user", user]).run().ok();
        }
        assert_eq!(lab.leftovers(), Vec::<String>::new());
    }
}

fn the_home_of_persistent_sessions_stays_until_it_is_purged(way: &'static str) {
    let lab = Lab::new(way);
    let sarah = lab.user("sarah");
    let home = lab.path("state/homes").join(&sarah);
    std::fs::create_dir_all(home.join("work")).unwrap();
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    let run = lab.podspawn(&["remove-user", &sarah]).run().ok();
    assert_eq!(
        run.stderr,
        format!(
            "removed user {sarah}\nNOTE: persistent home dir exists at {}; use --purge to \
             delete it\n",
            home.display()
        )
    );
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    let _ = lab.podspawn(&["remove-user", &sarah, "--purge"]).run().ok();
    assert!(!home.exists());
}

fn processes_of_a_removed_user_are_ended(way: &'static str) {
    use std::os::unix::process::CommandExt;
    let lab = Lab::new(way);
    let sarah = lab.user("sarah");
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    let uid = u32::try_from(lab.record(&sarah).unwrap()["uid"].as_u64().unwrap()).unwrap();
    let mut stub = std::process::Command::new("sleep").arg("600").uid(uid).spawn().unwrap();
    let _ = lab.podspawn(&["remove-user", &sarah]).run().ok();
    assert!(stub.try_wait().unwrap().is_some());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let lab = Lab::new("auto");
    let sarah = lab.user("sarah");
    let none = lab.path("none.pub");
    let none = none.to_str().unwrap();
    for (args, told) in [
        (&["add-user", &sarah][..], "no key was given"),
        (
            &["add-user", &sarah, "--key", "ssh-ed25519 AAAA"],
            "what stands behind `ssh-ed25519` is no such key",
        ),
        (
            &["add-user", &sarah, "--key", &format!("command=\"id\" {KEY}")],
            "the option `command` is not allowed",
        ),
        (&["add-user", &sarah, "--key", KEY, "--key-file", none], "No such file or directory"),
        (&["add-user", &sarah, "--github", "a/b"], "invalid GitHub login"),
        (&["add-user", "../up", "--key", KEY], "this is a name, not a path"),
        (&["remove-user", "../up"], "this is a name, not a path"),
        (&["remove-user", "keys/x"], "this is a name, not a path"),
        (&["remove-user", &sarah], "there is no container user"),
        (&["add-user", "daemon", "--key", KEY], "the account `daemon` exists already and is not podspawn's"),
    ] {
        let run = lab.podspawn(args).run().status(1);
        assert!(run.stderr.starts_with("Error: ") && run.stderr.contains(told), "{args:?}: {}", run.stderr);
        let lines = run.stderr.lines().skip(1);
        assert!(lines.clone().all(|line| line.starts_with("hint: ")), "{args:?}: {}", run.stderr);
    }
    assert_eq!(lab.leftovers(), Vec::<String>::new());
    assert!(!lab.path("keys").exists() && !lab.path("run").exists());
}

#[test]
fn uids_run_out_with_a_clear_word() {
    let lab = Lab::new("useradd");
    let first = u32::MAX / 4;
    let config = std::fs::read_to_string(lab.path("config.yaml")).unwrap();
    let config: String = config
        .lines()
        .map(|line| match line.trim_start().split(':').next() {
            Some("first_uid") => format!("  first_uid: {first}\n"),
            Some("last_uid") => format!("  last_uid: {first}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    std::fs::write(lab.path("config.yaml"), config).unwrap();
    let (sarah, ann) = (lab.user("sarah"), lab.user("ann"));
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    let run = lab.podspawn(&["add-user", &ann, "--key", KEY]).run().status(1);
    assert_eq!(
        run.stderr,
        format!(
            "Error: every uid from {first} to {first} was given to an account already\nhint: raise `server.last_uid`\n"
        )
    );
}

#[test]
fn the_examples_of_the_help_texts_work() {
    let lab = Lab::new("auto");
    let file = lab.path("sarah.pub");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    // The users' names of the examples could be those of accounts of this host.
    let user = lab.user("sarah");
    for command in ["add-user", "list-users", "remove-user"] {
        let help = lab.podspawn(&[command, "--help"]).run().ok().out();
        let example = help.lines().find_map(|line| line.strip_prefix("  podspawn ")).expect("an example");
        let words: Vec<&str> = example
            .split(' ')
            .map(|word| match word {
                "sarah" | "james" => user.as_str(),
                "sarah.pub" => file.to_str().unwrap(),
                word => word,
            })
            .collect();
        let _ = lab.podspawn(&words).run().ok();
    }
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}
