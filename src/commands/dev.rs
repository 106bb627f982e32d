//! `dev`

use std::path::{Path, PathBuf};

use podspawn_wire::Program;

use super::create::plain;
use super::enter::{How, enter, prepared};
use super::report::Shown;
use super::stop::LIMIT;
use super::{Logs, explain, explain_project, open};
use crate::cli::DevRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{
    Context, DevWish, LocalError, Machine, MachineError, Overrides, ProjectError, ports, session_name,
};
use crate::names::{MachineName, SessionKey};
use crate::podfile::{Fetch, Https, Loaded, Missing, MountWay, PortStrategy, Repository};
use crate::session::{Exists, Reason};
use crate::spec::{Kind, Mode, SessionSpec};
use crate::state::{SessionRecord, SetupState};
use crate::system::Host;
use crate::system::ports::is_free;
use crate::ui::{Steps, Ui, age};

/// What makes a Podfile.
pub(super) const INIT: &str = "podspawn init";

/// Most packages that the banner lists.
const PACKAGES_SHOWN: usize = 5;

/// Joins or makes the environment of this directory and runs a shell or a command in it.
pub(super) fn run(
    request: DevRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let DevRequest { ephemeral, fresh, dotfiles, name, ports: further, podfile, command } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let directory = directory(host)?;
    // What it extends is asked for anew only for what is made of it: whoever comes back does not wait for a server elsewhere.
    let read = |fetch: &dyn Fetch| podfile_here(&context, &directory, podfile.as_deref(), fetch);
    let loaded = read(&Missing)?;
    let own_name = name.is_some();
    let name = name.unwrap_or_else(|| session_name(loaded.podfile.name.as_deref(), &directory));
    let key = SessionKey::machine(context.owner().clone(), name.clone());
    if dotfiles && context.settings.layers.dotfiles.is_none() {
        ui.warn("there are no dotfiles to apply");
        ui.hint("name a repository as `local.dotfiles` in ~/.podspawn/config.yaml");
    }
    let wish = DevWish { key: key.clone(), directory: &directory, ephemeral, own_dotfiles: dotfiles };
    let plan = || {
        let loaded = read(&Https)?;
        let (spec, notes) = context.settings.dev_spec(&loaded, &wish, context.sees_ids())?;
        Ok::<_, CommandError>((loaded, spec, notes))
    };
    let mut planned = None;
    if fresh {
        if is_of_a_machine(&context, &key)? {
            return Err(machines_name(&name));
        }
        // What cannot be made again is not taken away.
        planned = Some(plan()?);
        let mut steps = Shown(Steps::new(ui, &format!("Stopping {name}")));
        let _ = context
            .destroy(&key, Reason::Stop, LIMIT, &mut steps)
            .map_err(|error| explain(&context, error))?;
    }
    let joined = match context.join(&key, &mut Shown(Steps::late(ui))) {
        Ok(machine) if machine.session.record.kind == Kind::Session => {
            let since = context.core.clock.now().duration_since(machine.session.record.created_at);
            ui.note(&format!("Re-attaching to {name} (started {} ago)", age(since.unsigned_abs())));
            let image = context.settings.image_at_hand(&loaded, name.as_str());
            // Names that are derived belong to one directory.
            if own_name && let Some(other) = other_directory(&context, &machine, &directory) {
                tell_kept(
                    &format!("`{name}` has the files of `{}`, not of this directory", other.display()),
                    ui,
                );
            } else if image.is_some_and(|image| machine.session.record.image != image.as_str()) {
                tell_kept("the Podfile has changed since this session was made", ui);
                loaded.warnings.iter().for_each(|warning| ui.warn(warning));
            }
            let record = &machine.session.record;
            if ephemeral && record.mode != Mode::DestroyOnDisconnect {
                tell_kept(
                    "`--ephemeral` changes nothing: a session keeps the mode that it was made with",
                    ui,
                );
            }
            // What is still to be set up gets them.
            if dotfiles && context.settings.layers.dotfiles.is_some() && record.setup != SetupState::Pending {
                tell_kept("`--dotfiles` changes nothing: a session gets its dotfiles when it is made", ui);
            }
            if !further.is_empty() {
                tell_ports(&context, &machine, &loaded, &further, ui);
            }
            Some(machine)
        }
        Ok(machine) => {
            let _ = machine.leave().map_err(|error| explain(&context, error))?;
            return Err(machines_name(&name));
        }
        Err(MachineError::Unknown(_)) => None,
        Err(error) => return Err(explain(&context, error)),
    };
    let (machine, setup) = match joined {
        Some(machine) => (machine, context.settings.dev_setup(loaded, &wish)),
        None => {
            if is_of_a_machine(&context, &key)? {
                return Err(machines_name(&name));
            }
            let (loaded, mut spec, notes) = planned.map_or_else(plan, Ok)?;
            // Once for each session: who comes back has read them.
            loaded.warnings.iter().chain(&notes).for_each(|warning| ui.warn(warning));
            spec.environment.ports = ports::bind(&loaded.podfile.ports, &further, is_free)?;
            banner(&loaded, &spec, &name, &directory).iter().for_each(|line| ui.note(line));
            let flag = if own_name { format!(" --name {name}") } else { String::new() };
            ui.note(&format!("  to remove it: podspawn down{flag}"));
            let acquired = {
                context.heed_interrupts().map_err(|error| explain(&context, error))?;
                let mut steps = Shown(Steps::new(ui, &format!("Creating {name} ({})", spec.image)));
                plain(&context, &spec, &name, Exists::Join, &mut steps)
            };
            let machine = acquired.map_err(|error| match error {
                ProjectError::InUse(_) => machines_name(&name),
                error => explain_project(&context, error),
            })?;
            (machine, spec.environment.setup)
        }
    };
    let program = if command.is_empty() { Program::Shell { login: true } } else { Program::Argv(command) };
    let machine = prepared(&context, machine, &setup, How::SHELL, ui)?;
    enter(&context, machine, program, How::SHELL, ui)
}

