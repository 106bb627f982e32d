//! Whether forwarding may be granted: only if it cannot end on the host.
//!
//! `auth-keys` asks for every login, `server-setup` before it lets sshd forward, `doctor` to explain. Reads root's files only
//! and may run before the sandbox is on.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::pam::{self, PamError};
use crate::config::{Config, Forwarding};
use crate::system::files::TrustError;
use crate::system::pam_module::{is_loaded_by, open_same};

/// Why nothing may be forwarded. The texts fit after "forwarding is off: ".
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The configuration says so.
    #[error("forwarding is switched off in the configuration (`server.forwarding: off` in {})", .0.display())]
    Off(PathBuf),
    /// There is no module.
    #[error("the PAM module {} is missing", .0.display())]
    Missing(PathBuf),
    /// There is something else in its place: damaged, of another version, of another machine.
    #[error("the PAM module {} is not the one of this version of podspawn", .0.display())]
    Other(PathBuf),
    /// It cannot be read, or somebody else than root could change it.
    #[error("the PAM module cannot be trusted: {0}")]
    Untrusted(TrustError),
    /// Whoever answers sshd cannot look at it.
    #[error("the PAM module {} cannot be read by everybody, and so not by whom sshd asks for keys", .0.display())]
    Closed(PathBuf),
    /// Its line is not in the service file, not first, or of another installation.
    #[error("the PAM module {} is not wired in {}", module.display(), service_file.display())]
    NotWired {
        /// The module.
        module: PathBuf,
        /// The service file.
        service_file: PathBuf,
    },
    /// The service file cannot be read.
    #[error(transparent)]
    Service(PamError),
    /// Everything is in its place, and the sshd of this connection has not loaded it.
    #[error(
        "sshd has not loaded the PAM module {} for this connection: it works without `UsePAM yes`, or with another \
         `PAMServiceName`",
        .0.display()
    )]
    NotLoaded(PathBuf),
}

/// Forwarding ends in the container or nowhere: it is not switched off, the module is exactly the embedded one and root's
/// alone, and its line is the first of the session stack. `config_dir` is the directory of the configuration file.
/// Whether sshd uses all that is another question: [`ready_for`].
pub fn ready(config: &Config, config_dir: &Path) -> Result<(), Reason> {
    module_in_place(config, config_dir).map(drop)
}

/// [`ready`], and the sshd that asks for keys has loaded the module for this connection. `asker`: its privileged process.
/// What sshd's configuration says is not looked at: sshd may have been started with another one, or not have read it yet.
pub fn ready_for(config: &Config, config_dir: &Path, asker: Option<i32>) -> Result<(), Reason> {
    let module = module_in_place(config, config_dir)?;
    let loaded = asker.is_some_and(|asker| is_loaded_by(&module, asker).unwrap_or(false));
    if loaded { Ok(()) } else { Err(Reason::NotLoaded(pam::module(config))) }
}

/// The module's file, if it is [`ready`].
fn module_in_place(config: &Config, config_dir: &Path) -> Result<File, Reason> {
    if config.server.forwarding == Forwarding::Off {
        return Err(Reason::Off(config_dir.to_owned()));
    }
    let module = pam::module(config);
    let file = match open_same(&module) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(Reason::Other(module)),
        Err(TrustError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(Reason::Missing(module));
        }
        Err(error) => return Err(Reason::Untrusted(error)),
    };
    // Asked by root, too: what root can read says nothing of the account that answers sshd.
    if file.metadata().is_ok_and(|facts| facts.mode() & 0o004 == 0) {
        return Err(Reason::Closed(module));
    }
    let service_file = pam::service_file(config_dir).map_err(Reason::Service)?;
    let text = match pam::read(&service_file) {
        // Without a file of its own sshd takes PAM's `other`, in which nothing of ours is.
        Err(PamError::Service(TrustError::Io { source, .. })) if source.kind() == io::ErrorKind::NotFound => {
            return Err(Reason::NotWired { module, service_file });
        }
        read => read.map_err(Reason::Service)?,
    };
    if pam::is_wired(&text, config) { Ok(file) } else { Err(Reason::NotWired { module, service_file }) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// An installation in a directory of root's, forwarding ready.
    fn installation() -> (tempfile::TempDir, Config, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.lib_dir = dir.path().join("lib");
        config.server.run_dir = dir.path().join("run");
        let service = dir.path().join("service");
        fs::write(&service, "@include common-session\n").unwrap();
        pam::install_module(&config.server.lib_dir).unwrap();
        let line = pam::PamLine::new(&config, Path::new("/usr/bin/podspawn"), None).unwrap();
        assert_eq!(pam::wire(&service, &line).unwrap(), pam::Outcome::Changed);
        pam::record_service_file(dir.path(), &service).unwrap();
        ready(&config, dir.path()).unwrap();
        (dir, config, service)
    }

    #[test]
    fn what_is_switched_off_is_not_ready() {
        let (dir, mut config, _) = installation();
        config.server.forwarding = Forwarding::Running;
        ready(&config, dir.path()).unwrap();
        config.server.forwarding = Forwarding::Off;
        let reason = ready(&config, dir.path()).unwrap_err();
        assert!(reason.to_string().contains("switched off"), "{reason}");
    }

    #[test]
    fn only_the_module_of_this_version_counts() {
        let (dir, config, _) = installation();
        let module = pam::module(&config);
        let whole = fs::read(&module).unwrap();
        fs::write(&module, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(ready(&config, dir.path()), Err(Reason::Other(_))));
        fs::remove_file(&module).unwrap();
        assert!(matches!(ready(&config, dir.path()), Err(Reason::Missing(_))));
        fs::create_dir(&module).unwrap();
        assert!(matches!(ready(&config, dir.path()), Err(Reason::Untrusted(_))));
        fs::remove_dir(&module).unwrap();
        pam::install_module(&config.server.lib_dir).unwrap();
        ready(&config, dir.path()).unwrap();
        fs::set_permissions(&module, fs::Permissions::from_mode(0o664)).unwrap();
        assert!(matches!(ready(&config, dir.path()), Err(Reason::Untrusted(_))));
        fs::set_permissions(&module, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(ready(&config, dir.path()), Err(Reason::Closed(_))));
        fs::set_permissions(&module, fs::Permissions::from_mode(0o644)).unwrap();
        pam::remove_module(&config.server.lib_dir).unwrap();
        assert!(matches!(ready(&config, dir.path()), Err(Reason::Missing(_))));
    }

    #[test]
    fn a_line_that_is_missing_or_not_first_or_of_another_installation_does_not_count() {
        let (dir, config, service) = installation();
        let wired = fs::read_to_string(&service).unwrap();
        for text in [
            "@include common-session\n".to_owned(),
            format!("session sufficient pam_permit.so\n{wired}"),
            wired.replace("group=podspawn-users", "group=users"),
            wired.replace("/run/broker.sock", "/other/broker.sock"),
            wired.replace("success=done", "success=1"),
            format!("#{}", wired.replace('\n', "\n#")),
        ] {
            fs::write(&service, &text).unwrap();
            assert!(matches!(ready(&config, dir.path()), Err(Reason::NotWired { .. })), "{text}");
        }
        fs::remove_file(&service).unwrap();
        assert!(matches!(ready(&config, dir.path()), Err(Reason::NotWired { .. })));
        fs::write(&service, &wired).unwrap();
        fs::set_permissions(&service, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(ready(&config, dir.path()), Err(Reason::Service(_))));
    }
}
