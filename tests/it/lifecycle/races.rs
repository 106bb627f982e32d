//! Several processes at once.

use podspawn::session::{Cancel, Exists, Reason, Report, SessionError, Silent, Step};
use podspawn_runtimes::testing::{At, When};
use podspawn_runtimes::{ContainerSpec, Engine, EngineError};

use super::lab::{IMAGE, Lab, acquire, drive, key, machine, throwaway, try_acquire};

#[test]
fn two_processes_that_make_the_same_machine_get_one() {
    let lab = Lab::new();
    drive(async {
        let ((one, fake), (two, _)) = (lab.process(), lab.process());
        let pause = fake.pause(At::Named("create_container", 1), When::Before);
        let spec = machine("ann", "web");
        let second = async {
            pause.reached().await;
            // The other one holds the lock: this waits for it.
            let (mut steps, never) = (Steps::default(), Cancel::never());
            let joining = two.acquire(&spec, Exists::Join, &mut steps, &never);
            let (joined, ()) = tokio::join!(joining, async {
                assert!(two.try_join(&spec.key).expect("a quick look").is_none(), "it is not ready yet");
                pause.release();
            });
            (joined.expect("the second joins"), steps.0)
        };
        let (first, (second, steps)) = tokio::join!(try_acquire(&one, &spec), second);
        let first = first.expect("the first makes it");
        assert!(first.created && !second.created);
        assert_eq!(first.session.record.id, second.session.record.id);
        assert_eq!(lab.fake.world().containers.len(), 1);
        assert_eq!(one.leases().count(&first.session.record.id).expect("leases"), 2);
        let waited = format!("Waiting {{ pid: Some({}) }}", std::process::id());
        assert_eq!(steps, [waited], "who waits is told for whom");
    });
}

#[derive(Default)]
struct Steps(Vec<String>);

impl Report for Steps {
    fn step(&mut self, step: Step<'_>) {
        self.0.push(format!("{step:?}"));
    }
}

#[test]
fn a_removal_waits_for_the_making_and_then_removes_all_of_it() {
    let lab = Lab::new();
    drive(async {
        let ((one, fake), (two, _)) = (lab.process(), lab.process());
        let pause = fake.pause(At::Named("start_container", 1), When::After);
        let spec = machine("ann", "web");
        let removing = async {
            pause.reached().await;
            let key = key("ann", "web");
            let mut silent = Silent;
            let (removed, ()) =
                tokio::join!(two.destroy(&key, Reason::Stop, &mut silent), async { pause.release() });
            removed.expect("destroy").expect("there was one")
        };
        let (made, _) = tokio::join!(try_acquire(&one, &spec), removing);
        assert!(one.release(made.expect("made").session).await.is_ok());
    });
    lab.assert_nothing_left("made, then removed");
}

#[test]
fn a_making_waits_for_the_removal_and_then_makes_a_new_one() {
    let lab = Lab::new();
    drive(async {
        let spec = machine("ann", "web");
        let first = acquire(&lab.process().0, &spec).await.record;
        let ((one, fake), (two, _)) = (lab.process(), lab.process());
        let pause = fake.pause(At::Named("remove_network", 1), When::Before);
        let making = async {
            pause.reached().await;
            let (made, ()) = tokio::join!(try_acquire(&two, &spec), async { pause.release() });
            made.expect("made").session
        };
        let mut silent = Silent;
        let (removed, made) = tokio::join!(one.destroy(&first.key, Reason::Stop, &mut silent), making);
        assert_eq!(removed.expect("destroy").expect("there was one").record.id, first.id);
        assert_ne!(made.record.id, first.id);
        let world = lab.fake.world();
        assert_eq!((world.containers.len(), world.networks.len()), (1, 1));
        assert_eq!(world.containers[0].info.id, made.record.container_id);
    });
}

#[test]
fn a_name_that_the_engine_still_keeps_for_a_dead_process_is_waited_for_and_freed() {
    let lab = Lab::new();
    drive(async {
        let ((core, fake), (_, dead)) = (lab.process(), lab.process());
        let spec = machine("ann", "web");
        let name = spec.key.container_name();
        // The engine has taken the name, and shows no container yet.
        let taken = name.clone();
        let conflict = move || EngineError::Conflict { action: "create container".into(), name: taken };
        fake.fail(At::Named("create_container", 1), When::Before, conflict);
        let looking = fake.pause(At::Named("container", 1), When::After);
        let late = async {
            looking.reached().await;
            let labels = [
                ("podspawn-installation", core.store.installation()),
                ("podspawn-session", "of the dead process"),
            ];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let container = ContainerSpec { name, image: IMAGE.into(), labels, ..ContainerSpec::default() };
            let made = dead.create_container(&container).await.expect("the engine finishes it");
            looking.release();
            made.id
        };
        let (made, late) = tokio::join!(try_acquire(&core, &spec), late);
        let record = made.expect("made").session.record;
        assert_ne!(record.container_id, late);
        let world = lab.fake.world();
        assert_eq!(world.containers.len(), 1, "what came late is gone");
        assert_eq!(world.containers[0].info.id, record.container_id);
    });
}

