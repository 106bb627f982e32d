//! Machines made of a project: each has a checkout on this host that outlives its containers.
//!
//! The row of a checkout is written before its clone begins, and the checkout gets its name when it is whole: a row
//! without a checkout is one that was begun, or whose checkout is away, and stays until another checkout takes its place.
//! Until a checkout has its name no container has seen it, so that git may work in it on this host; afterwards git works in a
//! container ([`super::inside`]).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podspawn_runtimes::EngineKind;
use uuid::{NoContext, Uuid};

use super::context::Context;
use super::git::Git;
use super::machine::Machine;
use super::project_error::ProjectError;
use super::projects::repository;
use super::scratch::{NEW, NameLock, Scratch, TEMPORARY, abandoned, make_private};
use crate::config::Project;
use crate::names::{BranchName, MachineName, ProjectName, SessionKey};
use crate::podfile::{Https, Loaded, Missing, Repository};
use crate::session::{Cancel, Exists, Reason, Report, Step};
use crate::spec::{HostMount, Kind, MountRequest, Owner, Request, Resolved, Setup};
use crate::state::{SessionRecord, SetupState, Timestamp, Workspace};
use crate::system::directory::Directory;

/// Owner of a checkout that root makes: root's files are never a session's.
const ACCOUNT: Owner = Owner { uid: 1000, gid: 1000 };

/// What a machine is to be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A registered project.
    pub project: ProjectName,
    /// A branch that was asked for; none leaves it to the Podfile and the repository.
    pub branch: Option<BranchName>,
}

/// The checkout of a machine that lives as long as one command.
#[derive(Debug)]
pub struct Temporary {
    scratch: Scratch,
    workspace: Workspace,
    /// The id of its machine's session.
    session: String,
}

/// A checkout that a command left which is gone, and that could not be removed.
#[derive(Debug)]
pub struct Left {
    /// Where it is.
    pub path: PathBuf,
    /// The throwaway machine that it was for.
    pub name: Option<MachineName>,
    /// The system's error.
    pub error: io::Error,
}

impl Context {
    /// The checkout of a machine, if it was made of a project.
    pub fn workspace(&self, key: &SessionKey) -> Result<Option<Workspace>, ProjectError> {
        match &key.name {
            Some(name) => Ok(self.core.store.workspace(&key.user, name)?),
            None => Ok(None),
        }
    }

    /// All checkouts of the invoking user's machines.
    pub fn workspaces(&self) -> Result<Vec<Workspace>, ProjectError> {
        Ok(self.core.store.workspaces(self.owner())?)
    }

    /// Makes a machine of a project, or joins or makes again the one of that name. Whatever is made anew and fails leaves
    /// nothing.
    pub fn create_workspace(
        &self,
        name: &MachineName,
        source: Option<&Source>,
        report: &mut dyn Report,
    ) -> Result<(Machine<'_>, Setup), ProjectError> {
        let lock = self.machine_lock(name, report)?;
        let found = self.core.store.workspace(self.owner(), name)?;
        let (workspace, made, before) = match (found, source) {
            (Some(found), source) if has_checkout(&found)? => {
                is_bound(&found, source)?;
                (found, false, None)
            }
            (Some(found), source) => {
                // Begun and not made to the end, or removed by hand: whatever is asked for now is made.
                let same = Source { project: found.project.clone(), branch: Some(found.branch.clone()) };
                let made = self.check_out(name, source.unwrap_or(&same), Some(&found), report)?;
                (made, true, Some(found))
            }
            (None, Some(source)) => (self.check_out(name, source, None, report)?, true, None),
            (None, None) => return Err(ProjectError::NoWorkspace(name.to_string())),
        };
        let opened = self.start(&workspace, report);
        if opened.is_err() && made {
            self.undo(&workspace, before.as_ref(), report);
        }
        drop(lock);
        opened
    }

    /// Makes the machine of a checkout again, or joins it.
    pub fn reopen(
        &self,
        workspace: &Workspace,
        report: &mut dyn Report,
    ) -> Result<(Machine<'_>, Setup), ProjectError> {
        let _lock = self.machine_lock(&workspace.name, report)?;
        // It may have been removed or switched meanwhile.
        let found = self.core.store.workspace(&workspace.user, &workspace.name)?;
        let workspace = found.ok_or_else(|| ProjectError::NoWorkspace(workspace.name.to_string()))?;
        if !has_checkout(&workspace)? {
            return Err(ProjectError::NoCheckout(workspace.name.to_string()));
        }
        self.start(&workspace, report)
    }

