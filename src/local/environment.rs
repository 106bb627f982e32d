//! From a directory with a Podfile to what a session is asked for.
//!
//! The one place where local commands look for a project's environment. Calls `podfile`, `config` and `spec`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use podspawn_runtimes::{Engine, EngineKind};
use thiserror::Error;

use super::context::{Context, LocalError, Settings};
use super::dev_name;
use super::machine::{Machine, MachineError};
use crate::config::Mode;
use crate::names::{ImageRef, SessionKey};
use crate::podfile::{
    self, Dotfiles, Fetch, Loaded, Missing, MountWay, Places, PodfileError, RecipeError, Repository,
};
use crate::session::{EngineSource, News, Report, SessionError, Step};
use crate::spec::{
    self, CopySpec, HostMount, Kind, MountRequest, Owner, ProjectRequest, Recipe, Request, ResolveError,
    SessionSpec, Setup,
};
use crate::state::{SetupState, Status};

/// A Podfile that cannot become a session.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// The Podfile.
    #[error(transparent)]
    Podfile(#[from] PodfileError),
    /// Its image.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// What it asks for together with the configuration.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The directory cannot be looked at.
    #[error("look at `{}`: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A container that could write there could change what podspawn runs or believes on this host.
    #[error("`{}` cannot be mounted into a container: podspawn keeps files of its own there (`{}`)", directory.display(), own.display())]
    Own {
        /// The directory.
        directory: PathBuf,
        /// What is in it, or what it is in.
        own: PathBuf,
    },
}

/// A `dev` session that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevWish<'a> {
    /// Owner and name.
    pub key: SessionKey,
    /// The directory that it works on, absolute.
    pub directory: &'a Path,
    /// It goes with its last connection.
    pub ephemeral: bool,
    /// The user's own dotfiles are applied.
    pub own_dotfiles: bool,
}

impl Settings {
    /// Where what Podfiles extend is kept and comes from.
    pub(super) fn places(&self) -> Places {
        let home = self.host.home().unwrap_or(Path::new("/root"));
        Places {
            cache: home.join(".podspawn/cache/podfiles"),
            github: self.layers.config.github_url.as_str().to_owned(),
        }
    }

    /// The Podfile of a project, if it has one.
    pub fn podfile_of(
        &self,
        repository: Repository<'_>,
        fetch: &dyn Fetch,
    ) -> Result<Option<Loaded>, PodfileError> {
        let path = podfile::locate(repository.directory)?;
        path.map(|path| self.load_podfile(&path, repository, fetch)).transpose()
    }

    /// The nearest directory above that has a Podfile. The home is none of them: what lies there is the user's own.
    pub fn podfile_above(&self, directory: &Path) -> Option<PathBuf> {
        let home = self.host.home();
        let above = directory.ancestors().skip(1).take_while(|above| Some(*above) != home);
        // One that cannot be looked at is no help.
        above.map(Path::to_owned).find(|above| matches!(podfile::locate(above), Ok(Some(_))))
    }

    /// A Podfile with everything that it extends.
    pub fn load_podfile(
        &self,
        path: &Path,
        repository: Repository<'_>,
        fetch: &dyn Fetch,
    ) -> Result<Loaded, PodfileError> {
        podfile::load_for(path, repository, &self.places(), fetch)
    }

