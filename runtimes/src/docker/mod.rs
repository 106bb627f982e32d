//! Docker, through its HTTP API.
//!
//! [`api::Api`] is a client of any Docker-compatible API; this engine, gVisor's and parts of Podman's use it.

pub(crate) mod api;
mod buildkit;
pub(crate) mod containers;
pub(crate) mod create;
pub(crate) mod images;
pub(crate) mod networks;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::engine::Engine;
use crate::error::Result;
use crate::types::*;
use api::Api;

/// A connected Docker.
#[derive(Clone)]
pub struct Docker {
    pub(crate) api: Api,
    facts: Arc<Facts>,
}

impl Docker {
    /// A Docker of which these facts are known; no call is made.
    pub(crate) fn new(api: Api, facts: Facts) -> Self {
        Self { api, facts: Arc::new(facts) }
    }
}

impl Engine for Docker {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        self.api.image(reference).await
    }

    async fn pull(&self, reference: &str, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        self.api.pull(reference, progress).await
    }

    async fn build(&self, spec: &BuildSpec, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        if spec.builder == Builder::Engines && self.api.prefers_buildkit().await? {
            self.api.build_with_buildkit(spec, progress).await
        } else {
            self.api.build(spec, progress).await
        }
    }

    async fn on_build(&self, image: &str) -> Result<Vec<String>> {
        self.api.on_build(image).await
    }

    async fn tag_image(&self, image: &str, new_name: &str) -> Result<()> {
        self.api.tag_image(image, new_name).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.api.remove_image(reference).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<Created> {
        self.facts.refuse_gaps(spec)?;
        self.api.create_container(spec, create::body(spec)).await
    }

    async fn start_container(&self, container: &str) -> Result<()> {
        self.api.start_container(container).await
    }

    async fn stop_container(&self, container: &str, grace: Duration) -> Result<()> {
        self.api.stop_container(container, grace).await
    }

    async fn kill_container(&self, container: &str, signal: &str) -> Result<()> {
        self.api.kill_container(container, signal).await
    }

    async fn remove_container(&self, container: &str) -> Result<()> {
        self.api.remove_container(container).await
    }

    async fn wait_container(&self, container: &str) -> Result<ExitCode> {
        self.api.wait_container(container).await
    }

    async fn container(&self, container: &str) -> Result<Option<ContainerInfo>> {
        self.api.container(container).await
    }

    async fn health(&self, container: &str) -> Result<Option<Health>> {
        self.api.health(container).await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>> {
        self.api.containers(labels).await
    }

    async fn disk_use(&self, labels: &Labels) -> Result<BTreeMap<String, u64>> {
        self.api.disk_use(labels).await
    }

    async fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<ExecOutput>>> {
        self.api.logs(container, options).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        self.api.create_network(spec).await
    }

    async fn remove_network(&self, network: &str) -> Result<()> {
        self.api.remove_network(network).await
    }

    async fn networks(&self, labels: &Labels) -> Result<Vec<NetworkInfo>> {
        self.api.networks(labels).await
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<()> {
        self.api.create_volume(name, labels).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.api.remove_volume(name).await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeInfo>> {
        self.api.volumes(labels).await
    }

    async fn copy_in(&self, container: &str, path: &str, tar: Bytes) -> Result<()> {
        self.api.copy_in(container, path, tar).await
    }

    async fn copy_out(&self, container: &str, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.api.copy_out(container, path).await
    }

    async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<ExecSession> {
        let id = self.api.create_exec(container, spec).await?;
        let session = self.api.start_exec(container, id, spec).await?;
        self.api.size_terminal(&session, spec).await?;
        Ok(session)
    }

    async fn exec_raw(&self, container: &str, spec: &ExecSpec) -> Result<RawExec> {
        self.api.check_raw(container, spec)?;
        let id = self.api.create_exec(container, spec).await?;
        self.api.start_exec_raw(container, id).await
    }

    async fn resize_exec(&self, exec: &str, size: WindowSize) -> Result<()> {
        self.api.resize_exec(exec, size).await
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<ExitCode>> {
        self.api.exec_exit_code(exec).await
    }

    async fn events(&self, labels: &Labels) -> Result<BoxStream<'static, Result<Event>>> {
        self.api.events(labels).await
    }
}
