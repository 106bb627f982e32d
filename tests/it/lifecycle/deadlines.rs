//! Grace, lifetime, modes, and what cleanup does about them.

use podspawn::session::{Filter, Reason, Released, Silent};
use podspawn::spec::{Limits, Mode};
use podspawn::state::{Object, ObjectKind, Status};
use podspawn_runtimes::testing::{At, When};
use podspawn_runtimes::{ContainerState, EngineError, Labels, VolumeInfo};

use super::lab::{Lab, acquire, drive, key, machine, session, throwaway};

/// How long a pass waits for a lock here.
const SHORT: std::time::Duration = std::time::Duration::from_millis(20);

#[test]
fn a_session_is_kept_for_its_grace_period_and_then_removed() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        let first = acquire(&core, &session("ann", "web", Mode::GracePeriod)).await;
        let id = first.record.id.clone();
        let Released::Grace(until) = core.release(first).await.expect("release") else { panic!("no grace") };
        assert_eq!(until.as_second() - lab.fake.world().now, 60);
        assert_eq!(core.store.all().expect("rows")[0].status, Status::GracePeriod);

        lab.pass(59);
        assert!(core.cleanup().await.expect("clean up").is_empty());
        let again = acquire(&core, &session("ann", "web", Mode::GracePeriod)).await;
        assert_eq!(again.record.id, id, "the same session");
        assert_eq!(again.record.grace_expiry, None);
        lab.pass(1000);
        assert!(core.cleanup().await.expect("clean up").is_empty(), "somebody is connected");

        assert!(matches!(core.release(again).await, Ok(Released::Grace(_))));
        lab.pass(60);
        let report = core.cleanup().await.expect("clean up");
        assert_eq!((report.grace_expired, report.failures.len()), (1, 0));
    });
    lab.assert_nothing_left("after grace");
}

#[test]
fn a_connect_after_the_grace_period_gets_a_new_container() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        let spec = session("ann", "web", Mode::GracePeriod);
        let first = acquire(&core, &spec).await;
        let id = first.record.id.clone();
        assert!(matches!(core.release(first).await, Ok(Released::Grace(_))));
        lab.pass(61);
        let second = acquire(&core, &spec).await;
        assert_ne!(second.record.id, id);
        assert_eq!(lab.fake.world().containers.len(), 1);
    });
}

#[test]
fn the_grace_period_begins_with_the_last_of_several_connections() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        let spec = session("ann", "web", Mode::GracePeriod);
        let (first, second) = (acquire(&core, &spec).await, acquire(&core, &spec).await);
        assert_eq!(first.record.id, second.record.id);
        assert_eq!(core.leases().count(&first.record.id).expect("leases"), 2);
        assert_eq!(core.release(first).await.expect("release"), Released::Stayed);
        assert!(matches!(core.release(second).await, Ok(Released::Grace(_))));
    });
}

#[test]
fn a_connection_that_ended_without_a_word_starts_the_grace_period_at_the_next_look() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        // A process that is killed drops its lease and says nothing.
        drop(acquire(&core, &session("ann", "web", Mode::GracePeriod)).await);
        let report = core.cleanup().await.expect("clean up");
        assert_eq!(report.grace_started, 1);
        assert_eq!(core.store.all().expect("rows")[0].status, Status::GracePeriod);
        lab.pass(60);
        assert_eq!(core.cleanup().await.expect("clean up").grace_expired, 1);
    });
    lab.assert_nothing_left("after grace");
}

#[test]
fn a_removal_that_failed_is_due_until_it_is_done() {
    let lab = Lab::new();
    drive(async {
        let (core, fake) = lab.process();
        let spec = session("ann", "web", Mode::Persistent);
        assert!(core.release(acquire(&core, &spec).await).await.is_ok());
        assert_eq!(core.next_deadline(None).expect("deadlines"), None);
        fake.fail(At::Named("remove_container", 1), When::Before, || EngineError::Unreachable {
            engine: "Docker",
            endpoint: "unix:///nowhere".into(),
            reason: "away".into(),
        });
        core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect_err("the engine is away");
        let due = core.next_deadline(None).expect("deadlines").expect("one");
        assert!(due.as_second() <= lab.fake.world().now);
        // Whoever tries again says since when; until then nothing else is due.
        assert_eq!(core.next_deadline(Some(due)).expect("deadlines"), None);
        assert_eq!(core.expire(SHORT).await.expect("a pass").unfinished, 1);
        assert_eq!(core.next_deadline(None).expect("deadlines"), None);
    });
    lab.assert_nothing_left("after the second try");
}

