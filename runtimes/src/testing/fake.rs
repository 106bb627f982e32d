//! An engine that exists only in a model: it records every call, fails where a test says so, and lets a test end "its
//! process" right before or right after any call and then look at what is left.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{broadcast, watch};

use super::script::{Action, At, Pause, Script, When};
use super::world::{World, matches};
use crate::engine::Engine;
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

type ExecHandler = Box<dyn Fn(&str, &ExecSpec) -> ExecReply + Send>;

/// A handle to a fake engine, as one process has it. Clones belong to the same process; [`Fake::next_process`] gives
/// another process's handle to the same engine.
#[derive(Clone)]
pub struct Fake {
    engine: Arc<EngineModel>,
    process: Arc<Process>,
}

struct EngineModel {
    facts: Facts,
    world: Mutex<World>,
    /// Where the world is kept, if several real processes share it.
    file: Option<Mutex<File>>,
    events: broadcast::Sender<(Event, Labels)>,
    changed: watch::Sender<()>,
    exec: Mutex<Option<ExecHandler>>,
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
    async fn call<T>(
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

    fn announce(&self, action: EventAction, container: &str, exit_code: Option<i64>) {
        if let Some(found) = self.world().find(container) {
            self.send(action, &found.info, exit_code);
        }
    }

    fn send(&self, action: EventAction, info: &ContainerInfo, exit_code: Option<i64>) {
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

impl Engine for Fake {
    fn facts(&self) -> &Facts {
        &self.engine.facts
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        self.call("image", reference, |world| Ok(world.image(reference))).await
    }

    async fn pull(&self, reference: &str, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        progress(Progress::Line(format!("Pulling from {reference}")));
        let image = self.call("pull", reference, |world| world.pull(reference)).await?;
        let layer = |status: &str, current| Progress::Layer {
            id: "feed00000001".into(),
            status: status.into(),
            current,
            total: current,
        };
        progress(layer("Downloading", Some(image.size)));
        progress(layer("Pull complete", None));
        Ok(image)
    }

    async fn build(&self, spec: &BuildSpec, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        progress(Progress::Line("Step 1/1".into()));
        self.call("build", &spec.tag, |world| {
            let image = world.make_image();
            world.images.insert(spec.tag.clone(), image.clone());
            Ok(image)
        })
        .await
    }

    async fn tag_image(&self, image: &str, new_name: &str) -> Result<()> {
        self.call("tag_image", new_name, |world| {
            let found = world.image(image).ok_or_else(|| EngineError::NotFound {
                action: format!("tag image `{image}`"),
                kind: "image",
                name: image.into(),
            })?;
            world.images.insert(new_name.into(), found);
            Ok(())
        })
        .await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.call("remove_image", reference, |world| {
            world.images.retain(|name, image| name != reference && image.id != reference);
            Ok(())
        })
        .await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<Created> {
        let facts = self.facts();
        let act = |world: &mut World| world.create(facts, spec);
        let created = self.call("create_container", &spec.name, act).await?;
        self.announce(EventAction::Created, &created.id, None);
        Ok(created)
    }

    async fn start_container(&self, container: &str) -> Result<()> {
        self.call("start_container", container, |world| world.start(container)).await?;
        self.announce(EventAction::Started, container, None);
        Ok(())
    }

    async fn stop_container(&self, container: &str, _grace: Duration) -> Result<()> {
        let act = |world: &mut World| world.end("stop container", container, 143);
        if self.call("stop_container", container, act).await? {
            self.announce(EventAction::Died, container, Some(143));
        }
        Ok(())
    }

    async fn kill_container(&self, container: &str, signal: &str) -> Result<()> {
        let deadly = matches!(signal, "SIGKILL" | "KILL" | "9");
        let act = |world: &mut World| {
            world.running("kill container", container)?;
            if deadly { world.end("kill container", container, 137) } else { Ok(false) }
        };
        if self.call("kill_container", container, act).await? {
            self.announce(EventAction::Died, container, Some(137));
        }
        Ok(())
    }

    async fn remove_container(&self, container: &str) -> Result<()> {
        let act = |world: &mut World| Ok(world.remove(container));
        if let Some(gone) = self.call("remove_container", container, act).await? {
            if gone.info.state == ContainerState::Running {
                self.send(EventAction::Died, &gone.info, Some(137));
            }
            self.send(EventAction::Removed, &gone.info, None);
        }
        Ok(())
    }

    async fn wait_container(&self, container: &str) -> Result<ExitCode> {
        let mut changed = self.engine.changed.subscribe();
        self.call("wait_container", container, |world| world.get("wait for container", container).map(drop))
            .await?;
        loop {
            changed.borrow_and_update();
            // Gone while being waited for: it was killed by the removal. No recorded call, and `change` would wake us.
            let info = locked(&self.engine.world).find(container).map(|found| found.info.clone());
            match info {
                None => return Ok(ExitCode(137)),
                Some(ContainerInfo { exit_code: Some(code), .. }) => return Ok(ExitCode(code)),
                Some(_) => {}
            }
            // The sender lives as long as `self`.
            let _ = changed.changed().await;
        }
    }

    async fn container(&self, container: &str) -> Result<Option<ContainerInfo>> {
        self.call("container", container, |world| Ok(world.find(container).map(|c| c.info.clone()))).await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>> {
        let act = |world: &mut World| {
            let found = world.containers.iter().map(|c| &c.info).filter(|i| matches(&i.labels, labels));
            let summary = |info: &ContainerInfo| ContainerSummary {
                id: info.id.clone(),
                name: info.name.clone(),
                state: info.state,
                created_at: info.created_at,
                labels: info.labels.clone(),
            };
            Ok(found.map(summary).collect())
        };
        self.call("containers", "", act).await
    }

    async fn logs(
        &self,
        container: &str,
        _options: LogOptions,
    ) -> Result<BoxStream<'static, Result<ExecOutput>>> {
        let act = |world: &mut World| Ok(world.get("read logs of container", container)?.output.clone());
        let output = self.call("logs", container, act).await?;
        Ok(stream::iter([Ok(ExecOutput::Stdout(output.into()))]).boxed())
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        self.call("create_network", &spec.name, |world| world.create_network(spec)).await
    }

    async fn remove_network(&self, network: &str) -> Result<()> {
        self.call("remove_network", network, |world| world.remove_network(network)).await
    }

    async fn networks(&self, labels: &Labels) -> Result<Vec<NetworkInfo>> {
        let act = |world: &mut World| {
            Ok(world.networks.iter().filter(|n| matches(&n.labels, labels)).cloned().collect())
        };
        self.call("networks", "", act).await
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<()> {
        self.call("create_volume", name, |world| world.create_volume(name, labels)).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.call("remove_volume", name, |world| world.remove_volume(name)).await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeInfo>> {
        let act = |world: &mut World| {
            Ok(world.volumes.iter().filter(|v| matches(&v.labels, labels)).cloned().collect())
        };
        self.call("volumes", "", act).await
    }

    async fn copy_in(&self, container: &str, path: &str, tar: Bytes) -> Result<()> {
        let act = |world: &mut World| {
            let found = world.get("copy into container", container)?;
            found.files.push((path.into(), tar.to_vec()));
            Ok(())
        };
        self.call("copy_in", container, act).await
    }

    async fn copy_out(&self, container: &str, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let act = |world: &mut World| {
            let found = world.get("copy out of container", container)?;
            let archive = found.files.iter().rev().find(|(to, _)| to == path).map(|(_, tar)| tar.clone());
            archive.ok_or_else(|| EngineError::NotFound {
                action: format!("copy `{path}` out of container `{container}`"),
                kind: "path",
                name: path.into(),
            })
        };
        let archive = self.call("copy_out", container, act).await?;
        Ok(stream::iter([Ok(Bytes::from(archive))]).boxed())
    }

    async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<ExecSession> {
        let mut reply = ExecReply::default();
        let act = |world: &mut World| {
            let name = world.running("run a command in container", container)?.info.name.clone();
            if let Some(handler) = &*locked(&self.engine.exec) {
                reply = handler(&name, spec);
            }
            let id = world.new_id("e4ec");
            world.execs.insert(id.clone(), reply.code);
            Ok(id)
        };
        let id = self.call("exec", container, act).await?;
        let pieces = [ExecOutput::Stdout(reply.stdout.into()), ExecOutput::Stderr(reply.stderr.into())];
        let output = stream::iter(pieces.map(Ok)).boxed();
        Ok(ExecSession { id, input: Box::pin(tokio::io::sink()), output })
    }

    async fn resize_exec(&self, exec: &str, _size: WindowSize) -> Result<()> {
        self.call("resize_exec", exec, |_| Ok(())).await
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<ExitCode>> {
        self.call("exec_exit_code", exec, |world| Ok(world.execs.get(exec).copied().map(ExitCode))).await
    }

    async fn events(&self, labels: &Labels) -> Result<BoxStream<'static, Result<Event>>> {
        let mut receiver = self.engine.events.subscribe();
        self.call("events", "", |_| Ok(())).await?;
        let labels = labels.clone();
        let next = async move || loop {
            match receiver.recv().await {
                Ok((event, have)) if matches(&have, &labels) => return Some(Ok(event)),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        };
        Ok(stream::unfold(next, async |mut next| next().await.map(|event| (event, next))).boxed())
    }
}
