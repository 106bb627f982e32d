//! Dockerfiles for a builder that does not keep `RUN --mount` away from the files of its host: what they build on, which the
//! caller looks at before, and a text in which each of it is named by its id.
//!
//! Such a builder reads the text that is made here, not the one of the repository: every instruction stands on a line of its
//! own there, however it was cut and escaped, so that what is an instruction for the builder has been one here. Whatever
//! could be read in two ways is refused. Pure.

use std::collections::{BTreeMap, BTreeSet};

mod outside;

pub(super) use outside::{Reads, check};

use crate::names::{ImageRef, printable, quoted};

/// Longest line that builders read, in bytes.
const LONGEST_LINE: usize = 64 * 1024 - 1;
/// What an image may bring along for builds on it: nothing of it reaches out of the build, `RUN` without its flags.
const HARMLESS: [&str; 16] = [
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "healthcheck",
    "label",
    "maintainer",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

/// A Dockerfile, taken apart.
#[derive(Debug)]
pub(super) struct Dockerfile {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    /// As it is.
    Text(String),
    /// A stage that begins with an image.
    From { image: ImageRef, platform: Option<String>, name: Option<String>, number: usize },
}

/// What is known of an image that a Dockerfile builds on.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// Its id as 64 digits: no builder takes these for a name that could be pulled.
    pub(super) id: String,
    /// `amd64`, `arm64`, …
    pub(super) architecture: String,
}

impl Dockerfile {
    /// Reads a text with build arguments, up to the end of the stage that is wanted. Errors say what is wrong with which line.
    pub(super) fn parse(
        text: &[u8],
        args: &BTreeMap<String, String>,
        target: Option<&str>,
    ) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| {
            let number = text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("line {number}: it is not UTF-8 text")
        })?;
        let mut physical = Physical::new(text);
        let mut lines = Vec::new();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut stages: Vec<String> = Vec::new();
        let mut begun = false;
        let mut in_stage = false;
        let mut wanted = false;
        // Words that end here-documents which are open.
        let mut open: Vec<Word> = Vec::new();
        while let Some((number, line)) = physical.next() {
            let wrong = |why: String| format!("line {number}: {why}");
            if let Some(end) = open.first() {
                if end.ends(line) {
                    open.remove(0);
                }
                let line = body(line).map_err(wrong)?;
                lines.push(Line::Text(line));
                continue;
            }
            if is_comment(line) {
                if !begun && escapes_otherwise(line) {
                    return Err(wrong("an escape character other than `\\` is not supported here".into()));
                }
                lines
                    .push(Line::Text(line.trim_end_matches(|c: char| c == '\\' || c.is_whitespace()).into()));
                continue;
            }
            begun = true;
            let line = physical.whole(line);
            let instruction = Instruction::of(&line).map_err(wrong)?;
            match instruction.name.as_str() {
                "from" => {
                    if wanted {
                        // The stage that is wanted ends here.
                        break;
                    }
                    let (line, name) = from(instruction.rest, number, &known, &stages).map_err(wrong)?;
                    in_stage = true;
                    wanted = target.is_some() && target == name.as_deref();
                    stages.extend(name);
                    lines.push(line);
                    continue;
                }
                "arg" if !in_stage => {
                    for word in words(instruction.rest) {
                        let (name, default) = match word.split_once('=') {
                            Some((name, default)) => (name, expand(default, &known)),
                            None => (word.as_str(), None),
                        };
                        // One without a value is wrong only where it is used.
                        if let Some(value) = args.get(name).cloned().or(default) {
                            known.insert(name.into(), value);
                        }
                    }
                }
                _ => {}
            }
            instruction.check().map_err(wrong)?;
            open = instruction.here_documents().map_err(wrong)?;
            lines.push(Line::Text(whole_line(line).map_err(wrong)?));
        }
        Ok(Self { lines })
    }

    /// The images that it builds on, each once.
    pub(super) fn images(&self) -> BTreeSet<&ImageRef> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                Line::From { image, .. } => Some(image),
                Line::Text(_) => None,
            })
            .collect()
    }

    /// The text for the builder, in which every image is the one that was looked at.
    pub(super) fn pinned(&self, bases: &BTreeMap<&ImageRef, Base>) -> Result<String, String> {
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Text(line) => text += line,
                Line::From { image, platform, name, number } => {
                    let base =
                        bases.get(image).ok_or_else(|| format!("line {number}: `{image}` is unknown"))?;
                    if let Some(platform) = platform
                        && !is_of(platform, &base.architecture)
                    {
                        return Err(format!(
                            "line {number}: `--platform={}` is not that of `{image}` here, linux/{}",
                            printable(platform),
                            printable(&base.architecture)
                        ));
                    }
                    text += &format!("FROM {}", base.id);
                    if let Some(name) = name {
                        text += &format!(" AS {name}");
                    }
                }
            }
            text.push('\n');
        }
        Ok(text)
    }
}

