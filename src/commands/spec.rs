//! `spec`: everything that shapes a session, and where each value comes from.

use serde_json::{Map, Value, json};

use super::{Logs, explain_project, open};
use crate::cli::{OutputArg, SpecRequest};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, Settings};
use crate::names::{ImageRef, ProjectName, SessionKey};
use crate::server::Installation;
use crate::server::projects::{self, ServerProjectError};
use crate::spec::{Kind, Request, Resolved, resolve, rows};
use crate::system::Host;
use crate::ui::{Style, Table, Ui};

/// Prints the spec that a machine would get; on a server, a session.
pub(super) fn run(
    SpecRequest { target, image, output }: SpecRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let settings = Settings::load(host, overrides, Reach::Either)?;
    let key = match (&target, settings.is_server()) {
        (None, _) => SessionKey { user: settings.owner.clone(), name: None },
        (Some(target), true) => target.session()?,
        (Some(target), false) => target.machine(&settings.owner)?,
    };
    let kind = if settings.is_server() { Kind::Session } else { Kind::Machine };
    let resolved = match (&target, image) {
        // A machine that has a checkout is what its Podfile makes it. Nothing is made in order to look.
        (Some(_), None) if !settings.is_server() && settings.layers.config.state.db_path.exists() => {
            let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
            let of_checkout =
                context.workspace_spec(&key).map_err(|error| explain_project(&context, error))?;
            of_checkout.map_or_else(|| plain(&settings, key, kind, None), Ok)?
        }
        (Some(_), None) if settings.is_server() => of_server(&settings, overrides, key)?,
        (_, image) => plain(&settings, key, kind, image)?,
    };
    match output {
        OutputArg::Text => ui.report(&text(&resolved, ui.out_style))?,
        OutputArg::Json => ui.json(&value(&resolved))?,
    }
    Ok(Exit::Success)
}

/// What a session of a server is made of, with the file about its user and the Podfile of its project.
fn of_server(settings: &Settings, overrides: &Overrides, key: SessionKey) -> Result<Resolved, CommandError> {
    let name = key.name.as_ref().and_then(|name| name.as_str().parse::<ProjectName>().ok());
    let is_project = match &name {
        Some(name) => projects::registered(&settings.layers)?.get(name).is_some(),
        None => false,
    };
    if !is_project {
        return plain(settings, key, Kind::Session, None);
    }
    if settings.host.uid() != 0 {
        let text = "only root can look into a server's projects";
        return Err(CommandError::new(ErrorKind::State, text).hint("sudo"));
    }
    let installation = Installation::new(overrides.config.clone());
    let (layers, user_env) = installation.load_for(&key.user)?;
    let request = projects::request(&layers, user_env, key)?;
    Ok(resolve(&request, &layers)?)
}

impl From<ServerProjectError> for CommandError {
    fn from(error: ServerProjectError) -> Self {
        match error {
            ServerProjectError::Registry(error) => error.into(),
            ServerProjectError::Podfile(error) => error.into(),
            ServerProjectError::Recipe(_) => Self::new(ErrorKind::Config, error.to_string())
                .hint("correct the Podfile in the project's repository"),
            ServerProjectError::NotCloned(ref name) => {
                let hint = format!("sudo podspawn update-project {name}");
                Self::new(ErrorKind::State, error.to_string()).hint(hint)
            }
        }
    }
}

/// What is not made of a project: the named image, or locally the user's own Podfile.
fn plain(
    settings: &Settings,
    key: SessionKey,
    kind: Kind,
    image: Option<ImageRef>,
) -> Result<Resolved, CommandError> {
    match key.name.clone() {
        Some(name) if !settings.is_server() => {
            let request = Request { key, ..settings.machine_request(kind, &name, image)? };
            Ok(settings.resolve_request(&request)?)
        }
        _ => Ok(settings.resolve(key, kind, image)?),
    }
}

/// An aligned table: key, value, source.
fn text(resolved: &Resolved, style: Style) -> String {
    let mut table = Table::new(["KEY", "VALUE", "SOURCE"]).bold_header();
    for row in rows(resolved) {
        table.row([row.key.into(), row.text.into(), row.origin.to_string().into()]);
    }
    table.render(style)
}

/// `spec` with the values, nested by section: times in seconds, memory in bytes, null for no limit and none; `sources`
/// with the origin of each by its whole key.
fn value(resolved: &Resolved) -> Value {
    let mut spec = Map::from_iter([("env".to_owned(), json!({}))]);
    let mut sources = Map::new();
    for row in rows(resolved) {
        let place = match row.key.split_once('.') {
            None => spec.entry(row.key.clone()).or_insert(Value::Null),
            Some((section, key)) => {
                let section = spec.entry(section.to_owned()).or_insert_with(|| json!({}));
                &mut section[key]
            }
        };
        *place = row.value;
        sources.insert(row.key, json!(row.origin));
    }
    json!({ "spec": spec, "sources": sources })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Deployment, Flag, Sources, load};

    fn resolved() -> Resolved {
        let sources = Sources {
            deployment: Deployment::Local,
            local_root: "/nonexistent/.podspawn".into(),
            home: None,
            file: None,
            env: BTreeMap::from([("PODSPAWN_DEFAULTS__MEMORY".to_owned(), "1g".to_owned())]),
            flags: vec![Flag { name: "--runtime", key: "runtime", value: "podman".into() }],
        };
        let key = SessionKey::machine("ann".parse().unwrap(), "dev".parse().unwrap());
        resolve(&Request::new(key, Kind::Machine), &load(&sources).unwrap()).unwrap()
    }

    #[test]
    fn the_table_shows_every_value_with_its_source() {
        let text = text(&resolved(), Style::new(false));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("KEY ") && lines[0].ends_with(" SOURCE"), "{text}");
        let row = |key: &str| {
            let line = lines.iter().find(|line| line.starts_with(&format!("{key} "))).expect(key);
            line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>()
        };
        assert_eq!(row("engine"), ["engine", "podman", "flag --runtime"]);
        assert_eq!(row("image"), ["image", "ubuntu:24.04", "default"]);
        assert_eq!(
            row("resources.memory"),
            ["resources.memory", "1g", "environment variable PODSPAWN_DEFAULTS__MEMORY"]
        );
        assert_eq!(
            row("max_lifetime"),
            ["max_lifetime", "24h", "not used: a machine lives until it is stopped"]
        );
    }

    #[test]
    fn programs_get_plain_values_and_their_sources() {
        let value = value(&resolved());
        assert_eq!(value["spec"]["image"], "ubuntu:24.04");
        assert_eq!(value["spec"]["resources"]["memory"], 1 << 30);
        assert_eq!(value["spec"]["limits"]["max_per_user"], Value::Null);
        assert_eq!(value["spec"]["security"]["cap_drop"], json!(["ALL"]));
        assert_eq!(value["spec"]["grace_period"], 60.0);
        assert_eq!(value["spec"]["env"], json!({}));
        assert_eq!(value["sources"]["engine"], json!({ "kind": "flag", "flag": "--runtime" }));
        assert_eq!(value["sources"]["limits.max_per_user"], json!({ "kind": "profile", "profile": "local" }));
        assert_eq!(
            value["sources"]["resources.memory"],
            json!({ "kind": "environment", "variable": "PODSPAWN_DEFAULTS__MEMORY" })
        );
    }
}
