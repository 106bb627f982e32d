//! `init`

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::{Logs, log_to};
use crate::cli::InitRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::{Reach, nearest};
use crate::exit::Exit;
use crate::local::{LocalError, Overrides, load};
use crate::names::quoted;
use crate::podfile::Https;
use crate::podfile::draft::{self, Answers, Draft};
use crate::podfile::registry::{self, Registry};
use crate::system::{Host, files, terminal};
use crate::ui::{Stdio, Ui};

/// What is written, in the working directory.
const FILE: &str = "podfile.yaml";

/// Writes a podfile.yaml from the template that fits, changed by what the person says.
pub(super) fn run(
    InitRequest { template, yes, update }: InitRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    if !yes && !terminal::is_terminal(Stdio::own().stdin()) {
        return Err(CommandError::new(
            ErrorKind::Usage,
            "there is nobody to ask: standard input is no terminal",
        )
        .hint("`--yes` takes the template as it is"));
    }
    let layers = load(host, overrides, Reach::AlwaysLocal)?;
    log_to(layers.config.log.file.as_deref(), Logs::Quiet, ui);
    let dir = host.cwd().ok_or_else(|| {
        CommandError::new(ErrorKind::State, "the working directory has been removed")
            .hint("change to another one")
    })?;
    let cache = host.home().ok_or(LocalError::NoHome)?.join(".podspawn/cache/podfiles");
    if update {
        fetch(&layers.config.github_url, &cache, ui)?;
    }
    let (registry, warning) = Registry::cached(&cache);
    warning.iter().for_each(|text| ui.warn(text));
    let (name, said) = choose(template, &registry, dir)?;
    let (text, warning) = registry::template(&cache, &name);
    warning.iter().for_each(|text| ui.warn(text));
    let draft = text.ok_or_else(|| "it is not here".to_owned()).and_then(Draft::new).map_err(|reason| {
        CommandError::new(ErrorKind::State, format!("the template `{name}` cannot be used: {reason}"))
            .hint("`podspawn init --update` fetches it")
    })?;

    let path = dir.join(FILE);
    let exists = path.symlink_metadata().is_ok();
    let failed = |error: &io::Error| {
        CommandError::new(ErrorKind::Failure, format!("failed to write `{}`: {error}", path.display()))
            .hint(format!("`ls -ld {}` shows who may write there", dir.display()))
    };
    // Before anybody has answered questions in vain.
    files::writable(dir).map_err(|error| failed(&error))?;
    if exists && !yes && !agrees(&format!("{FILE} exists. Overwrite it? [y/N]"), ui)? {
        return Err(aborted());
    }
    said.iter().for_each(|text| ui.note(text));
    let text = if yes { draft.text().to_owned() } else { answered(&draft, &registry, &name, ui)? };
    files::write_atomic(&path, text.as_bytes(), 0o644).map_err(|error| failed(&error))?;
    ui.done(&format!("Created {FILE}"));
    if dir.join(".podspawn").join(FILE).exists() {
        ui.warn(&format!("`.podspawn/{FILE}` is there too and comes first: {FILE} has no effect"));
    }
    ui.hint("`podspawn dev` opens a shell in it");
    Ok(Exit::Success)
}

fn fetch(base: &crate::config::HttpUrl, cache: &Path, ui: Ui) -> Result<(), CommandError> {
    let (count, warnings) = registry::update(&Https, base, cache).map_err(|reason| {
        CommandError::new(ErrorKind::Failure, format!("failed to {reason}"))
            .hint("check `github_url` and the network, or leave `--update` out")
    })?;
    warnings.iter().for_each(|text| ui.warn(text));
    ui.note(&format!("Fetched {count} file(s) into {}", cache.display()));
    Ok(())
}

/// The template, and what to say about the choice.
fn choose(
    template: Option<String>,
    registry: &Registry,
    dir: &Path,
) -> Result<(String, Option<String>), CommandError> {
    let names = registry.template_names();
    if let Some(name) = template {
        if names.contains(&name.as_str()) {
            return Ok((name, None));
        }
        let near = nearest(&name, &names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let text = format!("there is no template {}{near}", quoted(&name));
        return Err(
            CommandError::new(ErrorKind::Usage, text).hint(format!("templates: {}", names.join(", ")))
        );
    }
    let files = files_at(dir).map_err(|error| {
        CommandError::new(ErrorKind::Failure, format!("failed to read `{}`: {error}", dir.display()))
            .hint("name a template with `--template`")
    })?;
    Ok(match registry.detect(&files) {
        Some((name, marker)) => (name.to_owned(), Some(format!("Detected: {name} project ({marker} found)"))),
        None => {
            ("minimal".to_owned(), Some("No kind of project was detected: using the minimal template".into()))
        }
    })
}

/// Names of the files at the top of a directory.
fn files_at(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            files.extend(entry.file_name().into_string());
        }
    }
    Ok(files)
}

/// The draft with what the person says to each question.
fn answered(draft: &Draft, registry: &Registry, name: &str, ui: Ui) -> Result<String, CommandError> {
    let question = |question: &str, value: &str| format!("{question} [{value}]");
    let answers = Answers {
        base: answer(&question("Base image?", draft.base()), ui, |text| {
            draft::read_base(text, |name| registry.has_base(name))
        })?,
        packages: answer(&question("Packages?", &draft.packages().join(", ")), ui, draft::read_packages)?,
        services: answer(&question("Add services? (postgres/redis/none)", "none"), ui, draft::read_services)?
            .unwrap_or_default(),
        ports: answer(&question("Expose ports?", &draft.ports().join(", ")), ui, draft::read_ports)?,
    };
    let written = draft.with(&answers).map_err(|reason| {
        CommandError::new(ErrorKind::State, format!("the template `{name}` cannot be used: {reason}"))
            .hint("`--yes` takes it as it is")
    })?;
    for (hook, package) in &written.left_out {
        ui.note(&format!("Left out {hook}: it needs {package}, which is not among the packages"));
    }
    Ok(written.text)
}

/// Asks until the answer makes sense; none keeps what is there.
fn answer<T>(
    question: &str,
    ui: Ui,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, CommandError> {
    loop {
        let text = ask(question, ui)?;
        if text.is_empty() {
            return Ok(None);
        }
        match read(&text) {
            Ok(value) => return Ok(Some(value)),
            Err(reason) => ui.warn(&reason),
        }
    }
}

fn agrees(question: &str, ui: Ui) -> Result<bool, CommandError> {
    Ok(matches!(ask(question, ui)?.to_lowercase().as_str(), "y" | "yes"))
}

fn ask(question: &str, ui: Ui) -> Result<String, CommandError> {
    match ui.ask(question) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(aborted()),
        Err(error) => {
            Err(CommandError::new(ErrorKind::Failure, format!("failed to read an answer: {error}")))
        }
    }
}

fn aborted() -> CommandError {
    CommandError::new(ErrorKind::State, "aborted")
}
