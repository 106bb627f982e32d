//! What the image is built on: `image`, `build` and their older forms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Reader;
use super::json::{Json, Node};
use super::variables::{InContainer, is_name};
use crate::names::{misleads, quoted};
use crate::podfile::{Base, BuildBase, PodfileError};

/// Where neither image nor Dockerfile is named.
const DEFAULT: &str = "ubuntu:24.04";

/// Everything that says what the image is built on.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) image: Option<Node>,
    pub(super) build: Option<Node>,
    pub(super) dockerfile: Option<Node>,
    pub(super) context: Option<Node>,
    pub(super) compose: Option<Node>,
}

impl Reader<'_> {
    /// The base. Paths are looked up: they must lie in the repository.
    pub(super) fn base(&mut self, source: Source) -> Result<Base, PodfileError> {
        let Source { image, build, dockerfile, context, compose } = source;
        let mut parts = Build {
            dockerfile: dockerfile.map(|node| ("dockerFile", node)),
            context: context.map(|node| ("context", node)),
            ..Build::default()
        };
        if let Some(node) = build.filter(|node| node.value != Json::Null) {
            self.build(node, &mut parts)?;
        }
        let dockerfile = match &parts.dockerfile {
            Some((key, node)) => self.optional_text(node, key)?.map(|(line, text)| (line, *key, text)),
            None => None,
        };
        let image = match &image {
            Some(node) => self.optional_text(node, "image")?.filter(|(_, text)| !text.is_empty()),
            None => None,
        };
        if let Some(node) = compose.filter(|node| !node.value.is_nothing()) {
            if !matches!(node.value, Json::Text(_) | Json::List(_)) {
                return Err(self.expected(&node, "dockerComposeFile", "a text or a list"));
            }
            let text = "Compose is not supported";
            if image.is_none() && dockerfile.is_none() {
                let remedy =
                    "name an `image` or a `build.dockerfile`, or write a podfile.yaml with `services`";
                return Err(self.wrong(node.line, "dockerComposeFile", format!("{text}: {remedy}")));
            }
            self.warn(node.line, "dockerComposeFile", text);
        }
        let Some((line, key, dockerfile)) = dockerfile else {
            if let Some((key, line)) = parts.first_of_build() {
                self.warn(line, key, "is not used: there is no `build.dockerfile`");
            }
            let (line, text) = image.unwrap_or((1, DEFAULT.into()));
            let text = self.variables.expand(&text, InContainer::Unknown);
            return text.parse().map(Base::Image).map_err(|error: crate::names::NameError| {
                let near = error
                    .suggestion
                    .as_ref()
                    .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                self.wrong(line, "image", format!("{error}{near}"))
            });
        };
        if let Some((line, _)) = image {
            self.warn(line, "image", &format!("is not used: `{key}` is built"));
        }
        self.build_base(line, key, &dockerfile, parts).map(Base::Build)
    }

    fn build(&mut self, node: Node, parts: &mut Build) -> Result<(), PodfileError> {
        let Json::Object(entries) = node.value else {
            return Err(self.expected(&node, "build", "an object"));
        };
        for (name, node) in entries {
            match name.as_str() {
                "dockerfile" | "dockerFile" => parts.dockerfile = Some(("build.dockerfile", node)),
                "context" => parts.context = Some(("build.context", node)),
                "args" => parts.args = Some(node),
                "target" => parts.target = Some(node),
                "cacheFrom" | "options" => {
                    let key = format!("build.{name}");
                    if !matches!(node.value, Json::Text(_) | Json::List(_) | Json::Null) {
                        return Err(self.expected(&node, &key, "a text or a list"));
                    }
                    if !node.value.is_nothing() {
                        self.warn(node.line, &key, "is not supported");
                    }
                }
                _ => {
                    let known = ["dockerfile", "context", "args", "target", "cacheFrom", "options"];
                    self.unknown(node.line, "build.", &name, &known);
                }
            }
        }
        Ok(())
    }

    fn build_base(
        &mut self,
        line: usize,
        key: &str,
        dockerfile: &str,
        parts: Build,
    ) -> Result<BuildBase, PodfileError> {
        let dockerfile = self.in_repository(line, key, dockerfile)?;
        if !dockerfile.is_file() {
            return Err(self.wrong(line, key, "it is not a regular file".into()));
        }
        let (context_line, context_key, context) = match &parts.context {
            Some((key, node)) => self
                .optional_text(node, key)?
                .map_or((line, *key, String::new()), |(line, text)| (line, *key, text)),
            None => (line, key, String::new()),
        };
        let context = if context.is_empty() { "." } else { &context };
        let context = self.in_repository(context_line, context_key, context)?;
        if !context.is_dir() {
            return Err(self.wrong(context_line, context_key, "it is not a directory".into()));
        }
        let relative = dockerfile.strip_prefix(&context).ok().and_then(Path::to_str).ok_or_else(|| {
            let reason =
                "the Dockerfile must lie inside the context: name a directory above it as `build.context`";
            self.wrong(line, key, reason.into())
        })?;
        if relative.trim_start().starts_with('[') || relative.ends_with(".in") {
            // Podman reads the one name as a list in JSON, with escapes that lead anywhere on its host, and sends the file
            // with the other through its host's preprocessor, which includes any file of that host.
            let reason = format!("a Dockerfile cannot be called {}: rename it", quoted(relative));
            return Err(self.wrong(line, key, reason));
        }
        let target = match &parts.target {
            Some(node) => self.optional_text(node, "build.target")?,
            None => None,
        };
        let target = match target {
            Some((line, text)) if !text.is_empty() => {
                let text = self.variables.expand(&text, InContainer::Unknown);
                let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
                if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(fits) {
                    let reason = format!("{} is not the name of a stage", quoted(&text));
                    return Err(self.wrong(line, "build.target", reason));
                }
                Some(text)
            }
            _ => None,
        };
        let args = match parts.args {
            Some(node) => self.arguments(node)?,
            None => BTreeMap::new(),
        };
        Ok(BuildBase { dockerfile: relative.to_owned(), context, args, target })
    }

    fn arguments(&mut self, node: Node) -> Result<BTreeMap<String, String>, PodfileError> {
        let mut args = BTreeMap::new();
        for (name, node) in self.object(&node, "build.args")? {
            let key = format!("build.args.{name}");
            if !is_name(name) {
                return Err(self.wrong(
                    node.line,
                    "build.args",
                    format!("{} is not the name of an argument", quoted(name)),
                ));
            }
            if name.starts_with("BUILDKIT_") {
                self.warn(node.line, &key, "is not passed on: it is for the builder itself");
                continue;
            }
            if let Some((line, text)) = self.optional_text(node, &key)? {
                let text = self.variables.expand(&text, InContainer::Unknown);
                if text.contains('\0') {
                    return Err(self.wrong(line, &key, "it contains a zero byte".into()));
                }
                args.insert(name.clone(), text);
            }
        }
        Ok(args)
    }

    /// A path relative to the file, resolved; it must not lead out of the repository.
    fn in_repository(&mut self, line: usize, key: &str, text: &str) -> Result<PathBuf, PodfileError> {
        let text = self.variables.expand(text, InContainer::Unknown);
        if text.is_empty() || text.contains(misleads) {
            return Err(self.wrong(line, key, format!("{} is not a usable path", quoted(&text))));
        }
        if text.starts_with('/') {
            let reason = format!("{} is absolute: write it relative to this file", quoted(&text));
            return Err(self.wrong(line, key, reason));
        }
        let top = self.resolved(line, key, self.repository, ".")?;
        let path =
            self.resolved(line, key, &self.path.parent().unwrap_or(Path::new("")).join(&text), &text)?;
        if !path.starts_with(&top) {
            let reason = format!("{} leads out of the repository", quoted(&text));
            return Err(self.wrong(line, key, reason));
        }
        Ok(path)
    }

    fn resolved(&self, line: usize, key: &str, path: &Path, shown: &str) -> Result<PathBuf, PodfileError> {
        std::fs::canonicalize(path)
            .map_err(|error| self.wrong(line, key, format!("{}: {}", quoted(shown), error.kind())))
    }
}

/// The parts of a build, with the keys that they stand under.
#[derive(Debug, Default)]
struct Build {
    dockerfile: Option<(&'static str, Node)>,
    context: Option<(&'static str, Node)>,
    args: Option<Node>,
    target: Option<Node>,
}

impl Build {
    /// A part that says nothing without a Dockerfile.
    fn first_of_build(&self) -> Option<(&'static str, usize)> {
        let context = self.context.as_ref().map(|(key, node)| (*key, node.line));
        let args = self.args.as_ref().map(|node| ("build.args", node.line));
        let target = self.target.as_ref().map(|node| ("build.target", node.line));
        context.or(args).or(target)
    }
}
