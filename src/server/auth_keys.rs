//! What sshd is told when it asks for a container user's keys.
//!
//! Local files only: no database, no socket, no runtime. What decides is the key file; it is trusted only if nobody but its
//! directory's owner and root could have written it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::forwarding;
use super::keys::{Forced, KeyLine, Wanted};
use crate::config::Config;
use crate::names::{NameError, UserName};
use crate::sandbox::{Force, Plan};
use crate::system::files::{self, TrustError};

/// Longest key file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The PAM service file that sshd usually has.
const PAM_SERVICE: &str = "/etc/pam.d/sshd";

/// The program where its own path cannot be found out.
const USUAL_BINARY: &str = "/usr/local/bin/podspawn";

/// Why there are no keys. Goes to the log only: sshd is told nothing.
#[derive(Debug, Error)]
pub enum AuthKeysError {
    /// The name is none that a container user can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The key directory or file is not to be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The forced command cannot be written down.
    #[error("the path of this program, {}, cannot stand in a key line", .0.display())]
    Binary(PathBuf),
}

/// Where things are.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Configuration in force.
    pub config: &'a Config,
    /// Directory of the configuration file.
    pub config_dir: &'a Path,
    /// Directory of the key files.
    pub key_dir: &'a Path,
    /// This program, by a path that sshd accepts; none if it could not be found out.
    pub binary: Option<&'a Path>,
    /// Process of sshd that asks, which is the one of its connection; none if it has gone.
    pub asker: Option<i32>,
}

impl Places<'_> {
    /// Takes from this thread, for the rest of its life, everything but what is needed from now on. What the kernel does
    /// not know stays allowed: without keys nobody could log in to change that.
    pub fn restrict(&self) {
        let plan = Plan::auth_keys(
            self.key_dir.to_owned(),
            self.config_dir.to_owned(),
            pam_service(self.config_dir),
            self.config.server.lib_dir.clone(),
        );
        match plan.apply() {
            Ok(Force::Full) => {}
            Ok(Force::Partial | Force::Nothing) => {
                tracing::info!("this kernel enforces only a part of the sandbox, or nothing of it");
            }
            Err(error) => tracing::warn!(%error, "no sandbox"),
        }
    }

    /// The key lines for a user, each ended; empty for a user without a key file. Lines that are of no use are logged.
    pub fn answer(&self, user: &str, wanted: &Wanted) -> Result<String, AuthKeysError> {
        let user: UserName = user.parse()?;
        let path = self.key_dir.join(user.as_str());
        let Some(text) = read(&path)? else { return Ok(String::new()) };
        let (keys, bad) = KeyLine::parse_file(&text);
        for (number, error) in bad {
            tracing::warn!(user = %user, line = number, reason = %error, "key line ignored");
        }
        let mut keys = keys.iter().filter(|key| key.answers(wanted)).peekable();
        if keys.peek().is_none() {
            return Ok(String::new());
        }
        let ready = forwarding::ready_for(self.config, self.config_dir, self.asker);
        if let Err(reason) = &ready {
            tracing::info!(user = %user, %reason, "forwarding is not granted");
        }
        let forced = self.forced(&user, ready.is_ok())?;
        Ok(keys.map(|key| key.authorized(&forced) + "\n").collect())
    }

    fn forced(&self, user: &UserName, forwarding: bool) -> Result<Forced, AuthKeysError> {
        let binary = self.binary.unwrap_or(Path::new(USUAL_BINARY));
        let refused = || AuthKeysError::Binary(binary.to_owned());
        let mut command = shell_word(binary).ok_or_else(refused)?;
        command.push_str(&format!(" spawn --user {user}"));
        let run_dir = &self.config.server.run_dir;
        if run_dir != &Config::default().server.run_dir {
            let socket = run_dir.join(podspawn_wire::broker::BROKER_SOCKET);
            command.push_str(" --socket ");
            command.push_str(&shell_word(&socket).ok_or_else(refused)?);
        }
        Forced::new(command, forwarding).ok_or_else(refused)
    }
}

/// sshd's PAM service file: the usual one, unless another was recorded when sshd was wired.
fn pam_service(config_dir: &Path) -> PathBuf {
    let recorded = fs::read_to_string(config_dir.join("pam-service")).ok();
    recorded
        .map(|text| PathBuf::from(text.trim()))
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| PAM_SERVICE.into())
}