/// The directory that a session was made in, if that is another one.
fn other_directory(context: &Context, machine: &Machine<'_>, directory: &Path) -> Option<PathBuf> {
    let asked = context.block_on(context.core.directory(&machine.session.record));
    // That it cannot be told is no reason not to work there.
    // Compared as text: a label holds nothing else.
    asked.ok()?.ok()?.filter(|made_in| made_in.to_string_lossy() != directory.to_string_lossy())
}

/// A session keeps the ports that it was made with: says so of those that are asked for now.
fn tell_ports(context: &Context, machine: &Machine<'_>, loaded: &Loaded, further: &[u16], ui: Ui) {
    let asked = context.block_on(context.core.published_ports(&machine.session.record));
    // That they cannot be told is no reason not to work there.
    let Ok(Ok(existing)) = asked else { return };
    for port in ports::missing(&loaded.podfile.ports, further, &existing) {
        tell_kept(
            &format!("port {port} is not published: a session keeps the ports that it was made with"),
            ui,
        );
    }
}

/// Something that was asked for and that a session which is there does not get.
fn tell_kept(text: &str, ui: Ui) {
    ui.warn(text);
    ui.hint("`--fresh` makes it anew");
}

/// Whether the name is that of a machine: one that runs, or one with a checkout, which keeps its name and its volumes while
/// it is stopped. One of which only the row is left has none any more.
fn is_of_a_machine(context: &Context, key: &SessionKey) -> Result<bool, CommandError> {
    if context.workspace(key).map_err(|error| explain_project(context, error))?.is_some() {
        return Ok(true);
    }
    let foreign = |found: Option<SessionRecord>| found.is_some_and(|record| record.kind != Kind::Session);
    if !foreign(context.core.store.find(key).map_err(LocalError::from)?) {
        return Ok(false);
    }
    let settled = context.block_on(context.core.reconcile(key))?;
    Ok(foreign(settled.map_err(|error| explain(context, error.into()))?))
}

fn machines_name(name: &MachineName) -> CommandError {
    let text = format!("the name `{name}` belongs to a machine");
    CommandError::new(ErrorKind::State, text).hint("give another one with `--name`")
}

/// The current directory.
pub(super) fn directory(host: &Host) -> Result<PathBuf, CommandError> {
    host.cwd().map(Path::to_owned).ok_or_else(|| {
        CommandError::new(ErrorKind::State, "the current directory does not exist any more")
            .hint("cd to one that does")
    })
}

/// The Podfile of a directory, or the named one.
pub(super) fn podfile_here(
    context: &Context,
    directory: &Path,
    named: Option<&Path>,
    fetch: &dyn Fetch,
) -> Result<Loaded, CommandError> {
    // Whichever file it is, the project is the one in this directory.
    let repository = Repository { directory, name: None };
    let found = match named {
        Some(path) => Some(context.settings.load_podfile(&directory.join(path), repository, fetch)?),
        None => context.settings.podfile_of(repository, fetch)?,
    };
    found.ok_or_else(|| {
        let text = format!("there is no Podfile in `{}`", directory.display());
        let error = CommandError::new(ErrorKind::State, text);
        match context.settings.podfile_above(directory) {
            Some(above) => error.hint(format!("`{}` has one: `cd` there", above.display())).hint(INIT),
            None => error.hint(INIT),
        }
    })
}

/// What a new session is made of, for the person who waits for it, line by line.
fn banner(loaded: &Loaded, spec: &SessionSpec, name: &MachineName, directory: &Path) -> Vec<String> {
    let podfile = &loaded.podfile;
    let environment = &spec.environment;
    let mut lines = vec![format!("{name} ({})", base(loaded))];
    let mut add = |what: &str, items: Vec<String>| {
        if !items.is_empty() {
            lines.push(format!("  {what}: {}", items.join(", ")));
        }
    };
    let mut packages: Vec<String> = podfile.packages.iter().take(PACKAGES_SHOWN).cloned().collect();
    if podfile.packages.len() > PACKAGES_SHOWN {
        packages.push("...".into());
    }
    add("packages", packages);
    let services = podfile.services.iter().map(|service| {
        let ports: Vec<String> = service.ports.iter().map(|port| format!(":{port}")).collect();
        match ports.is_empty() {
            true => service.name.to_string(),
            false => format!("{} ({})", service.name, ports.join(" ")),
        }
    });
    add("services", services.collect());
    let ports =
        environment.ports.iter().map(|port| format!("localhost:{} -> :{}", port.host, port.container));
    add("ports", ports.collect());
    if podfile.ports.strategy == PortStrategy::Manual
        && environment.ports.is_empty()
        && !podfile.ports.expose.is_empty()
    {
        add("ports", vec!["none (strategy `manual`: name them with `--ports`)".into()]);
    }
    let target = spec.environment.start_dir.as_deref().unwrap_or(&spec.account.home);
    match podfile.mount {
        MountWay::Bind => add("mount", vec![format!("{} -> {target}", directory.display())]),
        MountWay::Copy => add("mount", vec![format!("a copy of {} -> {target}", directory.display())]),
        MountWay::None => {}
    }
    lines
}

fn base(loaded: &Loaded) -> String {
    match &loaded.podfile.base {
        crate::podfile::Base::Image(image) => image.to_string(),
        crate::podfile::Base::Build(build) => build.dockerfile.clone(),
    }
}
