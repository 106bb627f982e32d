//! `create`

use super::enter::{note_setup, prepared_for};
use super::report::Shown;
use super::{Logs, explain, explain_project, open};
use crate::cli::{CreateRequest, MadeOf};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Context, Machine, Overrides, ProjectError, Source};
use crate::names::{MachineName, SessionKey};
use crate::session::Exists;
use crate::spec::{Kind, SessionSpec};
use crate::system::Host;
use crate::ui::{Stdio, Steps, Ui};

/// Makes a machine that runs until it is stopped. One that runs already is left as it is.
pub(super) fn run(
    request: CreateRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let CreateRequest { name, made_of } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let key = SessionKey::machine(context.owner().clone(), name.clone());
    let workspace = context.workspace(&key).map_err(|error| explain_project(&context, error))?;
    let image = match (made_of, workspace) {
        (MadeOf::Project { project, branch }, _) => {
            return of_project(&context, &name, Some(&Source { project, branch }), ui);
        }
        (MadeOf::Image(Some(_)), Some(workspace)) => {
            let text = format!("the machine `{name}` is made of the project `{}`", workspace.project);
            return Err(CommandError::new(ErrorKind::State, text).hint("leave `--image` out"));
        }
        (MadeOf::Image(None), Some(_)) => return of_project(&context, &name, None, ui),
        (MadeOf::Image(image), None) => image,
    };
    let wanted = image.clone();
    let spec = context.spec(Kind::Machine, &name, image)?;
    let title = format!("Creating {name} ({})", spec.image);
    let acquired = {
        context.heed_interrupts().map_err(|error| explain(&context, error))?;
        let mut steps = Shown(Steps::new(ui, &title));
        plain(&context, &spec, &name, Exists::Join, &mut steps)
    };
    if let (Err(ProjectError::InUse(_)), None) = (&acquired, &wanted) {
        return of_project(&context, &name, None, ui);
    }
    let machine = acquired.map_err(|error| {
        ui.failed(&title);
        explain_project(&context, error)
    })?;
    let machine = prepared_for(&context, machine, &spec.environment.setup, Stdio::own().is_watched(), ui)?;
    let (created, image) = (machine.created, machine.session.record.image.clone());
    // A machine stays, whoever leaves it.
    let _ = machine.leave().map_err(|error| explain(&context, error))?;
    match wanted {
        _ if created => ui.done(&title),
        Some(wanted) if wanted.as_str() != image => {
            let text = format!("the machine `{name}` exists with the image `{image}`; nothing was changed");
            return Err(CommandError::new(ErrorKind::State, text)
                .hint(format!("to have it made anew: podspawn rm {name} --force")));
        }
        _ => ui.done(&format!("{name} is running already ({image})")),
    }
    Ok(Exit::Success)
}

/// Makes or joins a machine without a checkout, unless its name has become that of one with a checkout: stopped, it keeps its
/// name and its volumes.
pub(super) fn plain<'a>(
    context: &'a Context,
    spec: &SessionSpec,
    name: &MachineName,
    exists: Exists,
    steps: &mut Shown,
) -> Result<Machine<'a>, ProjectError> {
    let _held = context.hold(name, steps)?;
    match context.workspace(&spec.key)? {
        Some(_) => Err(ProjectError::InUse(name.to_string())),
        None => Ok(context.acquire(spec, exists, steps)?),
    }
}

/// A machine with a checkout of its own.
fn of_project(
    context: &Context,
    name: &MachineName,
    source: Option<&Source>,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let title = format!("Creating {name}");
    let made = {
        context.heed_interrupts().map_err(|error| explain(context, error))?;
        let mut steps = Shown(Steps::new(ui, &title));
        context.create_workspace(name, source, &mut steps)
    };
    let (machine, setup) = made.map_err(|error| {
        ui.failed(&title);
        let missing = match &error {
            ProjectError::Files { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some(format!(
                    "mount the disk that `{}` is on; `podspawn rm {name}` forgets the machine",
                    path.display()
                ))
            }
            _ => None,
        };
        let error = explain_project(context, error);
        missing.into_iter().fold(error, CommandError::hint)
    })?;
    let machine = prepared_for(context, machine, &setup, Stdio::own().is_watched(), ui)?;
    note_setup(context, &machine)?;
    let (created, image) = (machine.created, machine.session.record.image.clone());
    let _ = machine.leave().map_err(|error| explain(context, error))?;
    match created {
        true => ui.done(&format!("{title} ({image})")),
        false => ui.done(&format!("{name} is running already ({image})")),
    }
    Ok(Exit::Success)
}
