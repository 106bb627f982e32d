//! The one trait that every engine fulfils.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use enum_dispatch::enum_dispatch;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Result;
use crate::types::*;

/// What podspawn needs of a container engine. Every call has a deadline of [`CALL_TIMEOUT`] unless it says otherwise,
/// and fails with [`crate::EngineError::Timeout`] past it.
#[enum_dispatch]
#[allow(async_fn_in_trait)]
pub trait Engine {
    /// What was learnt when the engine was connected; no call is made.
    fn facts(&self) -> &Facts;

    /// The image, if the engine has it. A reference (`debian:12`, `host/name@sha256:…`) or an id.
    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>>;

    /// Pulls an image. No deadline in all, but at most 60 s without any sign of progress.
    /// Fails with [`crate::EngineError::Pull`] that carries the registry's answer.
    async fn pull(&self, reference: &str, progress: ProgressSink<'_>) -> Result<ImageInfo>;

    /// Builds an image. No deadline. Fails with [`crate::EngineError::Build`] that carries the last lines of output.
    async fn build(&self, spec: &BuildSpec, progress: ProgressSink<'_>) -> Result<ImageInfo>;

    /// The instructions that an image brings along for builds on it (`ONBUILD`), in their order. No deadline in all: a Podman
    /// whose store cannot be read from here makes a copy of the whole image for the answer.
    async fn on_build(&self, image: &str) -> Result<Vec<String>>;

    /// Gives an image a further name.
    async fn tag_image(&self, image: &str, new_name: &str) -> Result<()>;

    /// Removes an image's name, and the image with its last name. Missing is no error.
    async fn remove_image(&self, reference: &str) -> Result<()>;

    /// Makes a container without starting it. The image must be present. A limit that the engine declares it cannot
    /// keep is refused with [`crate::EngineError::Unsupported`]; [`Facts::fit`] takes such limits out.
    async fn create_container(&self, spec: &ContainerSpec) -> Result<Created>;

    /// Starts a container; already running is no error.
    async fn start_container(&self, container: &str) -> Result<()>;

    /// Asks the container's first process to end and kills it after `grace` (whole seconds). Not running is no error.
    async fn stop_container(&self, container: &str, grace: Duration) -> Result<()>;

    /// Sends a signal (`SIGKILL`, `SIGUSR1`, …) to the first process.
    async fn kill_container(&self, container: &str, signal: &str) -> Result<()>;

    /// Removes a container by force, with its anonymous volumes. Already gone is no error.
    async fn remove_container(&self, container: &str) -> Result<()>;

    /// Waits without a deadline until the container ends. Returns at once if it has.
    async fn wait_container(&self, container: &str) -> Result<ExitCode>;

    /// The container, if it exists. By name or id.
    async fn container(&self, container: &str) -> Result<Option<ContainerInfo>>;

    /// What a running container's health check says now; none if its image has none. Podman needs a service manager to run
    /// checks by itself: there one is run for the answer, and a failure is [`Health::Starting`], since nobody counts.
    async fn health(&self, container: &str) -> Result<Option<Health>>;

    /// All containers, running or not, whose labels match.
    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>>;

    /// Bytes that each container whose labels match has written to its own layer, by id. Engines walk that layer: it takes
    /// as long as there are files in it.
    async fn disk_use(&self, labels: &Labels) -> Result<BTreeMap<String, u64>>;

    /// What the first process wrote, as raw bytes of both streams.
    async fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<ExecOutput>>>;

    /// Makes a bridge network (isolated from other networks) and returns its id.
    async fn create_network(&self, spec: &NetworkSpec) -> Result<String>;

    /// Removes a network by id or name. Already gone is no error.
    async fn remove_network(&self, network: &str) -> Result<()>;

    /// All networks whose labels match.
    async fn networks(&self, labels: &Labels) -> Result<Vec<NetworkInfo>>;

    /// Makes a named volume; an existing one of that name is no error.
    async fn create_volume(&self, name: &str, labels: &Labels) -> Result<()>;

    /// Removes a volume. Already gone is no error.
    async fn remove_volume(&self, name: &str) -> Result<()>;

    /// All volumes whose labels match.
    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeInfo>>;

    /// Unpacks a plain tar archive below `path` (an existing directory inside), owners and modes kept.
    /// Works on a container that is not running, and on a running one unless [`Gap::CopyIn`] is declared. A tmpfs is not
    /// reached.
    async fn copy_in(&self, container: &str, path: &str, tar: Bytes) -> Result<()>;

    /// A file or directory inside as a plain tar archive, owners and modes kept; its name is the last part of `path`.
    /// Podman loses the owners of what lies on a mount, and reads the whole root file system for the rest.
    async fn copy_out(&self, container: &str, path: &str) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// Runs a command in a running container. Command not found arrives as status 126 or 127 and text, not as an error.
    /// A terminal has its size when this returns; Docker before 25 gives it a moment after the command has begun.
    async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<ExecSession>;

    /// The same without a terminal and with standard input, as the bare connection, for another process to go on with. Fails
    /// with [`crate::EngineError::Unsupported`] for a terminal, without input, and on an engine that is not reached through a
    /// socket of this host. Nobody here watches what becomes of the container then: the connection may outlive it.
    async fn exec_raw(&self, container: &str, spec: &ExecSpec) -> Result<RawExec>;

    /// Sets the window of an exec with a terminal.
    async fn resize_exec(&self, exec: &str, size: WindowSize) -> Result<()>;

    /// How an exec ended; none while it runs. Ask after its output has ended: an end that is not recorded yet is waited for
    /// up to 2 s.
    async fn exec_exit_code(&self, exec: &str) -> Result<Option<ExitCode>>;

    /// Removes from this host what calls to this engine left whose process was killed meanwhile.
    async fn sweep(&self) -> Result<()> {
        Ok(())
    }

    /// Events of containers whose labels match, from now on. The stream ends when the engine goes away.
    async fn events(&self, labels: &Labels) -> Result<BoxStream<'static, Result<Event>>>;
}

/// A raw byte connection to an engine or into a container.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}
