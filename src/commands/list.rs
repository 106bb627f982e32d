//! `list`

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::ask::ask;
use super::{Logs, explain, explain_project, open};
use crate::cli::{ListRequest, OutputArg};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, Settings};
use crate::server::admin::AdminRequest;
use crate::session::{Filter, Listed};
use crate::spec::Kind;
use crate::state::{Timestamp, Workspace};
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
    let ListRequest { output, machines } = request;
    let settings = Settings::load(host, overrides, Reach::Either)?;
    let now = SystemClock.now();
    // Measuring takes the engine's time: the table has no column for it.
    let measured = output == OutputArg::Json;
    if settings.is_server() {
        if machines {
            let text = "`--machines` is for local machines, and this host is a server";
            return Err(CommandError::new(ErrorKind::Usage, text).hint("leave `--machines` out"));
        }
        let listed: Vec<Listed> =
            ask(&settings.layers.config, overrides, host, &AdminRequest::List { measured })?;
        return of_server(&listed, output, now, ui);
    }
    let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
    let user = Some(context.owner().clone());
    let views = context.core.list(&Filter { user }).map_err(|error| explain(&context, error.into()))?;
    let mut listed: Vec<_> = views.iter().map(|view| Listed::new(view, now)).collect();
    if measured && !listed.is_empty() {
        context.block_on(context.core.measure(&mut listed))?;
    }
    let workspaces = context.workspaces().map_err(|error| explain_project(&context, error))?;
    let mut rows = rows(listed, workspaces);
    rows.retain(|row| !machines || row.workspace.is_some());
    match output {
        OutputArg::Json => ui.json(&rows.iter().map(|row| row.value(now)).collect::<Vec<_>>())?,
        OutputArg::Text => {
            // Half-made machines are nobody's business yet.
            rows.retain(|row| row.listed.as_ref().is_none_or(|one| one.status != "creating"));
            match rows.is_empty() {
                true => ui.report("No machines.\n")?,
                false => ui.report(&table(&rows, now).render(ui.out_style))?,
            }
        }
    }
    Ok(Exit::Success)
}

fn of_server(listed: &[Listed], output: OutputArg, now: Timestamp, ui: Ui) -> Result<Exit, CommandError> {
    match output {
        OutputArg::Json => ui.json(&listed)?,
        OutputArg::Text => {
            // Half-made sessions are nobody's business yet.
            let made: Vec<_> = listed.iter().filter(|one| one.status != "creating").collect();
            match made.is_empty() {
                true => ui.report("No active sessions.\n")?,
                false => ui.report(&sessions(&made, now).render(ui.out_style))?,
            }
        }
    }
    Ok(Exit::Success)
}

/// A machine: its session, its checkout, or both.
struct Row {
    name: String,
    listed: Option<Listed>,
    workspace: Option<Workspace>,
}

/// Sessions and checkouts put together by name.
fn rows(listed: Vec<Listed>, workspaces: Vec<Workspace>) -> Vec<Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for one in listed {
        let name = one.name.clone().unwrap_or_default();
        rows.insert(name.clone(), Row { name, listed: Some(one), workspace: None });
    }
    for workspace in workspaces {
        let name = workspace.name.to_string();
        let row = rows.entry(name.clone()).or_insert(Row { name, listed: None, workspace: None });
        row.workspace = Some(workspace);
    }
    rows.into_values().collect()
}

impl Row {
    /// The status in words, and its colour.
    fn status(&self) -> (&str, Colour) {
        match (&self.listed, &self.workspace) {
            (Some(one), _) => match one.status.as_str() {
                "running" if !one.alive => ("stopped", Colour::Red),
                "running" => ("running", Colour::Green),
                "grace_period" => ("grace period", Colour::Yellow),
                "destroying" => ("removing", Colour::Red),
                other => (other, Colour::Red),
            },
            (None, Some(workspace)) if workspace.initialized => ("stopped", Colour::Red),
            (None, _) => ("uninitialized", Colour::Red),
        }
    }

    fn age(&self, now: Timestamp) -> Duration {
        match (&self.listed, &self.workspace) {
            (Some(one), _) => Duration::from_secs(one.age_seconds),
            (None, Some(workspace)) => since(workspace.created_at, now),
            (None, None) => Duration::ZERO,
        }
    }

    /// For programs: what a session has, and what a checkout has where there is one.
    fn value(&self, now: Timestamp) -> Value {
        let mut value = match &self.listed {
            Some(one) => json!(one),
            None => json!({
                "name": self.name,
                "kind": Kind::Machine,
                "status": self.status().0,
                "alive": false,
                "connections": 0,
                "age_seconds": self.age(now).as_secs(),
            }),
        };
        if let Some(workspace) = &self.workspace {
            if self.listed.is_none() {
                value["user"] = json!(workspace.user);
                value["created_at"] = json!(workspace.created_at);
            }
            value["project"] = json!(workspace.project);
            value["branch"] = json!(workspace.branch);
            value["checkout"] = json!(workspace.path);
            value["target"] = json!(workspace.target);
            value["initialized"] = json!(workspace.initialized);
            value["head_commit"] = json!(workspace.head_commit);
        }
        value
    }
}

fn table(rows: &[Row], now: Timestamp) -> Table {
    let mut table = Table::new(["NAME", "STATUS", "BRANCH", "IMAGE", "AGE"]).bold_header();
    for row in rows {
        let (status, colour) = row.status();
        table.row([
            row.name.as_str().into(),
            Cell::coloured(status, colour),
            row.workspace.as_ref().map_or("-", |workspace| workspace.branch.as_str()).into(),
            row.listed.as_ref().map_or("-", |one| one.image.as_str()).into(),
            age(row.age(now)).into(),
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
