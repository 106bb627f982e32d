//! The variables of a devcontainer.json, `${…}`.
//!
//! The host's environment is not read: a file of a repository that nobody has looked at must not carry the host's secrets
//! into a container. `${localEnv:…}` is its own default, or nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of `${containerEnv:NAME}` that the file itself does not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InContainer {
    /// A variable of the image: `${NAME}` refers to another one, and every other `$` is one behind a backslash.
    Variable,
    /// `${NAME}`, for a shell inside.
    Shell,
    /// Nobody reads it there: its default, or nothing.
    Unknown,
}

/// What variables stand for, and which were asked for in vain.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// The project's directory on this host.
    pub(super) local_folder: String,
    /// Its last part.
    pub(super) basename: String,
    /// Where the project lies inside.
    pub(super) container_folder: String,
    /// The same in each run for one directory.
    pub(super) id: String,
    /// What `containerEnv` says, as far as it is known, in the form for [`InContainer::Variable`].
    pub(super) container_env: BTreeMap<String, String>,
    /// `container_folder` was asked for.
    pub(super) asked_for_folder: bool,
    /// Variables of the host that were asked for.
    pub(super) of_host: BTreeSet<String>,
    /// Variables of the container that cannot be known.
    pub(super) unknown: BTreeSet<String>,
    /// Bytes that variables were replaced by so far.
    pub(super) produced: usize,
    /// They were more than anybody needs, and the rest was not replaced.
    pub(super) too_much: bool,
}

/// Most bytes that the variables of one file are replaced by: a short file can ask for a long value often.
const MAX_PRODUCED: usize = 1 << 20;

impl Variables {
    /// The text with its variables replaced. What is no variable stays as it is, so that a shell inside may read it.
    pub(super) fn expand(&mut self, text: &str, inside: InContainer) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            expanded.push_str(&kept(&rest[..at], inside));
            rest = &rest[at..];
            let Some(end) = rest.find('}').filter(|_| !self.too_much) else { break };
            match self.value(&rest[2..end], inside) {
                Some(value) => {
                    self.produced += value.len();
                    self.too_much |= self.produced > MAX_PRODUCED;
                    expanded.push_str(&value);
                }
                None if rest.starts_with("${PODSPAWN_") => expanded.push_str(&rest[..=end]),
                None => expanded.push_str(&kept(&rest[..=end], inside)),
            }
            rest = &rest[end + 1..];
        }
        expanded + &kept(rest, inside)
    }

    fn value(&mut self, variable: &str, inside: InContainer) -> Option<String> {
        let mut parts = variable.splitn(3, ':');
        let (kind, name, default) = (parts.next()?, parts.next(), parts.next());
        match (kind, name) {
            ("localWorkspaceFolder", None) => Some(self.local_folder.clone()),
            ("localWorkspaceFolderBasename", None) => Some(self.basename.clone()),
            ("containerWorkspaceFolder", None) => {
                self.asked_for_folder = true;
                Some(self.container_folder.clone())
            }
            ("containerWorkspaceFolderBasename", None) => {
                self.asked_for_folder = true;
                Some(self.container_folder.rsplit('/').next().unwrap_or_default().to_owned())
            }
            ("devcontainerId", None) => Some(self.id.clone()),
            ("localEnv" | "env", Some(name)) if is_name(name) => {
                self.of_host.insert(name.to_owned());
                Some(default.unwrap_or_default().to_owned())
            }
            ("containerEnv", Some(name)) if is_name(name) => {
                Some(match (self.container_env.get(name), inside, default) {
                    (Some(value), InContainer::Variable, _) => value.clone(),
                    (Some(value), InContainer::Unknown, _) => plain(value),
                    (_, InContainer::Variable | InContainer::Shell, None) => format!("${{{name}}}"),
                    (_, InContainer::Variable | InContainer::Shell, Some(default)) => {
                        format!("${{{name}:-{default}}}")
                    }
                    (None, InContainer::Unknown, default) => {
                        self.unknown.insert(name.to_owned());
                        default.unwrap_or_default().to_owned()
                    }
                })
            }
            _ => None,
        }
    }
}

/// Text that is no variable of the file.
fn kept(text: &str, inside: InContainer) -> Cow<'_, str> {
    match inside {
        InContainer::Variable => Cow::Owned(text.replace('$', r"\$")),
        InContainer::Shell | InContainer::Unknown => Cow::Borrowed(text),
    }
}

/// What [`kept`] was made of.
pub(super) fn plain(value: &str) -> String {
    value.replace(r"\$", "$")
}

/// Whether a text can be the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// An id for a directory: the same each time, different for another one. No secret and no proof of anything.
pub(super) fn id_of(directory: &str) -> String {
    // FNV-1a.
    let hash = directory.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_everything_else_is_left_alone() {
        let mut variables = Variables {
            local_folder: "/home/ann/api".into(),
            basename: "api".into(),
            container_folder: "/workspace/api".into(),
            id: "0f".into(),
            container_env: BTreeMap::from([("A".to_owned(), r"1\$2".to_owned())]),
            ..Variables::default()
        };
        for (text, variable, shell, unknown) in [
            ("${localWorkspaceFolder}/x", "/home/ann/api/x", "/home/ann/api/x", "/home/ann/api/x"),
            ("a${localWorkspaceFolderBasename}b", "aapib", "aapib", "aapib"),
            ("${containerWorkspaceFolder}", "/workspace/api", "/workspace/api", "/workspace/api"),
            ("${containerWorkspaceFolderBasename}", "api", "api", "api"),
            ("v-${devcontainerId}", "v-0f", "v-0f", "v-0f"),
            ("${localEnv:HOME}:${localEnv:X:a:b}", ":a:b", ":a:b", ":a:b"),
            ("${containerEnv:A}", r"1\$2", "${A}", "1$2"),
            ("${containerEnv:PATH}:/x", "${PATH}:/x", "${PATH}:/x", ":/x"),
            ("${containerEnv:B:c}", "${B:-c}", "${B:-c}", "c"),
            (
                "${HOME} $X ${n:x} ${",
                r"\${HOME} \$X \${n:x} \${",
                "${HOME} $X ${n:x} ${",
                "${HOME} $X ${n:x} ${",
            ),
            ("${localEnv:}", r"\${localEnv:}", "${localEnv:}", "${localEnv:}"),
            ("${localEnv:a b}", r"\${localEnv:a b}", "${localEnv:a b}", "${localEnv:a b}"),
            ("${PODSPAWN_USER}", "${PODSPAWN_USER}", "${PODSPAWN_USER}", "${PODSPAWN_USER}"),
        ] {
            assert_eq!(variables.expand(text, InContainer::Variable), variable, "{text}");
            assert_eq!(variables.expand(text, InContainer::Shell), shell, "{text}");
            assert_eq!(variables.expand(text, InContainer::Unknown), unknown, "{text}");
        }
        assert_eq!(variables.of_host, BTreeSet::from(["HOME".to_owned(), "X".to_owned()]));
        assert_eq!(variables.unknown, BTreeSet::from(["B".to_owned(), "PATH".to_owned()]));
        assert!(variables.asked_for_folder);
    }

    #[test]
    fn ids_are_stable_and_differ() {
        assert_eq!(id_of(""), "cbf29ce484222325");
        assert_eq!(id_of("/a"), id_of("/a"));
        assert_ne!(id_of("/a"), id_of("/b"));
    }
}
