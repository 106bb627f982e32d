//! `create`

use super::enter::prepared_for;
use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::CreateRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::session::Exists;
use crate::spec::Kind;
use crate::system::Host;
use crate::ui::{Stdio, Steps, Ui};

/// Makes a machine that runs until it is stopped. One that runs already is left as it is.
pub(super) fn run(
    request: CreateRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let CreateRequest { name, image } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let wanted = image.clone();
    let spec = context.spec(Kind::Machine, &name, image)?;
    let title = format!("Creating {name} ({})", spec.image);
    let acquired = {
        let mut steps = Shown(Steps::new(ui, &title));
        context.acquire(&spec, Exists::Join, &mut steps)
    };
    let machine = acquired.map_err(|error| {
        ui.failed(&title);
        explain(&context, error)
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
