//! The process dies, the engine says no, or the person gives up, right before and right after every single engine call.

use podspawn::session::{Cancel, Exists, Reason, SessionError, Silent};
use podspawn::spec::{CopySpec, Mode, SessionSpec};
use podspawn_runtimes::testing::{At, When};
use podspawn_runtimes::{EngineError, EngineKind};

use super::lab::{FakeCore, Lab, acquire, drive, key, machine, session, try_acquire, with_services};

const BOTH: [When; 2] = [When::Before, When::After];

/// A name, an engine, and what is made in it.
type Variant = (&'static str, fn() -> Lab, fn() -> SessionSpec);

/// Everything that changes which engine calls are made.
fn labs() -> Vec<Variant> {
    fn plain() -> SessionSpec {
        machine("ann", "web")
    }
    fn read_only() -> SessionSpec {
        let mut spec = session("ann", "web", Mode::GracePeriod);
        spec.security.readonly_rootfs = true;
        spec
    }
    fn with_socket_directory() -> Lab {
        let mut lab = Lab::new();
        lab.uid = 1234;
        lab
    }
    fn remote() -> Lab {
        Lab::with_facts(|facts| facts.local = false)
    }
    fn gvisor() -> Lab {
        Lab::with_facts(|facts| facts.kind = EngineKind::Gvisor)
    }
    fn services() -> SessionSpec {
        with_services("ann", "web")
    }
    fn services_and_copy() -> SessionSpec {
        let mut spec = with_services("ann", "web");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles").into();
        spec.environment.copy = Some(CopySpec { source, with_git: false, target: "/workspace/web".into() });
        spec
    }
    vec![
        ("plain", Lab::new, plain),
        ("services", Lab::new, services),
        ("services under gVisor, and files", gvisor, services_and_copy),
        ("read-only root", Lab::new, read_only),
        ("socket directory", with_socket_directory, plain),
        ("remote engine", remote, plain),
        ("gVisor", gvisor, plain),
    ]
}

/// Names of the calls that making a session takes.
fn calls_of_create(lab: fn() -> Lab, spec: fn() -> SessionSpec) -> Vec<String> {
    let lab = lab();
    drive(async {
        let (core, fake) = lab.process();
        acquire(&core, &spec()).await;
        fake.calls().iter().map(ToString::to_string).collect()
    })
}

/// Runs `act` in a process that dies at call `number`, and asserts that it did.
async fn die_at<T>(lab: &Lab, number: usize, when: When, act: impl AsyncFnOnce(&FakeCore) -> T) {
    let (core, fake) = lab.process();
    fake.die(At::Call(number), when);
    tokio::select! {
        biased;
        () = fake.died() => {}
        _ = act(&core) => panic!("the process was to die at call {number}, {when:?}: {:?}", fake.calls()),
    }
}

async fn reconcile(lab: &Lab) {
    let (core, _) = lab.process();
    core.reconcile(&key("ann", "web")).await.expect("reconcile");
}

async fn clean_up(lab: &Lab) {
    let (core, _) = lab.process();
    let report = core.cleanup().await.expect("clean up");
    assert_eq!(report.failures, Vec::<String>::new());
}

#[test]
fn a_process_that_dies_at_any_call_of_create_leaves_nothing_after_reconcile() {
    for (name, lab, spec) in labs() {
        let calls = calls_of_create(lab, spec);
        assert!(calls.len() >= 5, "{name}: {calls:?}");
        for (number, call) in (1..).zip(&calls) {
            for when in BOTH {
                let story = format!("{name}, {when:?} {call}");
                let lab = lab();
                drive(async {
                    die_at(&lab, number, when, async |core| try_acquire(core, &spec()).await).await;
                    reconcile(&lab).await;
                });
                lab.assert_never_been(&story);
            }
        }
    }
}

#[test]
fn a_cleanup_pass_finishes_off_what_a_dead_maker_left() {
    for (name, lab, spec) in labs() {
        for (number, call) in (1..).zip(calls_of_create(lab, spec)) {
            for when in BOTH {
                let lab = lab();
                drive(async {
                    die_at(&lab, number, when, async |core| try_acquire(core, &spec()).await).await;
                    clean_up(&lab).await;
                });
                lab.assert_never_been(&format!("{name}, {when:?} {call}"));
            }
        }
    }
}

#[test]
fn the_next_one_who_wants_the_session_gets_exactly_one_whatever_happened_before() {
    for (name, lab, spec) in labs() {
        for (number, call) in (1..).zip(calls_of_create(lab, spec)) {
            for when in BOTH {
                let story = format!("{name}, {when:?} {call}");
                let lab = lab();
                drive(async {
                    die_at(&lab, number, when, async |core| try_acquire(core, &spec()).await).await;
                    let (core, _) = lab.process();
                    let connection = acquire(&core, &spec()).await;
                    let world = lab.fake.world();
                    assert_eq!(world.containers.len(), 1 + spec().environment.services.len(), "{story}");
                    assert_eq!(world.networks.len(), 1, "{story}");
                    assert_eq!(core.store.all().expect("rows").len(), 1, "{story}");
                    assert_eq!(core.leases().count(&connection.record.id).expect("leases"), 1, "{story}");
                    drop(connection);
                    core.destroy(&key("ann", "web"), Reason::Stop, &mut Silent).await.expect("destroy");
                });
                lab.assert_nothing_left(&story);
            }
        }
    }
}

#[test]
fn a_process_that_dies_at_any_call_of_destroy_leaves_nothing_after_reconcile() {
    for (name, lab, spec) in labs() {
        let calls = {
            let lab = lab();
            drive(async {
                drop(acquire(&lab.process().0, &spec()).await);
                let (core, fake) = lab.process();
                core.destroy(&key("ann", "web"), Reason::Stop, &mut Silent).await.expect("destroy");
                fake.calls().iter().map(ToString::to_string).collect::<Vec<_>>()
            })
        };
        assert!(calls.len() >= 2, "{name}: {calls:?}");
        for (number, call) in (1..).zip(&calls) {
            for when in BOTH {
                let lab = lab();
                drive(async {
                    drop(acquire(&lab.process().0, &spec()).await);
                    die_at(&lab, number, when, async |core| {
                        core.destroy(&key("ann", "web"), Reason::Stop, &mut Silent).await
                    })
                    .await;
                    reconcile(&lab).await;
                });
                lab.assert_nothing_left(&format!("{name}, {when:?} {call}"));
            }
        }
    }
}

#[test]
fn a_process_that_dies_while_it_reconciles_is_followed_by_one_that_finishes() {
    // Made up to the network, then died; the reconciling process dies at each of its own calls.
    let half_made = async |lab: &Lab| {
        let spec = machine("ann", "web");
        die_at(lab, 3, When::Before, async |core| try_acquire(core, &spec).await).await;
    };
    let calls = {
        let lab = Lab::new();
        drive(async {
            half_made(&lab).await;
            let (core, fake) = lab.process();
            core.reconcile(&key("ann", "web")).await.expect("reconcile");
            fake.calls().len()
        })
    };
    assert!(calls >= 2);
    for number in 1..=calls {
        for when in BOTH {
            let lab = Lab::new();
            drive(async {
                half_made(&lab).await;
                die_at(&lab, number, when, async |core| core.reconcile(&key("ann", "web")).await).await;
                reconcile(&lab).await;
            });
            lab.assert_nothing_left(&format!("call {number} of reconcile, {when:?}"));
        }
    }
}

fn refusal() -> EngineError {
    EngineError::Engine { action: "do as asked".into(), status: Some(500), message: "no".into() }
}

#[test]
fn an_engine_that_fails_at_any_call_of_create_leaves_nothing_behind() {
    for (name, lab, spec) in labs() {
        for (number, call) in (1..).zip(calls_of_create(lab, spec)) {
            for when in BOTH {
                let story = format!("{name}, {when:?} {call}");
                let lab = lab();
                drive(async {
                    let (core, fake) = lab.process();
                    fake.fail(At::Call(number), when, refusal);
                    match try_acquire(&core, &spec()).await {
                        Err(SessionError::Engine(_)) => {}
                        other => panic!("{story}: {other:?}"),
                    }
                });
                lab.assert_never_been(&story);
            }
        }
    }
}

#[test]
fn giving_up_at_any_call_of_create_leaves_nothing_behind() {
    for (name, lab, spec) in labs() {
        for (number, call) in (1..).zip(calls_of_create(lab, spec)) {
            for when in BOTH {
                let story = format!("{name}, {when:?} {call}");
                let lab = lab();
                drive(async {
                    let (core, fake) = lab.process();
                    let pause = fake.pause(At::Call(number), when);
                    let (handle, cancel) = Cancel::new();
                    let spec = spec();
                    let mut silent = Silent;
                    let making = core.acquire(&spec, Exists::Refuse, &mut silent, &cancel);
                    let giving_up = async {
                        pause.reached().await;
                        handle.cancel();
                        pause.release();
                    };
                    match tokio::join!(making, giving_up).0 {
                        Err(SessionError::Cancelled) => {}
                        other => panic!("{story}: {other:?}"),
                    }
                });
                lab.assert_never_been(&story);
            }
        }
    }
}

#[test]
fn removing_goes_on_past_an_error_and_says_what_is_left_until_it_is_gone() {
    let lab = Lab::new();
    drive(async {
        drop(acquire(&lab.process().0, &machine("ann", "web")).await);
        let (core, fake) = lab.process();
        fake.fail(At::Named("remove_container", 1), When::After, refusal);
        let error =
            core.destroy(&key("ann", "web"), Reason::Stop, &mut Silent).await.expect_err("one step fails");
        let SessionError::NotRemoved { failures, .. } = &error else { panic!("{error}") };
        assert_eq!(failures.len(), 1, "{failures:?}");
        // The network was removed nevertheless, and the row still tells of the container.
        assert_eq!(lab.fake.world().networks, []);
        assert_eq!(core.store.all().expect("rows").len(), 1);
        // Nobody gets into a half-removed session; whoever wants one gets a new one.
        assert!(core.try_join(&key("ann", "web")).expect("look").is_none());
        clean_up(&lab).await;
    });
    lab.assert_nothing_left("after the second attempt");
}
