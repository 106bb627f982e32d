//! `status`

use std::fmt::Write;
use std::time::Duration;

use super::ask::ask_one;
use super::{Logs, explain, open};
use crate::cli::{StatusFormat, StatusRequest};
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::engine::label as engine_label;
use crate::exit::Exit;
use crate::local::{Context, MachineError, Overrides, Settings};
use crate::server::admin::{AdminRequest, Numbers};
use crate::session::Filter;
use crate::state::Status;
use crate::system::Host;
use crate::ui::{Ui, age};

/// Counts what there is, from the store and the leases; with `--check` the containers are those that the engine has.
pub(super) fn run(
    request: StatusRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let StatusRequest { format, check } = request;
    let settings = Settings::load(host, overrides, Reach::Either)?;
    let counts = if settings.is_server() {
        ask_one(&settings.layers.config, overrides, host, &AdminRequest::Status { check })?
    } else {
        let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
        count(&context, check).map_err(|error| explain(&context, error))?
    };
    match format {
        StatusFormat::Text => ui.report(&text(&counts))?,
        StatusFormat::Json => ui.json(&counts)?,
        StatusFormat::Prometheus => ui.report(&prometheus(&counts))?,
    }
    Ok(Exit::Success)
}

fn count(context: &Context, check: bool) -> Result<Numbers, MachineError> {
    let mut views = context.core.list(&Filter::default())?;
    // Half-made sessions are in no count.
    views.retain(|view| view.record.status != Status::Creating);
    let now = context.core.clock.now();
    let with = |status| views.iter().filter(|view| view.record.status == status).count();
    let oldest = views.iter().map(|view| view.record.created_at).min();
    let recorded = views
        .iter()
        .map(|view| usize::from(!view.record.container_id.is_empty()) + view.record.service_ids.len());
    Ok(Numbers {
        sessions: views.len(),
        running: with(Status::Running),
        grace: with(Status::GracePeriod),
        connections: views.iter().map(|view| view.connections).sum(),
        containers: if check { context.containers_in_engine()? } else { recorded.sum() },
        engine: context.engine_kind().map_or("Docker", engine_label).to_owned(),
        oldest_seconds: oldest.map(|oldest| u64::try_from(now.duration_since(oldest).as_secs()).unwrap_or(0)),
    })
}

fn text(counts: &Numbers) -> String {
    let mut text = format!(
        "Sessions:    {} total ({} running, {} grace)\nConnections: {} active\nContainers:  {} in {}\n",
        counts.sessions, counts.running, counts.grace, counts.connections, counts.containers, counts.engine
    );
    if let Some(seconds) = counts.oldest_seconds {
        text.push_str(&format!("Oldest:      {}\n", age(Duration::from_secs(seconds))));
    }
    text
}

fn prometheus(counts: &Numbers) -> String {
    let metrics: [(&str, &str, u64); 6] = [
        ("podspawn_sessions_total", "Total tracked sessions", counts.sessions as u64),
        ("podspawn_sessions_running", "Sessions in running state", counts.running as u64),
        ("podspawn_sessions_grace", "Sessions in grace period", counts.grace as u64),
        ("podspawn_connections_total", "Total active SSH connections", counts.connections as u64),
        (
            "podspawn_containers_docker",
            "Docker containers with managed-by=podspawn",
            counts.containers as u64,
        ),
        (
            "podspawn_oldest_session_seconds",
            "Age of the oldest session in seconds",
            counts.oldest_seconds.unwrap_or(0),
        ),
    ];
    let mut text = String::new();
    for (name, help, value) in metrics {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Numbers {
        Numbers {
            sessions: 3,
            running: 2,
            grace: 1,
            connections: 4,
            containers: 3,
            engine: "Docker".into(),
            oldest_seconds: Some(9000),
        }
    }

    #[test]
    fn people_read_four_lines() {
        assert_eq!(
            text(&counts()),
            "Sessions:    3 total (2 running, 1 grace)\nConnections: 4 active\nContainers:  3 in Docker\n\
             Oldest:      2h30m\n"
        );
        let none = Numbers { sessions: 0, oldest_seconds: None, ..counts() };
        assert!(!text(&none).contains("Oldest"));
    }

    #[test]
    fn metrics_have_help_and_type() {
        let text = prometheus(&counts());
        assert!(text.starts_with(
            "# HELP podspawn_sessions_total Total tracked sessions\n\
             # TYPE podspawn_sessions_total gauge\npodspawn_sessions_total 3\n"
        ));
        assert!(text.ends_with("podspawn_oldest_session_seconds 9000\n"));
        assert_eq!(text.lines().count(), 18);
    }
}
