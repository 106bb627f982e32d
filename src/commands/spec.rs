//! `spec`: everything that shapes a session, and where each value comes from.

use serde_json::{Map, Value, json};

use super::{Logs, explain_project, open};
use crate::cli::{OutputArg, SpecRequest, TypedTarget};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::{Deployment, Reach};
use crate::exit::Exit;
use crate::local::{self, Overrides, Settings};
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
    let resolved = match local::deployment(overrides, Reach::Either)? {
        Deployment::Server => of_session(target, image, overrides, host)?,
        Deployment::Local => of_machine(target, image, overrides, host, ui)?,
    };
    match output {
        OutputArg::Text => ui.report(&text(&resolved, ui.out_style))?,
        OutputArg::Json => ui.json(&value(&resolved))?,
    }
    Ok(Exit::Success)
}

/// What a machine is made of: the named image, its checkout's Podfile, or the user's own.
fn of_machine(
    target: Option<TypedTarget>,
    image: Option<ImageRef>,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Resolved, CommandError> {
    let settings = Settings::load(host, overrides, Reach::Either)?;
    let key = match &target {
        Some(target) => target.machine(&settings.owner)?,
        None => SessionKey { user: settings.owner.clone(), name: None },
    };
    // A machine that has a checkout is what its Podfile makes it. Nothing is made in order to look.
    if target.is_some() && image.is_none() && settings.layers.config.state.db_path.exists() {
        let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
        let of_checkout = context.workspace_spec(&key).map_err(|error| explain_project(&context, error))?;
        if let Some(resolved) = of_checkout {
            return Ok(resolved);
        }
    }
    match key.name.clone() {
        Some(name) => {
            let request = Request { key, ..settings.machine_request(Kind::Machine, &name, image)? };
            Ok(settings.resolve_request(&request)?)
        }
        None => Ok(settings.resolve(key, Kind::Machine, image)?),
    }
}

/// What the broker makes a session of: configuration without the environment, which it does not read either, the file about
/// the session's user, and the Podfile of its project.
fn of_session(
    target: Option<TypedTarget>,
    image: Option<ImageRef>,
    overrides: &Overrides,
    host: &Host,
) -> Result<Resolved, CommandError> {
    if overrides.runtime.is_some() {
        let text = "`--runtime` is for local machines, and this host is a server";
        return Err(CommandError::new(ErrorKind::Usage, text).hint("leave `--runtime` out"));
    }
    let key = match target {
        Some(target) => target.session()?,
        None => SessionKey { user: local::owner(host, Deployment::Server)?, name: None },
    };
    let installation = Installation::new(overrides.config.clone());
    let only_root = |text: &str| Err(CommandError::new(ErrorKind::State, text).hint("sudo"));
    if installation.hides_file_of(&key.user) {
        return only_root("only root can look into what was decided for one user");
    }
    let (layers, user_env) = installation.load_for(&key.user)?;
    let name = key.name.as_ref().and_then(|name| name.as_str().parse::<ProjectName>().ok());
    let is_project = match &name {
        Some(name) => projects::registered(&layers)?.get(name).is_some(),
        None => false,
    };
    if is_project && image.is_some() {
        let text = "`--image` and a project cannot be used together: its Podfile names the image";
        return Err(CommandError::new(ErrorKind::Usage, text).hint("leave `--image` out"));
    }
    if is_project && host.uid() != 0 {
        return only_root("only root can look into a server's projects");
    }
    let request = Request { image, ..projects::request(&layers, user_env, key)? };
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
    use crate::config::{Flag, Sources, load};

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