/// A key file's bytes; none if there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, TrustError> {
    let io = |source| TrustError::Io { path: path.to_owned(), source };
    // A link could lead to a file that somebody else fills.
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(TrustError::NotAFile(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    let owner = fs::metadata(dir).map_err(io)?.uid();
    files::read_trusted(path, owner, MAX_FILE).map(Some)
}

/// A path as one word of a shell line, quoted where it needs to be. None if it cannot be quoted within sshd's own quotes.
fn shell_word(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | ':');
    if !text.is_empty() && text.chars().all(plain) {
        return Some(text.to_owned());
    }
    (!text.contains(['\'', '"', '\\'])).then(|| format!("'{text}'"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILsRbeskuVdDTKdTdXDT6M8ttWw4SULembCTAk9riQpC sarah";

    struct Stage {
        dir: tempfile::TempDir,
        config: Config,
    }

    impl Stage {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("keys")).unwrap();
            fs::set_permissions(dir.path().join("keys"), fs::Permissions::from_mode(0o700)).unwrap();
            fs::write(dir.path().join("keys/sarah"), format!("{KEY}\n")).unwrap();
            fs::set_permissions(dir.path().join("keys/sarah"), fs::Permissions::from_mode(0o644)).unwrap();
            Self { dir, config: Config::default() }
        }

        fn answer(&self, user: &str) -> Result<String, AuthKeysError> {
            let key_dir = self.dir.path().join("keys");
            let places = Places {
                config: &self.config,
                config_dir: self.dir.path(),
                key_dir: &key_dir,
                binary: Some(Path::new("/usr/bin/podspawn")),
                asker: None,
            };
            places.answer(user, &Wanted::All)
        }
    }

    #[test]
    fn a_key_file_gives_lines_and_an_unknown_user_none() {
        let mut stage = Stage::new();
        let line = |command: &str| {
            format!(
                "command=\"/usr/bin/podspawn spawn --user sarah{command}\",restrict,pty,agent-forwarding {KEY}\n"
            )
        };
        assert_eq!(stage.answer("sarah").unwrap(), line(""));
        assert_eq!(stage.answer("james").unwrap(), "");
        stage.config.server.run_dir = "/run/other place".into();
        assert_eq!(stage.answer("sarah").unwrap(), line(" --socket '/run/other place/broker.sock'"));
        stage.config.server.run_dir = "/run/o'ther".into();
        assert!(matches!(stage.answer("sarah"), Err(AuthKeysError::Binary(_))));
    }

    #[test]
    fn names_that_are_paths_or_shell_text_give_no_keys() {
        let stage = Stage::new();
        for name in ["../sarah", "keys/sarah", "..", ".", "", "sarah;id", "-x", "Sarah", "sarah\n", "\0"] {
            assert!(matches!(stage.answer(name), Err(AuthKeysError::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn a_file_that_others_could_have_written_gives_no_keys() {
        let stage = Stage::new();
        let (dir, file) = (stage.dir.path().join("keys"), stage.dir.path().join("keys/sarah"));
        let mode =
            |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for bad in [0o664, 0o646] {
            mode(&file, bad);
            assert!(matches!(stage.answer("sarah"), Err(AuthKeysError::Trust(TrustError::Writable { .. }))));
        }
        mode(&file, 0o644);
        for bad in [0o770, 0o707] {
            mode(&dir, bad);
            assert!(matches!(stage.answer("sarah"), Err(AuthKeysError::Trust(TrustError::Writable { .. }))));
        }
        mode(&dir, 0o700);
        std::os::unix::fs::symlink(&file, dir.join("james")).unwrap();
        assert!(matches!(stage.answer("james"), Err(AuthKeysError::Trust(TrustError::NotAFile(_)))));
        fs::create_dir(dir.join("ann")).unwrap();
        assert!(matches!(stage.answer("ann"), Err(AuthKeysError::Trust(TrustError::NotAFile(_)))));
        fs::write(dir.join("big"), vec![b'#'; 1 << 20 | 1]).unwrap();
        mode(&dir.join("big"), 0o644);
        assert!(matches!(stage.answer("big"), Err(AuthKeysError::Trust(TrustError::TooLong { .. }))));
    }
}
