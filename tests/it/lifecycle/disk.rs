//! A state directory that is full, read-only, or not what it should be: one clear line, and nothing is made.

use std::path::PathBuf;
use std::process::Command;

use podspawn::session::{Reason, SessionError, Silent};
use podspawn::state::StoreError;
use rusqlite::Connection;

use super::lab::{Lab, acquire, drive, key, machine};
use crate::harness::Env;

/// A small file system in memory where an environment keeps its state. It is unmounted when dropped.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(super) fn at(path: PathBuf, options: &str) -> Self {
        std::fs::create_dir_all(&path).expect("a mount point");
        let disk = Self(path);
        disk.mount(&["-t", "tmpfs", "-o", options, "podspawn-it"]);
        disk
    }

    fn mount(&self, args: &[&str]) {
        let status = Command::new("mount").args(args).arg(&self.0).status().expect("start mount");
        assert!(status.success(), "mount {args:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A program that another story starts at this moment has this process's files open until it runs.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !std::thread::panicking() {
            assert!(unmounted.expect("start umount").success(), "umount {}", self.0.display());
        }
    }
}

/// Runs a command that is to succeed.
fn done(env: &Env, args: &[&str]) {
    drop(env.podspawn(args).run().ok());
}

/// The one line that a command says when it is refused.
fn refusal(env: &Env, args: &[&str]) -> String {
    let run = env.podspawn(args).run();
    assert_ne!(run.status, 0, "{}", run.out());
    assert_eq!(run.out(), "", "nothing on standard output");
    // Besides the error itself only what was under way, and hints.
    let others = ["hint: ", "✗ "];
    let errors: Vec<&str> =
        run.stderr.lines().filter(|line| !others.iter().any(|start| line.starts_with(start))).collect();
    assert_eq!(errors.len(), 1, "one line: {}", run.stderr);
    assert!(errors[0].starts_with("Error: "), "{}", run.stderr);
    errors[0].to_owned()
}

on_engines! {
    [docker]
    fn a_full_disk_is_told_in_one_line_and_leaves_nothing(env: Env) {
        let disk = SmallDisk::at(env.home().join(".podspawn"), "size=64k,mode=0700");
        let filler = disk.0.join("filler");
        // Fills what is left to the last byte; that this fails in the end is what it is for.
        let _ = std::fs::write(&filler, vec![0u8; 128 * 1024]);
        let line = refusal(&env, &["create", "web", "--image", &env.image.clone()]);
        assert!(line.contains("no space left"), "{line}");
        assert_eq!(env.objects(), Vec::<String>::new());
    }

    [docker]
    fn a_disk_that_fills_up_later_is_told_in_one_line_and_what_exists_can_still_be_listed(env: Env) {
        let disk = SmallDisk::at(env.home().join(".podspawn"), "size=8m,mode=0700");
        let image = env.image.clone();
        done(&env, &["create", "first", "--image", &image]);
        let filler = disk.0.join("filler");
        let _ = std::fs::write(&filler, vec![0u8; 16 << 20]);
        let line = refusal(&env, &["create", "second", "--image", &image]);
        assert!(line.contains("no space left"), "{line}");
        assert!(env.podspawn(["list"]).run().ok().out().contains("first"));
        std::fs::remove_file(&filler).expect("make room");
        done(&env, &["stop", "first"]);
        assert_eq!(env.objects(), Vec::<String>::new());
    }

    [docker]
    fn a_read_only_state_directory_is_told_in_one_line_and_leaves_nothing(env: Env) {
        let disk = SmallDisk::at(env.home().join(".podspawn"), "size=8m,mode=0700");
        disk.mount(&["-o", "remount,ro"]);
        let line = refusal(&env, &["create", "web", "--image", &env.image.clone()]);
        assert!(line.contains("cannot be written"), "{line}");
        assert_eq!(env.objects(), Vec::<String>::new());
    }

    [docker]
    fn a_state_directory_that_became_read_only_is_told_in_one_line(env: Env) {
        let disk = SmallDisk::at(env.home().join(".podspawn"), "size=8m,mode=0700");
        let image = env.image.clone();
        done(&env, &["create", "first", "--image", &image]);
        disk.mount(&["-o", "remount,ro"]);
        refusal(&env, &["create", "second", "--image", &image]);
        refusal(&env, &["stop", "first"]);
        disk.mount(&["-o", "remount,rw"]);
        done(&env, &["stop", "first"]);
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

#[test]
fn a_damaged_database_is_told_in_one_line() {
    let env = Env::without_engine();
    let state = env.home().join(".podspawn/state.db");
    std::fs::create_dir_all(state.parent().expect("a directory")).expect("mkdir");
    std::fs::write(&state, "no database at all, by any means, nor anything like it").expect("write");
    let line = refusal(&env, &["list"]);
    assert!(line.contains("damaged or no database") && line.contains("state.db"), "{line}");
    std::fs::remove_file(&state).expect("remove");
    std::fs::create_dir(&state).expect("mkdir");
    let line = refusal(&env, &["list"]);
    assert!(line.contains("is a directory"), "{line}");
}

#[test]
fn a_session_is_removed_although_the_store_is_full() {
    // SQLite says the same of a table that has no number left for another row.
    let full = "CREATE TABLE full (id INTEGER PRIMARY KEY AUTOINCREMENT);
         INSERT INTO full VALUES (9223372036854775807);
         CREATE TRIGGER no_update BEFORE UPDATE ON sessions BEGIN INSERT INTO full VALUES (NULL); END;
         CREATE TRIGGER no_delete BEFORE DELETE ON sessions BEGIN INSERT INTO full VALUES (NULL); END;";
    for (room, story) in
        [("DROP TRIGGER no_delete", "which makes room"), ("", "and the row goes when there is room")]
    {
        let lab = Lab::new();
        drive(async {
            let (core, _) = lab.process();
            drop(acquire(&core, &machine("ann", "web")).await);
            let disk = Connection::open(lab.database()).expect("open the store");
            disk.execute_batch(full).and_then(|()| disk.execute_batch(room)).expect("fill the store");
            let removed = core.destroy(&key("ann", "web"), Reason::Stop, &mut Silent).await;
            assert_eq!(lab.fake.world().containers, [], "{story}");
            match removed {
                Ok(Some(_)) if !room.is_empty() => {}
                Err(SessionError::Store(StoreError::Full { .. })) if room.is_empty() => {}
                other => panic!("{story}: {other:?}"),
            }
            disk.execute_batch("DROP TRIGGER IF EXISTS no_delete; DROP TRIGGER no_update")
                .expect("make room");
            core.destroy(&key("ann", "web"), Reason::Stop, &mut Silent).await.expect("destroy");
        });
        lab.assert_nothing_left(story);
    }
}