#[test]
fn a_pass_does_not_wait_long_for_whoever_works_for_a_user() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        drop(acquire(&core, &session("ann", "web", Mode::GracePeriod)).await);
        drop(acquire(&core, &session("bob", "web", Mode::GracePeriod)).await);
        let at_work = core.locks().try_lock(&"ann".parse().expect("a name")).expect("a lock");
        let report = core.expire(SHORT).await.expect("a pass");
        assert_eq!((report.grace_started, report.failures.len()), (1, 1), "{report:?}");
        drop(at_work);
        // Whoever has waited in vain may hold it for an instant.
        let report = core.expire(std::time::Duration::from_secs(60)).await.expect("a pass");
        assert_eq!((report.grace_started, report.failures.len()), (1, 0), "{report:?}");
    });
}

#[test]
fn volumes_of_a_user_who_is_called_guest_are_no_guests_of_another_version() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        let ours = |user: Option<&str>| {
            let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let mut labels = Labels::from([label("podspawn-installation", core.store.installation())]);
            labels.extend(user.map(|user| label("podspawn-user", user)));
            labels
        };
        let made = [
            ("podspawn-guest-api.data", Some("guest"), true),
            ("podspawn-guest-0123456789abcdef", Some("guest"), true),
            ("podspawn-guest-api", None, true),
            ("podspawn-guest-0123456789abcdee", None, false),
        ];
        lab.fake.change(|world| {
            world
                .volumes
                .extend(made.map(|(name, user, _)| VolumeInfo { name: name.into(), labels: ours(user) }));
        });
        core.cleanup().await.expect("clean up");
        let left: Vec<String> = lab.fake.world().volumes.into_iter().map(|volume| volume.name).collect();
        let stay = made.iter().filter(|(.., stays)| *stays).map(|(name, ..)| (*name).to_owned());
        assert_eq!(left, stay.collect::<Vec<_>>());
    });
}

#[test]
fn destroy_on_disconnect_and_a_grace_of_zero_remove_at_once() {
    for (mode, grace) in [(Mode::DestroyOnDisconnect, 60), (Mode::GracePeriod, 0)] {
        let lab = Lab::new();
        drive(async {
            let (core, _) = lab.process();
            let mut spec = session("ann", "web", mode);
            spec.grace_period = std::time::Duration::from_secs(grace);
            let connection = acquire(&core, &spec).await;
            assert_eq!(core.release(connection).await.expect("release"), Released::Destroyed);
        });
        lab.assert_nothing_left(mode.as_str());
    }
}

#[test]
fn the_lifetime_ends_a_session_even_with_connections_and_also_at_the_next_connect() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        let spec = session("ann", "web", Mode::GracePeriod);
        let held = acquire(&core, &spec).await;
        lab.pass(8 * 3600);
        let fresh = acquire(&core, &spec).await;
        assert_ne!(
            fresh.record.id, held.record.id,
            "no cleanup ran, and the old session is over all the same"
        );
        lab.pass(8 * 3600);
        assert_eq!(core.cleanup().await.expect("clean up").lifetime_expired, 1);
        // Both connections are still there and harm nothing.
        assert_eq!(core.release(held).await.expect("release"), Released::Destroyed);
        assert_eq!(core.release(fresh).await.expect("release"), Released::Destroyed);
        assert!(core.cleanup().await.expect("clean up").is_empty());
    });
    lab.assert_nothing_left("after its lifetime");
}

#[test]
fn persistent_sessions_and_machines_have_no_deadline() {
    for spec in [session("ann", "web", Mode::Persistent), machine("ann", "web")] {
        let lab = Lab::new();
        drive(async {
            let (core, _) = lab.process();
            let connection = acquire(&core, &spec).await;
            assert_eq!(connection.record.max_lifetime, None);
            assert_eq!(core.release(connection).await.expect("release"), Released::Stayed);
            lab.pass(1_000_000);
            assert!(core.cleanup().await.expect("clean up").is_empty());
            assert!(core.try_join(&spec.key).expect("join").is_some());
        });
    }
}

#[test]
fn a_throwaway_machine_goes_with_the_process_that_made_it() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        let connection = acquire(&core, &throwaway("ann", "web")).await;
        assert!(core.cleanup().await.expect("clean up").is_empty(), "it is in use");
        assert_eq!(core.release(connection).await.expect("release"), Released::Destroyed);
        lab.assert_nothing_left("released");
        drop(acquire(&core, &throwaway("ann", "web")).await);
        assert_eq!(core.cleanup().await.expect("clean up").abandoned, 1);
        lab.assert_nothing_left("killed, then cleaned up");
        // Or whoever of that user makes something next removes it.
        drop(acquire(&core, &throwaway("ann", "web")).await);
        drop(acquire(&core, &machine("ann", "other")).await);
        assert_eq!(lab.fake.world().containers.len(), 1);
        core.destroy(&key("ann", "other"), Reason::Stop, &mut Silent).await.expect("destroy");
    });
    lab.assert_nothing_left("killed, then passed by");
}