/// The first instruction of those that an image brings along which could reach out of a build.
pub(super) fn harmful(triggers: &[String]) -> Option<&str> {
    let harmless = |trigger: &str| {
        let trigger = trigger.trim();
        if trigger.is_empty() {
            return true;
        }
        // The builder joins them to one text and reads that as a Dockerfile.
        if trigger.contains(['\n', '\r']) || trigger.ends_with('\\') {
            return false;
        }
        Instruction::of(trigger).is_ok_and(|instruction| {
            HARMLESS.contains(&instruction.name.as_str()) && instruction.check().is_ok()
        })
    };
    triggers.iter().map(String::as_str).find(|trigger| !harmless(trigger))
}

/// The lines of a text as they stand there, with their numbers.
struct Physical<'a> {
    lines: std::iter::Enumerate<std::str::Split<'a, char>>,
}

impl<'a> Physical<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { lines: text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() }
    }

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let (index, line) = self.lines.next()?;
        Some((index + 1, line.trim_end_matches('\r')))
    }

    /// An instruction that begins with this line, as one line.
    fn whole(&mut self, first: &str) -> String {
        let (begin, mut goes_on) = cut(first.trim_start());
        let mut line = begin.to_owned();
        while goes_on {
            let Some((_, next)) = self.next() else { break };
            if is_comment(next) {
                continue;
            }
            let (part, more) = cut(next);
            line += part;
            goes_on = more;
        }
        line
    }
}

/// A line without the mark that the next one belongs to it, and whether it has that mark.
fn cut(line: &str) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix('\\') {
        Some(line) => (line, true),
        None => (line, false),
    }
}

/// Also an empty line is one.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Whether a comment makes another character than the usual one go on with a line on the next.
fn escapes_otherwise(comment: &str) -> bool {
    let plain: String = comment.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    plain.strip_prefix("#escape=").is_some_and(|escape| !escape.starts_with('\\'))
}

/// One that no builder reads further than its end.
fn whole_line(line: String) -> Result<String, String> {
    if line.trim_end().ends_with('\\') {
        return Err("it ends in a backslash".into());
    }
    if line.len() > LONGEST_LINE {
        return Err(format!("it has {} bytes, at most {LONGEST_LINE} are read", line.len()));
    }
    Ok(line)
}

/// A line of a here-document. A builder that knows no such thing takes it for an instruction.
fn body(line: &str) -> Result<String, String> {
    if !is_comment(line) {
        let instruction = Instruction::of(line)?;
        if instruction.name == "from" {
            return Err("a line of a here-document must not begin with `FROM` here".into());
        }
        instruction.check()?;
    }
    whole_line(line.to_owned())
        .map_err(|why| format!("{why}: put this here-document into a file of the repository"))
}

/// What a line is, if it is an instruction.
struct Instruction<'a> {
    /// In lower case.
    name: String,
    rest: &'a str,
}

impl<'a> Instruction<'a> {
    fn of(line: &'a str) -> Result<Self, String> {
        let line = line.trim();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        // Of some letters it depends on who is asked whether they are another one in lower case.
        if !name.is_ascii() {
            return Err(format!("{} is no instruction", quoted(name)));
        }
        Ok(Self { name: name.to_ascii_lowercase(), rest: rest.trim_start() })
    }

    /// The one that it is for, of which `ONBUILD` says only when.
    fn inner(&self) -> Result<Self, String> {
        let mut inner = Instruction { name: self.name.clone(), rest: self.rest };
        while inner.name == "onbuild" {
            inner = Instruction::of(inner.rest)?;
        }
        Ok(inner)
    }

    /// Refuses a `RUN` with flags: variables, also those of an image, could make any of them a `--mount`. Also what no builder
    /// is asked for.
    fn check(&self) -> Result<(), String> {
        self.stays_inside()?;
        let inner = self.inner()?;
        if inner.name != "run" {
            return Ok(());
        }
        let mut rest = inner.rest;
        while rest.starts_with("--") {
            let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
            let (flag, behind) = rest.split_at(end);
            if !matches!(flag, "--network=none" | "--network=default") {
                let shown = flag.split('=').next().unwrap_or_default();
                return Err(format!("it uses `RUN {}`", printable(shown)));
            }
            rest = behind.trim_start();
        }
        Ok(())
    }

    /// The words that end what follows. Where it is not sure that something does, this says so, and its lines are then neither
    /// joined nor begin a stage.
    fn here_documents(&self) -> Result<Vec<Word>, String> {
        let mut found = Vec::new();
        let inner = self.inner()?;
        if !matches!(inner.name.as_str(), "run" | "copy" | "add") {
            return Ok(found);
        }
        let mut rest = inner.rest;
        while let Some(at) = rest.find("<<") {
            rest = &rest[at + 2..];
            if let Some(behind) = rest.strip_prefix('<') {
                // A word for standard input.
                rest = behind.trim_start_matches('<');
                continue;
            }
            let (tabs, behind) = match rest.strip_prefix('-') {
                Some(behind) => (true, behind),
                None => (false, rest),
            };
            let raw = &behind[..behind.find(char::is_whitespace).unwrap_or(behind.len())];
            let bare = ['"', '\'']
                .into_iter()
                .find_map(|quote| raw.strip_prefix(quote)?.strip_suffix(quote))
                .unwrap_or(raw);
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            if raw.is_empty() {
                continue;
            }
            if bare.is_empty() || !bare.chars().all(plain) {
                return Err(format!("{} is not a plain word to end a here-document", quoted(raw)));
            }
            found.push(Word { tabs, text: bare.into() });
        }
        Ok(found)
    }
}

