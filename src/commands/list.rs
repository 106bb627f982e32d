//! `list`

use std::time::Duration;

use serde::Serialize;

use super::{Logs, explain, open};
use crate::cli::{ListRequest, OutputArg};
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::session::{Filter, SessionView};
use crate::spec::{Kind, Mode};
use crate::state::{Status, Timestamp};
use crate::system::Host;
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
    let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
    let user = (!context.is_server()).then(|| context.owner().clone());
    let views = context.core.list(&Filter { user }).map_err(|error| explain(&context, error.into()))?;
    let now = context.core.clock.now();
    match output {
        OutputArg::Json => ui.json(&views.iter().map(|view| Row::new(view, now)).collect::<Vec<_>>())?,
        OutputArg::Text => {
            // Half-made sessions are nobody's business yet.
            let made: Vec<_> = views.iter().filter(|view| view.record.status != Status::Creating).collect();
            let text = match (made.is_empty(), context.is_server()) {
                (true, true) => "No active sessions.\n".to_owned(),
                (true, false) => "No machines.\n".to_owned(),
                (false, true) => sessions(&made, now).render(ui.out_style),
                (false, false) => machines(&made, now).render(ui.out_style),
            };
            ui.report(&text)?;
        }
    }
    Ok(Exit::Success)
}

fn machines(views: &[&SessionView], now: Timestamp) -> Table {
    let mut table = Table::new(["NAME", "STATUS", "BRANCH", "IMAGE", "AGE"]).bold_header();
    let mut views = views.to_vec();
    views.sort_by(|a, b| a.record.key.project().cmp(b.record.key.project()));
    for SessionView { record, .. } in views {
        let (status, colour) = match record.status {
            Status::Running if !is_alive(record) => ("stopped", Colour::Red),
            Status::Running => ("running", Colour::Green),
            Status::GracePeriod => ("grace period", Colour::Yellow),
            Status::Creating => ("creating", Colour::Red),
            Status::Destroying => ("removing", Colour::Red),
        };
        table.row([
            record.key.project().into(),
            Cell::coloured(status, colour),
            "-".into(),
            record.image.as_str().into(),
            age(since(record.created_at, now)).into(),
        ]);
    }
    table
}

fn sessions(views: &[&SessionView], now: Timestamp) -> Table {
    let mut table = Table::new(["USER", "PROJECT", "CONTAINER", "STATUS", "CONNS", "AGE", "LIFETIME LEFT"]);
    for SessionView { record, connections } in views {
        table.row([
            record.key.user.as_str().into(),
            record.key.name.as_ref().map_or("(default)", |name| name.as_str()).into(),
            record.container_name.as_str().into(),
            word(record.status).into(),
            connections.to_string().into(),
            age(since(record.created_at, now)).into(),
            lifetime_left(record.max_lifetime, now).into(),
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

/// The status in the store's words.
fn word(status: Status) -> &'static str {
    match status {
        Status::Creating => "creating",
        Status::Running => "running",
        Status::GracePeriod => "grace_period",
        Status::Destroying => "destroying",
    }
}

/// Whether the container's first process is the recorded one; without a record of it nothing speaks against that.
fn is_alive(record: &crate::state::SessionRecord) -> bool {
    record.process.as_ref().is_none_or(crate::session::is_alive)
}

/// One session for programs.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    user: &'a str,
    name: Option<&'a str>,
    kind: Kind,
    status: &'static str,
    alive: bool,
    connections: usize,
    image: &'a str,
    container: &'a str,
    container_id: &'a str,
    engine: &'a str,
    attach: &'static str,
    mode: Mode,
    created_at: String,
    last_activity: String,
    expires_at: Option<String>,
    grace_expires_at: Option<String>,
    age_seconds: u64,
}

impl<'a> Row<'a> {
    fn new(view: &'a SessionView, now: Timestamp) -> Self {
        let record = &view.record;
        Self {
            id: &record.id,
            user: record.key.user.as_str(),
            name: record.key.name.as_ref().map(|name| name.as_str()),
            kind: record.kind,
            status: word(record.status),
            alive: is_alive(record),
            connections: view.connections,
            image: &record.image,
            container: &record.container_name,
            container_id: &record.container_id,
            engine: &record.engine,
            attach: match record.attach {
                crate::state::AttachWay::Direct => "direct",
                crate::state::AttachWay::Engine => "engine",
            },
            mode: record.mode,
            created_at: record.created_at.to_string(),
            last_activity: record.last_activity.to_string(),
            expires_at: record.max_lifetime.map(|at| at.to_string()),
            grace_expires_at: record.grace_expiry.map(|at| at.to_string()),
            age_seconds: since(record.created_at, now).as_secs(),
        }
    }
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
