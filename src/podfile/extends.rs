//! From one file to the chain of those it extends, and what comes of merging them.
//!
//! A file of a repository may extend files of that repository; one that came from elsewhere may not name files of this host.

use std::path::{Component, Path, PathBuf};

use super::bases;
use super::error::PodfileError;
use super::fetch::Fetch;
use super::layer::{At, Layer};
use super::merge::{idle_removals, merge};
use super::parse::parse;
use super::reference::{Github, Reference};
use super::templates;
use crate::config::{nearest, read_text, read_text_below};
use crate::names::printable;
use crate::system::files::write_atomic;

/// Most levels of `extends`.
const MAX_LEVELS: usize = 10;

/// Where things are looked up that are not in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Podfiles that were fetched: `bases`, `templates`, `github`.
    pub cache: PathBuf,
    /// The address that stands for github.com, such as `https://github.com`.
    pub github: String,
}

/// The directory that references to files may not leave.
#[derive(Debug)]
pub(super) struct Root {
    /// As the caller's path has it.
    shown: PathBuf,
    real: PathBuf,
}

impl Root {
    /// The directory of the repository that a Podfile belongs to.
    pub(super) fn of(podfile: &Path) -> Self {
        let parent = match podfile.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let inner =
            matches!(parent.file_name().and_then(|name| name.to_str()), Some(".podspawn" | ".devcontainer"));
        // By the text of the path: behind a symbolic link, `x/..` is not where the link stands.
        Self::at(if inner { parent.join("..") } else { parent.to_owned() }.as_path())
    }

    /// This directory.
    fn at(directory: &Path) -> Self {
        let shown = lexical(directory);
        Self { real: shown.canonicalize().unwrap_or_else(|_| shown.clone()), shown }
    }

    /// The directory of a project, if the Podfile lies in it, however deep.
    pub(super) fn holding(podfile: &Path, directory: &Path) -> Self {
        let root = Self::at(directory);
        if root.may_hold(podfile) { root } else { Self::of(podfile) }
    }

    /// The real path of the directory.
    pub(super) fn path(&self) -> &Path {
        &self.real
    }

    /// The text of a file inside, and its real path. The error is the reason alone.
    pub(super) fn read(&self, path: &Path) -> Result<(String, PathBuf), String> {
        if !self.may_hold(path) {
            return Err(self.leads_out());
        }
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err("there is no such file".into());
            }
            Err(error) => return Err(error.to_string()),
        };
        let Ok(inside) = real.strip_prefix(&self.real) else {
            return Err(self.leads_out());
        };
        match read_text_below(&self.real, inside)? {
            Some(text) => Ok((text, real)),
            None => Err("there is no such file".into()),
        }
    }

    /// Whether a path stays inside by its text: what is outside is not even looked for.
    fn may_hold(&self, path: &Path) -> bool {
        let path = lexical(path);
        let relative = !path.is_absolute() && !path.starts_with("..");
        path.starts_with(&self.shown)
            || path.starts_with(&self.real)
            || (relative && self.shown == Path::new("."))
    }

    fn leads_out(&self) -> String {
        format!("it leads out of the repository ({})", printable(&self.real.to_string_lossy()))
    }
}

/// A path without `.` and `..`, by its text alone.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

/// A file of the chain.
struct Link {
    /// By what a file is known again.
    id: String,
    /// As people are told of it.
    shown: String,
    /// Directory that its references to files start from; none for a file from elsewhere.
    directory: Option<PathBuf>,
}

/// What was merged.
pub(super) struct Chain {
    pub(super) layer: Layer,
    pub(super) warnings: Vec<String>,
}

/// Follows `extends` from the file at `path`, whose text is `top`, and merges.
pub(super) fn resolve(
    path: &Path,
    top: Layer,
    root: &Root,
    places: &Places,
    fetch: &dyn Fetch,
) -> Result<Chain, PodfileError> {
    let id = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let link = Link {
        id: id.to_string_lossy().into_owned(),
        shown: printable(&path.to_string_lossy()),
        directory: Some(path.parent().map(Path::to_owned).unwrap_or_default()),
    };
    let mut following = Following { root, places, fetch, links: vec![link], warnings: Vec::new() };
    let mut layers = vec![top];
    while let Some(reference) = layers.last().and_then(|layer| layer.extends.clone()) {
        layers.push(following.next(&reference)?);
    }
    let mut merged = layers.pop().unwrap_or_default();
    while let Some(child) = layers.pop() {
        following.warnings.extend(idle_removals(&merged, &child));
        merged = merge(merged, child);
    }
    Ok(Chain { layer: merged, warnings: following.warnings })
}

struct Following<'a> {
    root: &'a Root,
    places: &'a Places,
    fetch: &'a dyn Fetch,
    links: Vec<Link>,
    warnings: Vec<String>,
}

