//! The image phase: what a session begins with is pulled, or built from its recipe, before anything of it is made.
//!
//! No user's lock is held meanwhile. Two processes that want the same image to be built share one build: the second waits
//! for the lock of that image and then finds it.

use podspawn_runtimes::{BuildSpec, Engine, EngineError, Gap, Labels, Runtime};

use super::build_watch::Watch;
use super::core::{Core, EngineSource, label};
use super::error::{BuildPart, SessionError};
use super::report::{Cancel, Report, Step};
use crate::names::{ImageRef, printable};
use crate::spec::{BuildBase, Recipe};
use crate::state::BuildLocks;
use crate::system::BuildContext;

/// Name of the Dockerfile in its context.
const DOCKERFILE: &str = "Dockerfile";

impl<S: EngineSource, G> Core<S, G> {
    /// Sees to it that the engine has an image: builds it from its recipe, or pulls it if it has none. Makes no container
    /// and needs no lock of a user. True if it was not there before.
    pub async fn ensure_image(
        &self,
        image: &ImageRef,
        recipe: Option<&Recipe>,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<bool, SessionError> {
        let engine = self.engines.engine().await?;
        match engine.image(image.as_str()).await? {
            Some(_) => Ok(false),
            None => self.fetch_image(image, recipe, report, cancel).await,
        }
    }

    /// As [`Core::ensure_image`], for an image that is known to be missing.
    pub(super) async fn fetch_image(
        &self,
        image: &ImageRef,
        recipe: Option<&Recipe>,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<bool, SessionError> {
        let engine = self.engines.engine().await?;
        let work = async {
            match recipe {
                None => {
                    report.step(Step::Pulling { image: image.as_str() });
                    let mut progress = |progress| report.step(Step::PullProgress(progress));
                    engine.pull(image.as_str(), &mut progress).await?;
                    report.step(Step::Pulled { image: image.as_str() });
                    Ok(true)
                }
                Some(recipe) => self.build_image(engine, image, recipe, report).await,
            }
        };
        tokio::select! {
            biased;
            // The engine gives up a pull or a build whose connection is gone.
            () = cancel.cancelled() => Err(SessionError::Cancelled),
            done = work => done,
        }
    }

    /// Builds an image that was missing a moment ago. False if somebody else has built it meanwhile.
    async fn build_image(
        &self,
        engine: &Runtime,
        image: &ImageRef,
        recipe: &Recipe,
        report: &mut dyn Report,
    ) -> Result<bool, SessionError> {
        let locks = BuildLocks::new(&self.dirs.locks);
        let _lock =
            locks.lock(image.as_str(), |wait| report.step(Step::WaitingForBuild { pid: wait.pid })).await?;
        if engine.image(image.as_str()).await?.is_some() {
            return Ok(false);
        }
        report.step(Step::Building { image: image.as_str() });
        if let Some(base) = &recipe.base
            && engine.image(base.as_str()).await?.is_none()
        {
            let text = format!("Pulling base image {base}");
            report.step(Step::BuildStep { text: &text });
            let mut progress = |progress| report.step(Step::PullProgress(progress));
            engine.pull(base.as_str(), &mut progress).await?;
            report.step(Step::BuildStepDone { text: &text });
        }
        if let (Some(base), Some(name)) = (&recipe.base_build, &recipe.base_tag)
            && engine.image(name.as_str()).await?.is_none()
        {
            let (spec, dockerfile) = self.base_spec(base, name).await?;
            let file = printable(&base.dockerfile);
            if engine.facts().lacks(Gap::BuildMounts) && mounts(&dockerfile) {
                let version = printable(&engine.facts().version);
                return Err(SessionError::Impossible(format!(
                    "`{file}` uses `RUN --mount`, which Podman {version} does not keep away from the files of its host: \
                     write it without, or use Podman 5.3.2 or Docker"
                )));
            }
            let text = format!("Building base image from {file}");
            let part = BuildPart::Dockerfile { file, instruction: None };
            self.run_build(engine, spec, text, part, report).await?;
        }
        let text = match recipe.packages.as_slice() {
            [] => "Preparing the image".to_owned(),
            packages => format!("Installing packages: {}", packages.join(" ")),
        };
        let context = archive(&recipe.dockerfile).map_err(SessionError::Impossible)?;
        let spec = self.build_spec(image, DOCKERFILE.into(), context);
        let part = BuildPart::Whole(text.clone());
        self.run_build(engine, spec, text, part, report).await?;
        report.step(Step::Built { image: image.as_str() });
        Ok(true)
    }

    fn build_spec(&self, image: &ImageRef, dockerfile: String, context: Vec<u8>) -> BuildSpec {
        BuildSpec {
            tag: image.to_string(),
            dockerfile,
            context_tar: context.into(),
            args: Default::default(),
            target: None,
            labels: Labels::from([(label::MANAGED_BY.into(), label::PODSPAWN.into())]),
            builder: self.builder,
        }
    }

    /// Reads a repository's own build context; it may be large, so this happens beside everything else.
    async fn base_spec(
        &self,
        base: &BuildBase,
        name: &ImageRef,
    ) -> Result<(BuildSpec, Vec<u8>), SessionError> {
        let (context, dockerfile) = (base.context.clone(), base.dockerfile.clone());
        let read = tokio::task::spawn_blocking(move || BuildContext::read(&context, &dockerfile)).await;
        let context = match read {
            Ok(Ok(context)) => context,
            Ok(Err(error)) => return Err(SessionError::Impossible(error.to_string())),
            Err(error) => return Err(SessionError::Impossible(format!("read the build context: {error}"))),
        };
        let spec = self.build_spec(name, base.dockerfile.clone(), context.archive);
        let spec = BuildSpec { args: base.args.clone(), target: base.target.clone(), ..spec };
        Ok((spec, context.dockerfile))
    }

    async fn run_build(
        &self,
        engine: &Runtime,
        spec: BuildSpec,
        text: String,
        part: BuildPart,
        report: &mut dyn Report,
    ) -> Result<(), SessionError> {
        report.step(Step::BuildStep { text: &text });
        let mut watch = Watch::new(report, text, part);
        let outcome = engine.build(&spec, &mut |progress| watch.take(progress)).await;
        match outcome {
            Ok(_) => {
                watch.report.step(Step::BuildStepDone { text: &watch.text });
                Ok(())
            }
            Err(EngineError::Build { image, answer }) => {
                let (output, cause) = watch.failure(&answer);
                let Watch { report, text, part, .. } = watch;
                report.step(Step::BuildStepFailed { text: &text, output: &output });
                Err(SessionError::Build { image, part, cause })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a Dockerfile may have a `RUN --mount`, however it is cut into lines and escaped. Comments apart, finding the word
/// anywhere is enough.
fn mounts(dockerfile: &[u8]) -> bool {
    let text = String::from_utf8_lossy(dockerfile);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let plain: String =
        lines.flat_map(str::chars).filter(|c| !c.is_whitespace() && !matches!(c, '\\' | '`')).collect();
    plain.contains("--mount")
}

/// A context that contains the Dockerfile and nothing else.
fn archive(dockerfile: &str) -> Result<Vec<u8>, String> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(dockerfile.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, DOCKERFILE, dockerfile.as_bytes())
        .and_then(|()| archive.into_inner())
        .map_err(|error| format!("pack the Dockerfile: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_a_dockerfile_are_found_however_they_are_written() {
        for text in [
            "FROM x\nRUN --mount=type=bind,source=/x ls",
            "RUN --mo\\\nunt=type=cache x",
            "RUN --mo\\  \n# a comment\n  unt=type=cache x",
            "# escape=`\nRUN --mo`\r\nunt=x",
            "ONBUILD RUN \\-\\-mount=x",
        ] {
            assert!(mounts(text.as_bytes()), "{text}");
        }
        for text in ["FROM x\nRUN mount; ls -l\n", "# RUN --mount=x\nFROM x\n", "RUN cp --no-clobber a b"] {
            assert!(!mounts(text.as_bytes()), "{text}");
        }
    }
}
