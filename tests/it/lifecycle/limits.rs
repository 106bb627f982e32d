//! How many sessions may exist at once.

use podspawn::session::SessionError;
use podspawn::spec::{Limits, Mode, SessionSpec};
use podspawn::state::LimitReached;

use super::disk::SmallDisk;
use super::lab::{Lab, acquire, drive, machine, session, try_acquire};

#[test]
fn a_user_is_refused_beyond_the_limit_but_may_always_come_back() {
    let lab = Lab::new();
    drive(async {
        let (core, fake) = lab.process();
        let session = |user: &str, name: &str, mode| SessionSpec {
            limits: Limits { max_per_user: Some(2), max_containers: Some(3) },
            ..session(user, name, mode)
        };
        for name in ["a", "b"] {
            drop(acquire(&core, &session("ann", name, Mode::GracePeriod)).await);
        }
        let before = fake.calls().len();
        match try_acquire(&core, &session("ann", "c", Mode::GracePeriod)).await {
            Err(SessionError::Limit(LimitReached::PerUser { count: 2, limit: 2, .. })) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(fake.calls().len(), before, "refused before anything is asked of the engine");
        assert!(try_acquire(&core, &session("ann", "a", Mode::GracePeriod)).await.is_ok());
        assert!(try_acquire(&core, &session("bob", "a", Mode::GracePeriod)).await.is_ok());
        match try_acquire(&core, &session("bob", "b", Mode::GracePeriod)).await {
            Err(SessionError::Limit(LimitReached::Total { count: 3, limit: 3 })) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn there_is_no_limit_unless_one_is_set() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        for number in 0..10 {
            drop(acquire(&core, &machine("ann", &format!("m{number}"))).await);
        }
        assert_eq!(core.store.all().expect("rows").len(), 10);
    });
}

#[test]
fn nothing_is_added_where_the_engines_disk_is_nearly_full_and_what_is_there_can_be_joined() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("engine");
    let disk = SmallDisk::at(root.clone(), "size=300m");
    let lab = Lab::with_facts(|facts| facts.data_root = Some(root.clone()));
    drive(async {
        let (core, _) = lab.process();
        drop(acquire(&core, &session("ann", "a", Mode::GracePeriod)).await);
        std::fs::write(root.join("layers"), vec![0u8; 64 << 20]).expect("fill");
        match try_acquire(&core, &session("bob", "b", Mode::GracePeriod)).await {
            Err(SessionError::DiskNearlyFull { free_mb: 200..256 }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(core.store.all().expect("rows").len(), 1, "refused before anything exists");
        assert!(try_acquire(&core, &session("ann", "a", Mode::GracePeriod)).await.is_ok());
        // A local user's own disk is their own.
        assert!(try_acquire(&core, &machine("bob", "b")).await.is_ok());
        std::fs::remove_file(root.join("layers")).expect("make room");
        assert!(try_acquire(&core, &session("bob", "b", Mode::GracePeriod)).await.is_ok());
    });
    drop(disk);
}
