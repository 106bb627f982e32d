//! What no Dockerfile of a repository may ask of a builder: what would be fetched by the engine itself, in the network of its
//! host, a `RUN` in that network, and images in files of the host.
//!
//! Builders read some lines differently: each line at which one of them may begin an instruction is looked at here, and a
//! variable counts as whatever it could become.

use std::collections::BTreeMap;

use super::{Instruction, Word, expand, is_comment, unknown, words};
use crate::names::printable;

/// Where Podman finds images, other than in registries.
const TRANSPORTS: [&str; 10] = [
    "atomic",
    "containers-storage",
    "dir",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "ostree",
    "sif",
    "tarball",
];
/// Variables that have a value without an `ARG`, none of which is the beginning of a transport.
const PLATFORM: [&str; 8] = [
    "BUILDARCH",
    "BUILDOS",
    "BUILDPLATFORM",
    "BUILDVARIANT",
    "TARGETARCH",
    "TARGETOS",
    "TARGETPLATFORM",
    "TARGETVARIANT",
];
/// Most lines times bytes of a text of which it is not sure where its instructions begin.
const MOST_LOOKED_AT: usize = 1 << 30;
/// Longest piece of an instruction that a message shows, in characters.
const LONGEST_SHOWN: usize = 80;

/// What a builder makes of a Dockerfile.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct Reads {
    /// It takes images from files of its host.
    pub(in crate::session) transports: bool,
    /// It knows here-documents, if the text asks for no older version of its language.
    pub(in crate::session) here_documents: bool,
}

/// Refuses a text that asks for such a thing. Errors say what is wrong with which line.
pub(in crate::session) fn check(
    text: &[u8],
    args: &BTreeMap<String, String>,
    mut reads: Reads,
) -> Result<(), String> {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    let mut escapes = vec!['\\'];
    for (index, line) in lines.iter().enumerate() {
        let wrong = |why: String| format!("line {}: {why}", index + 1);
        if !is_comment(line) {
            // A builder looks for its language in these, too.
            let first = line.trim_start();
            if first.starts_with("//") || first.starts_with('{') {
                return Err(wrong(format!("{} is no instruction", shown(first))));
            }
            break;
        }
        let plain: String =
            line.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
        if plain.starts_with("#escape=`") {
            escapes.push('`');
        }
        if let Some(syntax) = plain.strip_prefix("#syntax=") {
            let version = syntax
                .strip_prefix("docker.io/")
                .unwrap_or(syntax)
                .strip_prefix("docker/dockerfile")
                .filter(|version| version.is_empty() || version.starts_with([':', '@']));
            let Some(version) = version else {
                // Such a program fetches what it wants in the name of the engine.
                let why = format!("`# syntax={}` is not `docker/dockerfile`: remove it", printable(syntax));
                return Err(wrong(why));
            };
            reads.here_documents &= knows_here_documents(version);
        }
    }
    for escape in escapes {
        // Not every builder takes an indented comment between the lines of an instruction for one.
        for indented in [true, false] {
            Reading { lines: &lines, bytes: text.len(), escape, indented, reads }.check(args)?;
        }
    }
    Ok(())
}

/// Whether a version of the language, `:1.4` and newer, has here-documents. The channel `labs` has what its version has.
fn knows_here_documents(version: &str) -> bool {
    let version = version.strip_suffix("-labs").unwrap_or(version);
    match version.strip_prefix(":1.") {
        Some(rest) => {
            rest.split('.').next().and_then(|minor| minor.parse().ok()).is_some_and(|minor: u32| minor >= 4)
        }
        None => matches!(version, "" | ":1" | ":latest" | ":labs"),
    }
}

/// A way in which a text may be read.
struct Reading<'a> {
    lines: &'a [&'a str],
    bytes: usize,
    escape: char,
    /// A comment may be indented wherever it stands.
    indented: bool,
    reads: Reads,
}

