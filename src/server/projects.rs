//! A server's registered projects as the broker sees them: which there are, and what a session of one is made of.
//!
//! The clone is only looked at: each session gets a copy of its own. Who clones is the administrator's command, never the
//! broker. Calls `config`, `podfile`, `spec`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::installation::state_dir;
use crate::config::{Config, ConfigError, Layers, Mode, Project, Projects, Word};
use crate::names::{GitUrl, ImageRef, MachineName, ProjectName, SessionKey};
use crate::podfile::{self, Fetch, Https, Loaded, Missing, Places, PodfileError, RecipeError, Repository};
use crate::spec::{CopySpec, Kind, ProjectRequest, Recipe, Request, Setup};
use crate::system::host::timezone;

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
    #[error(transparent)]
    Recipe(#[from] RecipeError),
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
struct ProjectParts {
    /// With a Podfile, what that says.
    project: Option<ProjectRequest>,
    /// The files that are copied in.
    copy: CopySpec,
    /// What the registry says, whether or not there is a Podfile.
    mode: Option<Mode>,
}

/// The image of a clone's Podfile, and how it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectImage {
    /// Its name; without a Podfile, the one that configuration says.
    pub image: ImageRef,
    /// How it is made; none without a Podfile.
    pub recipe: Option<Recipe>,
    /// What the Podfile's writer, and whoever registers the project, should know.
    pub warnings: Vec<String>,
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

/// Where clones are made: beside the directory of state, which git's account may not look into.
pub fn making(config: &Config) -> PathBuf {
    let state = state_dir(config);
    let mut name = state.file_name().unwrap_or_default().to_owned();
    name.push("-fetch");
    state.with_file_name(name)
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
    match load(&layers.config, name, directory, &Https)? {
        Some(loaded) => {
            let (image, recipe) = loaded.image(name.as_str(), &layers.config.packages.sources)?;
            Ok(ProjectImage { image, recipe: Some(recipe), warnings: loaded.warnings_in(directory) })
        }
        None => {
            let image = layers.config.defaults.image.clone();
            Ok(ProjectImage { image, recipe: None, warnings: Vec::new() })
        }
    }
}

/// What is asked for when a session is made, as configuration, registry and clones stand now. `user_env`: what the
/// administrator's file about its user sets.
pub fn request(
    layers: &Layers,
    user_env: BTreeMap<String, String>,
    key: SessionKey,
) -> Result<Request, ServerProjectError> {
    let parts = match &key.name {
        Some(name) => parts_of(layers, name)?,
        None => None,
    };
    let (project, copy, project_mode) =
        parts.map_or((None, None, None), |parts| (parts.project, Some(parts.copy), parts.mode));
    Ok(Request {
        user_env,
        user_dotfiles: layers.dotfiles.clone(),
        timezone: timezone(),
        project,
        copy,
        project_mode,
        ..Request::new(key, Kind::Session)
    })
}

/// What happens inside a session of a project, as its clone stands now. Neither its image nor the files of that are looked at:
/// whoever comes to a session comes to one that is made.
pub fn setup(layers: &Layers, key: &SessionKey) -> Result<Setup, ServerProjectError> {
    let dotfiles = layers.dotfiles.clone();
    let nothing = |dotfiles| Setup { dotfiles, ..Setup::default() };
    let Some(name) = key.name.as_ref().and_then(|name| name.as_str().parse::<ProjectName>().ok()) else {
        return Ok(nothing(dotfiles));
    };
    if registered(layers)?.get(&name).is_none() {
        return Ok(nothing(dotfiles));
    }
    let directory = cloned(&layers.config, &name)?;
    Ok(match load(&layers.config, &name, &directory, &Missing)? {
        Some(loaded) => Setup::of(loaded.podfile, dotfiles),
        None => nothing(dotfiles),
    })
}

/// What a registered project adds to its sessions; none for the name of any other session.
fn parts_of(layers: &Layers, name: &MachineName) -> Result<Option<ProjectParts>, ServerProjectError> {
    // Names of projects and of sessions have one grammar.
    let Ok(name) = name.as_str().parse::<ProjectName>() else { return Ok(None) };
    match registered(layers)?.get(&name) {
        Some(project) => parts(layers, &name, project).map(Some),
        None => Ok(None),
    }
}

/// What a session of a registered project is made of, as its clone stands now.
fn parts(layers: &Layers, name: &ProjectName, project: &Project) -> Result<ProjectParts, ServerProjectError> {
    let config = &layers.config;
    let directory = cloned(config, name)?;
    let loaded = load(config, name, &directory, &Missing)?;
    let target = loaded.as_ref().and_then(|loaded| loaded.podfile.workspace.clone());
    let copy = CopySpec {
        source: directory,
        // The clone's settings repeat the address: what is secret in it is the administrator's.
        with_git: !holds_a_secret(&project.repo),
        target: target.unwrap_or_else(|| format!("/workspace/{name}")),
    };
    let mode = project.mode;
    let project = match loaded {
        Some(loaded) => {
            let (image, recipe) = loaded.image(name.as_str(), &config.packages.sources)?;
            Some(ProjectRequest {
                image,
                recipe,
                mode,
                copy: Some(copy.clone()),
                start_dir: loaded.podfile.start_dir.clone(),
                ports: Vec::new(),
                podfile: loaded.podfile,
                origins: loaded.origins,
            })
        }
        None => None,
    };
    Ok(ProjectParts { project, copy, mode })
}

/// The clone of a project, which has to be there.
fn cloned(config: &Config, name: &ProjectName) -> Result<PathBuf, ServerProjectError> {
    let directory = clone_of(config, name);
    match directory.is_dir() {
        true => Ok(directory),
        false => Err(ServerProjectError::NotCloned(name.to_string())),
    }
}

/// The Podfile of a clone, wherever that lies just now. What it extends is fetched where its image is made for everybody: no
/// login waits for a server elsewhere.
fn load(
    config: &Config,
    name: &ProjectName,
    directory: &Path,
    fetch: &dyn Fetch,
) -> Result<Option<Loaded>, PodfileError> {
    let places = Places {
        cache: state_dir(config).join("cache/podfiles"),
        github: config.github_url.as_str().to_owned(),
    };
    let repository = Repository { directory, name: Some(name.as_str()) };
    podfile::locate(directory)?.map(|path| podfile::load_for(&path, repository, &places, fetch)).transpose()
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
    fn the_mode_of_the_registry_holds_with_and_without_a_podfile() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yaml");
        let state = dir.path().join("state");
        let text = format!(
            "state:\n  db_path: {}\nprojects:\n  api:\n    repo: https://git.example/a/api\n    mode: persistent\n",
            state.join("state.db").display()
        );
        std::fs::write(&file, text).unwrap();
        let layers = crate::server::Installation::new(Some(file)).load().unwrap();
        let clone = state.join("projects/api");
        std::fs::create_dir_all(&clone).unwrap();
        let key = SessionKey { user: "ann".parse().unwrap(), name: Some("api".parse().unwrap()) };
        for podfile in [None, Some("base: debian:12\nmode: destroy-on-disconnect\n")] {
            if let Some(podfile) = podfile {
                std::fs::write(clone.join("podfile.yaml"), podfile).unwrap();
            }
            let request = request(&layers, BTreeMap::new(), key.clone()).unwrap();
            assert_eq!(request.project.is_some(), podfile.is_some());
            let spec = crate::spec::resolve(&request, &layers).unwrap().spec;
            assert_eq!(spec.mode, Mode::Persistent, "{podfile:?}");
            assert!(spec.persistent_home.is_some());
        }
    }

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
