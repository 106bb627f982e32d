//! What an image offers, tried out in a container of it.

use std::time::Duration;

use futures_util::StreamExt;
use podspawn_runtimes::{ContainerSpec, Engine, EngineError, ExecSpec, ExitCode, Labels, Runtime};

use super::context::Context;
use super::machine::MachineError;
use crate::names::ImageRef;
use crate::session::{Cancel, EngineSource, Report, SessionError, Step};

/// Longest that all checks together may take, the pull of the image not counted.
const LIMIT: Duration = Duration::from_secs(120);

/// The container's own life, should this process be killed: a little longer than it is of use.
const SLEEP_SECONDS: &str = "180";

/// How what stands in the place of a session's id begins, so that a container that was left behind goes with the next cleanup.
const NO_SESSION: &str = "verify-image-";

/// One thing that people expect of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCheck {
    /// What is looked for.
    pub name: &'static str,
    /// The image has it.
    pub passed: bool,
    /// How to add it to an image based on Debian or Ubuntu.
    pub fix: &'static str,
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

impl Context {
    /// Checks an image in a container of its own, which is gone afterwards whatever happens.
    pub fn verify_image(
        &self,
        image: &ImageRef,
        report: &mut dyn Report,
    ) -> Result<Vec<ImageCheck>, MachineError> {
        let mut interrupts = self.interrupts()?;
        let unique = self.core.clock.now().as_nanosecond();
        let (session, name) = (format!("{NO_SESSION}{unique}"), format!("podspawn-verify-{unique}"));
        let labels = self.core.labels_of(self.owner(), &session);
        // Held for as long as this process lives: no cleanup takes the container for one that was left behind.
        let lease = self.core.leases().take(&session).map_err(SessionError::from)?;
        let checked = self.block_on(interrupts.guard(async |cancel| {
            let engine = self.core.engines.engine().await?;
            verify(engine, image.as_str(), &name, labels, report, &cancel).await
        }));
        lease.end();
        Ok(checked??)
    }
}

async fn verify(
    engine: &Runtime,
    image: &str,
    name: &str,
    labels: Labels,
    report: &mut dyn Report,
    cancel: &Cancel,
) -> Result<Vec<ImageCheck>, SessionError> {
    if engine.image(image).await?.is_none() {
        report.step(Step::Pulling { image });
        let mut progress = |progress| report.step(Step::PullProgress(progress));
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SessionError::Cancelled),
            pulled = engine.pull(image, &mut progress) => pulled?,
        };
        report.step(Step::Pulled { image });
    }
    let spec = ContainerSpec {
        name: name.into(),
        image: image.into(),
        entrypoint: vec!["sleep".into(), SLEEP_SECONDS.into()],
        user: Some("0".into()),
        labels,
        ..ContainerSpec::default()
    };
    let container = engine.create_container(&spec).await?.id;
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

async fn look(engine: &Runtime, container: &str) -> Result<Vec<ImageCheck>, EngineError> {
    engine.start_container(container).await?;
    let mut checks = Vec::new();
    for Look { name, argv, fix } in LOOKS {
        checks.push(ImageCheck { name, passed: succeeds(engine, container, argv).await?, fix });
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
