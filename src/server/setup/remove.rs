//! Taking out of a host what setting it up put in. sshd first: from then on nothing asks for the rest.

use std::fs;
use std::io;
use std::path::Path;

use super::error::SetupError;
use super::parts::has_users;
use super::steps::Steps;
use super::{Setup, SetupRequest, rehearsal};
use crate::server::accounts::{own_account, remove_account};
use crate::server::firewall::Firewall;
use crate::server::pam;
use crate::system::Host;

/// Undoes [`super::set_up`]. Accounts, keys, state and the configuration stay. `say` gets one line for each thing that was
/// done.
pub fn remove(request: SetupRequest, host: &Host, say: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
    let setup = Setup::new(request, host)?;
    let _alone = setup.lock()?;
    let mut steps = Steps::new(setup.request.dry_run, say);
    let plain = setup.files.plain(&setup.files.read()?);
    if setup.files.take_out(&setup.sshd, &mut steps)? {
        match rehearsal::view(&setup.sshd, &plain)? {
            Ok(view) => setup.way(&view)?.reload(&mut steps)?,
            Err(said) => steps.note(format!("sshd was not reloaded: {said}")),
        }
    }
    setup.unwire(&mut steps)?;
    setup.remove_host_parts(&mut steps)?;
    setup.remove_rules(&mut steps)?;
    setup.remove_lib(&mut steps)?;
    setup.remove_git_account(&mut steps)?;
    if !steps.is_dry() {
        let config = &setup.place.config;
        let copy = setup.files.backup();
        let copy = if copy.exists() { format!(", {}", copy.display()) } else { String::new() };
        steps.note(format!(
            "kept: accounts and groups, {}, {}, {}{}",
            setup.place.config_dir.display(),
            config.auth.key_dir.display(),
            crate::server::installation::state_dir(config).display(),
            copy
        ));
    }
    Ok(())
}

impl Setup {
    fn unwire(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let Some(file) = &self.pam_service else { return Ok(()) };
        let present = pam::read(file)?;
        if pam::unwired(&present) != present {
            let name = file.display();
            let (would, did) = (format!("take podspawn's line out of {name}"), format!("restored {name}"));
            steps.step(&would, &did, || Ok(pam::unwire(file).map(drop)?))?;
        }
        if !steps.is_dry() {
            pam::forget_service_file(&self.place.config_dir)?;
        }
        Ok(())
    }

    /// The packet filter's rules are those of all installations of this host; the usual one has a say in them.
    fn remove_rules(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        if self.installation.config_flag().is_some() {
            return Ok(());
        }
        let rules = Firewall::default();
        if rules.check().is_ok() {
            steps.step("remove the packet filter's rules", "removed the packet filter's rules", || {
                Ok(rules.remove()?)
            })
        } else if !steps.is_dry() {
            // Half of them may be there.
            Ok(rules.remove()?)
        } else {
            Ok(())
        }
    }

    /// The account of git owns nothing that stays; what it fetched is the broker's.
    fn remove_git_account(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let name = self.place.config.server.git_account.as_str();
        if own_account(name)?.is_none() {
            return Ok(());
        }
        let (would, did) = (format!("remove the account `{name}`"), format!("removed the account `{name}`"));
        steps.step(&would, &did, || Ok(remove_account(&self.place, name)?))
    }

    /// Login shell and PAM module: accounts that exist need their shell, which lets nobody in without a broker.
    fn remove_lib(&self, steps: &mut Steps<'_>) -> Result<(), SetupError> {
        let lib_dir = &self.place.config.server.lib_dir;
        let (shell, module) = (self.place.shell(), pam::module(&self.place.config));
        if has_users(&self.place) {
            steps.note(format!("kept: {}, the login shell of users that exist", shell.display()));
            return Ok(());
        }
        for path in [shell, module] {
            if fs::symlink_metadata(&path).is_ok() {
                let name = path.display();
                steps.step(&format!("remove {name}"), &format!("removed {name}"), || remove_file(&path))?;
            }
        }
        if !steps.is_dry() {
            // A package may have put other things there.
            let _ = fs::remove_dir(lib_dir);
        }
        Ok(())
    }
}

/// Removes a file; that it is gone already is no error.
pub(super) fn remove_file(path: &Path) -> Result<(), SetupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SetupError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
