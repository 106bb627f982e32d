//! How many sessions may exist at once.

use podspawn::session::SessionError;
use podspawn::spec::{Limits, Mode, SessionSpec};
use podspawn::state::LimitReached;

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
