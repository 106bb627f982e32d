//! `switch-branch`

use super::report::Shown;
use super::{Logs, explain_project, open};
use crate::cli::SwitchBranchRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Checks another branch out in a machine that does not run.
pub(super) fn run(
    request: SwitchBranchRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let SwitchBranchRequest { name, branch } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let switched = {
        let mut steps = Shown(Steps::new(ui, &format!("Switching {name} to branch {branch}")));
        context.switch_branch(&name, &branch, &mut steps)
    };
    switched.map_err(|error| explain_project(&context, error))?;
    ui.done(&format!("Switched {name} to branch {branch}"));
    Ok(Exit::Success)
}
