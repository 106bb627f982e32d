//! What belongs to the host and not to one installation: the service manager's units and limits of the kernel. Only the
//! installation of the usual configuration file has a say in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Setup;
use super::block::word;
use super::error::SetupError;
use super::reload::{has_systemd, systemctl};
use super::remove::remove_file;
use super::steps::Steps;
use crate::config::Config;
use crate::server::installation::{socket, state_dir};
use crate::system::files::write_atomic;

/// Units, and whether they are started at once and at every boot. The timer is for those who prefer it to the daemon.
const UNITS: [(&str, &str, bool); 5] = [
    ("podspawn-broker.service", include_str!("../../../packaging/systemd/podspawn-broker.service"), false),
    ("podspawn-broker.socket", include_str!("../../../packaging/systemd/podspawn-broker.socket"), true),
    (
        "podspawn-cleanup-once.service",
        include_str!("../../../packaging/systemd/podspawn-cleanup-once.service"),
        false,
    ),
    ("podspawn-cleanup.timer", include_str!("../../../packaging/systemd/podspawn-cleanup.timer"), false),
    ("podspawn-cleanup.service", include_str!("../../../packaging/systemd/podspawn-cleanup.service"), true),
];

/// Where administrators' units are.
const UNIT_DIR: &str = "/etc/systemd/system";

/// Limits that the containers of all users share, since on the host they are few accounts: name and least value.
const LIMITS: [(&str, u64); 2] =
    [("fs.inotify.max_user_instances", 8192), ("fs.inotify.max_user_watches", 1_048_576)];

const LIMITS_FILE: &str = "/etc/sysctl.d/60-podspawn.conf";

impl Setup {
    /// Units and limits, if they are this installation's.
    pub(super) fn make_host_parts(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        if self.installation.config_flag().is_some() {
            return Ok(());
        }
        self.limits(steps)?;
        if has_systemd() { self.units(steps) } else { Ok(()) }
    }

    fn limits(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let file = Path::new(LIMITS_FILE);
        if file.exists() {
            return Ok(());
        }
        let now = |name: &str| fs::read_to_string(proc(name)).ok().and_then(|text| text.trim().parse().ok());
        let raised: Vec<_> = LIMITS
            .into_iter()
            .filter(|(name, least)| now(name).is_none_or(|now: u64| now < *least))
            .collect();
        if raised.is_empty() {
            return Ok(());
        }
        let names = raised.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" and ");
        let mut refused = Vec::new();
        steps.step(
            &format!("raise {names} in {LIMITS_FILE}"),
            &format!("raised {names} in {LIMITS_FILE}"),
            || {
                let text: String = raised.iter().map(|(name, least)| format!("{name} = {least}\n")).collect();
                let text = format!("# Made by `podspawn server-setup`: many containers share these.\n{text}");
                fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))
                    .map_err(SetupError::io("write", file))?;
                write_atomic(file, text.as_bytes(), 0o644).map_err(SetupError::io("write", file))?;
                refused = raised
                    .iter()
                    .filter(|(name, least)| fs::write(proc(name), least.to_string()).is_err())
                    .collect();
                Ok(())
            },
        )?;
        for (name, _) in refused {
            steps.note(format!("{name} could not be raised at once: it is at the next boot"));
        }
        Ok(())
    }

    fn units(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let mut changed = false;
        for (name, text, _) in UNITS {
            let (path, text) = (unit(name), rendered(text, &self.binary, &self.place.config)?);
            if fs::read_to_string(&path).is_ok_and(|present| present == text) {
                continue;
            }
            changed = true;
            let shown = path.display();
            steps.step(&format!("install {shown}"), &format!("installed {shown}"), || {
                write_atomic(&path, text.as_bytes(), 0o644).map_err(SetupError::io("write", &path))
            })?;
        }
        if changed {
            let enabled: Vec<&str> = UNITS.iter().filter(|unit| unit.2).map(|unit| unit.0).collect();
            let names = enabled.join(" and ");
            steps.step(&format!("enable {names}"), &format!("enabled {names}"), || {
                run(&["daemon-reload"])?;
                run(&[&["enable", "--now"], &enabled[..]].concat())
            })?;
        }
        Ok(())
    }

    /// Takes units and limits away again.
    pub(super) fn remove_host_parts(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        if self.installation.config_flag().is_some() {
            return Ok(());
        }
        let units: Vec<&str> = UNITS.iter().map(|unit| unit.0).filter(|name| unit(name).exists()).collect();
        if !units.is_empty() {
            let names = units.join(", ");
            steps.step(&format!("remove {names}"), &format!("removed {names}"), || {
                if has_systemd() {
                    run(&[&["disable", "--now"], &units[..]].concat())?;
                }
                for name in &units {
                    remove_file(&unit(name))?;
                }
                if has_systemd() { run(&["daemon-reload"]) } else { Ok(()) }
            })?;
        }
        let file = Path::new(LIMITS_FILE);
        if file.exists() {
            let (would, did) = (format!("remove {LIMITS_FILE}"), format!("removed {LIMITS_FILE}"));
            steps.step(&would, &did, || remove_file(file))?;
        }
        Ok(())
    }
}

