//! An engine that exists only in a model: it records every call, fails where a test says so, and lets a test end "its
//! process" right before or right after any call and then look at what is left.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::script::{Action, At, Pause, Script, When};
use super::world::World;
use crate::error::{EngineError, Result};
use crate::types::*;

/// One call as it was made. Prints as `create_network podspawn-a-net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Position among all calls of this process, from 1.
    pub number: usize,
    /// Name of the method.
    pub name: &'static str,
    /// The object it was about; empty where there is none.
    pub object: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.object.is_empty() { Ok(()) } else { write!(f, " {}", self.object) }
    }
}

/// What a fake exec does.
#[derive(Debug, Clone, Default)]
pub struct ExecReply {
    /// On standard output.
    pub stdout: Vec<u8>,
    /// On standard error.
    pub stderr: Vec<u8>,
    /// Exit status.
    pub code: i64,
}

pub(super) type ExecHandler = Box<dyn Fn(&str, &ExecSpec) -> ExecReply + Send>;

/// A handle to a fake engine, as one process has it. Clones belong to the same process; [`Fake::next_process`] gives
/// another process's handle to the same engine.
#[derive(Clone)]
pub struct Fake {
    pub(super) engine: Arc<EngineModel>,
    process: Arc<Process>,
}

pub(super) struct EngineModel {
    pub(super) facts: Facts,
    pub(super) world: Mutex<World>,
    /// Where the world is kept, if several real processes share it.
    file: Option<Mutex<File>>,
    pub(super) events: broadcast::Sender<(Event, Labels)>,
    pub(super) changed: watch::Sender<()>,
    pub(super) exec: Mutex<Option<ExecHandler>>,
}

struct Process {
    log: Mutex<Log>,
    died: watch::Sender<bool>,
}

#[derive(Default)]
struct Log {
    calls: Vec<Call>,
    of_name: BTreeMap<&'static str, usize>,
    script: Script,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Facts of an ordinary local Docker.
fn default_facts() -> Facts {
    Facts {
        kind: EngineKind::Docker,
        version: "20.10.24".into(),
        api_version: "1.41".into(),
        endpoint: "/run/fake.sock".into(),
        rootless: false,
        cgroup_version: 2,
        local: true,
        runtimes: vec!["runc".into()],
        data_root: None,
        gaps: Vec::new(),
    }
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    /// An empty engine that looks like an ordinary local Docker. Its clock stands at 1,700,000,000 and its containers'
    /// first process is the calling process, which is sure to live.
    pub fn new() -> Self {
        Self::with_facts(default_facts())
    }

    /// An empty engine with these facts.
    pub fn with_facts(facts: Facts) -> Self {
        Self::build(facts, None)
    }

    /// An engine whose world is kept in a file, so that real processes can share it, be killed, and leave it behind.
    /// Waiting and events reach only the process in which something happens.
    ///
    /// # Panics
    /// If the file cannot be opened.
    pub fn stored_at(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        Self::build(default_facts(), Some(file.expect("open the fake engine's file")))
    }

    fn build(facts: Facts, file: Option<File>) -> Self {
        let world = World { now: 1_700_000_000, next_pid: std::process::id() as i32, ..World::default() };
        let engine = EngineModel {
            facts,
            world: Mutex::new(world),
            file: file.map(Mutex::new),
            events: broadcast::Sender::new(1024),
            changed: watch::Sender::new(()),
            exec: Mutex::new(None),
        };
        Self { engine: Arc::new(engine), process: Process::new() }
    }

    /// The same engine as another process sees it: nothing recorded, nothing planned, alive.
    pub fn next_process(&self) -> Self {
        Self { engine: self.engine.clone(), process: Process::new() }
    }

    /// Every call of this process so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.process.log).calls.clone()
    }

    /// A copy of everything that exists.
    pub fn world(&self) -> World {
        self.change(|world| world.clone())
    }