impl Following<'_> {
    /// The layer that the last file of the chain extends.
    fn next(&mut self, reference: &At<String>) -> Result<Layer, PodfileError> {
        let fail = |reason: String| PodfileError::Extends {
            place: reference.place.shown(),
            reference: printable(&reference.value.chars().take(200).collect::<String>()),
            reason,
        };
        let (link, text) = self.find(&reference.value).map_err(|reason| {
            fail(if self.links.len() > 1 { format!("{reason} ({})", self.chain(None)) } else { reason })
        })?;
        if self.links.iter().any(|other| other.id == link.id) {
            return Err(fail(format!(
                "it comes back to a file of its own chain ({})",
                self.chain(Some(&link.shown))
            )));
        }
        if self.links.len() > MAX_LEVELS {
            let chain = self.chain(Some(&link.shown));
            return Err(fail(format!("there are more than {MAX_LEVELS} levels ({chain})")));
        }
        let layer = parse(Path::new(&link.shown), &text).map_err(|error| self.extended(error))?;
        self.links.push(link);
        Ok(layer)
    }

    /// The chain up to here, and what would come next.
    fn chain(&self, next: Option<&str>) -> String {
        let shown = self.links.iter().map(|link| link.shown.as_str()).chain(next);
        shown.collect::<Vec<_>>().join(" → ")
    }

    /// An error of a file that another extends.
    fn extended(&self, mut error: PodfileError) -> PodfileError {
        let by = format!(" (extended by {})", self.chain(None));
        match &mut error {
            PodfileError::Malformed { place, .. }
            | PodfileError::UnknownKey { place, .. }
            | PodfileError::Value { place, .. }
            | PodfileError::Extends { place, .. } => place.push_str(&by),
            PodfileError::Read { reason, .. } => reason.push_str(&by),
        }
        error
    }

    fn find(&mut self, reference: &str) -> Result<(Link, String), String> {
        let elsewhere = |id: String, shown: String, text: String| (Link { id, shown, directory: None }, text);
        match Reference::parse(reference)? {
            Reference::Local(path) => self.local(&path),
            Reference::Name(name) => {
                for kind in ["bases", "templates"] {
                    let path = self.places.cache.join(kind).join(format!("{name}.yaml"));
                    if let Some(text) = read_text(&path).unwrap_or_default() {
                        let shown = printable(&path.to_string_lossy());
                        return Ok(elsewhere(shown.clone(), shown, text));
                    }
                }
                match bases::built_in(&name).or_else(|| templates::built_in(&name)) {
                    Some(text) => {
                        let shown = format!("built-in:{name}");
                        Ok(elsewhere(shown.clone(), shown, text.to_owned()))
                    }
                    None => {
                        let names = bases::names();
                        let guess = nearest(&name, &names).map_or_else(
                            || format!(" (known: {})", names.join(", ")),
                            |near| format!("; did you mean `{near}`?"),
                        );
                        Err(format!("there is no base or template of that name{guess}"))
                    }
                }
            }
            Reference::Github(github) => {
                let url = github.url(&self.places.github);
                let text = self.fetched(&github, &url)?;
                Ok(elsewhere(url, github.shown(), text))
            }
        }
    }

    fn local(&self, path: &str) -> Result<(Link, String), String> {
        let Some(directory) = self.links.last().and_then(|link| link.directory.as_ref()) else {
            return Err("a Podfile that is not of this repository can extend no file of this host".into());
        };
        let shown = lexical(&directory.join(path));
        let (text, real) = self.root.read(&shown)?;
        let directory = shown.parent().map(Path::to_owned).unwrap_or_default();
        let link = Link {
            id: real.to_string_lossy().into_owned(),
            shown: printable(&shown.to_string_lossy()),
            directory: Some(directory),
        };
        Ok((link, text))
    }

    /// From the server, and kept; from the cache while the server does not give it, or where that is enough.
    fn fetched(&mut self, github: &Github, url: &str) -> Result<String, String> {
        let kept = self.places.cache.join(github.cached());
        if self.fetch.takes_kept()
            && let Ok(Some(text)) = read_text(&kept)
        {
            return Ok(text);
        }
        match self.fetch.get(url) {
            Ok(text) => {
                let unchanged = read_text(&kept).is_ok_and(|old| old.as_deref() == Some(&text));
                if let Some(directory) = kept.parent().filter(|_| !unchanged) {
                    // The cache is a help for the next time, and nothing that this time needs.
                    let _ = std::fs::create_dir_all(directory)
                        .and_then(|()| write_atomic(&kept, text.as_bytes(), 0o644));
                }
                Ok(text)
            }
            Err(reason) => match read_text(&kept) {
                Ok(Some(text)) => {
                    self.warnings.push(format!(
                        "{url} cannot be fetched ({}): the copy in {} is used",
                        printable(&reason),
                        kept.display()
                    ));
                    Ok(text)
                }
                _ => Err(format!("{url} cannot be fetched: {}", printable(&reason))),
            },
        }
    }
}

#[cfg(test)]
mod tests;
