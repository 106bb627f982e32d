//! The fake's answers: every call is recorded, does what is planned for it, and changes the model.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::broadcast;

use super::fake::{ExecReply, Fake, locked};
use super::world::World;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::types::*;

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

    async fn on_build(&self, image: &str) -> Result<Vec<String>> {
        self.call("on_build", image, |world| Ok(world.on_build.get(image).cloned().unwrap_or_default())).await
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

    async fn health(&self, container: &str) -> Result<Option<Health>> {
        self.call("health", container, |world| Ok(world.get("ask for health of", container)?.info.health))
            .await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>> {
        let act = |world: &mut World| {
            let found = world.containers.iter().map(|c| &c.info).filter(|i| has_labels(&i.labels, labels));
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

    async fn disk_use(&self, labels: &Labels) -> Result<BTreeMap<String, u64>> {
        let act = |world: &mut World| {
            let found = world.containers.iter().map(|c| &c.info).filter(|i| has_labels(&i.labels, labels));
            Ok(found.map(|info| (info.id.clone(), 0)).collect())
        };
        self.call("disk_use", "", act).await
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
            Ok(world.networks.iter().filter(|n| has_labels(&n.labels, labels)).cloned().collect())
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
            Ok(world.volumes.iter().filter(|v| has_labels(&v.labels, labels)).cloned().collect())
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

    /// The reply comes at once, framed as by an engine; what is sent is not read.
    async fn exec_raw(&self, container: &str, spec: &ExecSpec) -> Result<RawExec> {
        let ExecSession { id, mut output, .. } = self.exec(container, spec).await?;
        let (mut engine, connection) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
        while let Some(piece) = output.next().await {
            let (number, bytes) = match piece? {
                ExecOutput::Stdout(bytes) => (1, bytes),
                ExecOutput::Stderr(bytes) => (2, bytes),
            };
            let length = u32::try_from(bytes.len()).expect("a short reply");
            let head = [[number, 0, 0, 0], length.to_be_bytes()].concat();
            engine.write_all(&[&head[..], &bytes].concat()).expect("write to a socket pair");
        }
        connection.set_nonblocking(true).expect("a socket");
        Ok(RawExec { id, connection: connection.into() })
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
                Ok((event, have)) if has_labels(&have, &labels) => return Some(Ok(event)),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        };
        Ok(stream::unfold(next, async |mut next| next().await.map(|event| (event, next))).boxed())
    }
}
