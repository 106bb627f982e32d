//! The core with real engines and real guests, and a clock that a test sets.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use podspawn::session::attach::Guests;
use podspawn::session::{Cancel, Core, Dirs, Exists, Reason, Released, Session, Silent};
use podspawn::spec::{Mode, SessionSpec};
use podspawn::state::{AttachWay, Store};
use podspawn::system::SettableClock;
use podspawn_runtimes::{
    Chosen, ContainerState, Endpoint, Engine, EngineKind, ExecSpec, Facts, Labels, Runtime,
};
use tempfile::TempDir;

use super::lab::{drive, machine, session, throwaway};
use crate::harness::engines::{EngineName, fact};
use crate::harness::system::random_hex;

/// A state directory of its own and a user name of its own on a real engine.
pub struct Place {
    pub core: Core<Runtime, Guests>,
    clock: SettableClock,
    pub user: String,
    _dir: TempDir,
}

impl Place {
    async fn on(engine: EngineName) -> Self {
        Self::with(engine, 0, |_| ()).await
    }

    /// With a uid that podspawn believes to have, and facts that it believes of the engine.
    async fn with(engine: EngineName, uid: u32, believe: impl FnOnce(&mut Facts)) -> Self {
        let dir = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a temporary directory");
        // Another account's rootless engine mounts the guest's program from here.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let root = dir.path();
        let dirs =
            Dirs { locks: root.join("locks"), sessions: root.join("sessions"), guest: root.join("guest") };
        let kind = match engine {
            EngineName::Docker | EngineName::Docker26 | EngineName::Private => EngineKind::Docker,
            EngineName::Podman => EngineKind::Podman,
            EngineName::Gvisor => EngineKind::Gvisor,
        };
        let chosen = Chosen::at(kind, Endpoint::Unix(engine.socket().into()));
        let mut facts = Runtime::connect(&chosen).await.expect("the engine answers").facts().clone();
        believe(&mut facts);
        let runtime = Runtime::connect_known(&chosen, facts).expect("the engine is known");
        let clock = SettableClock::new(Timestamp::from_second(1_800_000_000).expect("a time"));
        let store = Store::open(&root.join("state.db")).expect("open the store");
        let core = Core::new(store, runtime, Guests, Arc::new(clock.clone()), dirs, uid);
        Self { core, clock, user: format!("t{}", &random_hex()[..10]), _dir: dir }
    }

    pub fn spec(&self, make: impl FnOnce(&str, &str) -> SessionSpec) -> SessionSpec {
        let mut spec = make(&self.user, "web");
        spec.image = fact("IMAGE_DEBIAN").parse().expect("an image");
        if self.core.engines.facts().kind == EngineKind::Gvisor {
            spec.security.runtime = Some("runsc".into());
        }
        spec
    }

    pub async fn acquire(&self, spec: &SessionSpec) -> Session {
        let made = self.core.acquire(spec, Exists::Join, &mut Silent, &Cancel::never()).await;
        made.unwrap_or_else(|error| panic!("{}", chain(&error))).session
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(jiff::SignedDuration::from_secs(seconds));
    }

    /// What a command inside prints.
    pub async fn inside(&self, session: &Session, command: &str) -> String {
        use futures_util::StreamExt;
        use podspawn_runtimes::ExecOutput;
        let argv = ["/bin/sh", "-c", command].map(String::from).into();
        let spec = ExecSpec { argv, ..ExecSpec::default() };
        let mut running =
            self.core.engines.exec(&session.record.container_id, &spec).await.expect("start a command");
        let mut text = Vec::new();
        while let Some(piece) = running.output.next().await {
            let (ExecOutput::Stdout(piece) | ExecOutput::Stderr(piece)) = piece.expect("output");
            text.extend_from_slice(&piece);
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// Asserts that this user has nothing left, in the engine or in the store.
    async fn assert_nothing_left(&self) {
        let labels = Labels::from([("podspawn-user".into(), self.user.clone())]);
        let engine = &self.core.engines;
        assert_eq!(engine.containers(&labels).await.expect("containers"), []);
        assert_eq!(engine.networks(&labels).await.expect("networks"), []);
        assert_eq!(engine.volumes(&labels).await.expect("volumes"), []);
        assert_eq!(self.core.store.all().expect("rows"), []);
        let left = std::fs::read_dir(&self.core.dirs.sessions).map_or(0, Iterator::count);
        assert_eq!(left, 0, "directories of sessions");
    }
}

impl Drop for Place {
    /// Removes what a failed test left.
    fn drop(&mut self) {
        let core = &self.core;
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                for record in core.store.all().unwrap_or_default() {
                    // The test has failed already; this is for the next one's sake.
                    let _ = core.destroy(&record.key, Reason::Stop, &mut Silent).await;
                }
            });
        });
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}