    /// Makes a throwaway machine of a project. The checkout goes with [`Context::discard`].
    pub fn run_workspace(
        &self,
        name: &MachineName,
        source: &Source,
        report: &mut dyn Report,
    ) -> Result<(Machine<'_>, Setup, Temporary), ProjectError> {
        let _lock = self.machine_lock(name, report)?;
        let project = self.is_free(name, source)?;
        if self.core.store.workspace(self.owner(), name)?.is_some() {
            return Err(ProjectError::InUse(name.to_string()));
        }
        self.sweep(report)?;
        let scratch = self.scratch(TEMPORARY, name)?;
        let mut workspace = self.plan(name, source, &project, scratch.path().to_owned());
        self.guarded(async |cancel| self.fill(&mut workspace, source, report, &cancel).await)?;
        self.give(scratch.path())?;
        let request = self.workspace_request(Kind::Throwaway, &workspace)?;
        let spec = self.settings.resolve_request(&request)?.spec;
        let machine = self.acquire(&spec, Exists::Refuse, report)?;
        let session = machine.session.record.id.clone();
        Ok((machine, spec.environment.setup, Temporary { scratch, workspace, session }))
    }

    /// Removes the checkout of a throwaway machine, and first the machine, if others are still connected to it. A machine that
    /// cannot be removed keeps the checkout until the next sweep.
    pub fn discard(
        &self,
        temporary: Temporary,
        limit: Duration,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        let Temporary { scratch, workspace, session } = temporary;
        if let Err(error) = self.end(&workspace, &session, limit, report) {
            scratch.abandon();
            return Err(error);
        }
        let path = scratch.path().to_owned();
        // Tried twice: root inside may have made files that only root inside can remove.
        if std::fs::remove_dir_all(&path).is_err() && path.exists() {
            self.empty_inside(&workspace, report)?;
        }
        match scratch.remove() {
            Err((path, error)) if error.kind() != io::ErrorKind::NotFound => {
                Err(ProjectError::files("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the session of that id, unless it is gone already.
    fn end(
        &self,
        workspace: &Workspace,
        session: &str,
        limit: Duration,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        if self.core.store.get(session)?.is_none() {
            return Ok(());
        }
        // As long as it is there nobody else works long under its name. Afterwards the name may be another machine's.
        let _lock = self.machine_lock(&workspace.name, report)?;
        if self.core.store.get(session)?.is_some() {
            let key = SessionKey::machine(workspace.user.clone(), workspace.name.clone());
            let _ = self.destroy(&key, Reason::Disconnect, limit, report)?;
        }
        Ok(())
    }

    /// Checks out another branch in the checkout of a machine that does not run.
    pub fn switch_branch(
        &self,
        name: &MachineName,
        branch: &BranchName,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        let _lock = self.machine_lock(name, report)?;
        let found = self.core.store.workspace(self.owner(), name)?;
        let mut workspace = found.ok_or_else(|| ProjectError::NoWorkspace(name.to_string()))?;
        if !has_checkout(&workspace)? {
            return Err(ProjectError::NoCheckout(name.to_string()));
        }
        let key = SessionKey::machine(self.owner().clone(), name.clone());
        if self.settled(&key)? {
            return Err(ProjectError::NotStopped(name.to_string()));
        }
        self.switch_inside(&workspace, branch.as_str(), report)?;
        workspace.branch = branch.clone();
        workspace.initialized = false;
        workspace.head_commit = None;
        // The row says what git did, whatever the Podfile of the branch may be.
        self.core.store.update_workspace(&workspace)?;
        let target = target(&workspace, self.settings.podfile_of(in_checkout(&workspace), &Https)?);
        if target != workspace.target {
            workspace.target = target;
            self.core.store.update_workspace(&workspace)?;
        }
        Ok(())
    }

    /// Removes a machine that has a checkout, with both and with its row. The caller holds the machine's name, and has looked
    /// at the row since.
    pub fn remove_workspace(
        &self,
        workspace: &Workspace,
        limit: Duration,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        let key = SessionKey::machine(workspace.user.clone(), workspace.name.clone());
        let _ = self.destroy(&key, Reason::Remove, limit, report)?;
        let _ = self.remove_volumes(&key)?;
        self.remove_checkout(workspace, report)?;
        self.core.store.delete_workspace(&workspace.id)?;
        self.record_workspace(workspace, Some("rm"));
        Ok(())
    }

    /// Removes checkouts that commands left which are gone: as root of a container where root inside made files that are
    /// not the invoking user's to remove.
    pub fn sweep(&self, report: &mut dyn Report) -> Result<(), ProjectError> {
        for left in self.block_on(self.sweep_lightly())?? {
            let Left { path, name, error } = left;
            let emptied = match &name {
                Some(name) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.empty_abandoned(name, &path, report)
                }
                _ => Err(ProjectError::files("remove", &path)(error)),
            };
            let removed = emptied
                .and_then(|()| std::fs::remove_dir_all(&path).map_err(ProjectError::files("remove", &path)));
            if let Err(error) = removed {
                let text = format!("the abandoned checkout `{}` stays: {error}", path.display());
                report.step(Step::Warning(&text));
            }
        }
        Ok(())
    }

    /// As [`Context::sweep`], but what the invoking user may not remove is only given back.
    pub async fn sweep_lightly(&self) -> Result<Vec<Left>, ProjectError> {
        let mut left = Vec::new();
        let parent = self.beside_registry("workspaces");
        for scratch in abandoned(&parent).map_err(ProjectError::files("look into", &parent))? {
            // Its throwaway machine first, if that has not been noticed yet.
            let name = scratch.path().file_name().and_then(|name| name.to_str());
            let name = name.and_then(|name| name.strip_prefix(TEMPORARY)?.rsplit_once('-'));
            let name = name.and_then(|(name, _)| name.parse::<MachineName>().ok());
            if let Some(name) = &name {
                let key = SessionKey::machine(self.owner().clone(), name.clone());
                if self.core.store.find(&key)?.is_some_and(|record| record.kind == Kind::Throwaway)
                    && self.core.reconcile(&key).await?.is_some()
                {
                    // It lives, and may work in there.
                    scratch.abandon();
                    continue;
                }
            }
            if let Err((path, error)) = scratch.remove() {
                left.push(Left { path, name, error });
            }
        }
        Ok(left)
    }

    /// What a machine with that checkout is made of.
    pub(super) fn workspace_request(
        &self,
        kind: Kind,
        workspace: &Workspace,
    ) -> Result<Request, ProjectError> {
        let key = SessionKey::machine(workspace.user.clone(), workspace.name.clone());
        let loaded = self.settings.podfile_of(in_checkout(workspace), &Missing)?;
        let mode = self.projects()?.get(&workspace.project).and_then(|project| project.mode);
        let project = match &loaded {
            Some(loaded) => Some(self.settings.project_request(loaded, workspace.project.as_str(), mode)?),
            None => None,
        };
        Ok(Request {
            mounts: vec![self.checkout_mount(workspace)],
            start_dir: Some(workspace.target.clone()),
            project,
            ..self.settings.request(key, kind)
        })
    }

    /// The checkout, where a machine has it.
    pub(super) fn checkout_mount(&self, workspace: &Workspace) -> MountRequest {
        let mount =
            HostMount { source: workspace.path.clone(), target: workspace.target.clone(), read_only: false };
        MountRequest { mount, owner: Some(self.checkout_owner()) }
    }

    /// Keeps other commands from making, changing or removing a machine of that name as long as the result lives. What was
    /// known of the machine before may not be so any more.
    pub fn hold(
        &self,
        name: &MachineName,
        report: &mut dyn Report,
    ) -> Result<impl Sized + use<>, ProjectError> {
        self.machine_lock(name, report)
    }

    /// One command at a time for each machine.
    fn machine_lock(&self, name: &MachineName, report: &mut dyn Report) -> Result<NameLock, ProjectError> {
        self.name_lock(&format!("{}.{name}", self.owner()), report)
    }

    /// Whether a session of that key exists, half-made ones and those without a container put away.
    fn settled(&self, key: &SessionKey) -> Result<bool, ProjectError> {
        if self.core.store.find(key)?.is_none() {
            return Ok(false);
        }
        Ok(self.block_on(self.core.reconcile(key))??.is_some())
    }

    /// Fails if a machine has that name; else the project that is going to.
    fn is_free(&self, name: &MachineName, source: &Source) -> Result<Project, ProjectError> {
        let project = self.project(&source.project)?;
        let key = SessionKey::machine(self.owner().clone(), name.clone());
        if self.settled(&key)? {
            return Err(ProjectError::InUse(name.to_string()));
        }
        Ok(project)
    }

    fn scratch(&self, prefix: &str, name: &MachineName) -> Result<Scratch, ProjectError> {
        let parent = self.beside_registry("workspaces");
        let unique = self.core.clock.now().as_nanosecond();
        Scratch::make(&parent, prefix, name.as_str(), unique)
            .map_err(ProjectError::files("make a directory in", parent))
    }

    /// The row of a checkout that is going to be made. Branch and target are the usual ones until the repository was asked.
    fn plan(&self, name: &MachineName, source: &Source, project: &Project, path: PathBuf) -> Workspace {
        let usual = || "main".parse().expect("a valid branch");
        let now = self.core.clock.now();
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
        Workspace {
            id: Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds)).to_string(),
            user: self.owner().clone(),
            name: name.clone(),
            project: source.project.clone(),
            repo_url: project.repo.clone(),
            branch: source.branch.clone().unwrap_or_else(usual),
            path,
            target: usual_target(&source.project),
            // As exactly as the store remembers times.
            created_at: Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
            initialized: false,
            head_commit: None,
        }
    }

    /// Makes the checkout of a machine that lives on, and its row. A row that is there already is replaced when there is
    /// something to take its place, and stays otherwise.
    fn check_out(
        &self,
        name: &MachineName,
        source: &Source,
        before: Option<&Workspace>,
        report: &mut dyn Report,
    ) -> Result<Workspace, ProjectError> {
        let project = self.is_free(name, source)?;
        self.sweep(report)?;
        let parent = self.beside_registry("workspaces");
        make_private(&parent).map_err(ProjectError::files("make", &parent))?;
        let path = parent.join(name.as_str());
        if path.symlink_metadata().is_ok() {
            return Err(ProjectError::Occupied(path));
        }
        let mut workspace = self.plan(name, source, &project, path);
        if let Some(before) = before {
            self.make_checkout(&mut workspace, source, Some(before), report)?;
            return Ok(workspace);
        }
        if !self.core.store.insert_workspace(&workspace)? {
            return Err(ProjectError::InUse(name.to_string()));
        }
        match self.make_checkout(&mut workspace, source, None, report) {
            Ok(()) => Ok(workspace),
            Err(error) => {
                // The first error is the one that tells what went wrong.
                let _ = self.core.store.delete_workspace(&workspace.id);
                Err(error)
            }
        }
    }

    fn make_checkout(
        &self,
        workspace: &mut Workspace,
        source: &Source,
        before: Option<&Workspace>,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        let scratch = self.scratch(NEW, &workspace.name)?;
        let path = std::mem::replace(&mut workspace.path, scratch.path().to_owned());
        self.guarded(async |cancel| self.fill(workspace, source, report, &cancel).await)?;
        self.give(scratch.path())?;
        workspace.path = path;
        // The row first: a checkout that is there is as the row says.
        match before {
            Some(before) => self.replace_row(before, workspace)?,
            None => drop(self.core.store.update_workspace(workspace)?),
        }
        let kept = scratch.keep_as(&workspace.path).map_err(ProjectError::files("make", &workspace.path));
        match (&kept, before) {
            (Ok(()), _) => self.record_workspace(workspace, None),
            (Err(_), Some(before)) => self.restore_row(workspace, before),
            (Err(_), None) => {}
        }
        kept
    }

    /// Puts a row in the place of another of its name. One that says the same of where the checkout is from and where it lies
    /// stays the row of the machine, and is only written anew.
    fn replace_row(&self, old: &Workspace, new: &mut Workspace) -> Result<(), ProjectError> {
        let place = |row: &Workspace| (row.project.clone(), row.repo_url.clone(), row.path.clone());
        if place(old) == place(new) {
            (new.id, new.created_at) = (old.id.clone(), old.created_at);
        }
        if self.core.store.replace_workspace(new)? || self.core.store.insert_workspace(new)? {
            return Ok(());
        }
        Err(ProjectError::InUse(new.name.to_string()))
    }

    /// Puts the row back that stood in the place of one whose checkout could not be kept.
    fn restore_row(&self, workspace: &Workspace, before: &Workspace) {
        // The first error is the one that tells what went wrong.
        if let Err(error) = self.replace_row(workspace, &mut before.clone()) {
            tracing::warn!("after a checkout could not be made: {error}");
        }
    }

    /// Clones into the workspace's path, which is empty: the branch that was asked for, or else the one of the Podfile of the
    /// registered clone, or else the repository's.
    async fn fill(
        &self,
        workspace: &mut Workspace,
        source: &Source,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), ProjectError> {
        let git = Git::new(&self.settings.host);
        let path = workspace.path.clone();
        let registered = self.clone_of(&workspace.project);
        let asked = match &source.branch {
            Some(branch) => Some(branch.clone()),
            None if registered.is_dir() => {
                let registered = repository(&workspace.project, &registered);
                self.settings.podfile_of(registered, &Missing)?.and_then(|loaded| loaded.podfile.branch)
            }
            None => None,
        };
        workspace.branch = match asked {
            Some(branch) => branch,
            None => git.default_branch(&workspace.repo_url, &path, report, cancel).await?,
        };
        git.clone(&workspace.repo_url, Some(&workspace.branch), &path, report, cancel).await?;
        if source.branch.is_none() {
            let loaded = self.settings.podfile_of(in_checkout(workspace), &Missing)?;
            let wanted = loaded.and_then(|loaded| loaded.podfile.branch);
            if let Some(wanted) = wanted.filter(|wanted| *wanted != workspace.branch) {
                git.switch(&path, &wanted, report, cancel).await?;
                workspace.branch = wanted;
            }
        }
        // What it extends is fetched here, for everything that is made of this checkout later.
        let loaded = self.settings.podfile_of(in_checkout(workspace), &Https)?;
        let warnings = loaded.iter().flat_map(|loaded| loaded.warnings_in(&path));
        warnings.for_each(|warning| report.step(Step::Warning(&warning)));
        workspace.target = target(workspace, loaded);
        Ok(())
    }

    /// Gives a fresh checkout to the account inside.
    fn give(&self, path: &Path) -> Result<(), ProjectError> {
        match self.settings.host.uid() {
            0 => Directory::open(path)
                .and_then(|held| held.give_tree(0, ACCOUNT.uid, ACCOUNT.gid))
                .map_err(ProjectError::files("give away", path)),
            _ => Ok(()),
        }
    }

    /// Who owns a checkout, as a container sees it.
    fn checkout_owner(&self) -> Owner {
        let host = &self.settings.host;
        // A rootless engine's containers see other ids: there the invoking user is the account inside.
        match host.uid() == 0 || self.engine_kind() == Some(EngineKind::Podman) {
            true => ACCOUNT,
            false => Owner { uid: host.uid(), gid: host.gid() },
        }
    }

    /// Makes the machine of a checkout, or joins it; with the setup that it is to have.
    fn start(
        &self,
        workspace: &Workspace,
        report: &mut dyn Report,
    ) -> Result<(Machine<'_>, Setup), ProjectError> {
        let request = self.workspace_request(Kind::Machine, workspace)?;
        let spec = self.settings.resolve_request(&request)?.spec;
        let machine = self.acquire(&spec, Exists::Join, report)?;
        if !has_a_checkout(&machine.session.record) {
            let _ = machine.leave()?;
            return Err(ProjectError::InUse(workspace.name.to_string()));
        }
        Ok((machine, spec.environment.setup))
    }

    /// Everything about a machine that has a checkout; none for other machines.
    pub fn workspace_spec(&self, key: &SessionKey) -> Result<Option<Resolved>, ProjectError> {
        let Some(workspace) = self.workspace(key)? else { return Ok(None) };
        let request = self.workspace_request(Kind::Machine, &workspace)?;
        Ok(Some(self.settings.resolve_request(&request)?))
    }

    /// The setup of a machine that has a checkout; none for other machines.
    pub fn workspace_setup(&self, key: &SessionKey) -> Result<Option<Setup>, ProjectError> {
        let Some(workspace) = self.workspace(key)? else { return Ok(None) };
        Ok(Some(self.settings.setup_in(in_checkout(&workspace))?))
    }

    /// Writes down whether the setup of a machine's container came to its end, if the machine has a checkout.
    pub fn note_setup(&self, machine: &Machine<'_>) -> Result<(), ProjectError> {
        let Some(mut workspace) = self.workspace(&machine.session.record.key)? else { return Ok(()) };
        let record = self.core.store.get(&machine.session.record.id)?;
        let done = record.is_some_and(|record| record.setup == SetupState::Done);
        if machine.created || done != workspace.initialized {
            workspace.initialized = done;
            if done {
                workspace.head_commit = self.head_inside(&machine.session, &workspace.target);
            }
            self.core.store.update_workspace(&workspace)?;
        }
        Ok(())
    }

    /// Takes back a checkout whose machine could not be made; the row that stood in its place before is there again. A machine
    /// of which something is left keeps it.
    fn undo(&self, workspace: &Workspace, before: Option<&Workspace>, report: &mut dyn Report) {
        let key = SessionKey::machine(workspace.user.clone(), workspace.name.clone());
        match self.core.store.find(&key) {
            Ok(None) => {}
            // Somebody else's, who was quicker to take the name.
            Ok(Some(record)) if !has_a_checkout(&record) => {}
            Ok(Some(_)) | Err(_) => return,
        }
        // The row goes last: as long as a checkout may be left, something tells of it.
        let undone = self.remove_checkout(workspace, report).and_then(|()| match before {
            Some(before) => self.replace_row(workspace, &mut before.clone()),
            None => Ok(self.core.store.delete_workspace(&workspace.id)?),
        });
        match undone {
            Ok(()) => self.record_workspace(workspace, Some("create_failed")),
            Err(error) => tracing::warn!("after a machine could not be made: {error}"),
        }
    }

    fn remove_checkout(&self, workspace: &Workspace, report: &mut dyn Report) -> Result<(), ProjectError> {
        let path = &workspace.path;
        let remove = || match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        match remove() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // Root inside made files that only root inside can remove.
                self.empty_inside(workspace, report)?;
                remove()
            }
            removed => removed,
        }
        .map_err(ProjectError::files("remove", path))
    }
}

