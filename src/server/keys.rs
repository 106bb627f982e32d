//! Lines of public keys as sshd's `authorized_keys` has them: read strictly, written anew from what was understood.
//!
//! Nothing of a line reaches sshd as it stands in the file. What is printed is put together from the forced command, the
//! permissions that are granted, and the parts that were understood: options with values of known form, the key's type, its
//! base64 text and its comment.
//!
//! A line may bring options of its own if they only restrict; what they restrict is taken from what podspawn would grant.
//! Those that could widen it, or that would compete with the forced command, make the line unusable: `command`,
//! `environment`, `permitopen`, `permitlisten`, `tunnel`, and every name that is not known here.

mod options;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use ssh_key::{HashAlg, PublicKey};
use thiserror::Error;

pub use options::{Grants, KeyOptions};

/// Longest line that is looked at, in bytes. The largest RSA keys take about 3,000.
pub const MAX_LINE: usize = 16 * 1024;

/// Types of keys, as sshd names them.
const TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

/// Names that people write for keys of security tokens, and what sshd calls them.
const SHORT_TYPES: [(&str, &str); 2] = [
    ("sk-ssh-ed25519", "sk-ssh-ed25519@openssh.com"),
    ("sk-ecdsa-sha2-nistp256", "sk-ecdsa-sha2-nistp256@openssh.com"),
];

/// Why a line is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It is longer than any key.
    #[error("it is longer than {MAX_LINE} bytes")]
    TooLong,
    /// It holds characters that could end the line, or be taken for something else.
    #[error("it contains a control character")]
    Control,
    /// No type of key that sshd knows.
    #[error("{0} is no type of public key")]
    Type(String),
    /// The part behind the type is missing.
    #[error("there is no key behind the type")]
    NoKey,
    /// The part behind the type is no key of that type.
    #[error("what stands behind `{0}` is no such key")]
    Data(&'static str),
    /// An option cannot be read.
    #[error("its options cannot be read: {0}")]
    Options(String),
    /// An option is known and not allowed.
    #[error("the option `{0}` is not allowed in a key line")]
    Forbidden(String),
}

/// One usable line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLine {
    /// What the line restricts.
    options: KeyOptions,
    /// The type as sshd names it.
    kind: &'static str,
    /// The key in base64.
    base64: String,
    /// SHA-256 fingerprint, `SHA256:…`.
    fingerprint: String,
    /// What stands behind the key; without control characters.
    comment: String,
}

/// What a printed line forces and grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// The command, shell text without double quotes, backslashes and control characters.
    command: String,
    /// The most that a line is granted.
    grants: Grants,
}

impl Forced {
    /// None if `command` cannot stand between the quotes of an option.
    pub fn new(command: String, forwarding: bool) -> Option<Self> {
        let harmless = !command.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'));
        harmless.then_some(Self { command, grants: Grants::of_a_container(forwarding) })
    }
}

/// Which keys sshd asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    All,
    /// The one with this base64 text: what `%k` gives. If it is a certificate, no plain key is meant.
    Key(String),
    /// The one with this fingerprint, `SHA256:…`: what `%f` gives.
    Fingerprint(String),
}

impl Wanted {
    /// From what stands behind the user's name on the command line: `%t %k`, `%f`, or nothing.
    pub fn from_arguments(arguments: &[String]) -> Self {
        if let Some(fingerprint) = arguments.iter().find(|text| text.starts_with("SHA256:")) {
            return Self::Fingerprint(fingerprint.clone());
        }
        match arguments {
            [_, key, ..] => Self::Key(key.clone()),
            _ => Self::All,
        }
    }
}

impl KeyLine {
    /// Reads a line that is neither blank nor a comment.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        if line.len() > MAX_LINE {
            return Err(KeyError::TooLong);
        }
        let line = line.trim_matches([' ', '\t']);
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(KeyError::Control);
        }
        // sshd's order: options are looked for only where the line does not begin with a key.
        let (options, rest) = match known_type(first_word(line).0) {
            Some(_) => (KeyOptions::default(), line),
            None => match options::split(line)? {
                Some((options, rest)) => (KeyOptions::parse(options)?, rest),
                None => return Err(KeyError::Type(shown(first_word(line).0))),
            },
        };
        let (word, rest) = first_word(rest);
        let kind = known_type(word).ok_or_else(|| KeyError::Type(shown(word)))?;
        let (base64, comment) = first_word(rest);
        if base64.is_empty() {
            return Err(KeyError::NoKey);
        }
        let key = PublicKey::from_openssh(&format!("{kind} {base64}")).map_err(|_| KeyError::Data(kind))?;
        Ok(Self {
            options,
            kind,
            base64: base64.to_owned(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            comment: comment.replace('\t', " "),
        })
    }

    /// Whether the line brings options of its own.
    pub fn has_options(&self) -> bool {
        self.options != KeyOptions::default()
    }

    /// Reads a file's text: the usable lines, and for each other one its number (from 1) and what is wrong with it. Blank
    /// lines and comments are passed over.
    pub fn parse_file(text: &[u8]) -> (Vec<Self>, Vec<(usize, KeyError)>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (number, line) in significant(text) {
            match Self::parse(&String::from_utf8_lossy(line)) {
                Ok(key) => good.push(key),
                Err(error) => bad.push((number, error)),
            }
        }
        (good, bad)
    }

    /// How many lines of a file are neither blank nor a comment.
    pub fn count(text: &[u8]) -> usize {
        significant(text).count()
    }

    /// Whether sshd must see this line to decide about what it asks about. A line that names an authority is always
    /// among them: sshd then passes the certificate, not the authority's key.
    pub fn answers(&self, wanted: &Wanted) -> bool {
        match wanted {
            _ if self.options.cert_authority => true,
            Wanted::All => true,
            Wanted::Key(base64) => *base64 == self.base64,
            Wanted::Fingerprint(fingerprint) => *fingerprint == self.fingerprint,
        }
    }

    /// The line as sshd is to have it, without an end of line.
    pub fn authorized(&self, forced: &Forced) -> String {
        let mut line = format!("command=\"{}\",restrict", forced.command);
        for granted in forced.grants.and(self.options.grants).names() {
            let _ = write!(line, ",{granted}");
        }
        for option in self.options.carried() {
            let _ = write!(line, ",{option}");
        }
        self.write_key(&mut line);
        line
    }

    /// The line as a key file keeps it, without an end of line.
    pub fn stored(&self) -> String {
        let mut line = self.options.written();
        self.write_key(&mut line);
        line.trim_start().to_owned()
    }

    fn write_key(&self, line: &mut String) {
        let _ = write!(line, " {} {}", self.kind, self.base64);
        if !self.comment.is_empty() {
            let _ = write!(line, " {}", self.comment);
        }
    }
}

/// The lines that are neither blank nor comments, numbered from 1.
fn significant(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line).trim_ascii())
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
        .map(|(index, line)| (index + 1, line))
}

/// The first word and what follows the blanks behind it.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_matches([' ', '\t']))
}

fn known_type(word: &str) -> Option<&'static str> {
    let long = SHORT_TYPES.iter().find(|(short, _)| *short == word).map(|(_, long)| *long);
    long.or_else(|| TYPES.iter().find(|known| **known == word).copied())
}

/// A word of a line that could not be read; it may be anything.
fn shown(word: &str) -> String {
    crate::names::quoted(word)
}