impl Reading<'_> {
    fn check(&self, args: &BTreeMap<String, String>) -> Result<(), String> {
        let mut known: BTreeMap<String, String> = PLATFORM.map(|name| (name.into(), String::new())).into();
        let mut in_stage = false;
        // Whether no builder begins an instruction elsewhere.
        let mut sure = true;
        let mut at = 0;
        while let Some(line) = self.lines.get(at) {
            if is_comment(line) {
                at += 1;
                continue;
            }
            let number = at + 1;
            let wrong = |why: String| format!("line {number}: {why}");
            let (line, end, certain) = self.whole(at);
            let instruction = Instruction::like(&line);
            match instruction.name.as_str() {
                "from" => {
                    in_stage = true;
                    from(instruction.rest, &known, self.reads).map_err(wrong)?;
                }
                "arg" if !in_stage => {
                    for word in words(instruction.rest) {
                        let (name, default) = word.split_once('=').unwrap_or((&word, ""));
                        match args.get(name).cloned().or_else(|| expand(default, &known)) {
                            Some(value) => known.insert(name.into(), value),
                            None => known.remove(name),
                        };
                    }
                }
                _ => {}
            }
            instruction.stays_inside().map_err(wrong)?;
            let next = match instruction.bodies() {
                Bodies::None => Some(end),
                Bodies::Until(words) if self.reads.here_documents => self.behind(end, &words),
                _ => None,
            };
            at = match next {
                Some(next) if sure && certain => next,
                _ => {
                    sure = false;
                    if self.lines.len().saturating_mul(self.bytes) > MOST_LOOKED_AT {
                        return Err(wrong("from here on it is too long to be looked at".into()));
                    }
                    at + 1
                }
            };
        }
        Ok(())
    }

    /// An instruction that begins at this line as one line, where the next one begins, and whether that is certain.
    fn whole(&self, first: usize) -> (String, usize, bool) {
        let (mut whole, mut certain, mut end) = (String::new(), true, first);
        while let Some(line) = self.lines.get(end) {
            end += 1;
            let counts = !self.indented && line.starts_with(char::is_whitespace) && !line.trim().is_empty();
            if end - 1 > first && is_comment(line) && !counts {
                continue;
            }
            let trimmed = line.trim_end();
            let Some(part) = trimmed.strip_suffix(self.escape) else {
                whole += line;
                break;
            };
            // Some builders take two of them for one that is meant, and some trim less.
            certain &= !part.ends_with(self.escape)
                && line[trimmed.len()..].chars().all(|c| matches!(c, ' ' | '\t'));
            whole += part;
        }
        (whole, end, certain)
    }

    /// The line behind here-documents that begin at one, if they end.
    fn behind(&self, mut at: usize, words: &[Word]) -> Option<usize> {
        for word in words {
            at += self.lines.get(at..)?.iter().position(|line| word.ends(line))? + 1;
        }
        Some(at)
    }
}

/// The here-documents that follow an instruction.
enum Bodies {
    None,
    /// For every builder that knows such things.
    Until(Vec<Word>),
    /// It depends on who reads it.
    Unclear,
}

impl<'a> Instruction<'a> {
    /// What a line is for the builder that sees most in it.
    fn like(line: &'a str) -> Self {
        let line = line.trim();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name = name.chars().flat_map(char::to_lowercase).filter(char::is_ascii).collect();
        Self { name, rest: rest.trim_start() }
    }

