//! A server's clones and its registry of projects, as root's commands keep them.
//!
//! git runs as an account that owns nothing else, in a directory that only it can look into; what it made is then given to
//! the broker's account and put into its place. Building is the broker's.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::context::{LocalError, Settings};
use super::git::{Git, GitError};
use super::interrupts::Interrupts;
use super::machine::MachineError;
use super::project_error::ProjectError;
use super::projects::write_registry;
use super::scratch::{NEW, NameLock, Scratch, abandoned};
use crate::config::{Project, Projects};
use crate::names::{BranchName, GitUrl, ProjectName};
use crate::session::{Report, SessionError, Step};
use crate::spec::Owner;
use crate::system::accounts::user_by_name;
use crate::system::directory::{Directory, remove_whole};
use crate::system::files::open_file_in_root;
use crate::system::{Clock, SystemClock};

/// Longest name of a branch that is looked for in a clone, in bytes.
const MOST_OF_HEAD: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub struct ServerProjects<'a> {
    settings: &'a Settings,
    /// Where clones are kept.
    clones: PathBuf,
    /// Where they are made: git's account may look into it.
    making: PathBuf,
    /// Who they are given to.
    broker: Owner,
    git: Owner,
}

/// A held lock on a project's name.
#[derive(Debug)]
pub struct ProjectLock {
    _lock: NameLock,
}

impl<'a> ServerProjects<'a> {
    /// For the clones in one directory, which are made in another.
    pub fn new(settings: &'a Settings, clones: PathBuf, making: PathBuf) -> Result<Self, ProjectError> {
        let account = |name: &str| -> Result<Owner, ProjectError> {
            let found = user_by_name(name).map_err(ProjectError::files("look up the account", name))?;
            let found = found.ok_or_else(|| ProjectError::NoAccount(name.to_owned()))?;
            Ok(Owner { uid: found.uid, gid: found.gid })
        };
        let broker = match &settings.layers.config.server.account {
            Some(name) => account(name.as_str())?,
            None => Owner { uid: 0, gid: 0 },
        };
        Ok(Self {
            settings,
            clones,
            making,
            broker,
            git: account(settings.layers.config.server.git_account.as_str())?,
        })
    }

    /// One command at a time for each project.
    pub fn lock(&self, name: &ProjectName, report: &mut dyn Report) -> Result<ProjectLock, ProjectError> {
        Directory::make(&self.making, 0o755)
            .and_then(|held| held.check_ours())
            .map_err(ProjectError::files("make", &self.making))?;
        let path = self.making.join(format!("{name}.lock"));
        let lock = NameLock::take(&path, || report.step(Step::Waiting { pid: None }))
            .map_err(ProjectError::files("lock", &path))?;
        Ok(ProjectLock { _lock: lock })
    }

    /// The project of the registry, or else of the configuration file.
    pub fn find(&self, name: &ProjectName) -> Result<Option<Project>, ProjectError> {
        let all = Projects::read(self.registry())?.over(&self.settings.layers.projects);
        Ok(all.get(name).cloned())
    }

    /// Whether the registry, the only place that is written to, has it.
    pub fn is_in_registry(&self, name: &ProjectName) -> Result<bool, ProjectError> {
        Ok(Projects::read(self.registry())?.get(name).is_some())
    }

    /// The error that tells that only the configuration file names a project, or nothing does.
    pub fn not_in_registry(&self, name: &ProjectName) -> ProjectError {
        match self.settings.layers.projects.get(name) {
            Some(_) => ProjectError::Configured { name: name.to_string(), file: self.registry().to_owned() },
            None => ProjectError::Unknown(name.to_string()),
        }
    }

