//! Telling a running sshd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::SetupError;
use super::sshd::{Effective, output};
use super::steps::Steps;
use crate::system::process::Pinned;

/// The service manager's own directory: there if and only if systemd runs this host.
const SYSTEMD: &str = "/run/systemd/system";

/// Whether systemd runs this host.
pub fn has_systemd() -> bool {
    Path::new(SYSTEMD).is_dir()
}

/// Runs `systemctl`; its words if it fails.
pub(super) fn systemctl(args: &[&str]) -> Result<Result<String, String>, SetupError> {
    output(Command::new("systemctl").args(args))
}

/// What the service manager makes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    /// There is no such unit, or nobody who would know.
    Absent,
    /// It could be started.
    Inactive,
    /// It works.
    Active,
}

/// What the service manager makes of a unit.
pub fn unit_state(unit: &str) -> UnitState {
    if !has_systemd() {
        return UnitState::Absent;
    }
    let shown = systemctl(&["show", "--property=LoadState,ActiveState", unit]);
    let Ok(Ok(shown)) = shown else { return UnitState::Absent };
    let says = |line: &str| shown.lines().any(|said| said == line);
    match (says("LoadState=loaded"), says("ActiveState=active")) {
        (true, true) => UnitState::Active,
        (true, false) => UnitState::Inactive,
        (false, _) => UnitState::Absent,
    }
}

/// `systemctl start`, or what else may be done; its words if it fails.
pub fn manage_unit(verb: &str, unit: &str) -> Result<(), String> {
    systemctl(&[verb, unit]).map_err(|error| error.to_string())?.map(drop)
}

/// Whether the service manager says that a unit works.
pub fn unit_is_active(unit: &str) -> bool {
    matches!(systemctl(&["is-active", "--quiet", unit]), Ok(Ok(_)))
}

/// How sshd is told.
#[derive(Debug)]
pub(super) enum Way {
    /// By the service manager.
    Unit(String),
    /// By a signal to the process whose pid is in this file.
    Signal {
        /// What people call it.
        service: String,
        /// Its pid file.
        pid_file: PathBuf,
    },
}

impl Way {
    /// `named`: the service that was asked for. `usual`: the configuration is the host's own sshd's. The pid file of any
    /// other stands in its configuration.
    pub(super) fn find(named: Option<&str>, usual: bool, view: &Effective) -> Result<Self, SetupError> {
        if has_systemd() && (usual || named.is_some()) {
            let service = match named {
                Some(name) => name.to_owned(),
                None if systemctl(&["is-active", "--quiet", "ssh"])?.is_ok() => "ssh".into(),
                None => "sshd".into(),
            };
            return Ok(Self::Unit(service));
        }
        let service = named.unwrap_or("sshd").to_owned();
        Ok(Self::Signal { service, pid_file: view.value("pidfile").unwrap_or("none").into() })
    }

    fn service(&self) -> &str {
        match self {
            Self::Unit(service) | Self::Signal { service, .. } => service,
        }
    }

    /// Tells it. Connections that exist stay as they are. Where no sshd runs there is nobody to tell.
    pub(super) fn reload(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let service = self.service();
        let failed = |said: String| SetupError::Reload { service: service.to_owned(), said };
        let running = match self {
            Self::Unit(service) => {
                let running = systemctl(&["is-active", "--quiet", service])?.is_ok();
                running.then_some(None)
            }
            Self::Signal { pid_file, .. } => running(pid_file).map(Some),
        };
        let Some(process) = running else {
            steps.note(format!("{service} does not run: nothing to reload"));
            return Ok(());
        };
        steps.step(&format!("reload {service}"), &format!("reloaded {service}"), || match &process {
            None => systemctl(&["reload", service])?.map(drop).map_err(failed),
            Some(process) => process.hang_up().map_err(|error| failed(error.to_string())),
        })
    }
}

/// The sshd that wrote a pid file, if it still runs.
fn running(pid_file: &Path) -> Option<Pinned> {
    let pid = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    // The descriptor first: what is read after it is about the process that it holds, if that still lives then.
    let process = Pinned::any(pid).ok()?;
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    // After an upgrade, the file that it was started from is gone.
    let name = program.file_name()?.to_str()?;
    (name.trim_end_matches(" (deleted)") == "sshd" && process.is_alive()).then_some(process)
}