/// Runs a story with time to spare, on a runtime that lets [`Place`] clean up.
pub fn tell(engine: EngineName, story: impl AsyncFnOnce(&Place)) {
    tell_in(Place::on(engine), story);
}

fn tell_in(place: impl Future<Output = Place>, story: impl AsyncFnOnce(&Place)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let place = place.await;
        tokio::time::timeout(Duration::from_secs(180), story(&place)).await.expect("in time");
        place.assert_nothing_left().await;
    });
}

/// `real! { [docker, podman] fn name(place) { … } }`: one test per engine from one story.
macro_rules! real {
    ($( [$($engines:tt)+] fn $name:ident($place:ident) $body:block )+) => {$(
        mod $name {
            use super::*;
            async fn story($place: &Place) $body
            $crate::tests_on! { [$($engines)+] |engine| tell(engine, story) }
        }
    )+};
}

real! {
    [docker, docker26, podman, gvisor]
    fn a_machine_is_made_joined_and_removed_without_a_trace(place) {
        let spec = place.spec(machine);
        let first = place.acquire(&spec).await;
        let direct = place.core.engines.facts().direct_attach();
        assert_eq!(first.record.attach == AttachWay::Direct, direct, "attach: {:?}", first.record.attach);
        assert_eq!(place.inside(&first, "id -un 1000; hostname; test -d /workspace && echo ok").await,
            format!("{}\nweb\nok", place.user));
        let again = place.core.try_join(&spec.key).expect("join").expect("it runs");
        assert_eq!(place.core.leases().count(&again.record.id).expect("leases"), 2);
        assert!(place.core.try_release(first).is_none());
        assert!(place.core.try_release(again).is_none());
        let gone = place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
        assert_eq!(gone.expect("there was one").record.container_name, spec.key.container_name());
        assert!(place.core.try_join(&spec.key).expect("look").is_none());
    }

    [docker, podman]
    fn grace_and_lifetime_are_kept_to_the_second(place) {
        let spec = place.spec(|user, name| session(user, name, Mode::GracePeriod));
        let first = place.acquire(&spec).await;
        let id = first.record.id.clone();
        assert!(matches!(place.core.release(first).await, Ok(Released::Grace(_))));
        place.pass(59);
        assert!(place.core.cleanup().await.expect("clean up").is_empty());
        let again = place.acquire(&spec).await;
        assert_eq!(again.record.id, id);
        assert!(matches!(place.core.release(again).await, Ok(Released::Grace(_))));
        place.pass(60);
        assert_eq!(place.core.cleanup().await.expect("clean up").grace_expired, 1);
        place.assert_nothing_left().await;

        let held = place.acquire(&spec).await;
        place.pass(8 * 3600 - 1);
        assert!(place.core.cleanup().await.expect("clean up").is_empty());
        place.pass(1);
        assert_eq!(place.core.cleanup().await.expect("clean up").lifetime_expired, 1);
        assert_eq!(place.core.release(held).await.expect("release"), Released::Destroyed);
    }

    [docker, podman]
    fn a_throwaway_machine_goes_with_its_last_connection(place) {
        let spec = place.spec(throwaway);
        let (first, second) = (place.acquire(&spec).await, place.acquire(&spec).await);
        assert_eq!(place.core.release(first).await.expect("release"), Released::Stayed);
        assert_eq!(place.core.release(second).await.expect("release"), Released::Destroyed);
    }

    [docker, podman]
    fn a_machine_that_was_stopped_from_outside_comes_back_with_its_contents(place) {
        let spec = place.spec(machine);
        let first = place.acquire(&spec).await;
        place.inside(&first, "echo kept > /root/file").await;
        let container = first.record.container_id.clone();
        place.core.engines.stop_container(&container, Duration::from_secs(5)).await.expect("stop");
        assert!(place.core.try_join(&spec.key).expect("look").is_none(), "it does not run");
        let again = place.core.join(&spec.key, &mut Silent, &Cancel::never()).await.expect("join").expect("it is back");
        assert_eq!(again.record.container_id, container);
        assert_ne!(again.record.process, first.record.process);
        assert_eq!(place.inside(&again, "cat /root/file").await, "kept");
        assert!(place.core.try_join(&spec.key).expect("look").is_some());
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    }

    [docker, podman]
    fn a_session_whose_container_somebody_removed_is_forgotten(place) {
        let spec = place.spec(machine);
        drop(place.acquire(&spec).await);
        let record = place.core.store.find(&spec.key).expect("find").expect("a row");
        place.core.engines.remove_container(&record.container_id).await.expect("remove");
        assert_eq!(place.core.cleanup().await.expect("clean up").gone, 1);
    }

    [docker, podman]
    fn a_container_with_a_read_only_root_has_the_account_and_places_to_write(place) {
        let mut spec = place.spec(machine);
        spec.security.readonly_rootfs = true;
        let made = place.acquire(&spec).await;
        let (user, home) = (place.user.clone(), format!("/home/{}", place.user));
        let script = format!(
            "grep -c '^{user}:x:1000:1000:' /etc/passwd; touch /etc/x 2>&1 | grep -o 'Read-only'; \
             touch {home}/a /tmp/a /run/a /workspace/a && stat -c %u {home} /workspace"
        );
        assert_eq!(place.inside(&made, &script).await, "1\nRead-only\n1000\n1000");
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    }

    [docker, podman]
    fn a_persistent_home_outlives_the_container_and_belongs_to_the_account(place) {
        let homes = tempfile::Builder::new().prefix("podspawn-homes-").tempdir().expect("a directory");
        std::fs::set_permissions(homes.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        if place.core.engines.facts().rootless {
            // There podspawn runs as the account that the engine belongs to, and so makes the home as that account.
            let (uid, gid) = (fact("PODMAN_UID"), fact("PODMAN_GID"));
            let home = homes.path().join(&place.user);
            std::fs::create_dir(&home).expect("a home");
            std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).expect("chmod");
            std::os::unix::fs::chown(&home, uid.parse().ok(), gid.parse().ok()).expect("chown");
        }
        let mut spec = place.spec(|user, name| session(user, name, Mode::Persistent));
        spec.persistent_home = Some(homes.path().join(&place.user));
        let first = place.acquire(&spec).await;
        let home = format!("/home/{}", place.user);
        assert_eq!(place.inside(&first, &format!("echo kept > {home}/file; stat -c '%u %a' {home}")).await, "1000 700");
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
        let second = place.acquire(&spec).await;
        assert_eq!(place.inside(&second, &format!("cat {home}/file")).await, "kept");
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    }

    [docker, podman]
    fn cleaning_up_removes_orphans_of_this_installation_and_nothing_else(place) {
        let spec = place.spec(machine);
        let made = place.acquire(&spec).await.record;
        // As if the database had been lost.
        place.core.store.delete(&made.id).expect("delete");
        let state = place.core.engines.container(&made.container_id).await.expect("look").expect("there").state;
        assert_eq!(state, ContainerState::Running);
        // The clock of the test stands years ahead of the engine's.
        let report = place.core.cleanup().await.expect("clean up");
        assert_eq!((report.orphans_removed, report.failures.len()), (2, 0), "{report:?}");
    }
}

