//! Changing sshd's files so that there is no moment at which they are not valid: what is included is written before the
//! line that includes it and removed after it, each file is replaced whole, and what sshd does not make of it what was
//! meant is taken back.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::block::{self, Block};
use super::error::SetupError;
use super::rehearsal::View;
use super::sshd::Sshd;
use super::steps::Steps;
use super::text;
use crate::server::accounts::clear_unfinished;
use crate::system::files::{replace_atomic, write_atomic};

/// sshd's configuration file, and ours beside it.
#[derive(Debug)]
pub(super) struct Files {
    /// sshd's, links resolved.
    pub(super) main: PathBuf,
    /// As the administrator calls it.
    pub(super) shown: PathBuf,
    /// Ours.
    pub(super) include: PathBuf,
}

/// Longest that either may be, in bytes.
const LIMIT: u64 = 1 << 20;

impl Files {
    /// Those of a configuration of sshd.
    pub(super) fn of(sshd_config: &Path) -> Result<Self, SetupError> {
        let main = fs::canonicalize(sshd_config).map_err(SetupError::io("open", sshd_config))?;
        let include = main.with_file_name("podspawn.conf");
        Ok(Self { main, shown: sshd_config.to_owned(), include })
    }

    /// What sshd's file holds.
    pub(super) fn read(&self) -> Result<Vec<u8>, SetupError> {
        let facts = fs::metadata(&self.main).map_err(SetupError::io("read", &self.shown))?;
        if !facts.is_file() || facts.len() > LIMIT {
            let source = io::Error::from(io::ErrorKind::InvalidData);
            return Err(SetupError::io("read", &self.shown)(source));
        }
        fs::read(&self.main).map_err(SetupError::io("read", &self.shown))
    }

