//! What an image offers, tried out in a container of it.

use std::time::Duration;

use futures_util::StreamExt;
use podspawn_runtimes::{ContainerSpec, Engine, EngineError, ExecSpec, ExitCode, Runtime};
use serde::{Deserialize, Serialize};

use super::core::{Core, EngineSource};
use super::error::SessionError;
use super::report::Cancel;
use crate::names::{ImageRef, UserName};

/// Longest that all checks together may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The container's own life, should this process be killed: a little longer than it is of use.
const SLEEP_SECONDS: &str = "180";

/// How what stands in the place of a session's id begins, so that a container that was left behind goes with the next cleanup.
pub(super) const NO_SESSION: &str = "verify-image-";

/// One thing that people expect of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCheck {
    /// What is looked for.
    pub name: String,
    /// The image has it.
    pub passed: bool,
    /// How to add it to an image based on Debian or Ubuntu.
    pub fix: String,
}

struct Look {
    name: &'static str,
    argv: &'static [&'static str],
    fix: &'static str,
}

const LOOKS: [Look; 4] = [
    Look { name: "bash", argv: &["/bin/bash", "-c", "exit 0"], fix: "apt-get install -y bash" },
    Look {
        name: "sftp-server",
        argv: &["test", "-x", "/usr/lib/openssh/sftp-server"],
        fix: "apt-get install -y openssh-sftp-server",
    },
    Look {
        name: "locale",
        argv: &["locale", "-a"],
        fix: "apt-get install -y locales && locale-gen en_US.UTF-8",
    },
    Look { name: "git", argv: &["git", "--version"], fix: "apt-get install -y git" },
];

impl<S: EngineSource, G> Core<S, G> {
    /// Checks an image that the engine has, in a container of its own on behalf of `owner`, which is gone afterwards whatever
    /// happens. It has no network: nothing of the image's has to reach anything.
    pub async fn verify_image(
        &self,
        owner: &UserName,
        image: &ImageRef,
        cancel: &Cancel,
    ) -> Result<Vec<ImageCheck>, SessionError> {
        let engine = self.engines.engine().await?;
        let unique = self.clock.now().as_nanosecond();
        let session = format!("{NO_SESSION}{unique}");
        // Held for as long as this lasts: no cleanup takes the container for one that was left behind.
        let lease = self.leases().take(&session)?;
        let spec = ContainerSpec {
            name: format!("podspawn-verify-{unique}"),
            image: image.as_str().into(),
            entrypoint: vec!["sleep".into(), SLEEP_SECONDS.into()],
            user: Some("0".into()),
            labels: self.labels_of(owner, &session),
            network: Some("none".into()),
            ..ContainerSpec::default()
        };
        let checked = self.verify_in(engine, &spec, cancel).await;
        lease.end();
        checked
    }

    async fn verify_in(
        &self,
        engine: &Runtime,
        spec: &ContainerSpec,
        cancel: &Cancel,
    ) -> Result<Vec<ImageCheck>, SessionError> {
        let container = engine.create_container(spec).await?.id;
        let checked = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(SessionError::Cancelled),
            looked = tokio::time::timeout(LIMIT, look(engine, &container)) => match looked {
                Ok(looked) => looked.map_err(SessionError::from),
                Err(_) => Err(timeout().into()),
            },
        };
        // Removed in any case; of two errors the first says more.
        let removed = engine.remove_container(&container).await;
        let checked = checked?;
        removed?;
        Ok(checked)
    }
}

async fn look(engine: &Runtime, container: &str) -> Result<Vec<ImageCheck>, EngineError> {
    engine.start_container(container).await?;
    let mut checks = Vec::new();
    for Look { name, argv, fix } in LOOKS {
        let passed = succeeds(engine, container, argv).await?;
        checks.push(ImageCheck { name: name.into(), passed, fix: fix.into() });
    }
    Ok(checks)
}

async fn succeeds(engine: &Runtime, container: &str, argv: &[&str]) -> Result<bool, EngineError> {
    let spec = ExecSpec { argv: argv.iter().map(|word| (*word).to_owned()).collect(), ..ExecSpec::default() };
    let mut session = engine.exec(container, &spec).await?;
    // What it prints is nobody's business here; the end of it is the end of the command.
    while let Some(output) = session.output.next().await {
        output?;
    }
    Ok(engine.exec_exit_code(&session.id).await? == Some(ExitCode(0)))
}

fn timeout() -> EngineError {
    EngineError::Timeout { action: "check the image".into(), seconds: LIMIT.as_secs() }
}
