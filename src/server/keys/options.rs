//! The options in front of a key: sshd's own grammar, quoting included.

use std::fmt::Write as _;

use super::KeyError;

/// What a connection may do beside running the forced command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grants {
    pty: bool,
    agent: bool,
    port: bool,
    x11: bool,
}

impl Grants {
    const ALL: Self = Self { pty: true, agent: true, port: true, x11: true };
    const NONE: Self = Self { pty: false, agent: false, port: false, x11: false };

    /// What container users get; forwarding of ports and of X11 only where it ends in their container.
    pub fn of_a_container(forwarding: bool) -> Self {
        Self { port: forwarding, x11: forwarding, ..Self::ALL }
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            pty: self.pty && other.pty,
            agent: self.agent && other.agent,
            port: self.port && other.port,
            x11: self.x11 && other.x11,
        }
    }

    fn set(&mut self, name: &str, to: bool) -> bool {
        let known = match name {
            "pty" => &mut self.pty,
            "agent-forwarding" => &mut self.agent,
            "port-forwarding" => &mut self.port,
            "x11-forwarding" => &mut self.x11,
            // Never granted, so that there is nothing to take away.
            "user-rc" => return true,
            _ => return false,
        };
        *known = to;
        true
    }

    /// The options that grant it, as sshd writes them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.pty, "pty"),
            (self.agent, "agent-forwarding"),
            (self.port, "port-forwarding"),
            (self.x11, "X11-forwarding"),
        ]
        .into_iter()
        .filter_map(|(granted, name)| granted.then_some(name))
    }
}

/// Options of a line that only restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOptions {
    /// What the line lets the connection do; never more than podspawn grants anyway.
    pub(super) grants: Grants,
    /// The key signs certificates; it does not log in itself.
    pub(super) cert_authority: bool,
    touch_not_required: bool,
    verify_required: bool,
    /// Options with values, in their order.
    values: Vec<(&'static str, String)>,
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self {
            grants: Grants::ALL,
            cert_authority: false,
            touch_not_required: false,
            verify_required: false,
            values: Vec::new(),
        }
    }
}

/// Options with a value that only restrict.
const VALUES: [&str; 3] = ["from", "expiry-time", "principals"];

/// Options that could give more, or that would compete with the forced command.
const FORBIDDEN: [&str; 5] = ["command", "environment", "permitopen", "permitlisten", "tunnel"];

impl KeyOptions {
    /// Reads the list of options in front of a key.
    pub(super) fn parse(text: &str) -> Result<Self, KeyError> {
        let mut options = Self::default();
        for option in pieces(text) {
            options.take(option)?;
        }
        Ok(options)
    }

    fn take(&mut self, option: &str) -> Result<(), KeyError> {
        let unreadable = |why: &str| Err(KeyError::Options(format!("{}: {why}", super::shown(option))));
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value)),
            None => (option.to_ascii_lowercase(), None),
        };
        let name = name.as_str();
        if FORBIDDEN.contains(&name) {
            return Err(KeyError::Forbidden(name.to_owned()));
        }
        if let Some(value) = value {
            let Some(name) = VALUES.iter().find(|known| **known == name) else {
                return unreadable("no such option");
            };
            if self.values.iter().any(|(given, _)| given == name) {
                return unreadable("it is given twice");
            }
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            // None of these values has any use for more than this; a quote or a backslash would have to be escaped.
            let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ';
            match inner {
                Some(inner) if !inner.is_empty() && inner.chars().all(fits) => {
                    self.values.push((name, inner.to_owned()));
                    Ok(())
                }
                _ => unreadable("expected a value between double quotes, of plain characters"),
            }
        } else {
            match name {
                "cert-authority" => self.cert_authority = true,
                "no-touch-required" => self.touch_not_required = true,
                "touch-required" => self.touch_not_required = false,
                "verify-required" => self.verify_required = true,
                "restrict" => self.grants = Grants::NONE,
                _ => {
                    let (granted, to) = match name.strip_prefix("no-") {
                        Some(denied) => (denied, false),
                        None => (name, true),
                    };
                    if !self.grants.set(granted, to) {
                        return unreadable("no such option");
                    }
                }
            }
            Ok(())
        }
    }

    /// Options that sshd itself acts on, as it reads them.
    pub(super) fn carried(&self) -> Vec<String> {
        let flags = [
            (self.cert_authority, "cert-authority"),
            (self.touch_not_required, "no-touch-required"),
            (self.verify_required, "verify-required"),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
        flags.chain(self.values.iter().map(|(name, value)| format!("{name}=\"{value}\""))).collect()
    }

    /// All of them as a key file keeps them; empty if there are none.
    pub(super) fn written(&self) -> String {
        let mut text = String::new();
        if self.grants != Grants::ALL {
            text.push_str("restrict");
            self.grants.names().for_each(|name| {
                let _ = write!(text, ",{name}");
            });
        }
        for option in self.carried() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&option);
        }
        text
    }
}

/// Cuts a line behind its options: at the first blank that is not between quotes. None if there is none; an error if a quote
/// is not closed. As sshd does it: within the line `\"` is passed over.
pub(super) fn split(line: &str) -> Result<Option<(&str, &str)>, KeyError> {
    match scan(line, |c| matches!(c, b' ' | b'\t')) {
        Ok(Some(at)) => Ok(Some((&line[..at], &line[at..]))),
        Ok(None) => Ok(None),
        Err(Open) => Err(KeyError::Options("a quote is not closed".into())),
    }
}

/// The options of a list, cut at the commas that are not between quotes. The list's quotes are closed.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    loop {
        match scan(rest, |c| c == b',') {
            Ok(Some(at)) => {
                pieces.push(&rest[..at]);
                rest = &rest[at + 1..];
            }
            Ok(None) | Err(Open) => {
                pieces.push(rest);
                return pieces;
            }
        }
    }
}

/// A quote is not closed.
struct Open;

/// The place of the first byte outside quotes for which `ends` holds.
fn scan(text: &str, ends: impl Fn(u8) -> bool) -> Result<Option<usize>, Open> {
    let (bytes, mut quoted, mut at) = (text.as_bytes(), false, 0);
    while let Some(&byte) = bytes.get(at) {
        if !quoted && ends(byte) {
            return Ok(Some(at));
        }
        if byte == b'\\' && bytes.get(at + 1) == Some(&b'"') {
            at += 1;
        } else if byte == b'"' {
            quoted = !quoted;
        }
        at += 1;
    }
    if quoted { Err(Open) } else { Ok(None) }
}
