//! Projects of the invoking user: the registry, and the clone that each has on this host.
//!
//! The clone is only looked at: it is never mounted into a container, so that git may work in it on this host.

use std::fs;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::git::{Git, GitError};
use super::machine::MachineError;
use super::project_error::ProjectError;
use super::scratch::{NEW, NameLock, Scratch, abandoned, make_private};
use crate::config::{Project, Projects, Word};
use crate::names::{BranchName, GitUrl, ProjectName};
use crate::podfile::{Https, Repository};
use crate::session::{Cancel, Report, SessionError, Step};
use crate::system::files::{replace_atomic, write_atomic};

/// What became of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The image of its machines.
    pub image: String,
    /// It was built, or found to be there; false if nothing had changed.
    pub rebuilt: bool,
}

/// A project that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The image that stays.
    pub image: Option<String>,
    /// The clone that could not be removed, and why.
    pub left: Option<String>,
}

impl Context {
    /// Every registered project: those of the registry, then those of the configuration file.
    pub fn projects(&self) -> Result<Projects, ProjectError> {
        Ok(Projects::read(self.registry())?.over(&self.settings.layers.projects))
    }

    /// A registered project.
    pub(super) fn project(&self, name: &ProjectName) -> Result<Project, ProjectError> {
        self.projects()?.get(name).cloned().ok_or_else(|| ProjectError::Unknown(name.to_string()))
    }

    /// Clones a repository, builds its image and registers it. What fails leaves nothing.
    pub fn add_project(
        &self,
        name: &ProjectName,
        repo: &GitUrl,
        branch: Option<&BranchName>,
        report: &mut dyn Report,
    ) -> Result<Built, ProjectError> {
        let _lock = self.project_lock(name, report)?;
        if self.projects()?.get(name).is_some() {
            return Err(ProjectError::Registered(name.to_string()));
        }
        let directory = self.clone_of(name);
        let parent = self.beside_registry("projects");
        // Left by a command that died before it wrote the registry.
        drop(abandoned(&parent).map_err(ProjectError::files("look into", &parent))?);
        remove_directory(&directory)?;
        let unique = self.core.clock.now().as_nanosecond();
        let scratch = Scratch::make(&parent, NEW, name.as_str(), unique)
            .map_err(ProjectError::files("make a directory in", &parent))?;
        let git = Git::new(&self.settings.host);
        let mut project = Project::new(repo.clone());
        self.guarded(async |cancel| {
            git.clone(repo, branch, scratch.path(), report, &cancel).await?;
            self.build(name, &mut project, scratch.path(), report, &cancel).await
        })?;
        scratch.keep_as(&directory).map_err(ProjectError::files("make", &directory))?;
        project.local_path = Some(directory.clone());
        let image = image_of(&project);
        if let Err(error) = self.register(name, Some(&project)) {
            // The first error is the one that tells what went wrong.
            let _ = remove_directory(&directory);
            return Err(error);
        }
        Ok(Built { image, rebuilt: true })
    }

    /// Brings a project to what its repository has now.
    pub fn update_project(&self, name: &ProjectName, report: &mut dyn Report) -> Result<Built, ProjectError> {
        let _lock = self.project_lock(name, report)?;
        let before = self.registered(name)?;
        // Whatever stands in the registry: in no other directory is everything overwritten.
        let directory = self.clone_of(name);
        let git = Git::new(&self.settings.host);
        let mut project = before.clone();
        project.local_path = Some(directory.clone());
        if directory.is_dir() {
            self.guarded(async |cancel| {
                git.update(&directory, report, &cancel).await?;
                self.build(name, &mut project, &directory, report, &cancel).await
            })?;
        } else {
            // An entry that was written by hand has none yet.
            let parent = directory.parent().map_or_else(PathBuf::new, Path::to_owned);
            let unique = self.core.clock.now().as_nanosecond();
            let scratch = Scratch::make(&parent, NEW, name.as_str(), unique)
                .map_err(ProjectError::files("make a directory in", &parent))?;
            self.guarded(async |cancel| {
                git.clone(&before.repo, None, scratch.path(), report, &cancel).await?;
                self.build(name, &mut project, scratch.path(), report, &cancel).await
            })?;
            scratch.keep_as(&directory).map_err(ProjectError::files("make", &directory))?;
        }
        let rebuilt = before.image_tag.is_none() || project.podfile_hash != before.podfile_hash;
        if project != before {
            self.register(name, Some(&project))?;
        }
        Ok(Built { image: image_of(&project), rebuilt })
    }

    /// Forgets a project and removes its clone. Its machines and its image stay.
    pub fn remove_project(
        &self,
        name: &ProjectName,
        report: &mut dyn Report,
    ) -> Result<Removed, ProjectError> {
        let _lock = self.project_lock(name, report)?;
        let project = self.registered(name)?;
        self.register(name, None)?;
        // Only a clone that podspawn made: an entry may have been written by hand.
        let directory = self.clone_of(name);
        let left = remove_directory(&directory).err().map(|error| error.to_string());
        Ok(Removed { image: project.image_tag.map(|tag| tag.as_str().to_owned()), left })
    }

    /// A project of the registry, the only place that is written to.
    fn registered(&self, name: &ProjectName) -> Result<Project, ProjectError> {
        if let Some(project) = Projects::read(self.registry())?.get(name) {
            return Ok(project.clone());
        }
        Err(match self.settings.layers.projects.get(name) {
            Some(_) => ProjectError::Configured { name: name.to_string(), file: self.registry().to_owned() },
            None => ProjectError::Unknown(name.to_string()),
        })
    }

