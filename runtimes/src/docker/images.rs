//! Images: look up, pull, build, name, remove.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{BuildInfo, CreateImageInfo, ProgressDetail};
use bollard::query_parameters::{BuildImageOptions, CreateImageOptions, RemoveImageOptions, TagImageOptions};
use futures_util::StreamExt;

use super::api::Api;
use crate::call::Action;
use crate::error::{EngineError, Result};
use crate::types::*;

/// Longest time without any sign of progress of a pull.
const PULL_SILENCE: Duration = Duration::from_secs(60);
/// How many last lines of a failed build's output its error shows.
pub(super) const BUILD_TAIL: usize = 20;
/// Longest piece of a build's output that is kept together, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

impl Api {
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        let action = Action::on("inspect", "image", reference)?;
        match self.ask(&action, self.client.inspect_image(reference)).await {
            Ok(found) => Ok(Some(ImageInfo {
                id: found.id.unwrap_or_default(),
                env: found.config.and_then(|config| config.env).unwrap_or_default(),
                size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                architecture: found.architecture.unwrap_or_default(),
            })),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn pull(&self, reference: &str, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        let action = Action::on("pull", "image", reference)?;
        let failed = |answer: String| EngineError::Pull { image: reference.into(), answer };
        let options =
            CreateImageOptions { from_image: Some(with_tag(reference)), ..CreateImageOptions::default() };
        let mut steps = std::pin::pin!(self.client.create_image(Some(options), None, None));
        while let Some(step) = action.wait_for(PULL_SILENCE, async { Ok(steps.next().await) }).await? {
            match step {
                Ok(step) => report(step, progress),
                Err(Error::DockerResponseServerError { message, .. }) => return Err(failed(message)),
                Err(Error::DockerStreamError { error }) => return Err(failed(error)),
                Err(error) => return Err(self.error(&action, error)),
            }
        }
        self.image(reference)
            .await?
            .ok_or_else(|| failed("the engine does not have it after the pull".into()))
    }

    /// With the classic builder, which is also the way to speak to Podman's.
    pub(crate) async fn build(&self, spec: &BuildSpec, progress: ProgressSink<'_>) -> Result<ImageInfo> {
        let action = Action::on("build", "image", &spec.tag)?;
        let options = BuildImageOptions {
            dockerfile: spec.dockerfile.clone(),
            t: Some(spec.tag.clone()),
            rm: true,
            forcerm: true,
            buildargs: Some(for_dockerfile(&spec.args)),
            labels: Some(spec.labels.clone().into_iter().collect()),
            target: spec.target.clone().unwrap_or_default(),
            ..BuildImageOptions::default()
        };
        let context = bollard::body_full(spec.context_tar.clone());
        let mut steps = std::pin::pin!(self.client.build_image(options, None, Some(context)));
        let mut output = Output::default();
        while let Some(step) = steps.next().await {
            match step {
                Ok(BuildInfo { stream: Some(text), .. }) => {
                    output.push(&text, progress);
                }
                Ok(BuildInfo { id, status, progress_detail, .. }) => {
                    report(CreateImageInfo { id, status, progress_detail, error_detail: None }, progress);
                }
                Err(
                    Error::DockerResponseServerError { message: error, .. }
                    | Error::DockerStreamError { error },
                ) => return Err(output.failed(spec, &error, progress)),
                Err(error) => return Err(self.error(&action, error)),
            }
        }
        let built = self.image(&spec.tag).await?;
        let missing = "the engine does not have it after the build";
        built.ok_or_else(|| output.failed(spec, missing, progress))
    }

    pub(crate) async fn on_build(&self, image: &str) -> Result<Vec<String>> {
        let action = Action::on("inspect", "image", image)?;
        let found = self.ask(&action, self.client.inspect_image(image)).await?;
        Ok(found.config.and_then(|config| config.on_build).unwrap_or_default())
    }

    pub(crate) async fn tag_image(&self, image: &str, new_name: &str) -> Result<()> {
        let action = Action::on("tag", "image", image)?;
        let name = with_tag(new_name);
        // `with_tag` has seen to it that there is one, and digests are no names to give.
        let (repo, tag) = name.rsplit_once(':').unwrap_or((&name, "latest"));
        let options = TagImageOptions { repo: Some(repo.into()), tag: Some(tag.into()) };
        self.ask(&action, self.client.tag_image(image, Some(options))).await
    }

    pub(crate) async fn remove_image(&self, reference: &str) -> Result<()> {
        let action = Action::on("remove", "image", reference)?;
        let removal = self.client.remove_image(reference, None::<RemoveImageOptions>, None);
        match self.ask(&action, removal).await {
            Ok(_) | Err(EngineError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What the classic builder wrote. It sends pieces as they come: a line may come in several.
#[derive(Default)]
struct Output {
    /// A line whose end has not come.
    open: String,
    tail: VecDeque<String>,
}

impl Output {
    fn push(&mut self, text: &str, progress: ProgressSink<'_>) {
        for piece in text.split_inclusive('\n') {
            self.open.push_str(piece);
            if piece.ends_with('\n') || self.open.len() > LONGEST_LINE {
                self.line(progress);
            }
        }
    }

    /// What is there is a line.
    fn line(&mut self, progress: ProgressSink<'_>) {
        let line = std::mem::take(&mut self.open);
        let line = line.trim_end_matches(['\n', '\r']);
        if line.trim().is_empty() {
            return;
        }
        if self.tail.len() == BUILD_TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        progress(Progress::Line(line.to_owned()));
    }

    fn failed(mut self, spec: &BuildSpec, message: &str, progress: ProgressSink<'_>) -> EngineError {
        self.line(progress);
        let lines: Vec<String> = self.tail.into_iter().chain([one_line(message)]).collect();
        EngineError::Build { image: spec.tag.clone(), answer: lines.join("\n") }
    }
}

/// The arguments without those that are for BuildKit itself, which a Dockerfile does not ask for.
fn for_dockerfile(args: &BTreeMap<String, String>) -> HashMap<String, String> {
    let rest = args.iter().filter(|(name, _)| !name.starts_with("BUILDKIT_"));
    rest.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// An engine's words about a failed step repeat its command, with all lines of that: on one line they stay the last one.
pub(super) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The reference with `:latest` where it has neither tag nor digest: without one, all tags would be pulled.
pub(crate) fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || last.contains('@') { reference.into() } else { format!("{reference}:latest") }
}

fn report(step: CreateImageInfo, progress: ProgressSink<'_>) {
    let Some(status) = step.status else { return };
    let ProgressDetail { current, total } = step.progress_detail.unwrap_or_default();
    let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
    // The first line has the tag in the place of a layer's id.
    progress(match step.id {
        Some(id) if !status.starts_with("Pulling from") => {
            Progress::Layer { id, status, current: bytes(current), total: bytes(total) }
        }
        _ => Progress::Line(status),
    });
}

#[cfg(test)]
mod tests {
    use super::{Output, for_dockerfile, with_tag};
    use crate::types::Progress;

    #[test]
    fn the_classic_builder_gets_no_arguments_of_buildkit() {
        let args =
            [("A", "b"), ("BUILDKIT_CACHE_MOUNT_NS", "c")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(for_dockerfile(&args.into()), [("A".into(), "b".into())].into());
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one_line() {
        let mut output = Output::default();
        let mut lines = Vec::new();
        for piece in ["Step 1/2 : FROM x\n", "fet", "ch", "ing\r", "\ndone\n\nlast"] {
            output.push(piece, &mut |step| lines.push(step));
        }
        output.line(&mut |step| lines.push(step));
        let wanted = ["Step 1/2 : FROM x", "fetching", "done", "last"];
        assert_eq!(lines, wanted.map(|line| Progress::Line(line.into())));
        assert_eq!(Vec::from(output.tail), wanted);
    }

    #[test]
    fn only_a_bare_name_gets_the_tag_latest() {
        assert_eq!(with_tag("debian"), "debian:latest");
        assert_eq!(with_tag("127.0.0.1:5000/a/b"), "127.0.0.1:5000/a/b:latest");
        for whole in ["debian:12", "host:5000/a:1", "a@sha256:0123"] {
            assert_eq!(with_tag(whole), whole);
        }
    }
}
