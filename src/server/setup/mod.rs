//! Making a host's stock sshd lead into containers, and undoing it.
//!
//! What can be refused is refused before anything is changed. Then come the parts that no login sees (accounts,
//! directories, PAM, state), and last sshd's own files. Whoever is interrupted at any moment leaves an sshd whose
//! configuration is valid, and the next run goes on. Needs root.

mod admission;
mod block;
mod change;
mod error;
mod host;
mod look;
mod parts;
mod rehearsal;
mod reload;
mod remove;
mod sshd;
mod steps;
mod text;
mod trusted;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

pub use block::CLEARED;
pub use error::SetupError;
pub use look::{Look, UsedPam, Wired, open_ssh};
pub use reload::{UnitState, has_systemd, manage_unit, unit_is_active, unit_state};
pub use remove::remove;

use self::block::Block;
use self::change::Files;
use self::rehearsal::{ORDINARY, View};
use self::reload::Way;
use self::sshd::{Effective, Sshd};
use self::steps::Steps;
use super::Installation;
use super::accounts::{self, Place};
use super::forwarding;
use super::installation::socket;
use super::pam;
use crate::config::{Config, Forwarding, SERVER_CONFIG};
use crate::system::Host;
use crate::system::accounts::{group_id, groups_of, user_by_name};

/// sshd's own configuration file.
pub const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";

/// What sshd says of `MaxStartups` where nobody has set it.
const USUAL_STARTUPS: &str = "10:30:100";

/// File in the run-time directory: sshd's configuration is being changed, and sshd does not know yet.
pub const PENDING: &str = "sshd-not-reloaded";

/// What is wanted.
#[derive(Debug, Clone)]
pub struct SetupRequest {
    /// The server's configuration file, if one was named; it is made if it does not exist.
    pub config_file: Option<PathBuf>,
    /// sshd's configuration file.
    pub sshd_config: PathBuf,
    /// Name of sshd's service, if one was named.
    pub service: Option<String>,
    /// sshd's PAM service file, if one was named.
    pub pam_service: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Value of `MaxStartups`, if it is to be set.
    pub max_startups: Option<String>,
    /// This program.
    pub program: PathBuf,
}

/// A request with everything that is known before anything is changed.
struct Setup {
    request: SetupRequest,
    installation: Installation,
    config_file: PathBuf,
    place: Place,
    /// This program, links resolved.
    binary: PathBuf,
    sshd: Sshd,
    files: Files,
    /// sshd's PAM service file, if there is one.
    pam_service: Option<PathBuf>,
}

/// Sets the server up. `say` gets one line for each thing that was done; nothing is said of what was so already.
pub fn set_up(request: SetupRequest, host: &Host, say: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
    let setup = Setup::new(request, host)?;
    let _alone = setup.lock()?;
    let plain = setup.files.plain(&setup.valid()?);
    setup.refuse()?;
    let before = rehearsal::view(&setup.sshd, &plain)?.map_err(|said| setup.broken(said))?;
    // Rehearsed before the first thing is made. What forwarding needs is made only then, and so is looked at again.
    let hoped = setup.block(&before, true)?;
    rehearsal::rehearse(&setup.sshd, &plain, &before, &hoped)?;

    let mut steps = Steps::new(setup.request.dry_run, say);
    steps.hold();
    setup.make_parts(&mut steps)?;
    setup.make_host_parts(&mut steps)?;
    let block = if steps.is_dry() { hoped } else { setup.block(&before, false)? };
    let pending = setup.place.config.server.run_dir.join(PENDING);
    let was_pending = pending.exists();
    let member = setup.member();
    let changed = steps.first(|steps| {
        if !steps.is_dry() {
            File::create(&pending).map_err(SetupError::io("write", &pending))?;
        }
        setup.files.put_in(&setup.sshd, &before, &block, member.as_deref(), steps)
    })?;
    setup.remarks(&before, &block, changed, &mut steps);
    setup.admission(&before, member.as_deref(), &mut steps);
    if changed || was_pending {
        setup.way(&before)?.reload(&mut steps)?;
    } else {
        steps.note("already configured, skipping");
    }
    if steps.is_dry() { Ok(()) } else { remove::remove_file(&pending) }
}

