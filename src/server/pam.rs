//! The PAM side of the hook: the module's line in the service file of sshd, and the module's file.
//!
//! The editing is pure and gives the text back byte for byte when the line is taken out again. The line stands before every
//! other session line, so that nothing can end the stack before it, and for a container user it ends the stack itself.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use podspawn_wire::broker::BROKER_SOCKET;
use thiserror::Error;

use crate::config::Config;
use crate::system::files::{TrustError, read_trusted, write_atomic};
use crate::system::pam_module::{self, PAM_MODULE};

/// Service file of sshd on every distribution that sshd comes with PAM on.
pub const SERVICE_FILE: &str = "/etc/pam.d/sshd";

/// Name of the file beside the configuration that names another service file.
const RECORD: &str = "pam-service";

/// Comment above the line.
const MARK: &str =
    "# podspawn: what container users forward ends in their container (made by `podspawn server-setup`)";

/// Done, and nothing after it, for a container user; for everybody else, and without a usable module, as if it were not here.
const CONTROL: &str = "[success=done ignore=ignore module_unknown=ignore session_err=die default=ignore]";

/// Longest line that libpam reads in all its versions; a longer one makes it refuse the whole file.
const LONGEST_LINE: usize = 1000;

/// Longest service file.
const LONGEST_FILE: u64 = 1 << 20;

