//! Everything of a server but sshd's own configuration: group, accounts, directories, files, PAM, state. Each is looked at
//! first and made only if it is not there, so that a second run says and changes nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Setup;
use super::error::SetupError;
use super::steps::Steps;
use crate::config::{Config, EngineChoice};
use crate::server::accounts::{
    Place, has_subordinate_ids, prepare_account, prepare_dir, prepare_engine_account, prepare_group,
    prepare_key_dir,
};
use crate::server::installation::state_dir;
use crate::server::pam::{self, PamError, PamLine};
use crate::state::Store;
use crate::system::accounts::{Passwd, group_id, user_by_name};
use crate::system::directory::Directory;
use crate::system::files::write_atomic;
use crate::system::pam_module::is_intact;

/// The configuration that a new server gets: what administrators change first, as it is by default.
const CONFIG: &str = "\
# podspawn's configuration. Every key with its meaning: config.example.yaml of the documentation.

# What a session gets.
defaults:
  image: ubuntu:24.04
  shell: /bin/bash
  cpus: 2.0
  memory: 2g

# How long sessions live.
session:
  # Kept for so long after the last connection ended.
  grace_period: 60s
  # All in all.
  max_lifetime: 8h
  # grace-period, destroy-on-disconnect or persistent.
  mode: grace-period
";

impl Setup {
    /// Makes what is missing. Nothing of it changes a login as long as sshd is not told.
    pub(super) fn make_parts(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let (config, place) = (&self.place.config, &self.place);
        self.config_file(steps)?;
        let group = config.server.group.as_str();
        if group_id(group).map_err(SetupError::io("look up", Path::new(group)))?.is_none() {
            steps.step(
                &format!("create the group `{group}`"),
                &format!("created the group `{group}`"),
                || Ok(prepare_group(place)?),
            )?;
        }
        for name in [&config.server.auth_account, &config.server.git_account] {
            let name = name.as_str();
            if account(name)?.is_none() {
                let (would, did) =
                    (format!("create the account `{name}`"), format!("created the account `{name}`"));
                steps.step(&would, &did, || Ok(prepare_account(place, name).map(drop)?))?;
            }
        }
        self.engine_account(steps)?;
        self.directories(steps)?;
        self.login_shell(steps)?;
        self.emergency_file(steps)?;
        self.state(steps)?;
        self.pam(steps)
    }

