//! The Podfile of a directory: which file it is, and what it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::devcontainer::{Converted, convert};
use super::error::PodfileError;
use super::extends::{Places, Root, resolve};
use super::fetch::Fetch;
use super::layer::Place;
use super::model::{Base, Podfile};
use super::parse::parse;
use super::recipe::recipe;
use super::validate::validate;
use crate::config::{Origin, PackageSources};
use crate::names::ImageRef;
use crate::spec::Recipe;

/// Where a repository keeps its Podfile, first choice first.
pub const LOCATIONS: [&str; 4] =
    [".podspawn/podfile.yaml", "podfile.yaml", ".devcontainer/devcontainer.json", ".devcontainer.json"];

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
    let (text, _) = root.read(path).map_err(|reason| PodfileError::Read { path: path.to_owned(), reason })?;
    load_from(path, &text, &root, places, fetch)
}

/// The same with the text of the file at hand.
pub fn load_text(
    path: &Path,
    text: &str,
    places: &Places,
    fetch: &dyn Fetch,
) -> Result<Loaded, PodfileError> {
    load_from(path, text, &Root::of(path), places, fetch)
}

fn load_from(
    path: &Path,
    text: &str,
    root: &Root,
    places: &Places,
    fetch: &dyn Fetch,
) -> Result<Loaded, PodfileError> {
    if path.extension().is_some_and(|extension| extension == "json") {
        let Converted { podfile, warnings, origins } = convert(text, path, root.path())?;
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