    fn bodies(&self) -> Bodies {
        if !self.rest.contains("<<") || !matches!(self.name.as_str(), "run" | "copy" | "add" | "onbuild") {
            return Bodies::None;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let mut found = Vec::new();
        for word in self.rest.split(is_space) {
            if !word.contains("<<") {
                if word.contains(['"', '\'', '\\', '`', '$', '[']) {
                    return Bodies::Unclear;
                }
                continue;
            }
            let Some(word) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else {
                return Bodies::Unclear;
            };
            let tabs = word.starts_with('-');
            let word = word.strip_prefix('-').unwrap_or(word);
            let bare =
                ['"', '\''].into_iter().find_map(|quote| word.strip_prefix(quote)?.strip_suffix(quote));
            let bare = bare.unwrap_or(word);
            if bare.is_empty() || !bare.chars().all(plain) {
                return Bodies::Unclear;
            }
            found.push(Word { tabs, text: bare.into() });
        }
        if self.name == "onbuild" { Bodies::Unclear } else { Bodies::Until(found) }
    }

    /// Refuses what reaches out of a build, also if it is said for later ones.
    pub(super) fn stays_inside(&self) -> Result<(), String> {
        let mut inner = Instruction { name: self.name.clone(), rest: self.rest };
        while inner.name == "onbuild" {
            inner = Instruction::like(inner.rest);
        }
        let name = inner.name.as_str();
        if !matches!(name, "add" | "copy" | "run") {
            return Ok(());
        }
        let upper = name.to_ascii_uppercase();
        let (flags, rest) = flags(inner.rest);
        for flag in flags {
            let (key, value) = flag.split_once('=').unwrap_or((&flag, ""));
            let allowed = match key {
                _ if key.contains('$') => false,
                "--network" if name == "run" => matches!(value, "none" | "default"),
                "--security" if name == "run" => value == "sandbox",
                "--from" => !is_elsewhere(value),
                "--mount" => !value
                    .split(',')
                    .filter_map(|part| part.split_once('='))
                    .any(|(key, value)| key.trim().eq_ignore_ascii_case("from") && is_elsewhere(value)),
                _ => true,
            };
            if !allowed {
                let instead = match key {
                    "--network" => "only `none` and `default` are allowed",
                    "--security" => "only `sandbox` is allowed",
                    "--from" | "--mount" => {
                        "name an image or a stage, without variables, or begin a stage `FROM` it"
                    }
                    _ => "write it without a variable",
                };
                return Err(format!("it uses `{upper} {}`: {instead}", shown(&flag)));
            }
        }
        if name == "add" { sources(&rest) } else { Ok(()) }
    }
}

/// Refuses a `FROM` that leads to a file of the host.
fn from(rest: &str, known: &BTreeMap<String, String>, reads: Reads) -> Result<(), String> {
    let (_, rest) = flags(rest);
    let word = rest.split(is_space).next().unwrap_or_default();
    let mut plain = known.clone();
    plain.extend(PLATFORM.map(|name| (name.into(), String::new())));
    for known in [known, &plain] {
        match expand(word, known) {
            Some(image) if transport(&image) => {
                return Err(format!("`FROM {}` is no image of a registry", shown(&image)));
            }
            None if reads.transports => return Err(unknown(&format!("`FROM {}`", shown(&rest)))),
            _ => {}
        }
    }
    // Also where quotes and escapes keep it from being understood.
    if transport(&bare(word)) {
        return Err(format!("`FROM {}` is no image of a registry", shown(word)));
    }
    Ok(())
}

/// Refuses an `ADD` that the engine itself would fetch.
fn sources(rest: &str) -> Result<(), String> {
    let list = rest.starts_with('[');
    let parsed = serde_json::Deserializer::from_str(rest).into_iter::<Vec<String>>().next();
    let named = match parsed {
        Some(Ok(named)) if list => named,
        _ if list && rest.contains('\\') => return Err(format!("`ADD {}` is not understood", shown(rest))),
        _ => Vec::new(),
    };
    // A list that is none for a builder is words for it.
    let pieces = rest.split(|c: char| is_space(c) || list && matches!(c, ',' | '[' | ']'));
    let pieces: Vec<String> = pieces.filter(|piece| !piece.is_empty()).map(str::to_owned).collect();
    for mut sources in [named, pieces] {
        if sources.len() > 1 {
            // The last one is where it goes to.
            sources.pop();
        }
        for source in sources {
            let source = bare(&source);
            let remedy = "use `RUN curl -fsSLO …` or `RUN wget …`, which fetch it in the build's own network";
            if is_remote(&source) {
                return Err(format!(
                    "`ADD {}` would be fetched by the engine itself, in the network of its host: {remedy}",
                    shown(&source)
                ));
            }
            if could_begin_otherwise(&source) {
                return Err(format!(
                    "`ADD {}` could become something that the engine itself fetches, in the network of its host: begin it with \
                     `./` if it is a file of the repository, or {remedy}",
                    shown(&source)
                ));
            }
        }
    }
    Ok(())
}

/// A web address or a repository of git, in any of the forms that builders know.
fn is_remote(source: &str) -> bool {
    let source = source.to_ascii_lowercase();
    let scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-');
    let has_scheme = source.split_once("://").is_some_and(|(name, _)| name.chars().all(scheme));
    let at_host = source.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    has_scheme || at_host || source.starts_with("git@") || source.starts_with("github.com/")
}

/// Whether variables could make another kind of thing of a path or of a name. Nothing does that behind its first `/`.
fn could_begin_otherwise(text: &str) -> bool {
    let Some((before, _)) = text.split_once('$') else { return false };
    before.split_once('/').is_none_or(|(first, _)| first.contains(':'))
}

/// What `--from` must not name.
fn is_elsewhere(from: &str) -> bool {
    transport(from) || could_begin_otherwise(from)
}

fn transport(image: &str) -> bool {
    image
        .split_once(':')
        .is_some_and(|(name, _)| TRANSPORTS.iter().any(|known| known.eq_ignore_ascii_case(name.trim())))
}

/// The flags at the beginning, without quotes and escapes, and what follows them. As builders look for them: byte by byte.
fn flags(rest: &str) -> (Vec<String>, String) {
    let bytes = rest.as_bytes();
    let space = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, 0x0b | 0x85 | 0xa0);
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        at += bytes[at..].iter().take_while(|byte| space(**byte)).count();
        if !bytes[at..].starts_with(b"--") {
            break;
        }
        let (mut flag, mut quote) = (Vec::new(), None);
        while let Some(byte) = bytes.get(at).copied().filter(|byte| quote.is_some() || !space(*byte)) {
            at += 1;
            match byte {
                _ if quote == Some(byte) => quote = None,
                b'"' | b'\'' if quote.is_none() => quote = Some(byte),
                b'\\' => {
                    flag.extend(bytes.get(at));
                    at += 1;
                }
                _ => flag.push(byte),
            }
        }
        at = at.min(bytes.len());
        if flag == b"--" {
            break;
        }
        // Variables are put in afterwards, and with that quotes are taken off again.
        found.push(bare(&String::from_utf8_lossy(&flag)));
    }
    // Builders may have cut within a letter.
    (found, String::from_utf8_lossy(&bytes[at..]).into_owned())
}

fn bare(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '"' | '\'' | '\\' | '`')).collect()
}

/// White space between words. Others than these are letters for builders.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST_SHOWN).map_or(text.len(), |(end, _)| end);
    printable(&text[..end])
}

#[cfg(test)]
#[path = "outside_tests.rs"]
mod tests;
