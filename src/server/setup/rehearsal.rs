//! What sshd would make of the new configuration, found out before anything is changed, and looked at again afterwards.
//!
//! For ordinary users nothing may change, for root only where keys are, and for container users every line of ours must be
//! in force.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::block::{self, Block};
use super::error::SetupError;
use super::sshd::{Effective, Sshd};
use super::text;
use crate::system::process::own_pid;

/// An account that every host has and that is nobody's.
pub(super) const ORDINARY: &str = "nobody";

/// What connections get by a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Those of ordinary users.
    pub(super) ordinary: Effective,
    /// Those of root.
    pub(super) root: Effective,
}

impl View {
    /// Asks sshd; its own words if the configuration is not valid.
    pub(super) fn of(sshd: &Sshd, config: &Path) -> Result<Result<Self, String>, SetupError> {
        // A test without a connection sees every line, whoever it is for.
        if let Err(said) = sshd.test(config)? {
            return Ok(Err(said));
        }
        let view = (sshd.effective(config, ORDINARY)?, sshd.effective(config, "root")?);
        Ok(match view {
            (Ok(ordinary), Ok(root)) => Ok(Self { ordinary, root }),
            (Err(said), _) | (_, Err(said)) => Err(said),
        })
    }

    /// What is wrong with the view that is to follow on this one.
    pub(super) fn objection(&self, after: &Self, block: &Block) -> Result<Option<String>, SetupError> {
        let mut may_change = Vec::new();
        if block.max_startups.is_some() {
            may_change.push("maxstartups");
        }
        let changed = self.ordinary.differences(&after.ordinary, &may_change);
        if !changed.is_empty() {
            return Ok(Some(format!("it changes something for ordinary users: {}", changed.join(", "))));
        }
        may_change.push("authorizedkeysfile");
        let changed = self.root.differences(&after.root, &may_change);
        if !changed.is_empty() {
            return Ok(Some(format!("it changes something for root: {}", changed.join(", "))));
        }
        let wanted = block.root_keys_with_emergency()?;
        let found = after.root.value("authorizedkeysfile").unwrap_or_default();
        Ok((found != wanted).then(|| format!("root's keys would be in `{found}`, not in `{wanted}`")))
    }
}

/// A file without a name, which other processes of root can read as long as this one holds it.
pub(super) struct Unnamed(OwnedFd);

impl Unnamed {
    fn new(content: &[u8]) -> std::io::Result<Self> {
        let fd = memfd_create("podspawn-sshd-config", MemfdFlags::CLOEXEC)?;
        let mut file = File::from(fd);
        file.write_all(content)?;
        Ok(Self(file.into()))
    }

    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", own_pid(), self.0.as_raw_fd()).into()
    }
}

fn unnamed(content: &[u8]) -> Result<Unnamed, SetupError> {
    Unnamed::new(content).map_err(SetupError::io("make a file in memory for", Path::new("sshd")))
}

/// What connections get by a configuration that is in no file.
pub(super) fn view(sshd: &Sshd, main: &[u8]) -> Result<Result<View, String>, SetupError> {
    View::of(sshd, &unnamed(main)?.path())
}

/// What a member of the group would get, where there is none: our lines are read as if they were for another account.
pub(super) fn of_any_member(
    sshd: &Sshd,
    plain: &[u8],
    ours: &[u8],
    group: &str,
) -> Result<Result<Effective, String>, SetupError> {
    let ours = String::from_utf8_lossy(ours);
    let ours = ours.replace(&format!("Match Group {group}\n"), &format!("Match User {ORDINARY}\n"));
    let include = unnamed(ours.as_bytes())?;
    let main = unnamed(&text::with(plain, &include.path()))?;
    sshd.effective(&main.path(), ORDINARY)
}

/// Lets sshd read what its configuration would be: `plain` is the main file without anything of ours. Nothing is written
/// to any disk.
pub(super) fn rehearse(sshd: &Sshd, plain: &[u8], before: &View, block: &Block) -> Result<(), SetupError> {
    let refuse = |why: String| Err(SetupError::Rehearsal(why));
    let include = unnamed(block.text()?.as_bytes())?;
    let main = unnamed(&text::with(plain, &include.path()))?;
    match View::of(sshd, &main.path())? {
        Err(said) => return refuse(said),
        Ok(after) => {
            if let Some(why) = before.objection(&after, block)? {
                return refuse(why);
            }
        }
    }
    let include = unnamed(block.rehearsal(ORDINARY)?.as_bytes())?;
    let main = unnamed(&text::with(plain, &include.path()))?;
    match sshd.effective(&main.path(), ORDINARY)? {
        Err(said) => refuse(said),
        Ok(member) => {
            let missing = member.missing(&block::in_force(&block.lines()?));
            if missing.is_empty() {
                return Ok(());
            }
            refuse(format!("for container users it lacks: {}", missing.join(", ")))
        }
    }
}
