//! A server's registered projects as the broker sees them: which there are, and what a session of one is made of.
//!
//! The clone is only looked at: each session gets a copy of its own. Who clones is the administrator's command, never the
//! broker. Calls `config`, `podfile`, `spec`.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::installation::state_dir;
use crate::config::{Config, ConfigError, Layers, Project, Projects, Word};
use crate::names::{GitUrl, ImageRef, ProjectName};
use crate::podfile::{self, Https, Loaded, Places, PodfileError};
use crate::spec::{CopySpec, ProjectRequest, Recipe};

/// Why a project cannot become a session.
#[derive(Debug, Error)]
pub enum ServerProjectError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] ConfigError),
    /// Its Podfile.
    #[error(transparent)]
    Podfile(#[from] PodfileError),
    /// Its image.
    #[error("{}: {reason}", path.display())]
    Recipe {
        /// The Podfile.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was written into the registry by hand and not cloned since.
    #[error("the repository of the project `{0}` has not been fetched yet")]
    NotCloned(String),
}

impl ServerProjectError {
    /// The text without the places of this host.
    pub fn without_places(&self, config: &Config) -> String {
        let clones = format!("{}/", clones(config).display());
        self.to_string().replace(&clones, "")
    }
}

/// What a session of a project is made of besides what configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectParts {
    /// With a Podfile, what that says.
    pub project: Option<ProjectRequest>,
    /// The files that are copied in.
    pub copy: CopySpec,
}

/// The image of a clone's Podfile, and how it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectImage {
    /// Its name; without a Podfile, the one that configuration says.
    pub image: ImageRef,
    /// How it is made; none without a Podfile.
    pub recipe: Option<Recipe>,
}

impl ProjectImage {
    /// What the name is made of: everything that shapes the image. None without a Podfile.
    pub fn hash(&self) -> Option<Word> {
        self.recipe.as_ref()?;
        self.image.as_str().rsplit_once(':').map(|(_, tag)| Word::new(tag.to_owned()))
    }
}

/// Where clones are kept.
pub fn clones(config: &Config) -> PathBuf {
    state_dir(config).join("projects")
}

/// The clone of a project.
pub fn clone_of(config: &Config, name: &ProjectName) -> PathBuf {
    clones(config).join(name.as_str())
}

/// A clone that is not yet in its place.
pub fn new_clone_of(config: &Config, name: &ProjectName) -> PathBuf {
    clones(config).join(format!(".new-{name}"))
}

/// Every registered project: those of the registry, then those of the configuration file.
pub fn registered(layers: &Layers) -> Result<Projects, ConfigError> {
    Ok(Projects::read(&layers.config.projects_file)?.over(&layers.projects))
}

/// The image that a clone asks for.
pub fn image_of(
    layers: &Layers,
    name: &ProjectName,
    directory: &Path,
) -> Result<ProjectImage, ServerProjectError> {
    match load(&layers.config, directory)? {
        Some(loaded) => {
            let (image, recipe) = recipe(&layers.config, &loaded, name)?;
            Ok(ProjectImage { image, recipe: Some(recipe) })
        }
        None => Ok(ProjectImage { image: layers.config.defaults.image.clone(), recipe: None }),
    }
}

/// What a session of a registered project is made of, as its clone stands now.
pub fn parts(
    layers: &Layers,
    name: &ProjectName,
    project: &Project,
) -> Result<ProjectParts, ServerProjectError> {
    let config = &layers.config;
    let directory = clone_of(config, name);
    if !directory.is_dir() {
        return Err(ServerProjectError::NotCloned(name.to_string()));
    }
    let loaded = load(config, &directory)?;
    let target = loaded.as_ref().and_then(|loaded| loaded.podfile.workspace.clone());
    let copy = CopySpec {
        source: directory,
        // The clone's settings repeat the address: what is secret in it is the administrator's.
        with_git: !holds_a_secret(&project.repo),
        target: target.unwrap_or_else(|| format!("/workspace/{name}")),
    };
    let project = match loaded {
        Some(loaded) => {
            let (image, recipe) = recipe(config, &loaded, name)?;
            Some(ProjectRequest {
                image,
                recipe,
                mode: project.mode,
                copy: Some(copy.clone()),
                start_dir: loaded.podfile.start_dir.clone(),
                ports: Vec::new(),
                podfile: loaded.podfile,
                origins: loaded.origins,
            })
        }
        None => None,
    };
    Ok(ProjectParts { project, copy })
}

fn load(config: &Config, directory: &Path) -> Result<Option<Loaded>, PodfileError> {
    let places = Places {
        cache: state_dir(config).join("cache/podfiles"),
        github: config.github_url.as_str().to_owned(),
    };
    podfile::locate(directory)?.map(|path| podfile::load(&path, &places, &Https)).transpose()
}

fn recipe(
    config: &Config,
    loaded: &Loaded,
    name: &ProjectName,
) -> Result<(ImageRef, Recipe), ServerProjectError> {
    podfile::recipe(&loaded.podfile, &loaded.canonical, name.as_str(), &config.packages.sources)
        .map_err(|reason| ServerProjectError::Recipe { path: loaded.path.clone(), reason })
}

/// Whether an address says more than which user git is to be.
fn holds_a_secret(url: &GitUrl) -> bool {
    let Some((scheme, rest)) = url.as_str().split_once("://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => scheme != "ssh" || user.contains(':'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_password_or_a_token_is_secret() {
        for (text, secret) in [
            ("https://me:word@host.example/a/b", true),
            ("https://token@host.example/a/b", true),
            ("ssh://git:word@host.example/a", true),
            ("ssh://git@host.example/a", false),
            ("git@host.example:a/b", false),
            ("github.com/a/b", false),
        ] {
            assert_eq!(holds_a_secret(&text.parse().unwrap()), secret, "{text}");
        }
    }
}
