//! What belongs to the host and not to one installation: the service manager's units and limits of the kernel. Only the
//! installation of the usual configuration file has a say in it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Setup;
use super::block::word;
use super::error::SetupError;
use super::reload::{has_systemd, systemctl, unit_is_active};
use super::remove::remove_file;
use super::steps::Steps;
use crate::config::{Config, SeccompChoice};
use crate::server::installation::state_dir;
use crate::server::projects::making;
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

/// Units that go on as they were until they are told.
const RESTARTED: [&str; 3] =
    ["podspawn-broker.socket", "podspawn-broker.service", "podspawn-cleanup.service"];

/// In the broker's unit: what it may write to in the usual places.
const WRITABLE: &str = "ReadWritePaths=-/run/podspawn -/run/xtables.lock -/var/lib/podspawn -/var/lib/podspawn-fetch -/var/log\n";

/// What `ProtectHome=yes` hides.
const HIDDEN: [&str; 3] = ["/home", "/root", "/run/user"];

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
        let mut changed = BTreeSet::new();
        for (name, text, _) in UNITS {
            let (path, text) = (unit(name), rendered(text, &self.binary, &self.place.config)?);
            if fs::read_to_string(&path).is_ok_and(|present| present == text) {
                continue;
            }
            changed.insert(name);
            let shown = path.display();
            steps.step(&format!("install {shown}"), &format!("installed {shown}"), || {
                write_atomic(&path, text.as_bytes(), 0o644).map_err(SetupError::io("write", &path))
            })?;
        }
        // What works as it did before: by another unit, or another program. No session ends with it.
        let stale = |unit: &&str| {
            unit_is_active(unit)
                && (changed.contains(unit) || (!unit.ends_with(".socket") && !self.is_run_by(unit)))
        };
        let stale: Vec<&str> = RESTARTED.into_iter().filter(stale).collect();
        if !changed.is_empty() {
            let enabled: Vec<&str> = UNITS.iter().filter(|unit| unit.2).map(|unit| unit.0).collect();
            let names = enabled.join(" and ");
            steps.step(&format!("enable {names}"), &format!("enabled {names}"), || {
                run(&["daemon-reload"])?;
                run(&[&["enable", "--now"], &enabled[..]].concat())
            })?;
        }
        if !stale.is_empty() {
            let names = stale.join(" and ");
            steps.step(&format!("restart {names}"), &format!("restarted {names}"), || {
                run(&[&["try-restart"], &stale[..]].concat())
            })?;
        }
        Ok(())
    }

    /// Whether the main process of a unit is this very program, and not one that had its name before.
    fn is_run_by(&self, unit: &str) -> bool {
        let Ok(Ok(pid)) = systemctl(&["show", "--property=MainPID", "--value", unit]) else { return true };
        let identity = |path: &Path| fs::metadata(path).map(|facts| (facts.dev(), facts.ino()));
        match (identity(&Path::new("/proc").join(pid.trim()).join("exe")), identity(&self.binary)) {
            (Ok(runs), Ok(installed)) => runs == installed,
            // It has just ended.
            _ => true,
        }
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
    let (server, making) = (&config.server, making(config));
    let group = format!("SocketGroup={}", server.group.as_str());
    let writable = writable(config, &making);
    let hides = |dir: &&Path| HIDDEN.iter().any(|hidden| dir.starts_with(hidden));
    let read = match &config.security.seccomp_profile {
        SeccompChoice::File(path) => Some(path.as_path()),
        _ => None,
    };
    let needed = writable.iter().copied().chain([binary]).chain(read);
    let homes = match server.account.is_some() || needed.into_iter().any(|path| hides(&path)) {
        // The account's engine has its socket there, or something that the broker reads lies there.
        true => "ProtectHome=read-only\n",
        false => "ProtectHome=yes\n",
    };
    let paths = writable.into_iter().map(|dir| word(dir).map(|dir| format!("-{dir}")));
    let paths = format!("ReadWritePaths={}\n", paths.collect::<Result<Vec<_>, _>>()?.join(" "));
    let mut words = vec![
        (WRITABLE, paths.as_str()),
        ("/var/lib/podspawn-fetch", word(&making)?),
        ("/usr/local/bin/podspawn", word(binary)?),
        ("/run/podspawn", word(&server.run_dir)?),
        ("SocketGroup=podspawn-users", &group),
    ];
    if text.contains(WRITABLE) {
        words.push(("ProtectHome=yes\n", homes));
    }
    Ok(replaced(text, &words))
}