#[test]
fn a_stopped_machine_is_started_again_and_a_stopped_session_is_replaced() {
    for (spec, restarted) in [
        (machine("ann", "web"), true),
        (session("ann", "web", Mode::Persistent), true),
        (session("ann", "web", Mode::GracePeriod), false),
    ] {
        let lab = Lab::new();
        drive(async {
            let (core, _) = lab.process();
            let first = acquire(&core, &spec).await;
            let record = first.record.clone();
            assert!(core.release(first).await.is_ok());
            // As after a reboot of the host.
            lab.fake.end_container(&record.container_id, 137);
            let mut stale = record.clone();
            stale.process.as_mut().expect("a process").start_time += 1;
            core.store.update(&stale).expect("update");
            assert!(core.try_join(&spec.key).expect("look").is_none(), "nobody gets into what does not run");
            let again = acquire(&core, &spec).await;
            assert_eq!(again.record.id == record.id, restarted);
            let world = lab.fake.world();
            assert_eq!(world.containers.len(), 1);
            assert_eq!(world.containers[0].info.state, ContainerState::Running);
            assert_eq!(world.containers[0].info.id == record.container_id, restarted);
            assert_eq!(again.record.process, record.process, "the fake's containers all have this process");
        });
    }
}

#[test]
fn a_row_whose_container_is_gone_disappears_in_every_mode() {
    for spec in [
        machine("ann", "web"),
        session("ann", "web", Mode::Persistent),
        session("ann", "web", Mode::GracePeriod),
    ] {
        let lab = Lab::new();
        drive(async {
            let (core, _) = lab.process();
            let connection = acquire(&core, &spec).await;
            let id = connection.record.container_id.clone();
            lab.fake.change(|world| world.containers.retain(|container| container.info.id != id));
            // The process that the row names is alive (it is this one), as a reused pid would be; the lists tell.
            let mut stale = connection.record.clone();
            stale.process = None;
            core.store.update(&stale).expect("update");
            let report = core.cleanup().await.expect("clean up");
            assert_eq!(report.gone, 1, "{report:?}");
            assert!(core.release(connection).await.is_ok());
        });
        lab.assert_nothing_left("after cleanup");
    }
}

#[test]
fn orphans_go_when_they_are_old_enough_and_only_those_of_this_installation() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        drop(acquire(&core, &machine("ann", "web")).await);
        let id = core.store.all().expect("rows")[0].id.clone();
        // As if the database had been lost: the row is gone, the container is not.
        core.store.delete(&id).expect("delete");
        lab.fake.change(|world| {
            let mut other = world.containers[0].clone();
            other.info.id = "f00d".repeat(16);
            other.info.name = "podspawn-someone-else".into();
            other.networks.clear();
            other.info.labels.insert("podspawn-installation".into(), "another".into());
            let mut tried = other.clone();
            tried.info.id = "cafe".repeat(16);
            tried.info.name = "podspawn-verify-1".into();
            let ours = world.containers[0].info.labels.clone();
            tried.info.labels = ours;
            tried.info.labels.insert("podspawn-session".into(), "verify-image-1".into());
            world.containers.extend([other, tried]);
        });
        assert!(core.cleanup().await.expect("clean up").is_empty(), "they are too young");
        assert_eq!(core.orphans().await.expect("look"), Vec::<String>::new());
        lab.pass(60);
        // `verify-image` never has a row, and a lease as long as it works with its container.
        let lease = core.leases().take("verify-image-1").expect("a lease");
        let connected = core.leases().take(&id).expect("a lease");
        assert_eq!(core.orphans().await.expect("look"), ["podspawn-ann-web"], "only looked at");
        let report = core.cleanup().await.expect("clean up");
        assert_eq!(report.orphans_removed, 2, "container and network: {report:?}");
        let left: Vec<_> = lab.fake.world().containers.iter().map(|c| c.info.name.clone()).collect();
        assert_eq!(left, ["podspawn-someone-else", "podspawn-verify-1"]);
        drop(connected);
        lease.end();
        assert_eq!(core.cleanup().await.expect("clean up").orphans_removed, 1);
        let left: Vec<_> = lab.fake.world().containers.iter().map(|c| c.info.name.clone()).collect();
        assert_eq!(left, ["podspawn-someone-else"]);
        assert_eq!(core.orphans().await.expect("look"), Vec::<String>::new());
    });
}

