//! Services are ready before anybody gets in, and a session without them is none.

use std::time::{Duration, Instant};

use podspawn::names::ServiceName;
use podspawn::session::{
    Cancel, Exists, Filter, Listed, Report, ServiceProblem, ServiceState, SessionError, Silent, Step,
};
use podspawn_runtimes::{Engine, EngineKind, ExecOutput, LogOptions};

use super::lab::{Place, Told, drive};

/// Asks a service for its line, from inside the session.
pub(super) fn ask(name: &str, port: u16) -> String {
    format!("exec bash -c 'exec 3<>/dev/tcp/{name}/{port} && cat <&3'")
}

on_engines! {
    [docker, podman, gvisor; soak: docker26]
    fn services_are_found_by_name_and_are_ready_before_anybody_gets_in(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services =
                vec![place.service("late", "late", &[7000]).await, place.service("greeter", "greeter", &[7000]).await];
            let mut told = Told::default();
            let began = Instant::now();
            let made = place.core.acquire(&spec, Exists::Join, &mut told, &Cancel::never()).await.expect("a session");
            // The wait is needed: that image opens its port four seconds after its start.
            assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
            let record = made.session.record.clone();
            assert_eq!(place.inside(&record.container_id, &ask("late", 7000)).await, "hello from the late");
            assert_eq!(place.inside(&record.container_id, &ask("greeter", 7000)).await, "hello from the greeter");
            assert_eq!(told.lines(), ["starting late", "starting greeter", "ready greeter", "ready late"]);

            let services = place.core.services(&record).await.expect("services");
            let seen: Vec<_> = services.iter().map(|one| (one.name.as_str(), one.state)).collect();
            assert_eq!(seen, [("late", ServiceState::Ready), ("greeter", ServiceState::Ready)]);
            for service in &services {
                let found = place.engine().container(&service.container_id).await.expect("inspect").expect("there");
                assert_eq!(found.ports, [], "nothing of a service is published");
                assert_eq!(found.name, format!("podspawn-{}-web.{}", place.user, service.name));
            }
            let kind = place.engine().facts().kind;
            if kind != EngineKind::Docker {
                // Names do not depend on the engine's name service.
                let known = "awk '$2 ~ /^(late|greeter)$/ { print $2 }' /etc/hosts";
                assert_eq!(place.inside(&record.container_id, known).await, "late\ngreeter");
            }
            if kind != EngineKind::Gvisor {
                // A service finds its siblings too.
                let late = &services[0].container_id;
                assert_eq!(place.inside(late, &ask("greeter", 7000)).await, "hello from the greeter");
            }
            drop(made);
            place.destroy(&spec).await;
            assert_eq!(place.objects().await, (0, 0, 0));
        });
    }
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn a_service_that_ends_fails_the_session_at_once_and_leaves_nothing(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services =
                vec![place.service("greeter", "greeter", &[7000]).await, place.service("db", "broken", &[5432]).await];
            let began = Instant::now();
            let error = place.try_acquire(&spec).await.expect_err("the second service fails");
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
            let SessionError::Service { name, problem: ServiceProblem::Ended { code, log }, .. } = &error else {
                panic!("{error}: {error:?}");
            };
            assert_eq!((name.as_str(), *code, log.as_str()), ("db", Some(3), "out of luck"));
            let text = error.to_string();
            assert!(text.contains("`db`") && text.contains("status 3") && text.contains("out of luck"), "{text}");
            assert_eq!(place.objects().await, (0, 0, 0));
            assert_eq!(place.core.store.all().expect("rows"), []);
        });
    }

    [docker, podman; soak: gvisor]
    fn a_missing_image_of_a_service_is_told_before_anything_is_made(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            let mut service = place.service("db", "greeter", &[]).await;
            service.image = "127.0.0.1:1/no/such:1".parse().expect("an image");
            spec.environment.services = vec![service];
            let error = place.try_acquire(&spec).await.expect_err("no such image").to_string();
            assert!(error.contains("127.0.0.1:1/no/such:1"), "{error}");
            assert_eq!(place.objects().await, (0, 0, 0));
        });
    }

    [docker; soak: podman]
    fn giving_up_while_a_port_stays_closed_leaves_nothing(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services = vec![place.service("db", "never", &[5432]).await];
            let (handle, cancel) = Cancel::new();
            let giving_up = async {
                tokio::time::sleep(Duration::from_secs(6)).await;
                handle.cancel();
            };
            let mut silent = Silent;
            let making = place.core.acquire(&spec, Exists::Join, &mut silent, &cancel);
            let (made, ()) = tokio::join!(making, giving_up);
            assert!(matches!(made, Err(SessionError::Cancelled)), "{made:?}");
            assert_eq!(place.objects().await, (0, 0, 0));
        });
    }
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn a_service_is_seen_and_heard_while_its_session_waits_for_it(engine: EngineName) {
        /// Tells when the wait begins.
        struct Waiting(tokio::sync::mpsc::UnboundedSender<()>);

        impl Report for Waiting {
            fn step(&mut self, step: Step<'_>) {
                if let Step::AwaitingServices { .. } = step {
                    let _ = self.0.send(());
                }
            }
        }

        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services = vec![
                place.service("db", "never", &[5432]).await,
                place.service("plain", "never", &[]).await,
            ];
            let (handle, cancel) = Cancel::new();
            let (begun, mut waits) = tokio::sync::mpsc::unbounded_channel();
            let looking = async {
                waits.recv().await.expect("it waits");
                let record = place.core.store.find(&spec.key).expect("the store").expect("a row");
                let services = place.core.services(&record).await.expect("services");
                let states: Vec<_> = services.iter().map(|one| (one.name.as_str(), one.state)).collect();
                assert_eq!(states, [("db", ServiceState::Starting), ("plain", ServiceState::Ready)]);
                let db = "db".parse::<ServiceName>().expect("a name");
                assert!(place.core.logs(&record, Some(&db), LogOptions::default()).await.is_ok());
                let mut listed: Vec<_> = place.core.list(&Filter::default()).expect("a list").iter()
                    .map(|view| Listed::new(view, record.created_at)).collect();
                place.core.measure(&mut listed).await;
                assert_eq!(listed[0].services[0].state, ServiceState::Starting);
                handle.cancel();
            };
            let mut waiting = Waiting(begun);
            let making = place.core.acquire(&spec, Exists::Join, &mut waiting, &cancel);
            let (made, ()) = tokio::join!(making, looking);
            assert!(matches!(made, Err(SessionError::Cancelled)), "{made:?}");
            assert_eq!(place.objects().await, (0, 0, 0));
        });
    }

    [; soak: docker]
    fn a_port_that_never_opens_is_named_with_what_its_service_said(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services = vec![place.service("db", "never", &[5432, 5433]).await];
            let error = place.try_acquire(&spec).await.expect_err("its ports stay closed").to_string();
            assert!(error.contains("did not open ports 5432, 5433 within 60 s"), "{error}");
            assert!(error.contains("no port today"), "{error}");
            assert_eq!(place.objects().await, (0, 0, 0));
        });
    }

    [docker, podman; soak: gvisor]
    fn a_health_check_is_waited_for(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services = vec![place.service("db", "checked", &[]).await];
            let session = place.acquire(&spec).await;
            let services = place.core.services(&session.record).await.expect("services");
            assert_eq!(services[0].state, ServiceState::Ready);
            let db = &services[0].container_id;
            assert_eq!(place.inside(db, "test -e /healthy && echo healthy").await, "healthy");
        });
    }
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn a_services_output_is_shown_and_an_unknown_service_names_the_known(engine: EngineName) {
        use futures_util::StreamExt;
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services = vec![place.service("greeter", "greeter", &[7000]).await];
            let session = place.acquire(&spec).await;
            let named = |name: &str| name.parse::<ServiceName>().expect("a name");
            let greeter = named("greeter");
            let logs = place.core.logs(&session.record, Some(&greeter), LogOptions::default()).await.expect("logs");
            let mut text = String::new();
            let mut logs = std::pin::pin!(logs);
            while let Some(piece) = logs.next().await {
                let (ExecOutput::Stdout(piece) | ExecOutput::Stderr(piece)) = piece.expect("output");
                text.push_str(&String::from_utf8_lossy(&piece));
            }
            assert_eq!(text.trim(), "listening on 7000");
            let none = named("none");
            let error = place.core.logs(&session.record, Some(&none), LogOptions::default()).await.err().expect("none");
            assert_eq!(error.to_string(), "`web` has no service `none`; it has greeter");
        });
    }
}
