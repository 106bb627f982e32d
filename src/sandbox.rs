//! Landlock plans: what a process may still do, as data, and putting them into force.
//!
//! A plan restricts the calling thread and what it starts afterwards: it is applied while there is one thread. A kernel
//! without Landlock, or with an old one, enforces what it can; the process goes on. Calls nothing else of podspawn.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use thiserror::Error;

/// The newest set of restrictions that is asked for.
const NEWEST: ABI = ABI::V6;

/// What a process may still do. Everything that is not named is forbidden: other files, changing any file, TCP, abstract
/// sockets and signals of processes outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Files, and directories with all that is below, that may be read. One that does not exist is passed over.
    pub read: Vec<PathBuf>,
}

/// How much of a plan is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Force {
    /// All of it.
    Full,
    /// What this kernel knows of it.
    Partial,
    /// Nothing: this kernel has no Landlock, or it is off.
    Nothing,
}

/// A plan could not be put into force.
#[derive(Debug, Error)]
#[error("restrict this process: {0}")]
pub struct SandboxError(#[from] RulesetError);

impl Plan {
    /// What `auth-keys` may do: read keys, configuration, and what tells whether forwarding is ready.
    pub fn auth_keys(key_dir: PathBuf, config_dir: PathBuf, pam_service: PathBuf, lib_dir: PathBuf) -> Self {
        Self { read: vec![key_dir, config_dir, pam_service, lib_dir] }
    }

    /// Restricts this thread for the rest of its life. Descriptors that are open stay usable.
    pub fn apply(&self) -> Result<Force, SandboxError> {
        let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .add_rules(path_beneath_rules(&self.read, read))?
            .restrict_self()?;
        Ok(match status.ruleset {
            RulesetStatus::FullyEnforced => Force::Full,
            RulesetStatus::PartiallyEnforced => Force::Partial,
            RulesetStatus::NotEnforced => Force::Nothing,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn auth_keys_reads_its_four_places_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        for name in ["keys", "config", "lib", "other"] {
            fs::create_dir(place(name)).unwrap();
            fs::write(place(name).join("file"), name).unwrap();
        }
        fs::write(place("pam"), "session").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();

        let plan = Plan::auth_keys(place("keys"), place("config"), place("pam"), place("lib"));
        let root = dir.path().to_owned();
        // A thread of its own, since nothing lifts a restriction again.
        std::thread::spawn(move || {
            assert_eq!(plan.apply().unwrap(), Force::Full, "this kernel has all that is asked for");
            for name in ["keys/file", "config/file", "pam", "lib/file"] {
                assert!(fs::read(root.join(name)).is_ok(), "{name}");
            }
            assert!(fs::read_dir(root.join("keys")).is_ok());
            let denied = std::io::ErrorKind::PermissionDenied;
            assert_eq!(fs::read(root.join("other/file")).unwrap_err().kind(), denied);
            assert_eq!(fs::read("/etc/passwd").unwrap_err().kind(), denied);
            assert_eq!(fs::write(root.join("keys/file"), "").unwrap_err().kind(), denied);
            assert_eq!(fs::remove_file(root.join("keys/file")).unwrap_err().kind(), denied);
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), denied);
        })
        .join()
        .unwrap();
        drop(listener);
    }

    #[test]
    fn a_place_that_does_not_exist_is_passed_over() {
        let plan = Plan { read: vec!["/nonexistent/podspawn".into()] };
        std::thread::spawn(move || assert_eq!(plan.apply().unwrap(), Force::Full)).join().unwrap();
    }
}
