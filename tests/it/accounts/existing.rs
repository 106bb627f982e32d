//! Accounts that were there before.

use super::lab::{KEY, Lab, tool};

/// An ordinary account of this host, removed when it is dropped.
struct Account(String);

impl Account {
    fn new(lab: &Lab, name: &str, more: &[&str]) -> Self {
        let name = lab.user(name);
        let args =
            [&["--no-create-home", "--home-dir", "/nonexistent", "-K", "UID_MIN=2000"], more, &[&name]]
                .concat();
        let made = tool("useradd", &args);
        assert!(made.status.success(), "{made:?}");
        Self(name)
    }

    fn groups(&self) -> Vec<String> {
        let text = String::from_utf8(tool("id", &["-Gn", &self.0]).stdout).unwrap();
        text.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = tool("userdel", &[&self.0]);
    }
}

#[test]
fn an_existing_account_joins_the_group_and_leaves_it_again() {
    let lab = Lab::new("auto");
    let account = Account::new(&lab, "ann", &["--shell", "/bin/sh"]);
    let (name, group) = (account.0.as_str(), format!("{}-g", lab.word));
    let before = lab.account(name);
    let run = lab.podspawn(&["add-user", name, "--key", KEY]).run().status(1);
    assert!(run.stderr.contains("exists already and is not podspawn's"), "{}", run.stderr);
    assert!(run.stderr.contains("--existing"), "{}", run.stderr);
    assert_eq!(account.groups(), [name]);

    let run = lab.podspawn(&["add-user", name, "--key", KEY, "--existing"]).run().ok();
    assert_eq!(run.stderr, format!("added 1 key(s) for {name}\n"));
    assert_eq!(account.groups(), [name, &group]);
    assert_eq!(lab.record(name).unwrap()["way"], "existing");
    assert_eq!(lab.record(name).unwrap()["shell"], "/bin/sh");
    let ours = lab.path("lib/podspawn-shell");
    assert!(lab.account(name).is_some_and(|entry| entry.ends_with(ours.to_str().unwrap())));
    let _ = lab.podspawn(&["add-user", name, "--key", KEY]).run().ok();
    assert_eq!(lab.keys(name).len(), 2);

    let _ = lab.podspawn(&["remove-user", name]).run().ok();
    assert_eq!(account.groups(), [name]);
    assert_eq!((lab.account(name), lab.record(name)), (before, None));
    drop(account);
}

#[test]
fn accounts_of_the_system_and_of_administrators_stay_what_they_are() {
    let lab = Lab::new("auto");
    let member = Account::new(&lab, "op", &["--groups", "adm"]);
    let primary = Account::new(&lab, "disk", &["--gid", "disk"]);
    for (user, told) in [
        ("daemon", "has uid 1: accounts of the system do not become container users"),
        ("root", "has uid 0"),
        ("nobody", "has uid 65534"),
        (member.0.as_str(), "is in the group `adm`"),
        (primary.0.as_str(), "is in the group `disk`"),
        (&lab.user("none"), "there is no account"),
    ] {
        let run = lab.podspawn(&["add-user", user, "--key", KEY, "--existing"]).run().status(1);
        assert!(run.stderr.contains(told), "{}", run.stderr);
        assert!(!lab.path("accounts").join(user).exists());
    }
    let own = lab.user("own");
    let _ = lab.podspawn(&["add-user", &own, "--key", KEY]).run().ok();
    let run = lab.podspawn(&["add-user", &own, "--key", KEY, "--existing"]).run().status(1);
    assert!(run.stderr.contains("was made by podspawn"), "{}", run.stderr);
    assert_eq!(lab.keys(&own).len(), 1);
    drop((member, primary));
}
