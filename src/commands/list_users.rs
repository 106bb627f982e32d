//! `list-users`

use super::server;
use crate::cli::ListUsersArgs;
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::server::accounts;
use crate::system::Host;
use crate::ui::{Ui, clean};

/// Lists container users and how many keys each has.
pub(super) fn run(
    ListUsersArgs {}: ListUsersArgs,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let place = server::open(overrides, host, ui)?;
    let users = accounts::list(&place.config.auth.key_dir)?;
    if users.is_empty() {
        ui.report("No users registered.\n")?;
        return Ok(Exit::Success);
    }
    let mut text = String::new();
    for user in users {
        let keys = match user.keys {
            Ok(1) => "(1 key)".to_owned(),
            Ok(count) => format!("({count} keys)"),
            Err(reason) => {
                tracing::warn!(user = user.name, reason, "key file cannot be read");
                "(unreadable)".to_owned()
            }
        };
        text.push_str(&format!("{}  {keys}\n", clean(&user.name)));
    }
    ui.report(&text)?;
    Ok(Exit::Success)
}
