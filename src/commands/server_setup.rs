//! `server-setup`

use super::broker::program;
use crate::cli::ServerSetupRequest;
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::server::setup::{self, SetupRequest};
use crate::system::Host;
use crate::ui::Ui;

/// Makes this host's sshd lead into containers, or undoes that.
pub(super) fn run(
    request: ServerSetupRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let ServerSetupRequest { sshd_config, service_name, pam_service, max_startups, dry_run, remove } =
        request;
    let request = SetupRequest {
        config_file: overrides.config.clone(),
        sshd_config,
        service: service_name,
        pam_service,
        dry_run,
        max_startups,
        program: program()?,
    };
    let mut say = |line: &str| ui.note(line);
    if remove {
        setup::remove(request, host, &mut say)?;
    } else {
        setup::set_up(request, host, &mut say)?;
    }
    match (dry_run, remove) {
        (true, _) => ui.note("[dry-run] nothing was changed"),
        (false, false) => ui.note("server-setup complete"),
        (false, true) => ui.note("server-setup undone"),
    }
    Ok(Exit::Success)
}