/// What can go wrong with PAM's files. The texts fit after "failed to …: ".
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PamError {
    /// A name would be read as something else.
    #[error("`{}` cannot stand in a PAM file: it has to be an absolute path without blanks, `#`, `[`, `]` and `\\`", .0.display())]
    Name(PathBuf),
    /// libpam would refuse the whole file.
    #[error("the PAM line would have {0} bytes, and libpam reads {LONGEST_LINE}: use shorter paths")]
    TooLong(usize),
    /// The file cannot be read, or is not root's alone.
    #[error("the PAM service file cannot be used: {0}")]
    Service(#[from] TrustError),
    /// It is no text.
    #[error("the PAM service file {} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// The record of the service file names none.
    #[error("{} does not hold the absolute path of a PAM service file", .0.display())]
    Record(PathBuf),
    /// A directory on the way to the module is not root's alone.
    #[error("others than root may write to {}", .0.display())]
    Directory(PathBuf),
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Whether a file had to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It has another content now.
    Changed,
    /// It was so already.
    Unchanged,
}

/// The module's line; its parts are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PamLine(String);

impl PamLine {
    /// For the installation of this configuration. `binary` starts a broker where none answers, with `config_file` if that is
    /// not the default one.
    pub fn new(config: &Config, binary: &Path, config_file: Option<&Path>) -> Result<Self, PamError> {
        let mut line = format!(
            "session {CONTROL} {} socket={} group={} broker={}",
            word(&module(config))?,
            word(&socket(config))?,
            config.server.group.as_str(),
            word(binary)?,
        );
        if let Some(file) = config_file {
            line.push_str(" config=");
            line.push_str(word(file)?);
        }
        if line.len() > LONGEST_LINE {
            return Err(PamError::TooLong(line.len()));
        }
        Ok(Self(line))
    }

    /// The line, without its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the module of an installation is.
pub fn module(config: &Config) -> PathBuf {
    config.server.lib_dir.join(PAM_MODULE)
}

fn socket(config: &Config) -> PathBuf {
    config.server.run_dir.join(BROKER_SOCKET)
}

/// A path that PAM reads as one word and as it stands.
fn word(path: &Path) -> Result<&str, PamError> {
    let special = |c: char| c.is_whitespace() || c.is_control() || "#[]\\".contains(c);
    match path.to_str() {
        Some(text) if path.is_absolute() && !text.contains(special) => Ok(text),
        _ => Err(PamError::Name(path.to_owned())),
    }
}

/// The text with the line before every other session line, whatever it had of ours before.
pub fn wired(text: &str, line: &PamLine) -> String {
    let mut text = unwired(text);
    text.insert_str(place(&text), &format!("{MARK}\n{}\n", line.as_str()));
    text
}

/// The text without anything of ours.
pub fn unwired(text: &str) -> String {
    let mut rest = String::with_capacity(text.len());
    let mut kept = 0;
    for ours in logical_lines(text).iter().filter(|line| line.is_ours()) {
        rest.push_str(&text[kept..ours.start]);
        kept = ours.end;
    }
    rest.push_str(&text[kept..]);
    rest.split_inclusive('\n').filter(|line| line.trim_end() != MARK).collect()
}

/// Whether the first line of the session stack is the module's, with the socket and the group of this configuration.
pub fn is_wired(text: &str, config: &Config) -> bool {
    let lines = logical_lines(text);
    let Some(first) = lines.iter().find(|line| line.reaches_sessions()) else { return false };
    let mut words = first.text.split_whitespace();
    let (module, socket) = (module(config), socket(config));
    let begins = ["session"].into_iter().chain(CONTROL.split_whitespace()).all(|it| words.next() == Some(it));
    if !begins || words.next().map(Path::new) != Some(&module) {
        return false;
    }
    let arguments: Vec<&str> = words.collect();
    // The last one counts for the module; a line of ours has each once.
    let value = |name: &str| arguments.iter().rev().find_map(|argument| argument.strip_prefix(name));
    value("socket=").map(Path::new) == Some(&socket) && value("group=") == Some(config.server.group.as_str())
}

/// Puts the line into a service file, or moves it to its place, or corrects it. The file keeps its mode; every reader sees
/// the old text or the new one.
pub fn wire(service_file: &Path, line: &PamLine) -> Result<Outcome, PamError> {
    edit(service_file, |text| wired(text, line))
}

/// Takes everything of ours out of a service file.
pub fn unwire(service_file: &Path) -> Result<Outcome, PamError> {
    edit(service_file, unwired)
}

fn edit(service_file: &Path, change: impl FnOnce(&str) -> String) -> Result<Outcome, PamError> {
    let io = |source| PamError::Io { path: service_file.to_owned(), source };
    // A link stays a link.
    let path = fs::canonicalize(service_file).map_err(io)?;
    let old = read(&path)?;
    let new = change(&old);
    if new == old {
        return Ok(Outcome::Unchanged);
    }
    let mode = fs::metadata(&path).map_err(io)?.mode() & 0o7777;
    write_atomic(&path, new.as_bytes(), mode).map_err(io)?;
    Ok(Outcome::Changed)
}

/// Reads a service file, which has to be root's alone.
pub fn read(service_file: &Path) -> Result<String, PamError> {
    let bytes = read_trusted(service_file, 0, LONGEST_FILE)?;
    String::from_utf8(bytes).map_err(|_| PamError::NotText(service_file.to_owned()))
}

/// The service file that `PAMServiceName` of sshd names, if that is another than the usual one. An sshd under a name of its
/// own may say the usual one and take another, so that says nothing.
pub fn named_service(value: Option<&str>) -> Option<PathBuf> {
    let usual = Path::new(SERVICE_FILE);
    let named =
        value.filter(|name| !name.is_empty() && !name.contains('/')).map(|name| usual.with_file_name(name));
    named.filter(|file| file != usual)
}

/// The service file of this installation: the recorded one, else [`SERVICE_FILE`]. `config_dir` is the directory of the
/// configuration file.
pub fn service_file(config_dir: &Path) -> Result<PathBuf, PamError> {
    let record = config_dir.join(RECORD);
    let bytes = match read_trusted(&record, 0, 4096) {
        Err(TrustError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(SERVICE_FILE.into());
        }
        read => read?,
    };
    match std::str::from_utf8(&bytes).map(|text| Path::new(text.trim_end_matches('\n'))) {
        Ok(path) if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(PamError::Record(record)),
    }
}

/// Records which service file was wired; the default one needs no record.
pub fn record_service_file(config_dir: &Path, service_file: &Path) -> Result<(), PamError> {
    let record = config_dir.join(RECORD);
    let io = |source| PamError::Io { path: record.clone(), source };
    if service_file == Path::new(SERVICE_FILE) {
        return forget_service_file(config_dir);
    }
    let text = format!("{}\n", word(service_file)?);
    write_atomic(&record, text.as_bytes(), 0o644).map_err(io)
}

/// Removes that record.
pub fn forget_service_file(config_dir: &Path) -> Result<(), PamError> {
    remove(&config_dir.join(RECORD))
}

/// Writes the module into `lib_dir`, which is made if it is missing, unless exactly this one is there; returns its path.
/// No directory above it may be writable by others than root: sshd would load what they put there.
pub fn install_module(lib_dir: &Path) -> Result<PathBuf, PamError> {
    let io = |source| PamError::Io { path: lib_dir.join(PAM_MODULE), source };
    let there = lib_dir.ancestors().filter(|dir| dir.exists());
    for dir in there {
        let facts = fs::metadata(dir).map_err(io)?;
        // In a directory with the sticky bit nobody renames what belongs to root.
        let closed = facts.mode() & 0o022 == 0 || (facts.mode() & 0o1000 != 0 && dir != lib_dir);
        if facts.uid() != 0 || !closed {
            return Err(PamError::Directory(dir.to_owned()));
        }
    }
    pam_module::install(lib_dir).map_err(io)
}

/// Removes the module; that it is not there is fine. Take the line out of the service file first.
pub fn remove_module(lib_dir: &Path) -> Result<(), PamError> {
    remove(&lib_dir.join(PAM_MODULE))
}

fn remove(path: &Path) -> Result<(), PamError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PamError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A line as libpam reads it: without comments, continuations joined.
struct Logical {
    /// Where it begins in the text.
    start: usize,
    /// Where the next one could begin.
    end: usize,
    /// Its words.
    text: String,
}

impl Logical {
    /// It is of the session stack, or may bring lines that are. The three includes that are known bring none.
    fn reaches_sessions(&self) -> bool {
        let mut words = self.text.split_whitespace();
        let kind = words.next().unwrap_or_default();
        if kind.eq_ignore_ascii_case("@include") {
            let known = ["common-auth", "common-account", "common-password"];
            return !words.next().is_some_and(|name| known.contains(&name));
        }
        kind.strip_prefix('-').unwrap_or(kind).eq_ignore_ascii_case("session")
    }

    /// It names our module.
    fn is_ours(&self) -> bool {
        let is_module = |word: &str| Path::new(word).file_name().is_some_and(|name| name == PAM_MODULE);
        self.text.split_whitespace().any(is_module)
    }
}

/// Reads as libpam does: a comment or blank line between a line and its continuation is passed over, and a line that ends in
/// a comment is not continued.
fn logical_lines(text: &str) -> Vec<Logical> {
    let blank = [' ', '\t', '\n'];
    let mut lines: Vec<Logical> = Vec::new();
    let mut continues = false;
    let mut end = 0;
    for physical in text.split_inclusive('\n') {
        let start = end;
        end += physical.len();
        let body = physical.trim_start_matches(blank);
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let (body, comment) = body.split_once('#').map_or((body, false), |(body, _)| (body, true));
        let body = body.trim_end_matches(blank);
        let (body, more) = match body.strip_suffix('\\') {
            Some(body) if !comment => (body, true),
            _ => (body, false),
        };
        match lines.last_mut().filter(|_| continues) {
            Some(line) => {
                line.text.push(' ');
                line.text.push_str(body);
                line.end = end;
            }
            None => lines.push(Logical { start, end, text: body.into() }),
        }
        continues = more;
    }
    lines
}

/// Where the line belongs: before the first line of the session stack and the comment right above that. Without such a line,
/// at the top.
fn place(text: &str) -> usize {
    let Some(mut at) = logical_lines(text).iter().find(|line| line.reaches_sessions()).map(|line| line.start)
    else {
        return 0;
    };
    for above in text[..at].split_inclusive('\n').rev() {
        if !above.trim_start().starts_with('#') {
            break;
        }
        at -= above.len();
    }
    at
}

#[cfg(test)]
#[path = "pam_tests.rs"]
mod tests;