    /// The Podfile of machines that are made of nothing else.
    pub fn own_podfile(&self, fetch: &dyn Fetch) -> Result<Option<Loaded>, PodfileError> {
        let Some(home) = self.host.home() else { return Ok(None) };
        let path = home.join(".podspawn/podfile.yaml");
        match path.symlink_metadata() {
            Ok(_) => podfile::load(&path, &self.places(), fetch).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// What happens inside machines that are made of a project's Podfile; nothing without one. Its image is not looked at:
    /// for whoever comes to a machine that runs, that is made.
    pub fn setup_in(&self, repository: Repository<'_>) -> Result<Setup, PodfileError> {
        Ok(self.podfile_of(repository, &Missing)?.map(setup_of).unwrap_or_default())
    }

    /// The same for a `dev` session.
    pub fn dev_setup(&self, loaded: Loaded, wish: &DevWish<'_>) -> Setup {
        Setup::of(loaded.podfile, self.own_dotfiles(wish))
    }

    fn own_dotfiles(&self, wish: &DevWish<'_>) -> Option<Dotfiles> {
        self.layers.dotfiles.clone().filter(|_| wish.own_dotfiles)
    }

    /// The same for machines that are made of the user's own Podfile.
    pub fn own_setup(&self) -> Result<Setup, PodfileError> {
        Ok(self.own_podfile(&Missing)?.map(setup_of).unwrap_or_default())
    }

    /// The name of a Podfile's image, and how it is made. `project` is the project, machine or session that it is for.
    pub fn recipe_of(&self, loaded: &Loaded, project: &str) -> Result<(ImageRef, Recipe), EnvironmentError> {
        Ok(loaded.image(project, &self.layers.config.packages.sources)?)
    }

    /// The name of a Podfile's image, if that costs nothing to find out.
    pub fn image_at_hand(&self, loaded: &Loaded, project: &str) -> Option<ImageRef> {
        loaded.image_at_hand(project, &self.layers.config.packages.sources)
    }

    /// What a session of a Podfile is asked for, without mounts and ports.
    pub fn project_request(
        &self,
        loaded: &Loaded,
        project: &str,
        mode: Option<Mode>,
    ) -> Result<ProjectRequest, EnvironmentError> {
        let (image, recipe) = self.recipe_of(loaded, project)?;
        Ok(ProjectRequest {
            podfile: loaded.podfile.clone(),
            origins: loaded.origins.clone(),
            image,
            recipe,
            mode,
            copy: None,
            start_dir: loaded.podfile.start_dir.clone(),
            ports: Vec::new(),
        })
    }

    /// Fails for a directory that holds podspawn's own files, or that is part of them: its clones are what git works in on
    /// this host, its guest is what runs in every container.
    fn is_not_own(&self, directory: &Path) -> Result<(), EnvironmentError> {
        let config = &self.layers.config;
        let own = [
            config.state.db_path.clone(),
            config.state.db_path.with_file_name("guest"),
            config.state.lock_dir.clone(),
            config.projects_file.clone(),
            config.projects_file.with_file_name("projects"),
        ];
        // What does not exist yet is compared as it is written.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let place = real(directory);
        let touches = |own: &&PathBuf| {
            let own = real(own);
            own.starts_with(&place) || place.starts_with(&own)
        };
        match own.iter().find(touches) {
            Some(own) => Err(EnvironmentError::Own { directory: directory.to_owned(), own: own.clone() }),
            None => Ok(()),
        }
    }

    /// Everything about a `dev` session, and what the person should know about it.
    pub fn dev_spec(
        &self,
        loaded: &Loaded,
        wish: &DevWish<'_>,
        sees_ids: bool,
    ) -> Result<(SessionSpec, Vec<String>), EnvironmentError> {
        let podfile = &loaded.podfile;
        let directory = wish.directory;
        let mut project = self.project_request(loaded, wish.key.project(), None)?;
        let target = podfile.workspace.clone().unwrap_or_else(|| usual_target(directory));
        let mut mounts = Vec::new();
        let mut notes = Vec::new();
        match podfile.mount {
            MountWay::Bind => {
                self.is_not_own(directory)?;
                let facts = directory
                    .metadata()
                    .map_err(|source| EnvironmentError::Directory { path: directory.to_owned(), source })?;
                if sees_ids && facts.uid() == 0 {
                    notes.push(format!(
                        "`{}` belongs to root: inside it can be read, not written; `mount: copy` in the Podfile gives \
                         the session a copy of its own",
                        directory.display()
                    ));
                }
                let mount =
                    HostMount { source: directory.to_owned(), target: target.clone(), read_only: false };
                let owner = sees_ids.then(|| Owner { uid: facts.uid(), gid: facts.gid() });
                mounts.push(MountRequest { mount, owner });
            }
            MountWay::Copy => {
                let source = directory.to_owned();
                project.copy = Some(CopySpec { source, with_git: false, target: target.clone() });
            }
            MountWay::None => {}
        }
        if podfile.mount != MountWay::None {
            project.start_dir.get_or_insert(target);
        }
        let request = Request {
            project: Some(project),
            mounts,
            mode: wish.ephemeral.then_some(Mode::DestroyOnDisconnect),
            user_dotfiles: self.own_dotfiles(wish),
            ..self.request(wish.key.clone(), Kind::Session)
        };
        Ok((spec::resolve(&request, &self.layers)?.spec, notes))
    }
}

impl Context {
    /// Makes the image of a Podfile where the engine does not have it, and gives it a further name if one is wanted. True if
    /// it was not there before.
    pub fn ensure_image(
        &self,
        image: &ImageRef,
        recipe: &Recipe,
        further: Option<&ImageRef>,
        report: &mut dyn Report,
    ) -> Result<bool, MachineError> {
        let mut interrupts = self.interrupts()?;
        let made = self.block_on(interrupts.guard(async |cancel| {
            let built = self.core.ensure_image(image, Some(recipe), report, &cancel).await?;
            if let Some(further) = further {
                let engine = self.core.engines.engine().await?;
                engine.tag_image(image.as_str(), further.as_str()).await?;
            }
            Ok::<_, SessionError>(built)
        }))?;
        Ok(made?)
    }

    /// Names of the `dev` sessions of a directory that were not given one, as far as names tell: the Podfile may have had
    /// another `name` then.
    pub fn sessions_of(&self, directory: &Path) -> Result<Vec<String>, LocalError> {
        let ending = dev_name::ending(directory);
        let all = self.core.store.of_user(self.owner())?;
        let of_directory = all.iter().filter(|record| record.kind == Kind::Session);
        let names = of_directory.map(|record| record.key.project());
        Ok(names.filter(|name| name.ends_with(&ending)).map(str::to_owned).collect())
    }

    /// Waits while another process sets a session up, and does nothing there. Whether the setup has come to its end then,
    /// the session's record says.
    pub fn await_setup(
        &self,
        machine: &mut Machine<'_>,
        person: bool,
        report: &mut dyn Report,
    ) -> Result<(), MachineError> {
        let Machine { session, interrupts, .. } = machine;
        if session.record.setup != SetupState::Pending {
            return Ok(());
        }
        let id = session.record.id.clone();
        let setups = self.core.setups();
        if setups.try_lock(&id).map_err(SessionError::from)?.is_none() {
            if person {
                report.step(Step::Setup(News::Waiting));
            }
            self.block_on(async {
                tokio::select! {
                    biased;
                    lock = setups.lock(&id) => {
                        drop(lock.map_err(SessionError::from)?);
                        Ok::<_, MachineError>(())
                    }
                    signal = interrupts.next() => {
                        Err(MachineError::Interrupted(signal.map_err(MachineError::Signals)?))
                    }
                }
            })??;
            interrupts.forget();
        }
        // Whoever was at it may be through, and the session may be gone.
        match self.core.store.get(&id).map_err(SessionError::from)? {
            Some(found) if found.status != Status::Destroying => session.record = found,
            _ => {
                // The lock's file may have come back just now.
                let _ = setups.forget(&id);
                let name = session.record.key.project().to_owned();
                return Err(SessionError::StoppedInSetup { name }.into());
            }
        }
        Ok(())
    }

    /// Whether containers of the engine see the ids of this host's files.
    pub fn sees_ids(&self) -> bool {
        self.engine_kind() != Some(EngineKind::Podman) || self.settings.host.uid() == 0
    }

    /// Removes every volume of a machine or session that is gone, whatever its Podfile says by now, and gives their names as
    /// Podfiles write them.
    pub fn remove_volumes(&self, key: &SessionKey) -> Result<Vec<String>, MachineError> {
        let removed = self.block_on(async {
            let names = self.core.volumes_of(key).await?;
            match names.is_empty() {
                true => Ok(names),
                false => self.core.remove_volumes(&key.user, &names).await,
            }
        })??;
        let prefix = format!("{}.", key.container_name());
        let written = |name: String| name.strip_prefix(&prefix).map(str::to_owned).unwrap_or(name);
        Ok(removed.into_iter().map(written).collect())
    }
}

/// As [`spec::resolve`] has it for a machine to which nothing was added.
fn setup_of(loaded: Loaded) -> Setup {
    Setup::of(loaded.podfile, None)
}

/// `/workspace/<directory>`, with what an engine or a shell could stumble over replaced.
fn usual_target(directory: &Path) -> String {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = name.chars().map(fits).collect();
    match name.trim_matches(['.', '-']) {
        "" => "/workspace/project".into(),
        name => format!("/workspace/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{self, Deployment, Sources};
    use crate::podfile::Https;

    #[test]
    fn a_directory_is_mounted_under_its_name() {
        assert_eq!(usual_target(Path::new("/home/ann/node-api")), "/workspace/node-api");
        assert_eq!(usual_target(Path::new("/srv/my app: v2")), "/workspace/my-app--v2");
        assert_eq!(usual_target(Path::new("/")), "/workspace/project");
        assert_eq!(usual_target(Path::new("/srv/..x")), "/workspace/x");
    }

    #[test]
    fn whoever_comes_to_a_machine_finds_the_setup_that_it_was_made_with() {
        let layers = config::load(&Sources {
            deployment: Deployment::Local,
            local_root: "/nonexistent/ann/.podspawn".into(),
            home: Some("/nonexistent/ann".into()),
            file: None,
            env: BTreeMap::new(),
            flags: Vec::new(),
        })
        .unwrap();
        let text = "base: debian:12\ndotfiles: {repo: 'https://host/dot', install: ./install}\n\
                    repos: [{url: 'https://host/one', branch: main}]\non_create: make\non_start: make up\n";
        let places = Places { cache: "/nonexistent".into(), github: "https://github.com".into() };
        let loaded = podfile::load_text(Path::new("/src/api/podfile.yaml"), text, &places, &Https).unwrap();
        let (image, recipe) = loaded.image("api", &layers.config.packages.sources).unwrap();
        let project = ProjectRequest {
            podfile: loaded.podfile.clone(),
            origins: loaded.origins.clone(),
            image,
            recipe,
            mode: None,
            copy: None,
            start_dir: None,
            ports: Vec::new(),
        };
        let key = SessionKey::machine("ann".parse().unwrap(), "dev".parse().unwrap());
        let request = Request { project: Some(project), ..Request::new(key, Kind::Machine) };
        let made_with = spec::resolve(&request, &layers).unwrap().spec.environment.setup;
        assert!(made_with.dotfiles.is_some() && !made_with.repos.is_empty());
        assert!(!made_with.hooks.create.is_empty() && !made_with.hooks.start.is_empty());
        assert_eq!(setup_of(loaded), made_with);
    }
}
