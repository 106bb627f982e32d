//! Services live as long as their session, and volumes longer.

use podspawn::session::{Cancel, ServiceState, SessionError};
use podspawn::spec::PortBinding;
use podspawn_runtimes::{ContainerState, Engine, Labels};

use super::lab::{Place, Told, drive};
use super::ready::ask;

on_engines! {
    [docker, podman]
    fn a_service_has_the_hardening_and_the_limits_of_its_session(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services = vec![place.service("db", "database", &[5432]).await];
            let session = place.acquire(&spec).await;
            let look = "grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/1/status";
            let services = place.core.services(&session.record).await.expect("services");
            let of_session = place.inside_as(&session.record.container_id, Some("0"), look).await;
            let of_service = place.inside_as(&services[0].container_id, Some("0"), look).await;
            assert_eq!(of_service, of_session);
            assert!(of_service.contains("NoNewPrivs:\t1") && of_service.contains("Seccomp:\t2"), "{of_service}");
            // Root of the image prepared its data and stepped down under these capabilities.
            let who = place.inside_as(&services[0].container_id, Some("0"), "stat -c %u:%a /data; stat -c %u /proc/1").await;
            assert_eq!(who, "999:700\n999");
        });
    }
}

on_engines! {
    [docker; soak: podman]
    fn a_service_that_ended_runs_again_for_whoever_comes_next(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.environment.services = vec![place.service("greeter", "greeter", &[7000]).await];
            let session = place.acquire(&spec).await;
            let record = session.record.clone();
            drop(session);
            let greeter = record.service_ids[0].clone();
            place.engine().kill_container(&greeter, "SIGKILL").await.expect("kill it");
            place.engine().wait_container(&greeter).await.expect("it ends");
            let services = place.core.services(&record).await.expect("services");
            assert_eq!(services[0].state, ServiceState::Exited);
            assert!(place.core.try_join(&spec.key).expect("look").is_none(), "services want a look");
            let mut told = Told::default();
            let joined = place.core.join(&spec.key, &mut told, &Cancel::never()).await.expect("join").expect("it runs");
            assert_eq!(told.lines(), ["starting greeter", "ready greeter"]);
            // The next one need not look.
            assert!(place.core.try_join(&spec.key).expect("join").is_some());
            drop(joined);

            // As after a reboot: everything stands still.
            for container in record.service_ids.iter().chain([&record.container_id]) {
                place.engine().kill_container(container, "SIGKILL").await.expect("kill it");
                place.engine().wait_container(container).await.expect("it ends");
            }
            let mut told = Told::default();
            let joined = place.core.join(&spec.key, &mut told, &Cancel::never()).await.expect("join").expect("it runs");
            assert_eq!(told.lines(), ["starting greeter", "ready greeter"]);
            let state = place.engine().container(&greeter).await.expect("inspect").expect("there").state;
            assert_eq!(state, ContainerState::Running);
            assert_eq!(place.inside(&record.container_id, &ask("greeter", 7000)).await, "hello from the greeter");
            drop(joined);
            place.destroy(&spec).await;
            assert_eq!(place.objects().await, (0, 0, 0));
        });
    }
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn a_volume_outlives_its_session_and_cleanup_and_goes_by_name(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            let mut db = place.service("db", "database", &[5432]).await;
            db.volumes = vec![place.volume(&spec, "pgdata", "/data")];
            spec.environment.services = vec![db];
            let nested = format!("/home/{}/.cache/deep/er", spec.account.name);
            spec.environment.volumes =
                vec![place.volume(&spec, "cache", "/cache"), place.volume(&spec, "home", &nested)];
            let session = place.acquire(&spec).await;
            let user = spec.account.name.clone();
            let container = session.record.container_id.clone();
            let write = format!("id -u; echo kept > /cache/file && echo kept > {nested}/file && touch ~/.cache/x && echo ok");
            let wrote = place.inside_as(&container, Some(&user), &format!("HOME=/home/{user}; {write}")).await;
            assert_eq!(wrote, "1000\nok", "a new volume is its user's");
            drop(session);
            place.destroy(&spec).await;
            assert_eq!(place.objects().await, (0, 0, 3));
            let report = place.core.cleanup().await.expect("clean up");
            assert_eq!((report.orphans_removed, place.objects().await), (0, (0, 0, 3)));

            let session = place.acquire(&spec).await;
            let kept = format!("cat /cache/file {nested}/file");
            assert_eq!(place.inside(&session.record.container_id, &kept).await, "kept\nkept");
            let db = &session.record.service_ids[0];
            assert_eq!(place.inside_as(db, Some("0"), "wc -l < /data/starts").await, "2");
            let names = place.core.volumes_of(&spec.key).await.expect("volumes");
            assert_eq!(names.len(), 3, "{names:?}");
            assert!(place.core.remove_volumes(&spec.key.user, &names).await.is_err(), "they are in use");
            drop(session);
            place.destroy(&spec).await;
            let removed = place.core.remove_volumes(&spec.key.user, &names).await.expect("remove them");
            assert_eq!(removed, names);
            assert_eq!(place.core.remove_volumes(&spec.key.user, &names).await.expect("again"), Vec::<String>::new());
            assert_eq!(place.objects().await, (0, 0, 0));
        });
    }

    [docker; soak: podman]
    fn a_volume_of_somebody_else_is_never_used_or_removed(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            let volume = place.volume(&spec, "data", "/data");
            let labels = Labels::from([("podspawn-user".into(), place.user.clone())]);
            place.engine().create_volume(&volume.name, &labels).await.expect("make it");
            spec.environment.volumes = vec![volume.clone()];
            let error = place.try_acquire(&spec).await.expect_err("it is not ours");
            assert!(matches!(error, SessionError::Foreign { kind: "volume", .. }), "{error}");
            assert!(place.core.remove_volumes(&spec.key.user, &[volume.name]).await.is_err());
            assert_eq!(place.objects().await, (0, 0, 1));
        });
    }
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn ports_are_published_on_the_loopback_alone(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
            spec.environment.ports = vec![PortBinding { container: 8080, host: free }];
            let session = place.acquire(&spec).await;
            let ports = place.core.published_ports(&session.record).await.expect("ports");
            assert_eq!(ports, [PortBinding { container: 8080, host: free }]);
            let found = place.engine().container(&session.record.container_id).await.expect("inspect").expect("there");
            assert!(found.ports.iter().all(|port| port.host.ip().is_loopback()), "{:?}", found.ports);
            assert!(!podspawn::system::ports::is_free(free), "the engine holds it");
        });
    }
}