/// A unit for this program, socket and group.
fn rendered(text: &str, binary: &Path, config: &Config) -> Result<String, SetupError> {
    let (server, state) = (&config.server, &config.state);
    let dirs = [state_dir(config), &state.lock_dir, &state.homes_dir].map(word);
    let dirs = dirs.into_iter().collect::<Result<BTreeSet<_>, _>>()?;
    let writable: Vec<String> = dirs.into_iter().map(|dir| format!("-{dir}")).collect();
    Ok(text
        .replace("ReadWritePaths=-/var/lib/podspawn", &format!("ReadWritePaths={}", writable.join(" ")))
        .replace("/usr/local/bin/podspawn", word(binary)?)
        .replace("/run/podspawn/broker.sock", word(&socket(config))?)
        .replace("/run/podspawn", word(&server.run_dir)?)
        .replace("SocketGroup=podspawn-users", &format!("SocketGroup={}", server.group.as_str())))
}

fn unit(name: &str) -> PathBuf {
    Path::new(UNIT_DIR).join(name)
}

fn proc(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

fn run(args: &[&str]) -> Result<(), SetupError> {
    let program = format!("systemctl {}", args.join(" "));
    systemctl(args)?.map(drop).map_err(|said| SetupError::Tool { program, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_run_this_program_for_this_installation() {
        let mut config = Config::default();
        config.server.run_dir = "/run/other".into();
        for (name, text, enabled) in UNITS {
            let unit = rendered(text, Path::new("/opt/p/podspawn"), &config).unwrap();
            assert!(!unit.contains("/usr/local") && !unit.contains("/run/podspawn"), "{name}");
            assert_eq!(name.ends_with(".service"), unit.contains("\nExecStart=/opt/p/podspawn "), "{name}");
            assert!(!enabled || unit.contains("\n[Install]\n"), "{name} could not be enabled");
        }
        let socket = rendered(UNITS[1].1, Path::new("/opt/p/podspawn"), &config).unwrap();
        assert!(socket.contains("\nListenStream=/run/other/broker.sock\n"));
        // What is installed as a package means the same for the usual place.
        let usual = rendered(UNITS[0].1, Path::new("/usr/local/bin/podspawn"), &Config::default()).unwrap();
        let dirs = "ReadWritePaths=-/var/lib/podspawn -/var/lib/podspawn/homes -/var/lib/podspawn/locks\n";
        assert_eq!(usual, UNITS[0].1.replace("ReadWritePaths=-/var/lib/podspawn\n", dirs));
        assert!(usual.contains(dirs));
    }
}
