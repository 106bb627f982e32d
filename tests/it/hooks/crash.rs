//! The process dies at any point of a setup, and the next one that connects does it.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use podspawn::podfile::{Dotfiles, Hook, HookCommand, Hooks};
use podspawn::session::attach::{AttachError, Heard};
use podspawn::session::setup::{Inside, Runs};
use podspawn::session::{
    Audience, Cancel, Core, EngineSource, Exists, GuestAddress, GuestPort, GuestReady, Reason, Session,
    Silent, Skip,
};
use podspawn::spec::{Environment, SessionSpec, Setup};
use podspawn::state::{AttachWay, SessionRecord, SetupState, Store};
use podspawn_runtimes::Runtime;
use podspawn_wire::{Exit, Program, Start};

use crate::lifecycle::lab::{Lab, drive, machine};

/// Guests whose programs all end well, until the process that speaks to them dies.
#[derive(Debug, Clone, Default)]
struct Guests {
    /// What was started, by the last argument.
    started: Arc<Mutex<Vec<String>>>,
    /// How many programs end before the process dies; none: it lives.
    lives: Option<usize>,
    ended: Arc<AtomicUsize>,
}

impl GuestPort for Guests {
    type Error = io::Error;

    async fn wait_ready(&self, _: &Runtime, _: &GuestAddress, _: Duration) -> io::Result<GuestReady> {
        Ok(GuestReady { attach: AttachWay::Direct, shell: "/bin/bash".into(), warnings: Vec::new() })
    }
}

struct Running {
    guests: Guests,
}

impl Runs for Guests {
    type Process = Running;

    async fn run<S: EngineSource>(
        &self,
        _: &S,
        _: &SessionRecord,
        start: Start,
    ) -> Result<Running, AttachError> {
        let Program::Argv(argv) = start.program else { panic!("a hook is an argument vector") };
        self.started.lock().expect("nobody panicked").push(argv.last().cloned().unwrap_or_default());
        Ok(Running { guests: self.clone() })
    }
}

impl Inside for Running {
    async fn next(&mut self) -> Result<Heard, AttachError> {
        if self.guests.lives == Some(self.guests.ended.load(Ordering::Relaxed)) {
            return std::future::pending().await;
        }
        self.guests.ended.fetch_add(1, Ordering::Relaxed);
        Ok(Heard::Ended(Exit::Code(0)))
    }

    fn signal(&mut self, _: i32) -> Result<(), AttachError> {
        Ok(())
    }

    async fn hang_up(self) {}
}

type HookCore = Core<Runtime, Guests>;

fn process(lab: &Lab, guests: Guests) -> HookCore {
    let store = Store::open(&lab.database()).expect("open the store");
    let engine = Runtime::from(lab.fake.next_process());
    Core::new(store, engine, guests, Arc::new(lab.clock.clone()), lab.dirs(), lab.uid)
}

fn setup() -> Setup {
    let hook = |name: &str| Hook { name: name.into(), command: HookCommand::Script(name.into()), dir: None };
    Setup {
        dotfiles: Some(Dotfiles {
            repo: "https://host/dot".parse().expect("an address"),
            install: Some("install".into()),
        }),
        repos: Vec::new(),
        hooks: Hooks {
            create: vec![hook("create one"), hook("create two")],
            boot: vec![hook("boot")],
            start: vec![hook("start")],
        },
    }
}

async fn connect(core: &HookCore) -> Session {
    let environment = Environment { setup: setup(), ..Environment::default() };
    let spec = SessionSpec { environment, ..machine("ann", "web") };
    core.acquire(&spec, Exists::Join, &mut Silent, &Cancel::never()).await.expect("a session").session
}

async fn prepare(core: &HookCore, session: &mut Session) {
    let (cancel, skip) = (Cancel::never(), Skip::never());
    let mut report = Silent;
    let mut audience = Audience::program(&mut report, &cancel, &skip);
    core.prepare(session, &setup(), &mut audience).await.expect("set up");
}

const ALL: [&str; 8] =
    [".", "./.dotfiles.podspawn-part", "./dotfiles", "install", "create one", "create two", "boot", "start"];

#[test]
fn whoever_dies_in_a_setup_leaves_it_to_the_next_connection() {
    for lives in 0..ALL.len() {
        let lab = Lab::new();
        drive(async {
            let guests = Guests { lives: Some(lives), ..Guests::default() };
            let core = process(&lab, guests.clone());
            let mut session = connect(&core).await;
            let id = session.record.id.clone();
            {
                let mut dying = std::pin::pin!(prepare(&core, &mut session));
                tokio::select! {
                    biased;
                    () = &mut dying => panic!("it was to die after {lives} programs"),
                    () = tokio::task::yield_now() => {}
                }
            }
            assert_eq!(guests.started.lock().expect("nobody panicked")[..], ALL[..=lives], "{lives}");
            // As the kernel does it.
            drop((session, core));
            let next = Guests::default();
            let core = process(&lab, next.clone());
            let mut session = connect(&core).await;
            assert_eq!(session.record.id, id, "it is the same session");
            let done = lives > 5;
            let expected = if done { SetupState::Done } else { SetupState::Pending };
            assert_eq!(session.record.setup, expected, "{lives}");
            prepare(&core, &mut session).await;
            assert_eq!(core.store.get(&id).expect("get").expect("a row").setup, SetupState::Done);
            let from = match lives {
                ..=5 => 0,
                6 => 6,
                _ => 7,
            };
            assert_eq!(next.started.lock().expect("nobody panicked")[..], ALL[from..], "{lives}");
            drop(session);
            core.destroy(&web(), Reason::Stop, &mut Silent).await.expect("destroy");
            assert_eq!(core.setups().sessions().expect("files"), Vec::<String>::new());
        });
        lab.assert_nothing_left(&format!("after {lives}"));
    }
}

fn web() -> podspawn::names::SessionKey {
    crate::lifecycle::lab::key("ann", "web")
}

#[test]
fn what_is_left_of_sessions_that_are_no_more_goes_with_a_cleanup_pass() {
    let lab = Lab::new();
    drive(async {
        let core = process(&lab, Guests::default());
        drop(core.setups().try_lock("gone").expect("a lock"));
        core.setups().set_started("gone").expect("a note");
        let mut session = connect(&core).await;
        prepare(&core, &mut session).await;
        core.cleanup().await.expect("clean up");
        assert_eq!(core.setups().sessions().expect("files"), [session.record.id.clone()]);
    });
}

#[test]
fn a_copy_of_the_row_from_before_does_not_take_the_end_of_a_setup_back() {
    let lab = Lab::new();
    drive(async {
        let core = process(&lab, Guests::default());
        let mut session = connect(&core).await;
        let before = session.record.clone();
        prepare(&core, &mut session).await;
        assert!(core.store.update(&before).expect("update"));
        let row = core.store.get(&before.id).expect("get").expect("a row");
        assert_eq!((before.setup, row.setup), (SetupState::Pending, SetupState::Done));
    });
}
