//! The commands about projects on a server: root fetches, the broker builds.

use super::ask::ask_one;
use crate::cli::AddProjectRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::{Project, Reach, Word};
use crate::exit::Exit;
use crate::local::{Interrupts, LocalError, MachineError, Overrides, ProjectError, ServerProjects, Settings};
use crate::names::{BranchName, GitUrl, ProjectName};
use crate::server::admin::{AdminRequest, BuiltProject};
use crate::server::projects::{clones, making};
use crate::session::SessionError;
use crate::system::Host;
use crate::ui::{Steps, Ui};

use super::report::Shown;

/// The settings if this host is a server; then only root may go on.
pub(super) fn server(host: &Host, overrides: &Overrides) -> Result<Option<Settings>, CommandError> {
    let settings = Settings::load(host, overrides, Reach::Either)?;
    if !settings.is_server() {
        return Ok(None);
    }
    match host.uid() {
        0 => Ok(Some(settings)),
        _ => Err(CommandError::new(ErrorKind::State, "only root changes a server's projects").hint("sudo")),
    }
}

/// What a command works with.
struct Work<'a> {
    settings: &'a Settings,
    overrides: &'a Overrides,
    projects: ServerProjects<'a>,
}

impl<'a> Work<'a> {
    fn new(settings: &'a Settings, overrides: &'a Overrides) -> Result<Self, CommandError> {
        let config = &settings.layers.config;
        let projects = ServerProjects::new(settings, clones(config), making(config))?;
        Ok(Self { settings, overrides, projects })
    }

    /// Fetches the repository, has its image built and puts the clone into its place. What fails leaves nothing new.
    fn bring(
        &self,
        name: &ProjectName,
        repo: &GitUrl,
        branch: Option<&BranchName>,
        steps: &mut Shown,
    ) -> Result<BuiltProject, CommandError> {
        // Until the new clone is in its place, or gone.
        let mut interrupts = Interrupts::catch().map_err(MachineError::Signals)?;
        self.projects.fetch(name, repo, branch, steps)?;
        let built = self
            .build(name, &mut interrupts)
            .and_then(|built| self.projects.settle(name).map(|()| built).map_err(CommandError::from));
        built.inspect_err(|_| self.projects.give_up(name))
    }

    /// Has the broker build the image of the new clone. A signal ends the wait: the broker gives up what nobody waits for.
    fn build(&self, name: &ProjectName, interrupts: &mut Interrupts) -> Result<BuiltProject, CommandError> {
        let request = AdminRequest::BuildProject { project: name.to_string() };
        let (settings, overrides) = (self.settings.clone(), self.overrides.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LocalError::Runtime)?;
        let asked = runtime.block_on(interrupts.guard(async |cancel| {
            let asking = tokio::task::spawn_blocking(move || {
                ask_one(&settings.layers.config, &overrides, &settings.host, &request)
            });
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(SessionError::Cancelled),
                asked = asking => Ok(asked),
            }
        }));
        // A thread that still asks ends with this process, and its connection with it.
        runtime.shutdown_background();
        let asked = asked.map_err(MachineError::from)?;
        asked.map_err(|panic| CommandError::new(ErrorKind::Failure, format!("failed to ask: {panic}")))?
    }
}

/// The bookkeeping of what was built.
fn note(mut project: Project, built: &BuiltProject, place: std::path::PathBuf) -> Project {
    project.local_path = Some(place);
    project.podfile_hash = built.hash.clone().map(Word::new);
    project.image_tag = Some(Word::new(built.image.clone()));
    project
}

/// `add-project`
pub(super) fn add(
    request: AddProjectRequest,
    settings: &Settings,
    overrides: &Overrides,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let AddProjectRequest { name, repo, branch } = request;
    let work = Work::new(settings, overrides)?;
    let built = {
        let mut steps = Shown(Steps::new(ui, &format!("Registering {name}")));
        let _lock = work.projects.lock(&name, &mut steps)?;
        if work.projects.find(&name)?.is_some() {
            return Err(ProjectError::Registered(name.to_string()).into());
        }
        // Left by a command that died before it wrote the registry.
        work.projects.remove_clones(&name);
        let built = work.bring(&name, &repo, branch.as_ref(), &mut steps)?;
        let place = clones(&settings.layers.config).join(name.as_str());
        if let Err(error) = work.projects.register(&name, Some(&note(Project::new(repo), &built, place))) {
            work.projects.remove_clones(&name);
            return Err(error.into());
        }
        built
    };
    built.warnings.iter().for_each(|warning| ui.warn(warning));
    ui.note(&format!("project {name} registered, image: {}", built.image));
    Ok(Exit::Success)
}

/// `update-project`
pub(super) fn update(
    name: &ProjectName,
    settings: &Settings,
    overrides: &Overrides,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let work = Work::new(settings, overrides)?;
    let (before, built) = {
        let mut steps = Shown(Steps::new(ui, &format!("Updating {name}")));
        let _lock = work.projects.lock(name, &mut steps)?;
        let before = work.projects.find(name)?.ok_or_else(|| ProjectError::Unknown(name.to_string()))?;
        let built = work.bring(name, &before.repo, None, &mut steps)?;
        let after = note(before.clone(), &built, clones(&settings.layers.config).join(name.as_str()));
        // The configuration file is the administrator's alone.
        if after != before && work.projects.is_in_registry(name)? {
            work.projects.register(name, Some(&after))?;
        }
        (before, built)
    };
    built.warnings.iter().for_each(|warning| ui.warn(warning));
    let rebuilt =
        before.image_tag.is_none() || built.hash.as_deref() != before.podfile_hash.as_ref().map(Word::as_str);
    ui.note(&match rebuilt {
        true => format!("project {name} rebuilt, image: {}", built.image),
        false => format!("project {name}: podfile unchanged, skipping rebuild"),
    });
    Ok(Exit::Success)
}

/// `fetch-project`: nothing is built, the session that it is for does that where its user sees it.
pub(super) fn fetch(
    name: &ProjectName,
    settings: &Settings,
    overrides: &Overrides,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let work = Work::new(settings, overrides)?;
    let mut steps = Shown(Steps::plain(ui));
    let _lock = work.projects.lock(name, &mut steps)?;
    let project = work.projects.find(name)?.ok_or_else(|| ProjectError::Unknown(name.to_string()))?;
    // Somebody else may have been quicker.
    if !clones(&settings.layers.config).join(name.as_str()).is_dir() {
        work.projects.fetch(name, &project.repo, None, &mut steps)?;
        work.projects.settle(name).inspect_err(|_| work.projects.give_up(name))?;
    }
    Ok(Exit::Success)
}

/// `remove-project`: its name, the image that stays, and why a clone could not be removed.
pub(super) fn remove(
    name: &ProjectName,
    settings: &Settings,
    overrides: &Overrides,
    ui: Ui,
) -> Result<(Option<String>, Option<String>), CommandError> {
    let work = Work::new(settings, overrides)?;
    let mut steps = Shown(Steps::plain(ui));
    let _lock = work.projects.lock(name, &mut steps)?;
    let project = work.projects.find(name)?;
    let Some(project) = project else {
        return Err(ProjectError::Unknown(name.to_string()).into());
    };
    if !work.projects.is_in_registry(name)? {
        return Err(work.projects.not_in_registry(name).into());
    }
    work.projects.register(name, None)?;
    let left = work.projects.remove_clones(name);
    Ok((project.image_tag.map(|tag| tag.as_str().to_owned()), left))
}
