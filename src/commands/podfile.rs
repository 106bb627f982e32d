//! `podfile check`: what a Podfile comes to with all that it extends, and where each value comes from.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::{OutputArg, PodfileCheckRequest};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::{ByteSize, Reach};
use crate::exit::Exit;
use crate::local::{self, EnvironmentError, Overrides};
use crate::podfile::{
    self, Base, Hook, HookCommand, Https, Loaded, MountWay, Places, PodfileError, PortStrategy, Repository,
};
use crate::system::Host;
use crate::ui::{Style, Table, Ui};

/// Longest that a value is shown to people, in characters.
const SHOWN: usize = 60;

/// Checks the Podfile and prints it.
pub(super) fn check(
    PodfileCheckRequest { path, output }: PodfileCheckRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let layers = local::load(host, overrides, Reach::Either)?;
    let cache = host.home().map_or_else(|| PathBuf::from("/root"), Path::to_owned);
    let places = Places {
        cache: cache.join(".podspawn/cache/podfiles"),
        github: layers.config.github_url.as_str().to_owned(),
    };
    let file = find(path, host)?;
    let loaded = load(&file, &places, host)?;
    // What has no image is no good, however valid each of its values is. The name is nobody's: it does not matter here.
    let image = loaded.image("podfile", &layers.config.packages.sources);
    let _ = image.map_err(EnvironmentError::from)?;
    match output {
        OutputArg::Text => ui.report(&text(&loaded, ui.out_style))?,
        OutputArg::Json => ui.json(&json!({
            "path": loaded.path,
            "podfile": loaded.podfile,
            "sources": loaded.origins,
            "warnings": loaded.warnings,
        }))?,
    }
    if output == OutputArg::Text {
        loaded.warnings.iter().for_each(|warning| ui.warn(warning));
    }
    Ok(Exit::Success)
}

/// A file at one of the usual places belongs to the project there, any other one to the project in the current directory if it
/// lies in that.
fn load(file: &Path, places: &Places, host: &Host) -> Result<Loaded, PodfileError> {
    let above = file.ancestors().skip(1).take(2);
    let usual =
        |directory: &Path| podfile::LOCATIONS.iter().any(|location| directory.join(location) == *file);
    match host.cwd() {
        Some(here) if !above.into_iter().any(usual) => {
            podfile::load_for(file, Repository { directory: here, name: None }, places, &Https)
        }
        _ => podfile::load(file, places, &Https),
    }
}

/// The file that is meant: itself, or that of a directory.
fn find(path: Option<PathBuf>, host: &Host) -> Result<PathBuf, CommandError> {
    let here = host.cwd().map_or_else(|| PathBuf::from("."), Path::to_owned);
    let path = path.map_or_else(|| here.clone(), |path| here.join(path));
    if !path.is_dir() {
        return Ok(path);
    }
    podfile::locate(&path)?.ok_or_else(|| {
        CommandError::new(ErrorKind::State, format!("there is no Podfile in {}", path.display()))
            .hint(format!("it is looked for as {}", podfile::LOCATIONS.join(", ")))
    })
}

/// An aligned table: key, value, source.
fn text(loaded: &Loaded, style: Style) -> String {
    let mut table = Table::new(["KEY", "VALUE", "SOURCE"]).bold_header();
    for (key, value, origin) in rows(loaded) {
        let source = loaded.origins.get(&origin).map_or_else(|| "default".to_owned(), ToString::to_string);
        table.row([key.into(), short(&value).into(), source.into()]);
    }
    table.render(style)
}

/// Everything that is set, or has a default of its own: key, value, key of its origin.
fn rows(loaded: &Loaded) -> Vec<(String, String, String)> {
    let podfile = &loaded.podfile;
    let mut rows = Vec::new();
    let mut row =
        |key: &str, value: String, origin: &str| rows.push((key.to_owned(), value, origin.to_owned()));
    match &podfile.base {
        Base::Image(image) => row("base", image.to_string(), "base"),
        Base::Build(build) => row("base", format!("built from {}", build.dockerfile), "base"),
    }
    let texts = [
        ("name", podfile.name.clone()),
        ("branch", podfile.branch.as_ref().map(ToString::to_string)),
        ("shell", podfile.shell.clone()),
        ("mode", podfile.mode.map(|mode| mode.to_string())),
        ("workspace", podfile.workspace.clone()),
        ("start_dir", podfile.start_dir.clone()),
        ("user", podfile.user.as_ref().map(ToString::to_string)),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            row(key, value, key);
        }
    }
    let mount = match podfile.mount {
        MountWay::Bind => "bind",
        MountWay::Copy => "copy",
        MountWay::None => "none",
    };
    row("mount", mount.into(), "mount");
    for package in &podfile.packages {
        row("packages", package.clone(), &format!("packages.{package}"));
    }
    for (name, value) in &podfile.env {
        let key = format!("env.{name}");
        row(&key, value.clone(), &key);
    }
    if let Some(dotfiles) = &podfile.dotfiles {
        row("dotfiles", dotfiles.repo.to_string(), "dotfiles");
    }
    for repo in &podfile.repos {
        row("repos", repo.url.to_string(), "repos");
    }
    for service in &podfile.services {
        let key = format!("services.{}", service.name);
        row(&key, service.image.to_string(), &key);
    }
    for volume in &podfile.volumes {
        row("volumes", format!("{}:{}", volume.name, volume.target), "volumes");
    }
    if !podfile.ports.expose.is_empty() {
        let ports: Vec<String> = podfile.ports.expose.iter().map(u16::to_string).collect();
        let strategy = match podfile.ports.strategy {
            PortStrategy::Auto => "auto",
            PortStrategy::Manual => "manual",
            PortStrategy::Expose => "expose",
        };
        row("ports", format!("{} ({strategy})", ports.join(", ")), "ports");
    }
    if let Some(cpus) = podfile.resources.cpus {
        row("resources.cpus", cpus.to_string(), "resources.cpus");
    }
    if let Some(memory) = podfile.resources.memory {
        row("resources.memory", ByteSize::from_bytes(memory).to_string(), "resources.memory");
    }
    let hooks = &podfile.hooks;
    for hook in [&hooks.create, &hooks.boot, &hooks.start].into_iter().flatten() {
        row(&hook.name, command(hook), &hook.name);
    }
    for line in &podfile.extra_commands {
        row("extra_commands", line.clone(), "extra_commands");
    }
    rows
}

/// What a hook runs, on one line.
fn command(hook: &Hook) -> String {
    fn text(command: &HookCommand) -> String {
        match command {
            HookCommand::Script(text) => text.trim().to_owned(),
            HookCommand::Argv(argv) => argv.join(" "),
            HookCommand::Parallel(commands) => commands
                .iter()
                .map(|(name, command)| format!("{name}: {}", text(command)))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }
    text(&hook.command)
}

fn short(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_owned(),
    }
}
