//! Podman, through its own API (`podman-api`) where that is right, and through the Docker-compatible API of the same
//! socket where it is not. Each call of the second kind names its case.

mod convert;
mod export;
mod facts;
mod on_build;
mod seccomp;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use podman_api::opts::{
    ContainerDeleteOpts, ContainerListFilter, ContainerListOpts, ExecCreateOpts, ImageTagOpts,
    NetworkCreateOpts, NetworkListFilter, NetworkListOpts, UserOpt, VolumeCreateOpts, VolumeListFilter,
    VolumeListOpts,
};

use crate::call::Action;
use crate::docker::api::Api;
use crate::docker::containers::container_info;
use crate::docker::create;
use crate::docker::images::with_tag;
use crate::docker::networks::ignore_missing;
use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::raw::{self, Head};
use crate::types::*;
use seccomp::ProfileFile;

/// What the builder says of a layer that was removed while it looked.
const LAYER_GONE: &str = "layer not known";
/// How often it may look.
const LOOKS: usize = 4;

/// What is not understood of a container that has ended and is not cleaned up yet: Docker's API has no such state.
const STOPPED: &str = "unknown variant `stopped`";

/// What Podman says where an interface of its namespace was removed while it made a list of them.
const INTERFACE_GONE: &str = "no such network interface";
/// How often it may make that list for one network.
const NETWORK_TRIES: usize = 5;

/// A connected Podman.
#[derive(Clone)]
pub struct Podman {
    client: Arc<podman_api::Podman>,
    compatible: Api,
    facts: Arc<Facts>,
}

impl Podman {
    /// Learns what else there is to know of the Podman that answered a ping with this head.
    pub(crate) async fn connect(compatible: Api, head: Head) -> Result<Self> {
        let client = client(&compatible)?;
        let facts = facts::learn(&compatible.target, &client, head).await?;
        Ok(Self { client, compatible, facts: Arc::new(facts) })
    }

    /// A Podman of which these facts are known; no call is made.
    pub(crate) fn known(compatible: Api, facts: Facts) -> Result<Self> {
        let client = client(&compatible)?;
        Ok(Self { client, compatible, facts: Arc::new(facts) })
    }

    /// Waits for an answer as long as every call may take.
    async fn ask<T>(
        &self,
        action: &Action,
        answer: impl Future<Output = podman_api::Result<T>>,
    ) -> Result<T> {
        let target = &self.compatible.target;
        action.wait(async { answer.await.map_err(|error| convert::error(target, action, error)) }).await
    }

    /// Podman's API starts containers with the runtime of its configuration, whichever is asked for.
    async fn check_runtime(&self, spec: &ContainerSpec) -> Result<()> {
        let Some(wanted) = &spec.runtime else { return Ok(()) };
        let action = Action::general(&format!("run container `{}` with `{wanted}`", spec.name));
        let info = self.ask(&action, self.client.info()).await?;
        let configured = info.host.and_then(|host| host.oci_runtime).and_then(|runtime| runtime.name);
        if configured.as_ref() == Some(wanted) {
            return Ok(());
        }
        Err(EngineError::Unsupported {
            action: action.text,
            engine: EngineKind::Podman.name(),
            reason: "its API has only the runtime that `containers.conf` names",
        })
    }
}

fn client(compatible: &Api) -> Result<Arc<podman_api::Podman>> {
    let client = match &compatible.target.endpoint {
        Endpoint::Unix(path) => Ok(podman_api::Podman::unix(path)),
        Endpoint::Tcp(address) => podman_api::Podman::tcp(format!("tcp://{address}")),
    };
    client.map(Arc::new).map_err(|error| compatible.target.unreachable(error.to_string()))
}

/// The answer to a run of a health check.
#[derive(serde::Deserialize)]
struct HealthRun {
    #[serde(rename = "Status")]
    status: String,
}

/// Podman's word for "nothing to do": it is so already.
fn ignore_unchanged(result: Result<()>) -> Result<()> {
    match result {
        Err(EngineError::Engine { status: Some(304), .. }) => Ok(()),
        other => other,
    }
}

impl Podman {
    /// A container that has ended and is not cleaned up yet.
    async fn stopped(&self, container: &str) -> Result<ContainerInfo> {
        let action = Action::on("inspect", "container", container)?;
        let url = format!("/containers/{container}/json");
        let (_, body) = action.wait(raw::get(&self.compatible.target, &action, &url)).await?;
        ended(&body).map_err(|error| action.io(error.into()))
    }
}

