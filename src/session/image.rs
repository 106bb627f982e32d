//! The image phase: what a session begins with is pulled, or built from its recipe, before anything of it is made.
//!
//! No user's lock is held meanwhile. Two processes that want the same image to be built share one build: the second waits
//! for the lock of that image and then finds it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use podspawn_runtimes::{BuildSpec, Engine, EngineError, EngineKind, Facts, Gap, ImageInfo, Labels, Runtime};
use sha2::{Digest, Sha256};

use super::build_watch::Watch;
use super::core::{Core, EngineSource, label};
use super::dockerfile::{self, Base, Dockerfile, Reads};
use super::error::{BuildPart, SessionError};
use super::report::{Cancel, Report, Step};
use super::services::familiar;
use crate::names::{ImageRef, ServiceName, printable};
use crate::spec::{BuildBase, Recipe};
use crate::state::BuildLocks;
use crate::system::BuildContext;

/// Name of the Dockerfile in its context.
const DOCKERFILE: &str = "Dockerfile";
/// Longest part of an instruction that a message shows, in characters.
const LONGEST_SHOWN: usize = 80;

/// What an image that is missing is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The session itself, which may have a recipe of it.
    BySession(Option<&'a Recipe>),
    /// A companion service.
    ByService(&'a ServiceName),
}

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
            None => self.fetch_image(image, Wanted::BySession(recipe), report, cancel).await,
        }
    }

    /// As [`Core::ensure_image`], for an image that is known to be missing.
    pub(super) async fn fetch_image(
        &self,
        image: &ImageRef,
        wanted: Wanted<'_>,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<bool, SessionError> {
        let engine = self.engines.engine().await?;
        let work = async {
            let (name, service) = match wanted {
                Wanted::BySession(Some(recipe)) => {
                    return self.build_image(engine, image, recipe, report).await;
                }
                Wanted::BySession(None) => (image.as_str(), None),
                Wanted::ByService(service) => (familiar(image.as_str()), Some(service.as_str())),
            };
            report.step(Step::Pulling { image: name, service });
            let mut progress = |progress| report.step(Step::PullProgress(progress));
            engine.pull(image.as_str(), &mut progress).await?;
            report.step(Step::Pulled { image: name, service });
            Ok(true)
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
        if let Some(base) = &recipe.base {
            self.present(engine, base, report).await?;
        }
        if let (Some(base), Some(name)) = (&recipe.base_build, &recipe.base_tag)
            && engine.image(name.as_str()).await?.is_none()
        {
            let spec = self.base_spec(engine, base, name, report).await?;
            let file = printable(&base.dockerfile);
            let text = format!("Building base image from {file}");
            let part = BuildPart::Dockerfile { file, instruction: None };
            self.run_build(engine, spec, text, part, report).await?;
        }
        let dockerfile = match recipe.base.as_ref().or(recipe.base_tag.as_ref()) {
            Some(base) if engine.facts().lacks(Gap::BuildMounts) => {
                let base = self.harmless(engine, base, report).await?;
                let (_, rest) = recipe.dockerfile.split_once('\n').unwrap_or_default();
                format!("FROM {}\n{rest}", base.id)
            }
            _ => recipe.dockerfile.clone(),
        };
        let text = match recipe.packages.as_slice() {
            [] => "Preparing the image".to_owned(),
            packages => format!("Installing packages: {}", packages.join(" ")),
        };
        let context = archive(&dockerfile).map_err(SessionError::Impossible)?;
        let spec = self.build_spec(image, DOCKERFILE.into(), context);
        let part = BuildPart::Whole(text.clone());
        self.run_build(engine, spec, text, part, report).await?;
        report.step(Step::Built { image: image.as_str() });
        Ok(true)
    }

    /// An image that is to be built on: pulled, if the engine does not have it.
    async fn present(
        &self,
        engine: &Runtime,
        base: &ImageRef,
        report: &mut dyn Report,
    ) -> Result<ImageInfo, SessionError> {
        if let Some(found) = engine.image(base.as_str()).await? {
            return Ok(found);
        }
        let text = format!("Pulling base image {base}");
        report.step(Step::BuildStep { text: &text });
        let mut progress = |progress| report.step(Step::PullProgress(progress));
        let pulled = engine.pull(base.as_str(), &mut progress).await?;
        report.step(Step::BuildStepDone { text: &text });
        Ok(pulled)
    }

    /// As [`Core::present`], for a builder that does not keep `RUN --mount` away from the files of its host: an image that brings
    /// one along for builds on it is refused. What is built on is then the image of this id, whatever its name leads to.
    async fn harmless(
        &self,
        engine: &Runtime,
        base: &ImageRef,
        report: &mut dyn Report,
    ) -> Result<Base, SessionError> {
        let found = self.present(engine, base, report).await?;
        let triggers = engine.on_build(&found.id).await?;
        if let Some(trigger) = dockerfile::harmful(&triggers) {
            return Err(SessionError::Impossible(format!(
                "the image `{base}` brings along `ONBUILD {}`, and Podman {} does not keep `RUN --mount` away from the files \
                 of its host: build on another image, or use Podman 5.3.2 or Docker",
                printable(&shortened(trigger)),
                printable(&engine.facts().version)
            )));
        }
        let id = found.id.strip_prefix("sha256:").unwrap_or(&found.id).to_owned();
        Ok(Base { id, architecture: found.architecture })
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
        engine: &Runtime,
        base: &BuildBase,
        name: &ImageRef,
        report: &mut dyn Report,
    ) -> Result<BuildSpec, SessionError> {
        let (context, dockerfile) = (base.context.clone(), base.dockerfile.clone());
        let read = tokio::task::spawn_blocking(move || BuildContext::read(&context, &dockerfile)).await;
        let mut context = match read {
            Ok(Ok(context)) => context,
            Ok(Err(error)) => return Err(SessionError::Impossible(error.to_string())),
            Err(error) => return Err(SessionError::Impossible(format!("read the build context: {error}"))),
        };
        dockerfile::check(&context.dockerfile, &base.args, reads(engine.facts()))
            .map_err(|why| SessionError::Impossible(format!("`{}`, {why}", printable(&base.dockerfile))))?;
        if engine.facts().lacks(Gap::BuildMounts) {
            let text = self.harmless_dockerfile(engine, base, &context.dockerfile, report).await?;
            let put = context.replace_dockerfile(text);
            put.map_err(|error| SessionError::Impossible(format!("pack the Dockerfile: {error}")))?;
        }
        let spec = self.build_spec(name, base.dockerfile.clone(), context.archive);
        Ok(BuildSpec { args: arguments(base, name), target: base.target.clone(), ..spec })
    }

    /// The text of a repository's Dockerfile for a builder that does not keep `RUN --mount` away from the files of its host.
    async fn harmless_dockerfile(
        &self,
        engine: &Runtime,
        build: &BuildBase,
        text: &[u8],
        report: &mut dyn Report,
    ) -> Result<String, SessionError> {
        let wrong = |why: String| {
            SessionError::Impossible(format!(
                "`{}`, {why} (Podman {} does not keep `RUN --mount` away from the files of its host): change it, or use \
                 Podman 5.3.2 or Docker",
                printable(&build.dockerfile),
                printable(&engine.facts().version)
            ))
        };
        let parsed = Dockerfile::parse(text, &build.args, build.target.as_deref()).map_err(wrong)?;
        let mut bases = BTreeMap::new();
        for image in parsed.images() {
            bases.insert(image, self.harmless(engine, image, report).await?);
        }
        parsed.pinned(&bases).map_err(wrong)
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

/// What an engine's builder makes of a Dockerfile. Docker's knows here-documents since 23.
fn reads(facts: &Facts) -> Reads {
    let podman = facts.kind == EngineKind::Podman;
    let major = facts.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let here_documents = if podman { !facts.lacks(Gap::BuildMounts) } else { major >= 23 };
    Reads { transports: podman, here_documents }
}

/// A build's arguments. The last one keeps its `RUN --mount=type=cache` apart from those of others: it stands for the project and
/// for the directory that is built from.
fn arguments(build: &BuildBase, name: &ImageRef) -> BTreeMap<String, String> {
    let (project, _) = name.as_str().rsplit_once(':').unwrap_or((name.as_str(), ""));
    let mut hash = Sha256::new();
    hash.update(project);
    for part in build.context.iter() {
        hash.update([0]);
        hash.update(steady(part.as_bytes()));
    }
    let namespace = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut args = build.args.clone();
    args.insert("BUILDKIT_CACHE_MOUNT_NS".into(), namespace);
    args
}

/// A part of a path, without what is new in the name each time: a machine's own checkout (`.tmp-…`), a clone that is about to
/// take the place of another (`.new-…`).
fn steady(part: &[u8]) -> &[u8] {
    match part.starts_with(b".tmp-") {
        true => b".tmp",
        false => part.strip_prefix(b".new-").unwrap_or(part),
    }
}

/// The beginning of an instruction, for a message.
fn shortened(instruction: &str) -> String {
    let instruction = instruction.trim();
    match instruction.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &instruction[..end]),
        None => instruction.to_owned(),
    }
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
#[path = "image_tests.rs"]
mod tests;