#[test]
fn what_an_engine_finished_after_its_caller_died_does_not_stand_in_the_way() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        drop(acquire(&core, &machine("ann", "web")).await);
        let id = core.store.all().expect("rows")[0].id.clone();
        core.store.delete(&id).expect("delete");
        // The name of the container is taken by what the dead process left.
        let again = acquire(&core, &machine("ann", "web")).await;
        let world = lab.fake.world();
        assert_eq!(world.containers.len(), 1);
        assert_eq!(world.containers[0].info.id, again.record.container_id);
        lab.pass(60);
        assert_eq!(core.cleanup().await.expect("clean up").orphans_removed, 1, "the old network");
        assert_eq!(lab.fake.world().networks.len(), 1);
    });
}

#[test]
fn a_container_of_somebody_else_is_never_taken_over_or_removed() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        drop(acquire(&core, &machine("ann", "web")).await);
        let id = core.store.all().expect("rows")[0].id.clone();
        core.store.delete(&id).expect("delete");
        lab.fake.change(|world| {
            world.containers[0].info.labels.insert("podspawn-installation".into(), "another".into());
        });
        let error =
            super::lab::try_acquire(&core, &machine("ann", "web")).await.expect_err("the name is taken");
        assert!(error.to_string().contains("does not belong to this session"), "{error}");
        assert_eq!(lab.fake.world().containers.len(), 1);
        assert_eq!(core.store.all().expect("rows"), []);
    });
}

#[test]
fn the_guest_of_another_version_goes_and_the_one_in_use_stays() {
    let lab = Lab::with_facts(|facts| facts.local = false);
    drive(async {
        let (core, _) = lab.process();
        drop(acquire(&core, &machine("ann", "web")).await);
        let current = lab.fake.world().volumes[0].clone();
        lab.fake.change(|world| {
            let mut old = current.clone();
            old.name = "podspawn-guest-0123456789abcdef".into();
            let mut foreign = old.clone();
            foreign.name = "podspawn-guest-of-somebody-else".into();
            foreign.labels.clear();
            world.volumes.extend([old, foreign]);
        });
        assert!(core.cleanup().await.expect("clean up").failures.is_empty());
        let names: Vec<_> = lab.fake.world().volumes.into_iter().map(|volume| volume.name).collect();
        assert_eq!(names, [current.name.as_str(), "podspawn-guest-of-somebody-else"]);
    });
}

#[test]
fn a_pass_over_a_thousand_sessions_asks_the_engine_only_about_the_expired() {
    let lab = Lab::new();
    drive(async {
        let (core, _) = lab.process();
        let first = acquire(&core, &session("ann", "web", Mode::GracePeriod)).await;
        assert!(matches!(core.release(first).await, Ok(Released::Grace(_))));
        // A thousand like it; ten of them are past their grace period.
        let model = core.store.find(&key("ann", "web")).expect("find").expect("a row");
        let world = lab.fake.world();
        let (container, network) = (&world.containers[0], &world.networks[0]);
        let (mut containers, mut networks) = (Vec::new(), Vec::new());
        for number in 0..1000 {
            let mut record = model.clone();
            record.id = format!("{number}");
            record.key = key(&format!("u{number}"), "web");
            record.container_name = record.key.container_name();
            record.container_id = format!("c{number}");
            if number % 100 == 0 {
                record.grace_expiry = Some(record.created_at);
            }
            let object = |kind, name, id: &str| Object { kind, name, id: Some(id.into()) };
            let network_id = format!("n{number}");
            let objects = [
                object(ObjectKind::Container, record.container_name.clone(), &record.container_id),
                object(ObjectKind::Network, record.key.network_name(), &network_id),
            ];
            core.store.insert(&record, &objects, Limits::default()).expect("insert");
            let mut made = container.clone();
            made.info.id.clone_from(&record.container_id);
            made.info.name.clone_from(&record.container_name);
            made.info.labels.insert("podspawn-session".into(), record.id.clone());
            made.networks = vec![network_id.clone()];
            containers.push(made);
            let mut made = network.clone();
            made.id = network_id;
            made.labels.insert("podspawn-session".into(), record.id.clone());
            networks.push(made);
        }
        lab.fake.change(|world| {
            world.containers.append(&mut containers);
            world.networks.append(&mut networks);
        });
        let (core, fake) = lab.process();
        let report = core.cleanup().await.expect("clean up");
        assert_eq!((report.grace_expired, report.orphans_removed, report.gone), (10, 0, 0), "{report:?}");
        let calls = fake.calls().len();
        assert_eq!(calls, 3 + 10 * 2, "three lists, and a container and a network for each of the ten");
        let (core, fake) = lab.process();
        assert_eq!(core.list(&Filter::default()).expect("list").len(), 991);
        assert_eq!(fake.calls(), [], "a list asks the engine nothing");
    });
}
