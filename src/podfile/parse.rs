//! One YAML text → one [`Layer`]: shape, names of fields, and sizes. What values mean is decided for the merged result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::value::Value;

use super::error::PodfileError;
use super::fields::{BANGS, DOTFILES, FIELDS, PORTS, REPOS, RESOURCES, SERVICES};
use super::layer::{At, Env, Layer, List, Place, RawDotfiles, RawRepo, RawService, Script};
use super::read::{Cursor, known, place};
use crate::config::yaml::{self, Document, KeyPath};
use crate::names::{GitUrl, printable, quoted};

/// Most items of each list, in one file and in the merged result.
pub(super) const MAX_PACKAGES: usize = 1000;
pub(super) const MAX_COMMANDS: usize = 200;
pub(super) const MAX_ENV: usize = 200;
pub(super) const MAX_SERVICES: usize = 64;
pub(super) const MAX_REPOS: usize = 64;
pub(super) const MAX_PORTS: usize = 100;
pub(super) const MAX_VOLUMES: usize = 64;
/// Longest of the short texts, in bytes.
const MAX_WORD: usize = 4096;
/// Longest value of an environment variable, in bytes.
pub(super) const MAX_VALUE: usize = 32 * 1024;
/// Longest environment of one container, in bytes: the kernel takes no more at once than some MiB, the engine's own included.
pub(super) const MAX_ENV_BYTES: usize = 256 * 1024;
/// Longest script, in bytes: the guest is told of it in one message, which has 64 KiB.
pub(super) const MAX_SCRIPT: usize = 60 * 1024;

/// Reads one file's text. `file` is how errors and origins call it.
pub(super) fn parse(file: &Path, text: &str) -> Result<Layer, PodfileError> {
    let file = Arc::new(file.to_owned());
    let document = yaml::parse(text).map_err(|bad| {
        let name = printable(&file.to_string_lossy());
        let place = bad.line.map_or(name.clone(), |line| format!("{name}:{line}"));
        PodfileError::Malformed { place, reason: bad.reason }
    })?;
    Parser { file: &file, document: &document, layer: Layer::default() }.run()
}

struct Parser<'a> {
    file: &'a Arc<PathBuf>,
    document: &'a Document,
    layer: Layer,
}

impl<'a> Parser<'a> {
    fn run(mut self) -> Result<Layer, PodfileError> {
        let names = self.names()?;
        let document = self.document;
        if let Some(value) = document.values.get("extends") {
            self.layer.extends =
                short(&self.cursor("extends", value), "what to extend, such as `ubuntu-dev`")?;
        }
        for (written, name) in names {
            let bang = written.ends_with('!');
            match document.values.get(&written) {
                Some(value) => self.field(name, bang, &self.cursor(&written, value))?,
                // Nothing behind it: with `!` that is what is wanted, without it the field is not set.
                None if bang => self.discard(name, &written),
                None => {}
            }
        }
        self.removals_need_a_base()?;
        Ok(self.layer)
    }