/// Reads what is told of a container, with Podman's `stopped` as Docker's `exited`.
fn ended(body: &[u8]) -> serde_json::Result<ContainerInfo> {
    let mut found: serde_json::Value = serde_json::from_slice(body)?;
    if let Some(status) = found.pointer_mut("/State/Status")
        && status == "stopped"
    {
        *status = "exited".into();
    }
    serde_json::from_value(found).map(container_info)
}

impl Engine for Podman {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        let action = Action::on("inspect", "image", reference)?;
        let images = self.client.images();
        match self.ask(&action, images.get(reference).inspect()).await {
            Ok(found) => Ok(Some(convert::image(found))),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Compatible API: the own one resolves a short name only where `registries.conf` says how, and reports no bytes.
    async fn pull(&self, reference: &str, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        self.compatible.pull(reference, progress).await
    }

    /// Compatible API: `podman-api` builds from a directory only, not from an archive.
    /// Podman's builder looks through all images for a layer that it could use again, and fails if somebody removes one of
    /// them at that moment. The build itself has not begun then.
    async fn build(&self, spec: &BuildSpec, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        for _ in 1..LOOKS {
            match self.compatible.build(spec, progress).await {
                Err(EngineError::Build { answer, .. }) if answer.contains(LAYER_GONE) => {}
                outcome => return outcome,
            }
        }
        self.compatible.build(spec, progress).await
    }

    /// Neither API tells: read from the image's configuration.
    async fn on_build(&self, image: &str) -> Result<Vec<String>> {
        let action = Action::on("read what builds inherit from", "image", image)?;
        let found = self.ask(&action, self.client.images().get(image).inspect()).await?;
        on_build::triggers(&self.compatible.target, &action, &found).await
    }

    async fn tag_image(&self, image: &str, new_name: &str) -> Result<()> {
        let action = Action::on("tag", "image", image)?;
        let name = with_tag(new_name);
        let (repo, tag) = name.rsplit_once(':').unwrap_or((&name, "latest"));
        let options = ImageTagOpts::builder().repo(repo).tag(tag).build();
        self.ask(&action, self.client.images().get(image).tag(&options)).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        let action = Action::on("remove", "image", reference)?;
        ignore_missing(self.ask(&action, self.client.images().get(reference).delete()).await)
    }

    /// Compatible API: `podman-api` loses no-new-privileges (it sends a key that Podman does not know).
    async fn create_container(&self, spec: &ContainerSpec) -> Result<Created> {
        self.facts.refuse_gaps(spec)?;
        self.check_runtime(spec).await?;
        let mut spec = spec.clone();
        let profile = match &spec.seccomp {
            Seccomp::Profile(json) => Some(ProfileFile::write(&self.facts, json)?),
            Seccomp::Default | Seccomp::Unconfined => None,
        };
        if let Some(profile) = &profile {
            // Docker takes the profile's text here, Podman the path of a file.
            spec.seccomp = Seccomp::Profile(profile.path());
        }
        match self.compatible.create_container(&spec, create::body(&spec)).await {
            // It knows short names of `docker.io` only; Podman itself also those of images that were made here.
            Err(EngineError::NotFound { kind: "image", action, name }) => {
                match self.image(&spec.image).await? {
                    Some(found) => {
                        let by_id = ContainerSpec { image: found.id, ..spec };
                        self.compatible.create_container(&by_id, create::body(&by_id)).await
                    }
                    None => Err(EngineError::NotFound { kind: "image", action, name }),
                }
            }
            other => other,
        }
    }

    /// The profiles that containers were to be made with.
    async fn sweep(&self) -> Result<()> {
        let action = "remove old seccomp profiles".to_owned();
        seccomp::sweep().map_err(|source| EngineError::Io { action, source })
    }

    async fn start_container(&self, container: &str) -> Result<()> {
        let action = Action::on("start", "container", container)?;
        let containers = self.client.containers();
        ignore_unchanged(self.ask(&action, containers.get(container).start(None)).await)
    }

    /// Compatible API: `podman-api` loses the grace (Podman does not know its spelling `Timeout`) and so kills at once.
    async fn stop_container(&self, container: &str, grace: Duration) -> Result<()> {
        self.compatible.stop_container(container, grace).await
    }

    async fn kill_container(&self, container: &str, signal: &str) -> Result<()> {
        let action = Action::on("send a signal to", "container", container)?;
        self.ask(&action, self.client.containers().get(container).send_signal(signal)).await
    }

    async fn remove_container(&self, container: &str) -> Result<()> {
        let action = Action::on("remove", "container", container)?;
        let options = ContainerDeleteOpts::builder().force(true).volumes(true).timeout(0).build();
        ignore_missing(self.ask(&action, self.client.containers().get(container).delete(&options)).await)
    }

    /// Compatible API: `podman-api` loses the exit status.
    async fn wait_container(&self, container: &str) -> Result<ExitCode> {
        self.compatible.wait_container(container).await
    }

    /// Compatible API: `podman-api` always asks for sizes too, for which Podman walks the container's whole file system.
    async fn container(&self, container: &str) -> Result<Option<ContainerInfo>> {
        match self.compatible.container(container).await {
            Err(error) if error.to_string().contains(STOPPED) => self.stopped(container).await.map(Some),
            found => found,
        }
    }

    /// By hand: `podman-api` knows no answer but a success.
    async fn health(&self, container: &str) -> Result<Option<Health>> {
        let action = Action::on("ask for the health of", "container", container)?;
        let Some(found) = self.container(container).await? else { return Err(action.not_found()) };
        if found.health.is_none() || found.state != ContainerState::Running {
            return Ok(None);
        }
        let url = format!("/v4.3.1/libpod/containers/{container}/healthcheck");
        let (_, body) = action.wait(raw::get(&self.compatible.target, &action, &url)).await?;
        let run: HealthRun = serde_json::from_slice(&body).map_err(|error| action.io(error.into()))?;
        // One run says no more: whoever asks often would soon have counted as many failures as are allowed.
        Ok(Some(if run.status == "healthy" { Health::Healthy } else { Health::Starting }))
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>> {
        let action = Action::general("list containers");
        let filter = labels.iter().map(|(key, value)| match value.as_str() {
            "" => ContainerListFilter::LabelKey(key.clone()),
            value => ContainerListFilter::LabelKeyVal(key.clone(), value.into()),
        });
        let options = ContainerListOpts::builder().all(true).filter(filter).build();
        let found = self.ask(&action, self.client.containers().list(&options)).await?;
        Ok(found.into_iter().map(convert::summary).collect())
    }

    /// Compatible API: `podman-api` loses sizes.
    async fn disk_use(&self, labels: &Labels) -> Result<BTreeMap<String, u64>> {
        self.compatible.disk_use(labels).await
    }

    /// Compatible API: `podman-api` panics on a frame it does not know. Podman sends the head of its answer with the first
    /// output only: so whether the container exists is asked before, and the stream opens when it is first polled.
    async fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<ExecOutput>>> {
        let action = Action::on("read the output of", "container", container)?;
        if !self.ask(&action, self.client.containers().get(container).exists()).await? {
            return Err(action.not_found());
        }
        let (api, container) = (self.compatible.clone(), container.to_owned());
        let open = async move { api.open_logs(&container, options).await };
        Ok(stream::once(open).try_flatten().boxed())
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let action = Action::on("create", "network", &spec.name)?;
        let mut options = NetworkCreateOpts::builder()
            .name(&spec.name)
            .driver("bridge")
            .dns_enabled(true)
            .internal(spec.internal)
            .labels(spec.labels.iter())
            // Without it, Podman's bridge networks reach each other.
            .options([("isolate", "true")]);
        if let Some(bridge) = &spec.bridge_name {
            options = options.network_interface(bridge);
        }
        let options = options.build();
        let mut tries = NETWORK_TRIES;
        loop {
            tries -= 1;
            match self.ask(&action, self.client.networks().create(&options)).await {
                // It lists the interfaces of its namespace to find a free subnet, and then asks each for its addresses: one that
                // somebody removes in between fails the call, and nothing has been made.
                Err(error) if tries > 0 && error.to_string().contains(INTERFACE_GONE) => {}
                made => return Ok(made?.id.unwrap_or_default()),
            }
        }
    }

    async fn remove_network(&self, network: &str) -> Result<()> {
        let action = Action::on("remove", "network", network)?;
        let removal = async {
            // By its id, Podman would remove a network even while containers are on it.
            let found = self.ask(&action, self.client.networks().get(network).inspect()).await?;
            let name = found.name.unwrap_or_else(|| network.into());
            self.ask(&action, self.client.networks().get(name).delete()).await.map(drop)
        };
        ignore_missing(removal.await)
    }

    async fn networks(&self, labels: &Labels) -> Result<Vec<NetworkInfo>> {
        let action = Action::general("list networks");
        let filter = labels.iter().map(|(key, value)| match value.as_str() {
            "" => NetworkListFilter::LabelKey(key.clone()),
            value => NetworkListFilter::LabelKeyVal(key.clone(), value.into()),
        });
        let options = NetworkListOpts::builder().filter(filter).build();
        let found = self.ask(&action, self.client.networks().list(&options)).await?;
        Ok(found.into_iter().map(convert::network).collect())
    }

    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<()> {
        let action = Action::on("create", "volume", name)?;
        let options = VolumeCreateOpts::builder().name(name).labels(labels.iter()).build();
        match self.ask(&action, self.client.volumes().create(&options)).await {
            Ok(_) | Err(EngineError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        let action = Action::on("remove", "volume", name)?;
        ignore_missing(self.ask(&action, self.client.volumes().get(name).delete()).await)
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeInfo>> {
        let action = Action::general("list volumes");
        let filter = labels.iter().map(|(key, value)| match value.as_str() {
            "" => VolumeListFilter::LabelKey(key.clone()),
            value => VolumeListFilter::LabelKeyVal(key.clone(), value.into()),
        });
        let options = VolumeListOpts::builder().filter(filter).build();
        let found = self.ask(&action, self.client.volumes().list(&options)).await?;
        let volumes = found
            .into_iter()
            .map(|one| VolumeInfo { name: one.name, labels: one.labels.into_iter().collect() })
            // Podman's list has volumes with any of the labels.
            .filter(|one| has_labels(&one.labels, labels));
        Ok(volumes.collect())
    }

    async fn copy_in(&self, container: &str, path: &str, tar: Bytes) -> Result<()> {
        let action = Action::on("copy into", "container", container)?;
        self.ask(&action, self.client.containers().get(container).copy_to(path, tar.into())).await
    }

    /// Compatible API, in which owners are lost, only for what an export does not have: what lies on a mount, and paths
    /// through symbolic links. (`podman-api`'s archive call loses them too, and its export cannot outlive its handle.)
    async fn copy_out(&self, container: &str, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let action = Action::on("copy out of", "container", container)?;
        let mounts = self.compatible.mount_points(container).await?;
        let wanted = Path::new(path);
        let mounted =
            mounts.iter().any(|mount| wanted.starts_with(mount) || Path::new(mount).starts_with(wanted));
        if !mounted && let Some(stream) = export::pick(&self.compatible.target, &action, wanted).await? {
            return Ok(stream);
        }
        self.compatible.copy_out(container, path).await
    }

    /// The start is by hand, as on Docker: `podman-api` panics on a frame it does not know.
    async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<ExecSession> {
        let id = self.create_exec(container, spec).await?;
        self.compatible.start_exec(container, id, spec).await
    }

    async fn exec_raw(&self, container: &str, spec: &ExecSpec) -> Result<RawExec> {
        self.compatible.check_raw(container, spec)?;
        let id = self.create_exec(container, spec).await?;
        self.compatible.start_exec_raw(container, id).await
    }

    async fn resize_exec(&self, exec: &str, size: WindowSize) -> Result<()> {
        let action = Action::on("resize the terminal of", "exec", exec)?;
        let (rows, cols) = (usize::from(size.rows), usize::from(size.cols));
        self.ask(&action, self.client.execs().get(exec).resize(cols, rows)).await
    }

    /// Compatible API: the end of a command is awaited by its event, and `podman-api` subscribes only when its stream is
    /// first polled.
    async fn exec_exit_code(&self, exec: &str) -> Result<Option<ExitCode>> {
        self.compatible.exec_exit_code(exec).await
    }

    /// Compatible API, for the same reason.
    async fn events(&self, labels: &Labels) -> Result<BoxStream<'static, Result<Event>>> {
        self.compatible.events(labels).await
    }
}

impl Podman {
    async fn create_exec(&self, container: &str, spec: &ExecSpec) -> Result<String> {
        let action = Action::on("run a command in", "container", container)?;
        let mut options = ExecCreateOpts::builder()
            .command(&spec.argv)
            .env(spec.env.iter().map(|pair| pair.split_once('=').unwrap_or((pair, ""))))
            .attach_stdin(spec.stdin)
            .attach_stdout(true)
            .attach_stderr(true)
            .tty(spec.tty.is_some());
        if let Some(user) = &spec.user {
            options = options.user(UserOpt::User(user.clone()));
        }
        if let Some(dir) = &spec.working_dir {
            options = options.working_dir(dir);
        }
        let options = options.build();
        let made = self.ask(&action, self.client.containers().get(container).create_exec(&options)).await?;
        Ok(made.id().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_is_not_cleaned_up_yet_has_ended() {
        for status in ["stopped", "exited"] {
            let body = format!(r#"{{"Id": "1", "State": {{"Status": "{status}", "ExitCode": 3}}}}"#);
            assert_eq!(ended(body.as_bytes()).unwrap().state, ContainerState::Exited, "{status}");
        }
        assert!(ended(br#"{"State": {"Status": "odd"}}"#).is_err());
    }
}
