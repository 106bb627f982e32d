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

/// Where programs and their libraries are.
const PROGRAMS: [&str; 8] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/run/current-system"];

/// What a program reads to find names, addresses and certificates. None of these is secret.
const SYSTEM_FILES: [&str; 26] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/gnutls",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/var/lib/ca-certificates",
];

/// What a process may still do. Everything that is not named is forbidden: other files, changing any file, TCP, abstract
/// sockets and signals of processes outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Files, and directories with all that is below, that may be read. One that does not exist is passed over.
    pub read: Vec<PathBuf>,
    /// The same for programs, which may be run too.
    pub run: Vec<PathBuf>,
    /// Devices that may be read and written.
    pub devices: Vec<PathBuf>,
    /// Directories below which everything may be done. They have to exist.
    pub write: Vec<PathBuf>,
    /// TCP connections may be made. Listening stays forbidden.
    pub connect: bool,
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
        Self { read: vec![key_dir, config_dir, pam_service, lib_dir], ..Self::default() }
    }

    /// What git may do on this host: run itself and its helpers, read what every program needs, change one directory, use
    /// the network. `known_hosts` is what ssh compares a server's key with.
    pub fn git(directory: PathBuf, known_hosts: Vec<PathBuf>) -> Self {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let mut read = paths(&SYSTEM_FILES);
        read.extend(known_hosts);
        Self {
            read,
            run: paths(&PROGRAMS),
            devices: paths(&["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"]),
            write: vec![directory],
            connect: true,
        }
    }

    /// Restricts this thread for the rest of its life. Descriptors that are open stay usable.
    pub fn apply(&self) -> Result<Force, SandboxError> {
        let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
        let net: BitFlags<AccessNet> = match self.connect {
            true => AccessNet::BindTcp.into(),
            false => AccessNet::from_all(NEWEST),
        };
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(net)?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .add_rules(path_beneath_rules(&self.read, read))?
            .add_rules(path_beneath_rules(&self.run, read | AccessFs::Execute))?
            .add_rules(path_beneath_rules(&self.devices, AccessFs::ReadFile | AccessFs::WriteFile))?
            .add_rules(path_beneath_rules(&self.write, AccessFs::from_all(NEWEST) & !AccessFs::IoctlDev))?
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
        let plan = Plan { read: vec!["/nonexistent/podspawn".into()], ..Plan::default() };
        std::thread::spawn(move || assert_eq!(plan.apply().unwrap(), Force::Full)).join().unwrap();
    }

    #[test]
    fn git_changes_its_directory_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["mine", "other"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("file"), name).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let root = dir.path().to_owned();
        std::thread::spawn(move || {
            assert_eq!(Plan::git(root.join("mine"), Vec::new()).apply().unwrap(), Force::Full);
            let denied = std::io::ErrorKind::PermissionDenied;
            fs::create_dir(root.join("mine/sub")).unwrap();
            fs::rename(root.join("mine/file"), root.join("mine/sub/file")).unwrap();
            for secret in
                [root.join("other/file"), "/etc/shadow".into(), "/root".into(), "/proc/1/status".into()]
            {
                let error = fs::File::open(&secret)
                    .and_then(|mut file| std::io::Read::read_to_end(&mut file, &mut Vec::new()));
                assert_eq!(error.unwrap_err().kind(), denied, "{}", secret.display());
            }
            assert_eq!(fs::write(root.join("other/file"), "").unwrap_err().kind(), denied);
            assert_eq!(fs::write("/usr/x", "").unwrap_err().kind(), denied);
            assert!(fs::read("/etc/passwd").is_ok());
            assert!(std::process::Command::new("/bin/true").status().unwrap().success());
            assert!(TcpStream::connect(address).is_ok());
            assert_eq!(TcpListener::bind("127.0.0.1:0").unwrap_err().kind(), denied);
        })
        .join()
        .unwrap();
    }
}