impl Setup {
    fn new(request: SetupRequest, host: &Host) -> Result<Self, SetupError> {
        if host.uid() != 0 {
            return Err(SetupError::NotRoot);
        }
        let sshd = Sshd::find()?;
        let installation = Installation::new(request.config_file.clone());
        let config_file = request.config_file.clone().unwrap_or_else(|| SERVER_CONFIG.into());
        let config = if config_file.exists() { installation.load()?.config } else { Config::default() };
        let config_dir = config_file.parent().unwrap_or(Path::new("/")).to_owned();
        let binary = fs::canonicalize(&request.program).map_err(SetupError::io("find", &request.program))?;
        let files = Files::of(&request.sshd_config)?;
        let pam_service = match &request.pam_service {
            Some(file) => Some(file.clone()),
            None => {
                // A configuration that sshd does not accept is refused later.
                let effective = sshd.effective(&files.main, ORDINARY)?.ok();
                let named = effective.and_then(|it| pam::named_service(it.value("pamservicename")));
                let file = named.map_or_else(|| pam::service_file(&config_dir), Ok)?;
                Some(file).filter(|file| file.exists())
            }
        };
        let place = Place { config, config_dir };
        Ok(Self { request, installation, config_file, place, binary, sshd, files, pam_service })
    }

    /// Nobody else changes the same files meanwhile.
    fn lock(&self) -> Result<File, SetupError> {
        let dir = self.files.main.parent().unwrap_or(Path::new("/"));
        let lock = File::open(dir).map_err(SetupError::io("open", dir))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|errno| SetupError::io("lock", dir)(errno.into()))?;
        Ok(lock)
    }

    /// sshd's file, if sshd accepts it as it is.
    fn valid(&self) -> Result<Vec<u8>, SetupError> {
        let present = self.files.read()?;
        self.sshd.test(&self.files.main)?.map_err(|said| self.broken(said))?;
        Ok(present)
    }

    fn broken(&self, said: String) -> SetupError {
        SetupError::Broken { path: self.files.shown.clone(), said }
    }

    /// Everything that can be refused without having done anything.
    fn refuse(&self) -> Result<(), SetupError> {
        let server = &self.place.config.server;
        if let Some(value) = self.request.max_startups.as_ref().filter(|value| !is_max_startups(value)) {
            return Err(SetupError::MaxStartups(value.clone()));
        }
        for path in [&self.binary, &server.lib_dir, &server.run_dir, &self.config_file, &self.files.main] {
            trusted::check(path)?;
        }
        if let Some(file) = &self.pam_service {
            pam::read(file)?;
        }
        self.pam_line()?;
        Ok(())
    }

    /// What holds for container users. `hoped`: as it will be once the PAM module is in its place.
    fn block(&self, before: &View, hoped: bool) -> Result<Block, SetupError> {
        let config = &self.place.config;
        let wanted = config.server.forwarding != Forwarding::Off;
        let usable = before.ordinary.value("usepam") == Some("yes");
        let wired = match hoped {
            true => self.pam_service.is_some(),
            false => forwarding::ready(config, &self.place.config_dir).is_ok(),
        };
        let former = self.files.read_include()?.unwrap_or_default();
        let former = String::from_utf8_lossy(&former);
        let max_startups = self.request.max_startups.as_deref().or_else(|| block::max_startups(&former));
        let forwarding = wanted && usable && wired;
        Ok(wanted_block(&self.place, &self.installation, &self.binary, before, forwarding, max_startups))
    }

    /// A container user with an account, if there is one.
    fn member(&self) -> Option<String> {
        let server = &self.place.config.server;
        let group = group_id(server.group.as_str()).ok()??;
        let users = accounts::list(&self.place.config.auth.key_dir).ok()?;
        users.into_iter().map(|user| user.name).find(|name| {
            let account = user_by_name(name).ok().flatten();
            account.is_some_and(|it| groups_of(name, it.gid).is_ok_and(|groups| groups.contains(&group)))
        })
    }

    /// Says what keeps container users out before anybody is asked for their keys.
    fn admission(&self, before: &View, member: Option<&str>, steps: &mut Steps<'_>) {
        let group = self.place.config.server.group.as_str();
        if let Some(why) = admission::locked_out(&before.ordinary, group, member) {
            steps.note(format!(
                "WARNING: no container user gets in: {why} in {}, or in a file that it includes",
                self.files.shown.display()
            ));
        }
    }

    /// What the administrator should know about sshd as it is.
    fn remarks(&self, before: &View, block: &Block, changed: bool, steps: &mut Steps<'_>) {
        let closed = |path: &Path, bit: u32| fs::metadata(path).is_ok_and(|facts| facts.mode() & bit == 0);
        let dirs = self.config_file.ancestors().skip(1);
        if closed(&self.config_file, 0o004) || dirs.into_iter().any(|dir| closed(dir, 0o001)) {
            steps.note(format!(
                "WARNING: {} cannot be read by everybody, and so not by `{}`, as which sshd asks for keys",
                self.config_file.display(),
                block.auth_account
            ));
        }
        if !changed {
            return;
        }
        for line in locked_out(&before.ordinary) {
            steps.note(*line);
        }
        if before.ordinary.value("usepam") != Some("yes") {
            steps.note(format!(
                "{} has no `UsePAM yes`: nothing can be forwarded, and accounts by userdb are not known",
                self.files.shown.display()
            ));
        } else if !block.forwarding {
            steps.note("nothing can be forwarded: `ssh -L`, `-R`, `-D` and `-X` are refused");
        }
        // For this one sshd takes the last value, not the first: one of the administrator's own is stronger.
        if let Some(wanted) = &block.max_startups
            && let Ok(Ok(after)) = self.files.read().and_then(|text| rehearsal::view(&self.sshd, &text))
            && let Some(value) = after.ordinary.value("maxstartups")
            && !steps.is_dry()
            && !format!("{value}:").starts_with(&format!("{wanted}:"))
        {
            steps.note(format!(
                "WARNING: `MaxStartups` of {} stays in force ({value}): change that line",
                self.files.shown.display()
            ));
        }
        if block.max_startups.is_none() && before.ordinary.value("maxstartups") == Some(USUAL_STARTUPS) {
            steps.note(format!(
                "sshd drops connections once 10 log in at a time (MaxStartups {USUAL_STARTUPS}): \
                 `--max-startups 100:30:200` raises that"
            ));
        }
    }

    fn way(&self, view: &View) -> Result<Way, SetupError> {
        let usual = self.files.shown == Path::new(SSHD_CONFIG);
        Way::find(self.request.service.as_deref(), usual, &view.ordinary)
    }
}