/// What ends a here-document.
struct Word {
    /// Tabs may stand before it.
    tabs: bool,
    text: String,
}

impl Word {
    fn ends(&self, line: &str) -> bool {
        let line = if self.tabs { line.trim_start_matches('\t') } else { line };
        line == self.text
    }
}

/// A `FROM`, with the name that its stage gets.
fn from(
    rest: &str,
    number: usize,
    known: &BTreeMap<String, String>,
    stages: &[String],
) -> Result<(Line, Option<String>), String> {
    let shown = format!("`FROM {}`", printable(rest));
    let mut words: Vec<&str> = rest.split_whitespace().collect();
    let mut platform = None;
    if let Some(value) = words.first().and_then(|word| word.strip_prefix("--platform=")) {
        if !["$BUILDPLATFORM", "${BUILDPLATFORM}", "$TARGETPLATFORM", "${TARGETPLATFORM}"].contains(&value) {
            platform = Some(expand(value, known).ok_or_else(|| unknown(&shown))?);
        }
        words.remove(0);
    }
    let (image, name) = match words.as_slice() {
        [image] => (*image, None),
        [image, word, name] if word.eq_ignore_ascii_case("as") => (*image, Some(*name)),
        _ => return Err(format!("{shown} is not understood")),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if let Some(name) = name.filter(|name| name.is_empty() || !name.chars().all(fits)) {
        return Err(format!("{} is not the name of a stage", quoted(name)));
    }
    let name = name.map(str::to_owned);
    let image = expand(image, known).ok_or_else(|| unknown(&shown))?;
    // In the very spelling of the stage: some builders take another for an image of that name.
    let stage = stages.iter().find(|stage| **stage == image);
    let stage = stage.or_else(|| stages.iter().find(|stage| stage.eq_ignore_ascii_case(&image)));
    let plain = stage.map(String::as_str).or((image == "scratch").then_some("scratch"));
    let line = match plain {
        Some(plain) => {
            let end = name.as_ref().map_or(String::new(), |name| format!(" AS {name}"));
            Line::Text(format!("FROM {plain}{end}"))
        }
        None => {
            let image = image.parse().map_err(|error| format!("{shown}: {error}"))?;
            Line::From { image, platform, name: name.clone(), number }
        }
    };
    Ok((line, name))
}

fn unknown(shown: &str) -> String {
    format!(
        "{shown} names no image: write its name there, or give every `ARG` before the first `FROM` a value"
    )
}

/// The words of a line, in which white space between quotes is a part of them.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match quote {
            None if c.is_whitespace() => words.push(String::new()),
            _ => {
                if quote == Some(c) {
                    quote = None;
                } else if quote.is_none() && matches!(c, '"' | '\'') {
                    quote = Some(c);
                }
                words.last_mut().expect("one is there from the beginning").push(c);
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A word without its quotes and with the values of its variables: `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`. None
/// if one has no value, or for anything else that a shell would understand.
fn expand(word: &str, known: &BTreeMap<String, String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = word;
    let mut quote = None;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = after;
        match c {
            '\\' | '`' => return None,
            '"' | '\'' if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            '$' if quote != Some('\'') => {
                let (value, length) = match after.strip_prefix('{') {
                    Some(inner) => {
                        let close = inner.find('}')?;
                        let length = name_length(&inner[..close]);
                        let (name, modifier) = inner[..close].split_at(length);
                        let set = known.get(name).filter(|value| !value.is_empty());
                        let value = match (modifier.get(..2), modifier.get(2..)) {
                            _ if length == 0 => return None,
                            _ if modifier.is_empty() => known.get(name)?.clone(),
                            (Some(":-"), Some(word)) if !word.contains('$') => {
                                set.cloned().unwrap_or_else(|| word.into())
                            }
                            (Some(":+"), Some(word)) if !word.contains('$') => {
                                set.map(|_| word.into()).unwrap_or_default()
                            }
                            _ => return None,
                        };
                        (value, close + 2)
                    }
                    None => {
                        let length = name_length(after);
                        (known.get(&after[..length])?.clone(), length)
                    }
                };
                out += &value;
                rest = &after[length..];
            }
            c => out.push(c),
        }
    }
    quote.is_none().then_some(out)
}

/// How many bytes at the beginning are the name of a variable.
fn name_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// Whether `linux/amd64`, `linux/arm64/v8` or `arm64` is this architecture.
fn is_of(platform: &str, architecture: &str) -> bool {
    let rest = platform.strip_prefix("linux/").unwrap_or(platform);
    rest.split('/').next() == Some(architecture)
}

#[cfg(test)]
#[path = "dockerfile_tests.rs"]
mod tests;