    /// Finds out what a project's machines are made with, and makes their image.
    async fn build(
        &self,
        name: &ProjectName,
        project: &mut Project,
        directory: &Path,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), ProjectError> {
        let image = match self.settings.podfile_of(repository(name, directory), &Https)? {
            Some(loaded) => {
                let warnings = loaded.warnings_in(directory);
                warnings.iter().for_each(|warning| report.step(Step::Warning(warning)));
                let (image, recipe) = self.settings.recipe_of(&loaded, name.as_str())?;
                self.core.ensure_image(&image, Some(&recipe), report, cancel).await?;
                // What the name is made of: everything that shapes the image, whatever it extends among it.
                project.podfile_hash =
                    image.as_str().rsplit_once(':').map(|(_, tag)| Word::new(tag.to_owned()));
                image.to_string()
            }
            None => {
                project.podfile_hash = None;
                self.settings.layers.config.defaults.image.to_string()
            }
        };
        project.image_tag = Some(Word::new(image));
        Ok(())
    }

    /// Writes one project into the registry, or takes it out.
    fn register(&self, name: &ProjectName, project: Option<&Project>) -> Result<(), ProjectError> {
        write_registry(self.registry(), &self.lock_file("projects"), name, project).map(drop)
    }

    /// Does work that a signal cancels and undoes.
    pub(super) fn guarded<T>(
        &self,
        work: impl AsyncFnOnce(Cancel) -> Result<T, ProjectError>,
    ) -> Result<T, ProjectError> {
        let mut interrupts = self.interrupts()?;
        let outcome = self.block_on(interrupts.guard(async |cancel| match work(cancel).await {
            Err(ProjectError::Git(GitError::Cancelled)) => Err(SessionError::Cancelled),
            Err(ProjectError::Machine(MachineError::Session(SessionError::Cancelled))) => {
                Err(SessionError::Cancelled)
            }
            outcome => Ok(outcome),
        }))?;
        outcome?
    }

    fn project_lock(&self, name: &ProjectName, report: &mut dyn Report) -> Result<NameLock, ProjectError> {
        self.name_lock(&format!("project.{name}"), report)
    }

    /// One command at a time for each name. A signal ends the waiting.
    pub(super) fn name_lock(&self, name: &str, report: &mut dyn Report) -> Result<NameLock, ProjectError> {
        let path = self.lock_file(name);
        let failed = |error| ProjectError::files("lock", &path)(error);
        let file = match NameLock::try_take(&path).map_err(failed)? {
            Ok(lock) => return Ok(lock),
            Err(file) => file,
        };
        // Before a person is told that there is something to interrupt.
        let mut interrupts = self.interrupts()?;
        report.step(Step::Waiting { pid: None });
        let lock = self.block_on(async {
            tokio::select! {
                biased;
                signal = interrupts.next() => {
                    let signal = signal.map_err(MachineError::Signals)?;
                    Err(MachineError::Interrupted(signal).into())
                }
                lock = NameLock::wait_for(file) => lock.map_err(failed),
            }
        })??;
        // The work that comes next has its own; before this look, so that no signal comes between the two.
        self.heed_interrupts()?;
        match interrupts.arrived() {
            Some(signal) => Err(MachineError::Interrupted(signal).into()),
            None => Ok(lock),
        }
    }

    /// A lock file beside those of users, whose names have no dot.
    fn lock_file(&self, name: &str) -> PathBuf {
        self.settings.layers.config.state.lock_dir.join(format!("{name}.name.lock"))
    }

    fn registry(&self) -> &Path {
        &self.settings.layers.config.projects_file
    }

    /// A directory beside the registry.
    pub(super) fn beside_registry(&self, name: &str) -> PathBuf {
        self.registry().with_file_name(name)
    }

    /// Where podspawn keeps a project's clone.
    pub(super) fn clone_of(&self, name: &ProjectName) -> PathBuf {
        self.beside_registry("projects").join(name.as_str())
    }
}

/// Writes one project into a registry, or takes it out, one process at a time. The file that was written.
pub(super) fn write_registry(
    file: &Path,
    lock: &Path,
    name: &ProjectName,
    project: Option<&Project>,
) -> Result<PathBuf, ProjectError> {
    // A link is followed: the file that it leads to is the one that is replaced.
    let path = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let parent = path.parent().unwrap_or(Path::new("/"));
    make_private(parent).map_err(ProjectError::files("make", parent))?;
    let _lock = NameLock::take(lock, || {}).map_err(ProjectError::files("lock", lock))?;
    let text = Projects::edit(&path, name, project)?;
    let written = match path.exists() {
        true => replace_atomic(&path, text.as_bytes()),
        // An address may hold a password.
        false => write_atomic(&path, text.as_bytes(), 0o600),
    };
    written.map_err(ProjectError::files("write", &path))?;
    Ok(path)
}

/// Of whatever directory of a project a Podfile is read, it is the project's: every copy and checkout has one image.
pub(super) fn repository<'a>(name: &'a ProjectName, directory: &'a Path) -> Repository<'a> {
    Repository { directory, name: Some(name.as_str()) }
}

fn image_of(project: &Project) -> String {
    project.image_tag.as_ref().map(|tag| tag.as_str().to_owned()).unwrap_or_default()
}

pub(super) fn remove_directory(path: &Path) -> Result<(), ProjectError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ProjectError::files("remove", path)(error))
        }
        _ => Ok(()),
    }
}
