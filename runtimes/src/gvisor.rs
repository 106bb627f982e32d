//! gVisor: Docker with the runtime `runsc`, and what differs inside a sandbox.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};

use crate::call::Action;
use crate::docker::Docker;
use crate::docker::api::Sandbox;
use crate::docker::create;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::types::*;

/// Name under which Docker knows gVisor.
pub(crate) const RUNTIME: &str = "runsc";
/// The engine's count has the sandbox's own threads in it (38 idle, about 400 with 40 processes): below this it would
/// end the sandbox. The limit of processes is kept inside, for each account.
const LEAST_PIDS: i64 = 4096;
/// Threads of the sandbox for each process that may run inside, were there as many of root's as of the session's user: each
/// has eight or nine.
const THREADS_PER_PROCESS: i64 = 20;
/// How long output may go on after its sandbox has died.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// A connected Docker whose containers run under gVisor.
#[derive(Clone)]
pub struct Gvisor {
    docker: Docker,
    facts: Arc<Facts>,
}

impl Gvisor {
    /// Fails if that Docker has no `runsc`.
    pub(crate) fn new(docker: Docker, sandbox: Sandbox) -> Result<Self> {
        let mut facts = docker.facts().clone();
        if !facts.runtimes.iter().any(|name| name == RUNTIME) {
            return Err(EngineError::Unreachable {
                engine: EngineKind::Gvisor.name(),
                endpoint: facts.endpoint,
                reason: format!("this Docker has no runtime `{RUNTIME}`"),
            });
        }
        facts.kind = EngineKind::Gvisor;
        facts.gaps.extend([Gap::PidsLimit, Gap::CopyIn]);
        facts.gaps.extend((!sandbox.filters).then_some(Gap::Seccomp));
        facts.gaps.extend((!sandbox.joinable).then_some(Gap::JoinNetwork));
        facts.gaps.dedup();
        Ok(Self { docker, facts: Arc::new(facts) })
    }

    /// The same from facts that [`Gvisor::new`] gave earlier.
    pub(crate) fn known(docker: Docker, facts: Facts) -> Self {
        Self { docker, facts: Arc::new(facts) }
    }
}

/// The engine's limit for a sandbox in which so many processes may run.
fn threads_for(processes: i64) -> i64 {
    processes.saturating_mul(THREADS_PER_PROCESS).max(LEAST_PIDS)
}

impl Engine for Gvisor {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        self.docker.image(reference).await
    }

    async fn pull(&self, reference: &str, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        self.docker.pull(reference, progress).await
    }

    async fn build(&self, spec: &BuildSpec, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        self.docker.build(spec, progress).await
    }

    async fn on_build(&self, image: &str) -> Result<Vec<String>> {
        self.docker.on_build(image).await
    }

    async fn tag_image(&self, image: &str, new_name: &str) -> Result<()> {
        self.docker.tag_image(image, new_name).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.docker.remove_image(reference).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<Created> {
        self.facts.refuse_gaps(spec)?;
        let mut body = create::body(spec);
        let host = body.host_config.get_or_insert_default();
        host.runtime.get_or_insert_with(|| RUNTIME.into());
        host.pids_limit = spec.pids_limit.map(threads_for);
        self.docker.api.create_container(spec, body).await
    }

    async fn start_container(&self, container: &str) -> Result<()> {
        self.docker.start_container(container).await
    }

    async fn stop_container(&self, container: &str, grace: Duration) -> Result<()> {
        self.docker.stop_container(container, grace).await
    }

    async fn kill_container(&self, container: &str, signal: &str) -> Result<()> {
        self.docker.kill_container(container, signal).await
    }

    async fn remove_container(&self, container: &str) -> Result<()> {
        self.docker.remove_container(container).await
    }

    async fn wait_container(&self, container: &str) -> Result<ExitCode> {
        self.docker.wait_container(container).await
    }

    async fn container(&self, container: &str) -> Result<Option<ContainerInfo>> {
        self.docker.container(container).await
    }

    async fn health(&self, container: &str) -> Result<Option<Health>> {
        self.docker.health(container).await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>> {
        self.docker.containers(labels).await
    }

    async fn disk_use(&self, labels: &Labels) -> Result<BTreeMap<String, u64>> {
        self.docker.disk_use(labels).await
    }

    async fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<ExecOutput>>> {
        self.docker.logs(container, options).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        self.docker.create_network(spec).await
    }

    async fn remove_network(&self, network: &str) -> Result<()> {
        self.docker.remove_network(network).await
    }

    async fn networks(&self, labels: &Labels) -> Result<Vec<NetworkInfo>> {
        self.docker.networks(labels).await
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<()> {
        self.docker.create_volume(name, labels).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.docker.remove_volume(name).await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeInfo>> {
        self.docker.volumes(labels).await
    }

    /// Only into a container that is not running: a sandbox does not see what is put in behind its back.
    async fn copy_in(&self, container: &str, path: &str, tar: Bytes) -> Result<()> {
        let found = self.docker.container(container).await?;
        if found.is_some_and(|info| info.state == ContainerState::Running) {
            return Err(EngineError::Unsupported {
                action: Action::on("copy into", "container", container)?.text,
                engine: EngineKind::Gvisor.name(),
                reason: EngineKind::Gvisor.gap_reason(Gap::CopyIn),
            });
        }
        self.docker.copy_in(container, path, tar).await
    }

    async fn copy_out(&self, container: &str, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.docker.copy_out(container, path).await
    }

    /// A dying sandbox can leave the command's stream open for minutes: it ends with the sandbox.
    async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<ExecSession> {
        let id = self.docker.api.create_exec(container, spec).await?;
        let one = |text: &str| vec![text.to_owned()];
        let filters = HashMap::from([
            ("type".to_owned(), one("container")),
            ("event".to_owned(), one("die")),
            ("container".to_owned(), one(container)),
        ]);
        let mut deaths = self.docker.api.raw_events(filters).await?;
        let session = self.docker.api.start_exec(container, id, spec).await?;
        self.docker.api.size_terminal(&session, spec).await?;
        let died = async move {
            deaths.next().await;
            tokio::time::sleep(LAST_OUTPUT).await;
        };
        Ok(ExecSession { output: session.output.take_until(Box::pin(died)).boxed(), ..session })
    }

    /// A dying sandbox can leave it open for minutes.
    async fn exec_raw(&self, container: &str, spec: &ExecSpec) -> Result<RawExec> {
        self.docker.exec_raw(container, spec).await
    }

    async fn resize_exec(&self, exec: &str, size: WindowSize) -> Result<()> {
        self.docker.resize_exec(exec, size).await
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<ExitCode>> {
        self.docker.exec_exit_code(exec).await
    }

    async fn events(&self, labels: &Labels) -> Result<BoxStream<'static, Result<Event>>> {
        self.docker.events(labels).await
    }
}