#[test]
fn a_network_that_the_engine_made_late_for_a_dead_process_does_not_keep_the_container_from_starting() {
    let lab = Lab::new();
    drive(async {
        let (core, fake) = lab.process();
        let spec = machine("ann", "web");
        let (name, installation) = (spec.key.network_name(), core.store.installation().to_owned());
        let world = lab.fake.clone();
        // Docker finds the container's network by its name.
        fake.fail(At::Named("start_container", 1), When::Before, move || {
            world.change(|world| {
                let mut late = world.networks[0].clone();
                late.id = "late".into();
                late.labels.insert("podspawn-session".into(), "of the dead process".into());
                world.networks.push(late);
            });
            let message = "network is ambiguous (2 matches found on name)".into();
            EngineError::Engine { action: "start container".into(), status: Some(400), message }
        });
        let made = try_acquire(&core, &spec).await.expect("made").session;
        let networks = lab.fake.world().networks;
        assert_eq!(networks.len(), 1);
        assert_eq!((&networks[0].id, &networks[0].name), (&made.record.network_id, &name));
        assert_eq!(networks[0].labels["podspawn-installation"], installation);
    });
}

#[test]
fn nobody_waits_for_a_pull_of_the_same_user() {
    let lab = Lab::new();
    drive(async {
        lab.fake.add_to_registry("example.org/slow:1");
        let ((one, fake), (two, _)) = (lab.process(), lab.process());
        let pause = fake.pause(At::Named("pull", 1), When::Before);
        let mut slow = machine("ann", "slow");
        slow.image = "example.org/slow:1".parse().expect("an image");
        let quick = async {
            pause.reached().await;
            drop(acquire(&two, &machine("ann", "quick")).await);
            pause.release();
        };
        let (made, ()) = tokio::join!(try_acquire(&one, &slow), quick);
        assert!(made.expect("made").created);
        assert_eq!(lab.fake.world().containers.len(), 2);
    });
}

#[test]
fn an_image_that_does_not_exist_is_refused_before_anything_is_made() {
    let lab = Lab::new();
    drive(async {
        let (core, fake) = lab.process();
        let mut spec = machine("ann", "web");
        spec.image = "example.org/nothing:1".parse().expect("an image");
        let error = try_acquire(&core, &spec).await.expect_err("there is no such image");
        assert!(error.to_string().contains("manifest unknown"), "the registry's answer is in: {error}");
        let calls: Vec<_> = fake.calls().iter().map(|call| call.name).collect();
        assert_eq!(calls, ["image", "pull"]);
    });
    lab.assert_nothing_left("refused");
}

#[test]
fn giving_up_a_pull_ends_it_at_once() {
    let lab = Lab::new();
    drive(async {
        lab.fake.add_to_registry("example.org/slow:1");
        let (core, fake) = lab.process();
        let pause = fake.pause(At::Named("pull", 1), When::Before);
        let mut spec = machine("ann", "web");
        spec.image = "example.org/slow:1".parse().expect("an image");
        let (handle, cancel) = Cancel::new();
        let mut silent = Silent;
        let (made, ()) = tokio::join!(core.acquire(&spec, Exists::Join, &mut silent, &cancel), async {
            pause.reached().await;
            // The pull is never let go on.
            handle.cancel();
        });
        assert!(matches!(made, Err(SessionError::Cancelled)), "{made:?}");
    });
    lab.assert_nothing_left("given up");
}

#[test]
fn a_name_in_use_is_refused_where_a_new_one_is_wanted() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        let held = acquire(&core, &throwaway("ann", "web")).await;
        let again =
            core.acquire(&throwaway("ann", "web"), Exists::Refuse, &mut Silent, &Cancel::never()).await;
        assert!(matches!(&again, Err(SessionError::InUse { name }) if name == "web"), "{again:?}");
        drop(held);
        // What its process left is no obstacle.
        let again =
            core.acquire(&throwaway("ann", "web"), Exists::Refuse, &mut Silent, &Cancel::never()).await;
        assert!(again.expect("made").created);
    });
}

#[test]
fn joining_a_running_machine_asks_the_engine_nothing() {
    let lab = Lab::new();
    drive(async {
        drop(acquire(&lab.process().0, &machine("ann", "web")).await);
        let (core, fake) = lab.process();
        let session = core.try_join(&key("ann", "web")).expect("join").expect("it runs");
        assert_eq!(session.record.image, IMAGE);
        assert!(core.try_release(session).is_none(), "a machine stays");
        assert_eq!(fake.calls(), []);
        assert!(core.try_join(&key("ann", "other")).expect("join").is_none());
        assert!(core.try_join(&key("bob", "web")).expect("join").is_none());
    });
}

#[test]
fn a_session_of_another_engine_is_left_alone() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        drop(acquire(&core, &machine("ann", "web")).await);
        // The same state, and now somebody says `--runtime podman`.
        let other = Lab::with_facts(|facts| facts.endpoint = "/run/other.sock".into());
        let (mut elsewhere, fake) = other.process();
        std::mem::swap(&mut elsewhere.store, &mut lab.process().0.store);
        let error =
            elsewhere.destroy(&key("ann", "web"), Reason::Stop, &mut Silent).await.expect_err("wrong engine");
        assert!(error.to_string().contains("/run/fake.sock"), "{error}");
        assert_eq!(fake.calls(), []);
        assert!(elsewhere.cleanup().await.expect("clean up").is_empty());
        assert_eq!(lab.fake.world().containers.len(), 1);
        assert!(elsewhere.try_join(&key("ann", "web")).expect("join").is_some(), "it is as it was");
    });
}