/// What the broker writes to. A mount of its own is made for each, so that none of them lies in another.
fn writable<'a>(config: &'a Config, making: &'a Path) -> Vec<&'a Path> {
    let (state, log) = (&config.state, &config.log);
    // The packet filter's commands have a lock, whatever the configuration says; usual places of logs need no line here.
    let (lock, logs) = (Path::new("/run/xtables.lock"), Path::new("/var/log"));
    let usual = [config.server.run_dir.as_path(), lock, state_dir(config), making, logs];
    let named = [&log.audit_log, &log.file].into_iter().flatten().filter_map(|file| file.parent());
    let others = [state.lock_dir.as_path(), &state.homes_dir].into_iter().chain(named);
    let mut all: Vec<&Path> = Vec::new();
    for dir in usual.into_iter().chain(others).filter(|dir| dir.is_absolute()) {
        if !all.iter().any(|above| dir.starts_with(above)) {
            all.push(dir);
        }
    }
    all
}

/// The text with other words, none of which is replaced in its turn.
fn replaced(text: &str, words: &[(&str, &str)]) -> String {
    let (mut made, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        match words.iter().find(|(from, _)| rest.starts_with(from)) {
            Some((from, to)) => {
                made.push_str(to);
                rest = &rest[from.len()..];
            }
            None => {
                made.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    made
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
        // What is installed as a package is the same for the usual places.
        for (name, text, _) in UNITS {
            let usual = rendered(text, Path::new("/usr/local/bin/podspawn"), &Config::default()).unwrap();
            assert_eq!(usual, text, "{name}");
        }
        assert!(UNITS[0].1.contains(WRITABLE));
    }

    #[test]
    fn the_brokers_unit_lets_it_write_where_its_configuration_says() {
        let broker =
            |config: &Config| rendered(UNITS[0].1, Path::new("/usr/local/bin/podspawn"), config).unwrap();
        let mut config = Config::default();
        config.server.run_dir = "/run/podspawn-two".into();
        config.state.db_path = "/srv/two/state.db".into();
        config.state.lock_dir = "/srv/two/locks".into();
        config.state.homes_dir = "/srv/homes".into();
        config.log.audit_log = Some("/srv/logs/audit.jsonl".into());
        config.log.file = Some("/var/log/podspawn.log".into());
        let unit = broker(&config);
        let paths = "-/run/podspawn-two -/run/xtables.lock -/srv/two -/srv/two-fetch -/var/log -/srv/homes -/srv/logs";
        assert!(unit.contains(&format!("\nReadWritePaths={paths}\n")), "{unit}");
        assert!(unit.contains(" -m 0755 /run/podspawn-two /srv/two-fetch\n"), "{unit}");
        assert!(unit.contains("\nProtectHome=yes\n"));
        // What it needs may lie where people live.
        config.state.homes_dir = "/home/persistent".into();
        assert!(broker(&config).contains("\nProtectHome=read-only\n"));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "server:\n  account: podspawn\n").unwrap();
        let config = crate::server::Installation::new(Some(file.path().into())).load().unwrap().config;
        assert!(broker(&config).contains("\nProtectHome=read-only\n"));
        // Only the broker's.
        assert!(rendered(UNITS[4].1, Path::new("/p"), &config).unwrap().contains("\nProtectHome=yes\n"));
    }
}