    fn cursor(&self, key: &str, value: &'a Value) -> Cursor<'a> {
        Cursor::new(self.file, self.document, key, value)
    }

    fn top(&self, key: &str) -> Place {
        place(self.file, self.document, &vec![key.to_owned()])
    }

    /// The fields that are written here: each as written, and without its `!`.
    fn names(&self) -> Result<Vec<(String, &'static str)>, PodfileError> {
        let empty = self.document.nulls.iter().filter(|path| path.len() == 1).map(|path| &path[0]);
        let written: BTreeSet<&String> = self.document.values.keys().chain(empty).collect();
        let mut names = Vec::new();
        for key in &written {
            let bare = key.strip_suffix('!').unwrap_or(key);
            let path: KeyPath = vec![(*key).clone()];
            let field = known(self.file, self.document, &path, bare, "", FIELDS)?;
            if bare.len() < key.len() {
                if !BANGS.contains(&field.name) {
                    let reason = format!(
                        "a `!` that discards what the base says is possible for {} only",
                        BANGS.join(", ")
                    );
                    return Err(self.top(key).wrong(reason));
                }
                if written.iter().any(|other| other.as_str() == bare) {
                    let reason =
                        format!("`{bare}` and `{bare}!` cannot stand in the same file: keep one of them");
                    return Err(self.top(key).wrong(reason));
                }
            }
            names.push(((*key).clone(), field.name));
        }
        Ok(names)
    }

    /// A field with `!` and without a value.
    fn discard(&mut self, name: &str, written: &str) {
        let place = Some(self.top(written));
        let layer = &mut self.layer;
        match name {
            "packages" => layer.packages = List { reset: true, place, ..List::default() },
            "extra_commands" => layer.extra_commands = List { reset: true, place, ..List::default() },
            "services" => layer.services = List { reset: true, place, ..List::default() },
            "repos" => layer.repos = List { reset: true, place, ..List::default() },
            "env" => layer.env.reset = true,
            "on_create" => layer.on_create.reset = true,
            "on_start" => layer.on_start.reset = true,
            _ => {}
        }
    }

    fn field(&mut self, name: &str, bang: bool, at: &Cursor<'_>) -> Result<(), PodfileError> {
        let removes = self.layer.extends.is_some();
        match name {
            "base" => self.layer.base = short(at, "an image reference, such as `ubuntu:24.04`")?,
            "name" => self.layer.name = short(at, "a name")?,
            "branch" => self.layer.branch = short(at, "the name of a branch")?,
            "shell" => self.layer.shell = short(at, "the absolute path of a shell, such as `/bin/bash`")?,
            "mount" => self.layer.mount = short(at, "`bind`, `copy` or `none`")?,
            "mode" => self.layer.mode = short(at, "a mode")?,
            "workspace" => self.layer.workspace = short(at, "an absolute path")?,
            "packages" => {
                let expected = "a list of packages, such as `[git, nodejs@22]`";
                self.layer.packages =
                    texts(at, bang, expected, "the name of a package", MAX_PACKAGES, MAX_WORD)?;
            }
            "extra_commands" => {
                let expected = "a list of commands";
                self.layer.extra_commands = texts(at, bang, expected, "a command", MAX_COMMANDS, MAX_SCRIPT)?;
            }
            "env" => {
                let entries = env(at)?.into_iter().map(|(name, At { value, place })| {
                    // Where something lies below, an empty text takes the variable away.
                    let value = (!(value.is_empty() && removes && !bang)).then_some(value);
                    (name, At { value, place })
                });
                self.layer.env = Env { reset: bang, entries: entries.collect() };
            }
            "dotfiles" => self.layer.dotfiles = Some(dotfiles(at)?),
            "repos" => self.layer.repos = repos(at, bang)?,
            "services" => self.layer.services = services(at, bang)?,
            "ports" => {
                for (name, below) in at.fields(PORTS, "`expose` and `strategy` below it")? {
                    match name {
                        "expose" => {
                            self.layer.expose.place = Some(below.place());
                            ports(&below)?.into_iter().for_each(|port| self.layer.expose.put(port));
                        }
                        _ => self.layer.strategy = short(&below, "`auto`, `manual` or `expose`")?,
                    }
                }
            }
            "resources" => {
                for (name, below) in at.fields(RESOURCES, "`cpus` and `memory` below it")? {
                    match name {
                        "cpus" => {
                            let cpus = below.number("a number of CPUs, such as `2` or `0.5`")?;
                            self.layer.cpus = Some(cpus).filter(|cpus| cpus.value != 0.0);
                        }
                        _ => {
                            let memory =
                                below.scalar("an amount of memory, such as `2g` or `512m`", MAX_WORD)?;
                            self.layer.memory =
                                Some(memory).filter(|memory| !matches!(memory.value.as_str(), "" | "0"));
                        }
                    }
                }
            }
            "on_create" => self.layer.on_create = script(at, bang)?,
            "on_start" => self.layer.on_start = script(at, bang)?,
            // `extends` is read first.
            _ => {}
        }
        Ok(())
    }

    /// `"!item"` makes sense where there is something to take it out of.
    fn removals_need_a_base(&self) -> Result<(), PodfileError> {
        if self.layer.extends.is_some() {
            return Ok(());
        }
        let layer = &self.layer;
        let removed = [
            &layer.packages.removed,
            &layer.extra_commands.removed,
            &layer.services.removed,
            &layer.repos.removed,
        ];
        match removed.iter().find_map(|removed| removed.iter().next()) {
            None => Ok(()),
            Some((key, place)) => Err(place.wrong(format!(
                "{} removes something from what the file extends, and there is no `extends`",
                quoted(&format!("!{key}"))
            ))),
        }
    }
}

/// A short text; none for an empty one.
fn short(at: &Cursor<'_>, expected: &str) -> Result<Option<At<String>>, PodfileError> {
    Ok(Some(at.text(expected, MAX_WORD)?).filter(|text| !text.value.is_empty()))
}

fn script(at: &Cursor<'_>, bang: bool) -> Result<Script, PodfileError> {
    let text = at.text("a script", MAX_SCRIPT)?;
    Ok(Script { reset: bang, parts: (!text.value.is_empty()).then_some(text).into_iter().collect() })
}

/// A list of texts, of which those with `!` remove.
fn texts(
    at: &Cursor<'_>,
    bang: bool,
    expected: &str,
    each: &str,
    most: usize,
    longest: usize,
) -> Result<List<At<String>>, PodfileError> {
    let mut list = List { reset: bang, place: Some(at.place()), ..List::default() };
    // By their text, so that a long list does not take the square of its length.
    let mut seen = BTreeSet::new();
    for item in at.items(expected, most)? {
        let text = item.text(each, longest)?;
        match text.value.strip_prefix('!') {
            Some(key) => {
                list.removed.insert(key.to_owned(), text.place);
            }
            None if seen.insert(text.value.clone()) => list.items.push(text),
            None => {}
        }
    }
    Ok(list)
}

fn env(at: &Cursor<'_>) -> Result<BTreeMap<String, At<String>>, PodfileError> {
    at.entries("names with values, such as `NODE_ENV: development`", MAX_ENV)?
        .into_iter()
        .map(|(name, value)| Ok((name, value.scalar("a text", MAX_VALUE)?)))
        .collect()
}

fn ports(at: &Cursor<'_>) -> Result<Vec<At<u16>>, PodfileError> {
    at.items("a list of ports, such as `[3000]`", MAX_PORTS)?.iter().map(Cursor::port).collect()
}

fn dotfiles(at: &Cursor<'_>) -> Result<At<RawDotfiles>, PodfileError> {
    let mut value = RawDotfiles { repo: None, install: None };
    for (name, below) in at.fields(DOTFILES, "`repo` and `install` below it")? {
        match name {
            "repo" => value.repo = short(&below, "the address of a repository")?,
            _ => value.install = Some(below.text("a command", MAX_SCRIPT)?).filter(|t| !t.value.is_empty()),
        }
    }
    Ok(At { value, place: at.place() })
}

/// The key that an item of a list of keys removes, if it is such a text.
fn removal(item: &Cursor<'_>, expected: &str) -> Result<Option<At<String>>, PodfileError> {
    if item.is_keys() {
        return Ok(None);
    }
    let text = item.text(expected, MAX_WORD)?;
    match text.value.strip_prefix('!') {
        Some(key) => Ok(Some(At { value: key.to_owned(), place: text.place })),
        None => Err(item.expected(expected)),
    }
}

fn repos(at: &Cursor<'_>, bang: bool) -> Result<List<RawRepo>, PodfileError> {
    let key =
        |url: &str| url.parse::<GitUrl>().map_or_else(|_| url.to_owned(), |url| url.as_str().to_owned());
    let mut list = List { reset: bang, place: Some(at.place()), ..List::default() };
    for item in at.items("a list of repositories, each with `url`", MAX_REPOS)? {
        let expected = "`url`, `path` and `branch` of a repository, or \"!url\"";
        if let Some(removed) = removal(&item, expected)? {
            list.removed.insert(key(&removed.value), removed.place);
            continue;
        }
        let (mut url, mut path, mut branch) = (None, None, None);
        for (name, below) in item.fields(REPOS, expected)? {
            match name {
                "url" => url = short(&below, "the address of a repository")?,
                "path" => path = short(&below, "an absolute path")?,
                _ => branch = short(&below, "the name of a branch")?,
            }
        }
        let url = url.ok_or_else(|| item.place().wrong("a repository needs its `url`"))?;
        list.put(RawRepo { key: key(&url.value), url, path, branch });
    }
    Ok(list)
}

fn services(at: &Cursor<'_>, bang: bool) -> Result<List<RawService>, PodfileError> {
    let mut list: List<RawService> = List { reset: bang, place: Some(at.place()), ..List::default() };
    for item in at.items("a list of services, each with `name` and `image`", MAX_SERVICES)? {
        let expected = "`name` and `image` of a service, or \"!name\"";
        if let Some(removed) = removal(&item, expected)? {
            list.removed.insert(removed.value, removed.place);
            continue;
        }
        let mut name = None;
        let (mut image, mut ports_of, mut env_of, mut volumes) =
            (None, Vec::new(), BTreeMap::new(), Vec::new());
        for (field, below) in item.fields(SERVICES, expected)? {
            match field {
                "name" => name = short(&below, "a name, such as `postgres`")?,
                "image" => image = short(&below, "an image reference, such as `postgres:16`")?,
                "ports" => ports_of = ports(&below)?,
                "env" => env_of = env(&below)?,
                _ => {
                    let items = below.items("a list of volumes, each `name:/path`", MAX_VOLUMES)?;
                    volumes = items
                        .iter()
                        .map(|item| item.text("`name:/path`", MAX_WORD))
                        .collect::<Result<_, _>>()?;
                }
            }
        }
        let name: At<String> = name.ok_or_else(|| item.place().wrong("a service needs its `name`"))?;
        if list.items.iter().any(|other| other.name.value == name.value) {
            return Err(name.place.wrong(format!("there are two services {}", quoted(&name.value))));
        }
        let place = item.place();
        list.items.push(RawService { name, image, ports: ports_of, env: env_of, volumes, place });
    }
    Ok(list)
}

#[cfg(test)]
mod tests;
