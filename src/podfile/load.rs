//! The Podfile of a directory: which file it is, and what it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::devcontainer::{Converted, convert};
use super::error::PodfileError;
use super::extends::{Places, Root, resolve};
use super::fetch::{Anew, Fetch, Noting};
use super::layer::Place;
use super::model::{Base, Podfile};
use super::parse::parse;
use super::recipe::{recipe, takes_from_context};
use super::validate::validate;
use crate::config::{Origin, PackageSources};
use crate::names::ImageRef;
use crate::spec::Recipe;

/// Where a repository keeps its Podfile, first choice first.
pub const LOCATIONS: [&str; 4] =
    [".podspawn/podfile.yaml", "podfile.yaml", ".devcontainer/devcontainer.json", ".devcontainer.json"];

/// The project that a Podfile is read for.
#[derive(Debug, Clone, Copy)]
pub struct Repository<'a> {
    /// Where it lies. What a Podfile in there names may not lead out of it.
    pub directory: &'a Path,
    /// What it is called wherever it happens to lie; none if it is called as its directory. With a name, nothing that the
    /// Podfile comes to depends on the directory.
    pub name: Option<&'a str>,
}

/// A Podfile, merged and valid, and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub podfile: Podfile,
    /// The file.
    pub path: PathBuf,
    /// Where each value came from: `base`, `shell`, `env.NAME`, `services`, `services.NAME`, `resources.cpus`, `hooks`…
    pub origins: BTreeMap<String, Origin>,
    /// What the image's name is made of: the text as it is; with `extends`, and for a devcontainer, what came of it.
    pub canonical: String,
    /// What its writer should know, one line each.
    pub warnings: Vec<String>,
}

/// Why a Podfile has no image.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub struct RecipeError {
    /// The Podfile.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

impl Loaded {
    /// The name of its image, and how that is made. `project` is the project, machine or session that it is for.
    pub fn image(&self, project: &str, sources: &PackageSources) -> Result<(ImageRef, Recipe), RecipeError> {
        recipe(&self.podfile, &self.canonical, project, sources)
            .map_err(|reason| RecipeError { path: self.path.clone(), reason })
    }

    /// What its writer should know, files named as the project's directory has them.
    pub fn warnings_in(&self, directory: &Path) -> Vec<String> {
        let place = format!("{}/", directory.display());
        self.warnings.iter().map(|warning| warning.replace(&place, "")).collect()
    }

    /// The name of its image, if that is to be had without reading the context of a Dockerfile, which may be large, and may
    /// have been changed by whoever works in the project.
    pub fn image_at_hand(&self, project: &str, sources: &PackageSources) -> Option<ImageRef> {
        match &self.podfile.base {
            Base::Build(build) if takes_from_context(build) => None,
            Base::Build(_) | Base::Image(_) => self.image(project, sources).ok().map(|(image, _)| image),
        }
    }
}

/// The Podfile of a directory, if it has one. A place that cannot be looked at stops the search.
pub fn locate(directory: &Path) -> Result<Option<PathBuf>, PodfileError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    for location in LOCATIONS {
        let path = directory.join(location);
        match path.symlink_metadata() {
            Ok(_) => return Ok(Some(path)),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => {}
            Err(error) => return Err(PodfileError::Read { path, reason: error.to_string() }),
        }
    }
    Ok(None)
}

/// Reads the Podfile at `path`, what it extends, and checks what comes of them.
pub fn load(path: &Path, places: &Places, fetch: &dyn Fetch) -> Result<Loaded, PodfileError> {
    let root = Root::of(path);
    let directory = root.path().to_owned();
    load_at(path, &root, Repository { directory: &directory, name: None }, places, fetch)
}

/// The same for a project, to which the file need not belong.
pub fn load_for(
    path: &Path,
    repository: Repository<'_>,
    places: &Places,
    fetch: &dyn Fetch,
) -> Result<Loaded, PodfileError> {
    load_at(path, &Root::holding(path, repository.directory), repository, places, fetch)
}

fn load_at(
    path: &Path,
    root: &Root,
    repository: Repository<'_>,
    places: &Places,
    fetch: &dyn Fetch,
) -> Result<Loaded, PodfileError> {
    let (text, _) = root.read(path).map_err(|reason| PodfileError::Read { path: path.to_owned(), reason })?;
    let noting = Noting::new(fetch);
    match load_from(path, &text, root, repository, places, &noting) {
        // A copy that was kept may be one that nothing can be made of, and be repaired where it came from.
        Err(_) if noting.kept_does() => load_from(path, &text, root, repository, places, &Anew(fetch)),
        loaded => loaded,
    }
}

/// The same with the text of the file at hand.
pub fn load_text(
    path: &Path,
    text: &str,
    places: &Places,
    fetch: &dyn Fetch,
) -> Result<Loaded, PodfileError> {
    let root = Root::of(path);
    let directory = root.path().to_owned();
    load_from(path, text, &root, Repository { directory: &directory, name: None }, places, fetch)
}

fn load_from(
    path: &Path,
    text: &str,
    root: &Root,
    repository: Repository<'_>,
    places: &Places,
    fetch: &dyn Fetch,
) -> Result<Loaded, PodfileError> {
    if path.extension().is_some_and(|extension| extension == "json") {
        let Converted { podfile, warnings, origins } = convert(text, path, root.path(), repository)?;
        // Where the repository lies on this host is no part of what it says.
        let mut said = podfile.clone();
        if let Base::Build(build) = &mut said.base
            && let Ok(inside) = build.context.strip_prefix(root.path())
        {
            build.context = inside.to_owned();
        }
        let canonical = serialised(&said);
        return Ok(Loaded { podfile, path: path.to_owned(), origins, canonical, warnings });
    }
    let top = parse(path, text)?;
    let extends = top.extends.is_some();
    let chain = resolve(path, top, root, places, fetch)?;
    let whole = Place { file: Arc::new(path.to_owned()), line: None, key: String::new() };
    let valid = validate(chain.layer, &whole)?;
    let canonical = if extends { serialised(&valid.podfile) } else { text.to_owned() };
    Ok(Loaded {
        podfile: valid.podfile,
        path: path.to_owned(),
        origins: valid.origins,
        canonical,
        warnings: [chain.warnings, valid.warnings].concat(),
    })
}

/// A Podfile as text that depends on its values alone.
fn serialised(podfile: &Podfile) -> String {
    // Keys of a JSON value are sorted, and a Podfile has no key that is not text.
    serde_json::to_value(podfile).map_or_else(|error| error.to_string(), |value| value.to_string())
}

#[cfg(test)]
mod tests;