    /// Clones a repository to where the broker looks for a new clone. Without a branch it is the one of the clone that is
    /// there, or else the repository's.
    pub fn fetch(
        &self,
        name: &ProjectName,
        repo: &GitUrl,
        branch: Option<&BranchName>,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        let before = self.branch_of(name);
        let branch = branch.or(before.as_ref());
        // Left by commands that died.
        drop(abandoned(&self.making).map_err(ProjectError::files("look into", &self.making))?);
        let mut scratch = Scratch::make(&self.making, NEW, name.as_str(), SystemClock.now().as_nanosecond())
            .map_err(ProjectError::files("make a directory in", &self.making))?;
        let path = scratch.path();
        let made = Directory::open(path).map_err(ProjectError::files("open", path))?;
        made.set_mode(0o700)
            .and_then(|()| made.give(self.git.uid, self.git.gid))
            .map_err(ProjectError::files("give away", path))?;
        let git = Git::new(&self.settings.host).working_as(self.git);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LocalError::Runtime)?;
        let mut interrupts = Interrupts::catch().map_err(MachineError::Signals)?;
        let cloned = runtime.block_on(interrupts.guard(async |cancel| {
            match git.clone(repo, branch, path, report, &cancel).await {
                Err(GitError::Cancelled) => Err(SessionError::Cancelled),
                outcome => Ok(outcome),
            }
        }));
        cloned??;
        made.give_tree(self.git.uid, self.broker.uid, self.broker.gid)
            .map_err(ProjectError::files("give away", path))?;
        let clones =
            Directory::make(&self.clones, 0o700).map_err(ProjectError::files("make", &self.clones))?;
        clones
            .give(self.broker.uid, self.broker.gid)
            .map_err(ProjectError::files("give away", &self.clones))?;
        let place = self.clones.join(new_clone(name));
        remove(&place)?;
        match scratch.try_keep_as(&clones.at(new_clone(name))) {
            // The directory of state is a mount of its own: a file system, or what the broker's unit makes of it.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.copy(&made, &clones, &place).inspect_err(|_| self.give_up(name))
            }
            kept => {
                kept.map_err(ProjectError::files("make", &place))?;
                // Only there: where it was made, everybody of this host could look at it.
                made.set_mode(0o755).map_err(ProjectError::files("open", &place))
            }
        }
    }

    /// Copies a clone that was given to the broker's account to a place of that account's.
    fn copy(&self, made: &Directory, clones: &Directory, place: &Path) -> Result<(), ProjectError> {
        let failed = ProjectError::files("make", place);
        let copied = || -> io::Result<()> {
            fs::create_dir(clones.at(place.file_name().unwrap_or_default()))?;
            let copy = Directory::open(place)?;
            made.copy_tree(&copy, self.broker.uid, self.broker.gid)?;
            copy.set_mode(0o755)?;
            copy.give(self.broker.uid, self.broker.gid)
        };
        copied().map_err(failed)
    }

    /// Puts the new clone into its place. The one before it stays for those who copy from it just now.
    pub fn settle(&self, name: &ProjectName) -> Result<(), ProjectError> {
        let clones = Directory::open(&self.clones).map_err(ProjectError::files("open", &self.clones))?;
        let (shown, place) = (self.clones.join(name.as_str()), clones.at(name.as_str()));
        let (new, old) = (clones.at(new_clone(name)), clones.at(old_clone(name)));
        remove(&self.clones.join(old_clone(name)))?;
        if place.symlink_metadata().is_ok() {
            // At every moment the name leads to a whole clone.
            match renameat_with(CWD, &new, CWD, &place, RenameFlags::EXCHANGE) {
                Ok(()) => return fs::rename(&new, &old).map_err(ProjectError::files("move", &shown)),
                // Not every file system can do that.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    fs::rename(&place, &old).map_err(ProjectError::files("move", &shown))?;
                }
                Err(errno) => return Err(ProjectError::files("make", &shown)(errno.into())),
            }
        }
        fs::rename(&new, &place).map_err(ProjectError::files("make", &shown))
    }

    /// Removes a new clone that came to nothing.
    pub fn give_up(&self, name: &ProjectName) {
        // The error that led here is the one that tells what went wrong.
        let _ = remove(&self.clones.join(new_clone(name)));
    }

    /// Removes everything of a project's clones; the reason if that cannot be done.
    pub fn remove_clones(&self, name: &ProjectName) -> Option<String> {
        [name.as_str(), &old_clone(name), &new_clone(name)]
            .iter()
            .find_map(|name| remove(&self.clones.join(name)).err())
            .map(|error| error.to_string())
    }

    /// Writes one project into the registry, or takes it out.
    pub fn register(&self, name: &ProjectName, project: Option<&Project>) -> Result<(), ProjectError> {
        let path = write_registry(self.registry(), &self.making.join("registry.lock"), name, project)?;
        if self.broker.uid == 0 {
            return Ok(());
        }
        // The broker reads it; an address may hold a password, so nobody else does.
        chown(&path, None, Some(self.broker.gid))
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o640)))
            .map_err(ProjectError::files("let the broker read", &path))
    }

    fn registry(&self) -> &Path {
        &self.settings.layers.config.projects_file
    }

    /// The branch that a clone has checked out.
    fn branch_of(&self, name: &ProjectName) -> Option<BranchName> {
        let clones = Directory::open(&self.clones).ok()?;
        let file = open_file_in_root(&clones, &Path::new(name.as_str()).join(".git/HEAD")).ok()?;
        let mut head = String::new();
        file.take(MOST_OF_HEAD).read_to_string(&mut head).ok()?;
        head.trim().strip_prefix("ref: refs/heads/")?.parse().ok()
    }
}

fn new_clone(name: &ProjectName) -> String {
    format!(".new-{name}")
}

fn old_clone(name: &ProjectName) -> String {
    format!(".old-{name}")
}

/// Removes a clone; that there is none is no error.
fn remove(path: &Path) -> Result<(), ProjectError> {
    match remove_whole(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ProjectError::files("remove", path)(error))
        }
        _ => Ok(()),
    }
}
