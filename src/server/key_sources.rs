//! Where the keys of `add-user` come from: the command line, files, GitHub; in this order, all of them or none.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::github::{self, GithubError};
use super::keys::{KeyError, KeyLine};
use crate::config::HttpUrl;
use crate::names::GithubLogin;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What was asked for; at least one of them.
#[derive(Debug)]
pub struct KeySources<'a> {
    /// Keys as they were typed.
    pub keys: &'a [String],
    /// Files with one key a line.
    pub files: &'a [PathBuf],
    /// A login, and the server that knows it.
    pub github: Option<(&'a HttpUrl, &'a GithubLogin)>,
}

/// Why the keys were not had.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A key that was typed cannot be used.
    #[error("`--key {shown}`: {error}")]
    Key {
        /// The key, quoted and shortened.
        shown: String,
        /// What is wrong.
        error: KeyError,
    },
    /// A file cannot be read.
    #[error("read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file or an answer without a single key of use.
    #[error("there is no usable public key in {0}")]
    NoKeys(String),
    /// GitHub.
    #[error(transparent)]
    Github(#[from] GithubError),
}

/// Keys, and lines that were passed over.
#[derive(Debug, Default)]
pub struct Collected {
    /// The keys.
    pub keys: Vec<KeyLine>,
    /// What was passed over and why, one line each.
    pub skipped: Vec<String>,
}

impl KeySources<'_> {
    /// Reads and fetches everything. Changes nothing.
    pub fn collect(&self) -> Result<Collected, SourceError> {
        let mut collected = Collected::default();
        for text in self.keys {
            let key = KeyLine::parse(text.trim())
                .map_err(|error| SourceError::Key { shown: crate::names::quoted(text), error })?;
            collected.keys.push(key);
        }
        for path in self.files {
            collected.add(&path.display().to_string(), &read(path)?, |_| true)?;
        }
        if let Some((base, login)) = self.github {
            let text = github::fetch(base, login)?;
            // Options are the administrator's to write, not somebody's at the other end of the network.
            collected.add(&format!("{}/{login}.keys", base.as_str()), &text, |key| !key.has_options())?;
        }
        Ok(collected)
    }
}

impl Collected {
    fn add(&mut self, place: &str, text: &[u8], fits: impl Fn(&KeyLine) -> bool) -> Result<(), SourceError> {
        let (good, bad) = KeyLine::parse_file(text);
        let before = self.keys.len();
        let (good, odd): (Vec<_>, Vec<_>) = good.into_iter().partition(fits);
        self.keys.extend(good);
        if self.keys.len() == before {
            return Err(SourceError::NoKeys(place.to_owned()));
        }
        self.skipped.extend(bad.iter().map(|(line, error)| format!("{place}:{line} ignored: {error}")));
        if !odd.is_empty() {
            self.skipped.push(format!("{place}: {} line(s) with options ignored", odd.len()));
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    let failed = |source| SourceError::File { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_FILE + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(io::Error::other("it is larger than 1 MiB")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILsRbeskuVdDTKdTdXDT6M8ttWw4SULembCTAk9riQpC";

    fn collect(keys: &[String], files: &[PathBuf]) -> Result<Collected, SourceError> {
        KeySources { keys, files, github: None }.collect()
    }

    #[test]
    fn keys_come_before_files_and_lines_of_no_use_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        std::fs::write(&file, format!("# laptop\n{KEY} file\nnonsense\n")).unwrap();
        let got = collect(&[format!(" {KEY} typed, with a comma\n")], std::slice::from_ref(&file)).unwrap();
        let lines: Vec<_> = got.keys.iter().map(KeyLine::stored).collect();
        assert_eq!(lines, [format!("{KEY} typed, with a comma"), format!("{KEY} file")]);
        assert_eq!(
            got.skipped,
            [format!("{}:3 ignored: \"nonsense\" is no type of public key", file.display())]
        );
    }

    #[test]
    fn a_source_without_a_key_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        std::fs::write(&file, "# nothing\n").unwrap();
        let error = collect(&[], std::slice::from_ref(&file)).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no usable public key in {}", file.display()));
        let error = collect(&["ssh-ed25519".into()], &[]).unwrap_err();
        assert_eq!(error.to_string(), "`--key \"ssh-ed25519\"`: there is no key behind the type");
        assert!(matches!(collect(&[], &[dir.path().join("none")]), Err(SourceError::File { .. })));
        assert!(matches!(collect(&[], &["/dev/zero".into()]), Err(SourceError::File { .. })));
    }

    #[test]
    fn a_line_with_options_does_not_come_from_elsewhere() {
        let mut collected = Collected::default();
        let text = format!("cert-authority {KEY}\n{KEY}\n");
        collected.add("there", text.as_bytes(), |key| !key.has_options()).unwrap();
        assert_eq!(collected.keys.len(), 1);
        assert_eq!(collected.skipped, ["there: 1 line(s) with options ignored"]);
        let only = format!("restrict {KEY}\n");
        assert!(collected.add("there", only.as_bytes(), |key| !key.has_options()).is_err());
    }
}