    /// The account that the broker works as, and whose engine it uses.
    fn engine_account(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let (config, place) = (&self.place.config, &self.place);
        let Some(name) = config.server.account.as_ref().map(|name| name.as_str()) else { return Ok(()) };
        match account(name)? {
            None => {
                let (would, did) = (
                    format!("create the account `{name}` with subordinate ids"),
                    format!("created the account `{name}` with subordinate ids"),
                );
                steps.step(&would, &did, || Ok(prepare_engine_account(place, name).map(drop)?))?;
                steps.note(format!(
                    "no engine of `{name}` runs yet: `loginctl enable-linger {name}`, then \
                     `systemctl --user --machine {name}@ enable --now podman.socket`"
                ));
            }
            Some(account)
                if config.engine() == Some(EngineChoice::Podman) && !has_subordinate_ids(&account)? =>
            {
                steps.note(format!(
                    "WARNING: `{name}` has no lines in /etc/subuid and /etc/subgid, without which its Podman makes no \
                     containers: `usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST {name}`"
                ));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn config_file(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let file = &self.config_file;
        if file.exists() {
            return Ok(());
        }
        let name = file.display();
        steps.step(&format!("write {name}"), &format!("wrote {name}"), || {
            prepare_dir(&self.place.config_dir, 0o755)?;
            write_atomic(file, CONFIG.as_bytes(), 0o644).map_err(SetupError::io("write", file))
        })
    }

    fn directories(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let config = &self.place.config;
        let homes = self.place.run_homes();
        let run_dir = &config.server.run_dir;
        for (dir, mode) in [(&config.server.lib_dir, 0o755), (run_dir, 0o755), (&homes, 0o711)] {
            if !dir.is_dir() {
                let name = dir.display();
                steps.step(&format!("create {name}"), &format!("created {name}"), || {
                    Ok(prepare_dir(dir, mode)?)
                })?;
            }
        }
        let keys = &config.auth.key_dir;
        let owner = account(config.server.auth_account.as_str())?.map(|account| account.uid);
        let there =
            fs::metadata(keys).is_ok_and(|dir| Some(dir.uid()) == owner && dir.mode() & 0o7777 == 0o700);
        if !there {
            let name = keys.display();
            let did = format!("created {name} for {}", config.server.auth_account.as_str());
            steps.step(&format!("create {name}"), &did, || Ok(prepare_key_dir(&self.place)?))?;
        }
        Ok(())
    }

    /// The login shell of container users is this program under another name.
    fn login_shell(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let shell = self.place.shell();
        if fs::read_link(&shell).is_ok_and(|target| target == self.binary) {
            return Ok(());
        }
        let name = shell.display();
        steps.step(&format!("link {name}"), &format!("linked {name} to {}", self.binary.display()), || {
            // Made beside and renamed: there is no moment without a shell.
            let new = shell.with_file_name(".podspawn-shell.new");
            match fs::remove_file(&new) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => symlink(&self.binary, &new).and_then(|()| fs::rename(&new, &shell)),
            }
            .map_err(SetupError::io("link", &shell))
        })
    }

    fn emergency_file(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let file = self.emergency_keys();
        let name = file.display();
        match fs::metadata(&file) {
            Ok(facts) if facts.mode() & 0o7777 == 0o600 => Ok(()),
            Ok(_) => {
                steps.step(&format!("close {name} to others"), &format!("closed {name} to others"), || {
                    fs::set_permissions(&file, Permissions::from_mode(0o600))
                        .map_err(SetupError::io("change", &file))
                })
            }
            Err(_) => {
                let did = format!("created {name}: it is empty; root's key for emergencies belongs there");
                steps.step(&format!("create {name}"), &did, || {
                    write_atomic(&file, b"", 0o600).map_err(SetupError::io("write", &file))
                })
            }
        }
    }

    /// The state database, with everything around it the broker's.
    fn state(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let config = &self.place.config;
        let path = &config.state.db_path;
        let dirs = [state_dir(config), &config.state.lock_dir, &config.state.homes_dir];
        let owner = match &config.server.account {
            Some(name) => account(name.as_str())?,
            None => account("root")?,
        };
        let is_owners = |dir: &&Path| {
            Directory::open(dir).and_then(|held| held.metadata()).is_ok_and(|facts| {
                facts.mode() & 0o7777 == 0o700 && Some(facts.uid()) == owner.as_ref().map(|owner| owner.uid)
            })
        };
        // In a directory of the broker's account root opens nothing: there the broker makes its database when it starts.
        let is_left =
            || config.server.account.is_some() && Directory::open(dirs[0]).is_ok_and(|held| !held.is_ours());
        let there = path.exists() || is_left();
        if there && dirs.iter().all(is_owners) {
            return Ok(());
        }
        let name = path.display();
        let (would, did) = match there {
            true => {
                (format!("put owner and mode of {name} right"), format!("put owner and mode of {name} right"))
            }
            false => (format!("create {name}"), format!("created {name}")),
        };
        steps.step(&would, &did, || {
            for dir in dirs {
                prepare_dir(dir, 0o700)?;
            }
            if !is_left() {
                drop(Store::open(path)?);
            }
            // Looked up again: the account may have been made just now.
            let owner = match &config.server.account {
                Some(name) => account(name.as_str())?,
                None => owner.clone(),
            };
            owner.map_or(Ok(()), |owner| give(config, &dirs, &owner))
        })
    }

    fn pam(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let (config, config_dir) = (&self.place.config, &self.place.config_dir);
        let module = pam::module(config);
        let name = module.display();
        if !is_intact(&module) {
            steps.step(&format!("install {name}"), &format!("installed {name}"), || {
                Ok(pam::install_module(&config.server.lib_dir).map(drop)?)
            })?;
        }
        let Some(file) = &self.pam_service else {
            let file = pam::service_file(config_dir)?;
            steps.note(format!("{} does not exist: nothing can be forwarded without PAM", file.display()));
            return Ok(());
        };
        // Another file that was wired before is not this installation's any more.
        let former = pam::service_file(config_dir)?;
        if former != *file && former.exists() && former != Path::new(pam::SERVICE_FILE) {
            let name = former.display();
            steps.step(
                &format!("take podspawn's line out of {name}"),
                &format!("restored {name}"),
                || Ok(pam::unwire(&former).map(drop)?),
            )?;
        }
        let line = self.pam_line()?;
        if pam::wired(&pam::read(file)?, &line) != pam::read(file)? {
            let name = file.display();
            // Recorded first: what is wired is found again, whenever this is interrupted.
            steps.step(&format!("add podspawn's line to {name}"), &format!("wired {name}"), || {
                pam::record_service_file(config_dir, file)?;
                Ok(pam::wire(file, &line).map(drop)?)
            })?;
        } else if former != *file && !steps.is_dry() {
            pam::record_service_file(config_dir, file)?;
        }
        Ok(())
    }

    /// The module's line in the PAM service file.
    pub(super) fn pam_line(&self) -> Result<PamLine, PamError> {
        PamLine::new(&self.place.config, &self.binary, self.installation.config_flag())
    }

    /// Keys that let root in when nothing else does.
    pub(super) fn emergency_keys(&self) -> PathBuf {
        super::emergency_keys(&self.place.config_dir)
    }
}

/// Gives directories, and the files beside the database, to an account.
fn give(config: &Config, dirs: &[&Path], to: &Passwd) -> Result<(), SetupError> {
    let state = state_dir(config);
    let files = Directory::open(state).and_then(|held| held.give_files(to.uid, to.gid));
    files.map_err(SetupError::io("give away the files in", state))?;
    for dir in dirs {
        let held = Directory::open(dir).map_err(SetupError::io("open", dir))?;
        held.give(to.uid, to.gid).map_err(SetupError::io("give away", dir))?;
        held.set_mode(0o700).map_err(SetupError::io("change", dir))?;
    }
    Ok(())
}

fn account(name: &str) -> Result<Option<Passwd>, SetupError> {
    user_by_name(name).map_err(SetupError::io("look up", Path::new(name)))
}

/// Whether any container user has an account here.
pub(super) fn has_users(place: &Place) -> bool {
    let is_record = |entry: fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    fs::read_dir(place.accounts()).is_ok_and(|entries| entries.flatten().any(is_record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_a_new_server_means_what_no_configuration_means() {
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            let file = dir.path().join("config.yaml");
            fs::write(&file, text).unwrap();
            crate::server::Installation::new(Some(file)).load().unwrap().config
        };
        assert_eq!(load(CONFIG), load(""));
        assert_eq!(load("").server, Config::default().server);
        assert_eq!(load("").state, Config::default().state);
        assert!(CONFIG.contains("\ndefaults:\n") && CONFIG.contains("\nsession:\n"));
    }
}