/// What is said where sshd takes no keys from anybody's home, and no passwords either: nothing of that changes, but whoever works on
/// sshd should know how they come back.
const LOCKED_OUT: [&str; 2] = [
    "WARNING: `AuthorizedKeysFile none`: keys in the homes of ordinary users let nobody in",
    "WARNING: password login is off as well: try another login before you end this one",
];

/// The lines of [`LOCKED_OUT`] that hold for a user.
fn locked_out(user: &Effective) -> &'static [&'static str] {
    let is = |keyword: &str, value: &str| user.value(keyword) == Some(value);
    if !is("authorizedkeysfile", "none") {
        return &[];
    }
    // Through PAM, sshd asks for a password by the other of the two.
    match is("passwordauthentication", "no") && is("kbdinteractiveauthentication", "no") {
        true => &LOCKED_OUT,
        false => &LOCKED_OUT[..1],
    }
}

/// What an installation wants of sshd. `before`: what sshd makes of its configuration without that.
fn wanted_block(
    place: &Place,
    installation: &Installation,
    binary: &Path,
    before: &View,
    forwarding: bool,
    max_startups: Option<&str>,
) -> Block {
    let server = &place.config.server;
    let usual = server.run_dir == Config::default().server.run_dir;
    Block {
        group: server.group.as_str().to_owned(),
        auth_account: server.auth_account.as_str().to_owned(),
        binary: binary.to_owned(),
        config_flag: installation.config_flag().map(Path::to_owned),
        socket_flag: (!usual).then(|| socket(&place.config)),
        forwarding,
        root_keys: before.root.value("authorizedkeysfile").unwrap_or("none").to_owned(),
        emergency_keys: emergency_keys(&place.config_dir),
        max_startups: max_startups.map(str::to_owned),
    }
}

/// Keys that let root in when nothing else does.
pub fn emergency_keys(config_dir: &Path) -> PathBuf {
    config_dir.join("emergency.keys")
}

/// A number, or three of them: when some are dropped, how many of a hundred, when all are.
fn is_max_startups(value: &str) -> bool {
    let numbers: Option<Vec<u32>> = value.split(':').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([most]) => *most > 0,
        Some([start, rate, full]) => *start > 0 && (1..=100).contains(rate) && full >= start,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_sshd_takes_for_max_startups_is_taken() {
        for value in ["100", "100:30:200", "10:100:10"] {
            assert!(is_max_startups(value), "{value}");
        }
        for value in ["", "0", "-1", "1:2", "10:0:20", "10:101:20", "20:30:10", "1\nMatch all", "1:1:1:1"] {
            assert!(!is_max_startups(value), "{value}");
        }
    }
}
