//! What the account that the broker works as puts in its own directories is not what removing a user writes or deletes, and
//! what the account of git has in its clone is not given away with it.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use podspawn::system::accounts::user_by_name;
use podspawn::system::directory::Directory;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::lab::{KEY, Lab};

/// An installation whose state is the account `daemon`'s, with a user, and a file and a directory of root's.
fn lab() -> (Lab, String) {
    let lab = Lab::new("userdb");
    let sarah = lab.user("sarah");
    for dir in ["state", "state/locks", "state/homes"] {
        fs::create_dir(lab.path(dir)).unwrap();
        give(&lab.path(dir));
    }
    fs::create_dir_all(lab.path("goal").join(&sarah)).unwrap();
    fs::write(lab.path("goal").join(&sarah).join("file"), "text of root's").unwrap();
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    (lab, sarah)
}

fn daemon() -> u32 {
    user_by_name("daemon").unwrap().unwrap().uid
}

fn give(path: &Path) {
    lchown(path, Some(daemon()), None).unwrap();
}

#[test]
fn removing_a_user_writes_into_nothing_at_the_end_of_a_link() {
    let (lab, sarah) = lab();
    let file = lab.path("goal").join(&sarah).join("file");
    let lock = lab.path("state/locks").join(format!("{sarah}.lock"));
    symlink(&file, &lock).unwrap();
    give(&lock);
    let run = lab.podspawn(&["remove-user", &sarah]).run().status(1);
    let said = format!("{}` cannot be used: it is a symbolic link where a file belongs", lock.display());
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "text of root's");
    // The same where the system lets everybody link everything.
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&file, &lock).unwrap();
    let _ = lab.podspawn(&["remove-user", &sarah]).run().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "text of root's");
    assert!(!lock.exists());
}

#[test]
fn purging_a_home_removes_nothing_at_the_end_of_a_link() {
    let (lab, sarah) = lab();
    let homes = lab.path("state/homes");
    fs::remove_dir(&homes).unwrap();
    symlink(lab.path("goal"), &homes).unwrap();
    give(&homes);
    let run = lab.podspawn(&["remove-user", &sarah, "--purge"]).run().status(1);
    let said = format!("`{}` is a symbolic link where a directory belongs", homes.display());
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    assert!(lab.path("goal").join(&sarah).join("file").exists());
    fs::remove_file(&homes).unwrap();
    let _ = lab.podspawn(&["remove-user", &sarah, "--purge"]).run().ok();
}

/// A tree of `daemon`'s, and a file of root's.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/inside")).unwrap();
    fs::create_dir(dir.path().join("goal")).unwrap();
    fs::write(dir.path().join("tree/inside/file"), "").unwrap();
    fs::write(dir.path().join("goal/file"), "").unwrap();
    symlink("../goal", dir.path().join("tree/link")).unwrap();
    for path in ["tree", "tree/inside", "tree/inside/file", "tree/link"] {
        give(&dir.path().join(path));
    }
    dir
}

fn owner(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().uid()
}

#[test]
fn a_tree_that_changes_while_it_is_given_away_takes_nothing_else_along() {
    let dir = tree();
    let (tree, stop) = (dir.path().join("tree"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (a, b) = (tree.join("inside"), tree.join("link"));
                renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for round in 0..4000 {
            let (from, to) = if round % 2 == 0 { (daemon(), 4242) } else { (4242, daemon()) };
            let given = Directory::open(&tree).and_then(|tree| tree.give_tree(from, to, to));
            let at_goal = [dir.path().join("goal"), dir.path().join("goal/file")].map(|path| owner(&path));
            // Not before the other has ended: the scope waits for it.
            stop.store(at_goal != [0, 0] || given.is_err() || round == 3999, Ordering::Relaxed);
            given.unwrap();
            assert_eq!(at_goal, [0, 0], "round {round}");
        }
    });
}

#[test]
fn a_file_of_another_that_is_linked_into_a_tree_is_not_given_away_with_it() {
    let dir = tree();
    let (file, tree) = (dir.path().join("goal/file"), dir.path().join("tree"));
    fs::hard_link(&file, tree.join("inside/mine")).unwrap();
    let error = Directory::open(&tree).unwrap().give_tree(daemon(), 4242, 4242).unwrap_err();
    assert!(error.to_string().contains("\"mine\" belongs to uid 0"), "{error}");
    assert_eq!(owner(&file), 0);
    fs::remove_file(tree.join("inside/mine")).unwrap();
    chown(&tree, Some(daemon()), None).unwrap();
    Directory::open(&tree).unwrap().give_tree(daemon(), 4242, 4243).unwrap();
    for path in ["", "inside", "inside/file", "link"] {
        let facts = tree.join(path).symlink_metadata().unwrap();
        assert_eq!((facts.uid(), facts.gid()), (4242, 4243), "{path}");
    }
    assert_eq!(owner(&dir.path().join("goal")), 0);
}