/// The project that a checkout is of, wherever the checkout is just now.
fn in_checkout(workspace: &Workspace) -> Repository<'_> {
    repository(&workspace.project, &workspace.path)
}

/// Whether the checkout is there. Where even the directory of checkouts is missing it may come back, as a disk does that is
/// not mounted: then nothing is known.
fn has_checkout(workspace: &Workspace) -> Result<bool, ProjectError> {
    let path = &workspace.path;
    if path.is_dir() {
        return Ok(true);
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    match parent.metadata() {
        Ok(_) => Ok(false),
        Err(error) => Err(ProjectError::files("look for the checkout in", parent)(error)),
    }
}

/// Whether a session was made for a checkout: only then its shells start somewhere else than at home.
fn has_a_checkout(record: &SessionRecord) -> bool {
    record.start_dir.is_some()
}

/// Fails if a machine has the checkout of another project or branch than the one that is asked for.
fn is_bound(found: &Workspace, source: Option<&Source>) -> Result<(), ProjectError> {
    let Some(source) = source else { return Ok(()) };
    let bound = |what, has: String| Err(ProjectError::Bound { name: found.name.to_string(), what, has });
    if source.project != found.project {
        return bound("the project", found.project.to_string());
    }
    match &source.branch {
        Some(branch) if *branch != found.branch => bound("the branch", found.branch.to_string()),
        _ => Ok(()),
    }
}

/// Where the checkout is mounted.
fn target(workspace: &Workspace, loaded: Option<Loaded>) -> String {
    let said = loaded.and_then(|loaded| loaded.podfile.workspace);
    said.unwrap_or_else(|| usual_target(&workspace.project))
}

fn usual_target(project: &ProjectName) -> String {
    format!("/workspace/{project}")
}
