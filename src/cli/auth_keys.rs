//! `auth-keys`
//!
//! sshd calls this command for every key that a client offers, so it is recognised and read by hand before the
//! command-line parser is built, and nothing that stands in its arguments makes it fail. The parser's types are for the
//! help text.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Args;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn auth-keys sarah")]
pub struct AuthKeysArgs {
    /// Login name.
    pub user: Option<String>,
    /// Type of the key that was offered (`%t`), or its fingerprint (`%f`): only that key is printed.
    pub key_type: Option<String>,
    /// The key that was offered (`%k`), in base64, or its fingerprint.
    pub key: Option<String>,
    /// Directory of the key files [default: auth.key_dir of the configuration].
    #[arg(long, value_name = "DIR")]
    pub key_dir: Option<PathBuf>,
}

/// Read; whatever could not be is told to the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthKeysRequest {
    /// Configuration file, if one was named.
    pub config: Option<PathBuf>,
    /// Log file, if one was named.
    pub log_file: Option<PathBuf>,
    /// Directory of the key files, if one was named.
    pub key_dir: Option<PathBuf>,
    /// Login name, then what sshd says about the key that was offered.
    pub words: Vec<String>,
    /// Flags that do not exist or lack their value.
    pub wrong: Vec<String>,
}

/// The flags that take a value.
const FLAGS: [&str; 4] = ["--config", "--log-file", "--runtime", "--key-dir"];

impl AuthKeysRequest {
    /// The request, if the arguments (the program's name first) are those of `auth-keys`; none if they are not, or if
    /// they ask for its help text.
    pub fn recognise(args: &[OsString]) -> Option<Self> {
        let mut request = Self::default();
        let mut named = false;
        let mut args = args.iter().skip(1).map(OsString::as_os_str);
        let mut flags_end = false;
        while let Some(arg) = args.next() {
            let text = arg.to_string_lossy();
            if flags_end || !text.starts_with('-') {
                if named {
                    request.words.push(text.into_owned());
                } else if text == "auth-keys" {
                    named = true;
                } else {
                    return None;
                }
            } else if text == "--" && named {
                flags_end = true;
            } else if matches!(&*text, "-h" | "--help") {
                return None;
            } else {
                let (flag, value) = match text.split_once('=') {
                    Some((flag, value)) => (flag.to_owned(), Some(OsString::from(value))),
                    None => (text.into_owned(), None),
                };
                let known = FLAGS.contains(&flag.as_str());
                let value = value.or_else(|| known.then(|| args.next().map(OsStr::to_owned)).flatten());
                request.set(flag, value.map(PathBuf::from));
            }
        }
        named.then_some(request)
    }

    fn set(&mut self, flag: String, value: Option<PathBuf>) {
        match (flag.as_str(), value) {
            ("--config", Some(path)) => self.config = Some(path),
            ("--log-file", Some(path)) => self.log_file = Some(path),
            ("--key-dir", Some(path)) => self.key_dir = Some(path),
            // No engine is used here.
            ("--runtime", Some(_)) => {}
            _ => self.wrong.push(flag),
        }
    }
}

impl From<AuthKeysArgs> for AuthKeysRequest {
    fn from(args: AuthKeysArgs) -> Self {
        let AuthKeysArgs { user, key_type, key, key_dir } = args;
        let words = [user, key_type, key].into_iter().flatten().collect();
        Self { key_dir, words, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognise(words: &[&str]) -> Option<AuthKeysRequest> {
        let words: Vec<OsString> = ["podspawn"].iter().chain(words).map(OsString::from).collect();
        AuthKeysRequest::recognise(&words)
    }

    #[test]
    fn it_is_recognised_whatever_stands_in_its_arguments() {
        let request = recognise(&["auth-keys", "sarah", "ssh-ed25519", "AAAA"]).unwrap();
        assert_eq!(request.words, ["sarah", "ssh-ed25519", "AAAA"]);
        let request = recognise(&[
            "--config",
            "/c",
            "auth-keys",
            "--key-dir=/k",
            "sarah",
            "--log-file",
            "/l",
            "--what",
            "--",
            "-x",
        ])
        .unwrap();
        assert_eq!(request.config, Some("/c".into()));
        assert_eq!(request.key_dir, Some("/k".into()));
        assert_eq!(request.log_file, Some("/l".into()));
        assert_eq!(
            (request.words, request.wrong),
            (vec!["sarah".into(), "-x".into()], vec!["--what".into()])
        );
        assert_eq!(recognise(&["auth-keys"]).unwrap().words, Vec::<String>::new());
        assert_eq!(recognise(&["auth-keys", "--config"]).unwrap().wrong, ["--config"]);
    }

    #[test]
    fn other_commands_and_the_help_are_left_to_the_parser() {
        for words in
            [&[][..], &["list"], &["--config", "auth-keys", "list"], &["--help"], &["auth-keys", "--help"]]
        {
            assert_eq!(recognise(words), None, "{words:?}");
        }
    }
}
