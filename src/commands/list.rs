//! `list`

use std::time::Duration;

use super::ask::ask;
use super::{Logs, explain, open};
use crate::cli::{ListRequest, OutputArg};
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, Settings};
use crate::server::admin::AdminRequest;
use crate::session::{Filter, Listed};
use crate::state::Timestamp;
use crate::system::{Clock, Host, SystemClock};
use crate::ui::table::Cell;
use crate::ui::{Colour, Table, Ui, age};

/// Lists machines; on a server, sessions.
pub(super) fn run(
    request: ListRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let ListRequest { output } = request;
    let settings = Settings::load(host, overrides, Reach::Either)?;
    let now = SystemClock.now();
    // Measuring takes the engine's time: the table has no column for it.
    let measured = output == OutputArg::Json;
    let (listed, server) = if settings.is_server() {
        (ask(&settings.layers.config, overrides, host, &AdminRequest::List { measured })?, true)
    } else {
        let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
        let user = Some(context.owner().clone());
        let views = context.core.list(&Filter { user }).map_err(|error| explain(&context, error.into()))?;
        let mut listed: Vec<_> = views.iter().map(|view| Listed::new(view, now)).collect();
        if measured && !listed.is_empty() {
            context.block_on(context.core.measure(&mut listed))?;
        }
        (listed, false)
    };
    match output {
        OutputArg::Json => ui.json(&listed)?,
        OutputArg::Text => {
            // Half-made sessions are nobody's business yet.
            let made: Vec<_> = listed.iter().filter(|one| one.status != "creating").collect();
            let text = match (made.is_empty(), server) {
                (true, true) => "No active sessions.\n".to_owned(),
                (true, false) => "No machines.\n".to_owned(),
                (false, true) => sessions(&made, now).render(ui.out_style),
                (false, false) => machines(&made).render(ui.out_style),
            };
            ui.report(&text)?;
        }
    }
    Ok(Exit::Success)
}

fn machines(listed: &[&Listed]) -> Table {
    let mut table = Table::new(["NAME", "STATUS", "BRANCH", "IMAGE", "AGE"]).bold_header();
    let mut listed = listed.to_vec();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    for one in listed {
        let (status, colour) = match one.status.as_str() {
            "running" if !one.alive => ("stopped", Colour::Red),
            "running" => ("running", Colour::Green),
            "grace_period" => ("grace period", Colour::Yellow),
            "destroying" => ("removing", Colour::Red),
            other => (other, Colour::Red),
        };
        table.row([
            one.name.as_deref().unwrap_or_default().into(),
            Cell::coloured(status, colour),
            "-".into(),
            one.image.as_str().into(),
            age(Duration::from_secs(one.age_seconds)).into(),
        ]);
    }
    table
}

fn sessions(listed: &[&Listed], now: Timestamp) -> Table {
    let mut table = Table::new(["USER", "PROJECT", "CONTAINER", "STATUS", "CONNS", "AGE", "LIFETIME LEFT"]);
    for one in listed {
        table.row([
            one.user.as_str().into(),
            one.name.as_deref().unwrap_or("(default)").into(),
            one.container.as_str().into(),
            one.status.as_str().into(),
            one.connections.to_string().into(),
            age(Duration::from_secs(one.age_seconds)).into(),
            lifetime_left(one.expires_at, now).into(),
        ]);
    }
    table
}

/// `expired` past the deadline, `-` where there is none.
fn lifetime_left(deadline: Option<Timestamp>, now: Timestamp) -> String {
    match deadline {
        None => "-".into(),
        Some(deadline) if deadline <= now => "expired".into(),
        Some(deadline) => age(since(now, deadline)),
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    // A clock that was set back makes nothing younger than new.
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_what_is_left_of_it() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(lifetime_left(None, at(0)), "-");
        assert_eq!(lifetime_left(Some(at(100)), at(100)), "expired");
        assert_eq!(lifetime_left(Some(at(26_100)), at(0)), "7h15m");
    }

    #[test]
    fn nothing_is_younger_than_new() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(since(at(100), at(50)), Duration::ZERO);
        assert_eq!(since(at(50), at(100)), Duration::from_secs(50));
    }
}