    /// Looks at or changes what exists, as somebody beside podspawn would.
    pub fn change<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let engine = &self.engine;
        let mut world = locked(&engine.world);
        let result = match &engine.file {
            None => act(&mut world),
            Some(file) => {
                let mut file = locked(file);
                file.lock().expect("lock the fake engine's file");
                load(&mut file, &mut world);
                let result = act(&mut world);
                save(&mut file, &world);
                file.unlock().expect("unlock the fake engine's file");
                result
            }
        };
        drop(world);
        engine.changed.send_replace(());
        result
    }

    /// Makes an image present.
    pub fn add_image(&self, reference: &str) {
        self.change(|world| {
            let image = world.make_image();
            world.images.insert(reference.into(), image);
        });
    }

    /// Makes an image known to the registry, so that a pull succeeds.
    pub fn add_to_registry(&self, reference: &str) {
        self.change(|world| {
            let image = world.make_image();
            world.registry.insert(reference.into(), image);
        });
    }

    /// Ends a container's first process from outside.
    pub fn end_container(&self, container: &str, status: i64) {
        let ended = self.change(|world| world.end("end container", container, status));
        if ended.expect("the container exists") {
            self.announce(EventAction::Died, container, Some(status));
        }
    }

    /// Decides what commands do; without it each one ends with status 0 and no output.
    pub fn on_exec(&self, handler: impl Fn(&str, &ExecSpec) -> ExecReply + Send + 'static) {
        *locked(&self.engine.exec) = Some(Box::new(handler));
    }

    /// Lets a call fail, before or after the engine has done its work.
    pub fn fail(&self, at: At, when: When, error: impl FnOnce() -> EngineError + Send + 'static) {
        self.plan(at, when, Action::Fail(Box::new(error)));
    }

    /// Ends this process at a call: the call never returns, nor does any later one of this process.
    /// [`Fake::died`] tells; drop the future that was being driven, then go on with [`Fake::next_process`].
    pub fn die(&self, at: At, when: When) {
        self.die_with(at, when, || ());
    }

    /// As [`Fake::die`], after running `last_act`, which may end the real process (`std::process::abort`).
    pub fn die_with(&self, at: At, when: When, last_act: impl FnOnce() + Send + 'static) {
        self.plan(at, when, Action::Die(Box::new(last_act)));
    }

    /// Holds a call until the test releases it.
    pub fn pause(&self, at: At, when: When) -> Pause {
        let pause = Pause::default();
        self.plan(at, when, Action::Wait(pause.clone()));
        pause
    }

    /// Waits until the planned death has happened.
    pub async fn died(&self) {
        let mut died = self.process.died.subscribe();
        // The sender lives as long as `self`.
        let _ = died.wait_for(|dead| *dead).await;
    }

    fn plan(&self, at: At, when: When, action: Action) {
        locked(&self.process.log).script.add(at, when, action);
    }

    /// Runs one call: records it, does what is planned before it, changes the world, does what is planned after it.
    pub(super) async fn call<T>(
        &self,
        name: &'static str,
        object: &str,
        act: impl FnOnce(&mut World) -> Result<T>,
    ) -> Result<T> {
        if *self.process.died.borrow() {
            std::future::pending::<()>().await;
        }
        let planned = self.process.record(name, object);
        let (before, after): (Vec<_>, Vec<_>) = planned.into_iter().partition(|(w, _)| *w == When::Before);
        self.perform(before).await?;
        let result = self.change(act);
        self.perform(after).await?;
        result
    }

    async fn perform(&self, planned: Vec<(When, Action)>) -> Result<()> {
        for (_, action) in planned {
            match action {
                Action::Fail(error) => return Err(error()),
                Action::Wait(pause) => pause.wait().await,
                Action::Die(last_act) => {
                    last_act();
                    self.process.died.send_replace(true);
                    std::future::pending::<()>().await;
                }
            }
        }
        Ok(())
    }

    pub(super) fn announce(&self, action: EventAction, container: &str, exit_code: Option<i64>) {
        if let Some(found) = self.world().find(container) {
            self.send(action, &found.info, exit_code);
        }
    }

    pub(super) fn send(&self, action: EventAction, info: &ContainerInfo, exit_code: Option<i64>) {
        let event = Event { action, container: info.id.clone(), name: Some(info.name.clone()), exit_code };
        // Nobody listening is no error.
        let _ = self.engine.events.send((event, info.labels.clone()));
    }
}

impl Process {
    fn new() -> Arc<Self> {
        Arc::new(Self { log: Mutex::default(), died: watch::Sender::new(false) })
    }

    fn record(&self, name: &'static str, object: &str) -> Vec<(When, Action)> {
        let mut log = locked(&self.log);
        let of_name = log.of_name.entry(name).or_default();
        *of_name += 1;
        let of_name = *of_name;
        let number = log.calls.len() + 1;
        log.calls.push(Call { number, name, object: object.into() });
        log.script.take(name, number, of_name)
    }
}

fn load(file: &mut File, world: &mut World) {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).expect("seek in the fake engine's file");
    file.read_to_string(&mut text).expect("read the fake engine's file");
    if !text.is_empty() {
        *world = serde_json::from_str(&text).expect("parse the fake engine's file");
    }
}

fn save(file: &mut File, world: &World) {
    let text = serde_json::to_vec(world).expect("serialise the fake engine");
    file.set_len(0).expect("empty the fake engine's file");
    file.seek(SeekFrom::Start(0)).expect("seek in the fake engine's file");
    file.write_all(&text).expect("write the fake engine's file");
}