#[test]
fn who_is_not_root_reaches_the_guest_through_a_directory_of_their_own() {
    tell_in(Place::with(EngineName::Docker, 4321, |_| ()), async |place| {
        let spec = place.spec(machine);
        let made = place.acquire(&spec).await;
        assert_eq!(made.record.attach, AttachWay::Direct);
        let directory = made.record.socket_dir.clone().expect("a directory");
        let socket = std::path::Path::new(&directory).join("guest.sock");
        assert_eq!(socket.metadata().expect("the socket").uid(), 4321);
        assert_eq!(std::fs::metadata(&directory).expect("the directory").mode() & 0o777, 0o700);
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
        assert!(!std::path::Path::new(&directory).exists());
    });
}

#[test]
fn an_engine_on_another_host_gets_the_guest_in_a_volume() {
    tell_in(Place::with(EngineName::Docker, 0, |facts| facts.local = false), async |place| {
        let spec = place.spec(machine);
        let made = place.acquire(&spec).await;
        assert_eq!((made.record.attach, &made.record.process), (AttachWay::Engine, &None));
        assert_eq!(place.inside(&made, "hostname").await, "web");
        assert!(place.core.try_join(&spec.key).expect("look").is_none(), "only the engine knows");
        let joined = place.core.join(&spec.key, &mut Silent, &Cancel::never()).await.expect("join");
        assert!(joined.is_some());
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
        // The volume is there for the next machine.
        let engine = &place.core.engines;
        let ours = Labels::from([("podspawn-installation".into(), place.core.store.installation().into())]);
        let volumes = engine.volumes(&ours).await.expect("volumes");
        assert_eq!(volumes.len(), 1);
        assert!(volumes[0].name.starts_with("podspawn-guest-"));
        engine.remove_volume(&volumes[0].name).await.expect("remove the volume");
    });
}

#[test]
fn an_engine_that_is_not_there_is_an_error_and_not_a_wait() {
    drive(async {
        let chosen = Chosen::at(EngineKind::Docker, Endpoint::Unix("/run/podspawn-test/none.sock".into()));
        let error = Runtime::connect(&chosen).await.err().expect("nobody answers");
        assert!(error.to_string().contains("/run/podspawn-test/none.sock"), "{error}");
    });
}