    /// What ours holds; none if it is not there.
    pub(super) fn read_include(&self) -> Result<Option<Vec<u8>>, SetupError> {
        match fs::read(&self.include) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SetupError::io("read", &self.include)(error)),
        }
    }

    /// What sshd's file holds without anything of ours.
    pub(super) fn plain(&self, present: &[u8]) -> Vec<u8> {
        text::without(present, &self.include)
    }

    /// Copy of sshd's file from before.
    pub(super) fn backup(&self) -> PathBuf {
        let mut name = self.shown.clone().into_os_string();
        name.push(".podspawn.bak");
        name.into()
    }

    /// Makes sshd's files what they should be; false if they were so already. `before`: what sshd makes of the file
    /// without anything of ours. `member`: a container user, if there is one.
    pub(super) fn put_in(
        &self,
        sshd: &Sshd,
        before: &View,
        block: &Block,
        member: Option<&str>,
        steps: &mut Steps<'_>,
    ) -> Result<bool, SetupError> {
        let present = self.read()?;
        let plain = self.plain(&present);
        let (wanted, ours) = (text::with(&plain, &self.include), block.text()?.into_bytes());
        let former = self.read_include()?;
        if present == wanted && former.as_ref() == Some(&ours) {
            return Ok(false);
        }
        super::rehearsal::rehearse(sshd, &plain, before, block)?;
        let (shown, include) = (self.shown.display(), self.include.display());
        if present != wanted {
            let backup = self.backup();
            let name = backup.display();
            steps.step(
                &format!("back up {shown} to {name}"),
                &format!("backed up {shown} to {name}"),
                || {
                    let mode =
                        fs::metadata(&self.main).map_err(SetupError::io("look at", &self.main))?.mode();
                    write_atomic(&backup, &plain, mode & 0o7777).map_err(SetupError::io("write", &backup))
                },
            )?;
        }
        let (would, did) = if present == wanted {
            (format!("update {include}"), format!("updated {include}"))
        } else {
            (
                format!("append AuthorizedKeysCommand to {shown}, by including {include}"),
                format!("appended AuthorizedKeysCommand to {shown}"),
            )
        };
        steps.step(&would, &did, || {
            self.clear()?;
            let change = || {
                write_atomic(&self.include, &ours, 0o644)?;
                if present == wanted { Ok(()) } else { replace_atomic(&self.main, &wanted) }
            };
            let verdict = match change() {
                Err(error) => Some(format!("it could not be written: {error}")),
                Ok(()) => match View::of(sshd, &self.main) {
                    Err(error) => Some(error.to_string()),
                    Ok(Err(said)) => Some(said),
                    // That it cannot be told is an objection, too: what is not verified does not stay.
                    Ok(Ok(after)) => match before.objection(&after, block) {
                        Ok(None) => {
                            self.lacking(sshd, block, member).unwrap_or_else(|error| Some(error.to_string()))
                        }
                        Ok(objection) => objection,
                        Err(error) => Some(error.to_string()),
                    },
                },
            };
            match verdict {
                None => Ok(()),
                Some(why) => self.take_back(why, &present, former.as_deref()),
            }
        })?;
        if steps.is_dry() {
            steps.note(format!("[dry-run] would validate {shown} with sshd"));
        }
        Ok(true)
    }

    /// What is not in force for container users by the files as they are now.
    fn lacking(
        &self,
        sshd: &Sshd,
        block: &Block,
        member: Option<&str>,
    ) -> Result<Option<String>, SetupError> {
        let found = match member {
            Some(user) => sshd.effective(&self.main, user)?,
            None => {
                let (plain, ours) = (self.plain(&self.read()?), self.read_include()?.unwrap_or_default());
                super::rehearsal::of_any_member(sshd, &plain, &ours, &block.group)?
            }
        };
        let missing = match found {
            Ok(found) => found.missing(&block::in_force(&block.lines()?)),
            Err(said) => return Ok(Some(said)),
        };
        Ok((!missing.is_empty()).then(|| format!("for container users it lacks: {}", missing.join(", "))))
    }

    /// Takes everything of ours out; false if nothing was there.
    pub(super) fn take_out(&self, sshd: &Sshd, steps: &mut Steps<'_>) -> Result<bool, SetupError> {
        let present = self.read()?;
        let plain = self.plain(&present);
        let (shown, include) = (self.shown.display(), self.include.display());
        let wired = present != plain;
        // What was not valid before is not what podspawn takes back.
        let valid = sshd.test(&self.main)?.is_ok();
        if wired {
            steps.step(
                &format!("take podspawn's lines out of {shown}"),
                &format!("took podspawn's lines out of {shown}"),
                || {
                    replace_atomic(&self.main, &plain).map_err(SetupError::io("write", &self.shown))?;
                    match sshd.test(&self.main)? {
                        Err(said) if valid => self.take_back(said, &present, self.read_include()?.as_deref()),
                        _ => Ok(()),
                    }
                },
            )?;
        }
        let there = self.read_include()?.is_some();
        if there {
            steps.step(&format!("remove {include}"), &format!("removed {include}"), || {
                self.clear()?;
                fs::remove_file(&self.include).map_err(SetupError::io("remove", &self.include))
            })?;
        }
        Ok(wired || there)
    }

    /// Puts back what was there, sshd's file first: it may name ours, and after that it does so only if it did before.
    fn take_back(&self, why: String, present: &[u8], former: Option<&[u8]>) -> Result<(), SetupError> {
        let lost = |path: &Path, why: &str, source| SetupError::NotRolledBack {
            why: why.to_owned(),
            path: path.to_owned(),
            source,
        };
        if let Some(former) = former {
            write_atomic(&self.include, former, 0o644).map_err(|error| lost(&self.include, &why, error))?;
        }
        replace_atomic(&self.main, present).map_err(|error| lost(&self.main, &why, error))?;
        if former.is_none() {
            match fs::remove_file(&self.include) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(lost(&self.include, &why, error));
                }
                _ => {}
            }
        }
        Err(SetupError::RolledBack { why, path: self.shown.clone() })
    }

    /// Removes what a run that was killed left beside the files.
    fn clear(&self) -> Result<(), SetupError> {
        for file in [&self.main, &self.include, &self.backup()] {
            clear_unfinished(file)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at files that are there, as after the change.
    #[test]
    fn what_is_not_in_force_for_container_users_is_found_in_the_files_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let main = dir.path().join("sshd_config");
        fs::write(&main, format!("HostKey {}\nPermitTunnel yes\n", key.display())).unwrap();
        let (files, sshd) = (Files::of(&main).unwrap(), Sshd::find().unwrap());
        let block = Block {
            // The group of the account that nobody has: with it the real files can be asked for a member.
            group: "nogroup".into(),
            auth_account: "nobody".into(),
            binary: "/usr/bin/podspawn".into(),
            config_flag: None,
            socket_flag: None,
            forwarding: true,
            root_keys: "none".into(),
            emergency_keys: "/etc/podspawn/emergency.keys".into(),
            max_startups: None,
        };
        let text = block.text().unwrap();
        fs::write(&main, text::with(&files.read().unwrap(), &files.include)).unwrap();
        for member in [None, Some(super::super::rehearsal::ORDINARY)] {
            fs::write(&files.include, &text).unwrap();
            assert_eq!(files.lacking(&sshd, &block, member).unwrap(), None, "{member:?}");
            fs::write(&files.include, text.replace("    PermitTunnel no\n", "")).unwrap();
            let lacking = files.lacking(&sshd, &block, member).unwrap().unwrap();
            assert!(lacking.ends_with("it lacks: permittunnel no"), "{member:?}: {lacking}");
        }
    }
}
