//! Many at once, and some that are killed on their way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::lab::{KEY, Lab};
use crate::harness::system;

fn ten_at_once(way: &'static str) {
    let lab = Lab::new(way);
    let users: Vec<String> = (0..10).map(|number| lab.user(&format!("u{number}"))).collect();
    let started: Vec<_> =
        users.iter().map(|user| lab.podspawn(&["add-user", user, "--key", KEY]).start()).collect();
    for running in started {
        let _ = running.wait(Duration::from_secs(120)).ok();
    }
    let uids: BTreeSet<u64> =
        users.iter().map(|user| lab.record(user).unwrap()["uid"].as_u64().unwrap()).collect();
    assert_eq!(uids.len(), 10);
    for user in &users {
        assert!(lab.account(user).is_some());
        assert_eq!(lab.keys(user).len(), 1);
    }
    let started: Vec<_> =
        users.iter().map(|user| lab.podspawn(&["remove-user", user, "--force"]).start()).collect();
    for running in started {
        let _ = running.wait(Duration::from_secs(120)).ok();
    }
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn ten_drop_ins_at_once_get_ten_uids() {
    ten_at_once("userdb");
}

#[test]
fn ten_accounts_by_useradd_at_once_get_ten_uids() {
    ten_at_once("useradd");
}

/// Starts a command and kills it after `moment`, unless it has ended by then. The programs that it started go on.
fn kill_after(lab: &Lab, args: &[&str], moment: Duration) -> bool {
    let mut child = lab.command(args).spawn().expect("start podspawn");
    let ended = system::ends_by(&system::pidfd(&child), Instant::now() + moment);
    // It may have ended by itself at this very moment.
    let _ = child.kill();
    let _ = child.wait();
    !ended
}

fn killed_anywhere(way: &'static str, step: Duration) {
    let lab = Lab::new(way);
    let sarah = lab.user("sarah");
    // Group, directories and the account for sshd.
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    let _ = lab.podspawn(&["remove-user", &sarah]).run().ok();
    let mut killed = 0;
    for round in 1..=12 {
        // One that is killed while it adds: the next one adds.
        killed += u32::from(kill_after(&lab, &["add-user", &sarah, "--key", KEY], step * round));
        let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
        assert!(lab.account(&sarah).is_some(), "round {round}");
        assert!(lab.record(&sarah).unwrap().get("unfinished").is_none());
        // One that is killed while it removes: the next one removes, or finds that there is nothing.
        killed += u32::from(kill_after(&lab, &["remove-user", &sarah], step * round));
        let run = lab.podspawn(&["remove-user", &sarah]).run();
        assert!(run.status == 0 || run.stderr.contains("there is no container user"), "{}", run.stderr);
        assert_eq!(lab.account(&sarah), None, "round {round}");
        assert_eq!(lab.leftovers(), Vec::<String>::new(), "round {round}");
        // One that is killed while it adds: the next one removes what there is.
        killed += u32::from(kill_after(&lab, &["add-user", &sarah, "--key", KEY], step * round));
        let run = lab.podspawn(&["remove-user", &sarah]).run();
        assert!(run.status == 0 || run.stderr.contains("there is no container user"), "{}", run.stderr);
        assert_eq!(lab.account(&sarah), None, "round {round}");
        if run.status == 0 {
            assert_eq!(lab.leftovers(), Vec::<String>::new(), "round {round}");
        }
    }
    assert!(killed > 0, "nothing was killed on its way");
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    let _ = lab.podspawn(&["remove-user", &sarah]).run().ok();
}

#[test]
fn what_a_killed_command_leaves_of_a_drop_in_is_repaired() {
    killed_anywhere("userdb", Duration::from_millis(3));
}

#[test]
fn what_a_killed_command_leaves_of_an_account_by_useradd_is_repaired() {
    killed_anywhere("useradd", Duration::from_millis(8));
}
