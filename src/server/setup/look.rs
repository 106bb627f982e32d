//! What sshd makes of its configuration as it is now: for whoever only looks. Changes nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::admission::locked_out;
use super::block;
use super::change::Files;
use super::error::SetupError;
use super::rehearsal::{self, ORDINARY, View};
use super::sshd::{self, Sshd};
use super::{text, trusted, wanted_block};
use crate::server::Installation;
use crate::server::accounts::Place;
use crate::server::pam::named_service;
use crate::system::process::output_within;

/// Longest that a program may take to say its version.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// sshd and its configuration.
#[derive(Debug)]
pub struct Look {
    sshd: Sshd,
    files: Files,
}

/// How sshd uses PAM.
#[derive(Debug)]
pub struct UsedPam {
    /// `UsePAM yes` is in force.
    pub on: bool,
    /// The service file that `PAMServiceName` names, if it names another than the usual one.
    pub service: Option<PathBuf>,
}

/// How container users are led into their containers.
#[derive(Debug)]
pub struct Wired {
    /// `UsePAM yes` is in force.
    pub uses_pam: bool,
    /// Our file is read before everything else.
    pub first: bool,
    /// What should be in force for container users and is not, as `sshd -T` would print it.
    pub missing: Vec<String>,
    /// Why sshd lets no container user in, whatever their keys are.
    pub locked_out: Option<String>,
    /// What is other than it should be for everybody else.
    pub objection: Option<String>,
    /// Program that sshd asks for keys.
    pub program: PathBuf,
    /// Why sshd would not run it.
    pub untrusted: Option<String>,
}

impl Look {
    /// Finds them.
    pub fn at(sshd_config: &Path) -> Result<Self, SetupError> {
        Ok(Self { sshd: Sshd::find()?, files: Files::of(sshd_config)? })
    }

    /// Whether sshd accepts its configuration; its own words if it does not.
    pub fn valid(&self) -> Result<Result<(), String>, SetupError> {
        self.sshd.test(&self.files.main)
    }

    /// Whether a line of sshd's file, or of ours if that is read, makes podspawn the source of keys.
    pub fn asks_podspawn(&self) -> Result<bool, SetupError> {
        let asks = |text: &[u8]| crate::config::sshd_is_wired(&String::from_utf8_lossy(text));
        let present = self.files.read()?;
        let is_read = text::has(&present, &self.files.include);
        Ok(asks(&present) || (is_read && self.files.read_include()?.is_some_and(|ours| asks(&ours))))
    }

    /// How sshd uses PAM; its own words if its configuration is not valid.
    pub fn pam(&self) -> Result<Result<UsedPam, String>, SetupError> {
        let effective = self.sshd.effective(&self.files.main, ORDINARY)?;
        Ok(effective.map(|effective| UsedPam {
            on: effective.value("usepam") == Some("yes"),
            service: named_service(effective.value("pamservicename")),
        }))
    }

    /// What is in force for whom; none if nothing of ours is there, sshd's own words if its configuration is not valid.
    /// `member`: a container user, if there is one. `forwarding`: it cannot end on the host.
    pub fn wired(
        &self,
        place: &Place,
        installation: &Installation,
        binary: &Path,
        member: Option<&str>,
        forwarding: bool,
    ) -> Result<Result<Option<Wired>, String>, SetupError> {
        let present = self.files.read()?;
        let plain = self.files.plain(&present);
        let ours = match self.files.read_include()? {
            Some(ours) if text::has(&present, &self.files.include) => ours,
            _ => return Ok(Ok(None)),
        };
        let views = (rehearsal::view(&self.sshd, &plain)?, View::of(&self.sshd, &self.files.main)?);
        let (before, after) = match views {
            (Ok(before), Ok(after)) => (before, after),
            (Err(said), _) | (_, Err(said)) => return Ok(Err(said)),
        };
        let group = place.config.server.group.as_str();
        let asked = member;
        let member = match member {
            Some(user) => self.sshd.effective(&self.files.main, user)?,
            None => rehearsal::of_any_member(&self.sshd, &plain, &ours, group)?,
        };
        let member = match member {
            Ok(member) => member,
            Err(said) => return Ok(Err(said)),
        };
        let uses_pam = after.ordinary.value("usepam") == Some("yes");
        let text = String::from_utf8_lossy(&ours).into_owned();
        let max_startups = block::max_startups(&text);
        // Another copy of this program may do it as well, so it is taken from there.
        let program = member.value("authorizedkeyscommand").and_then(|line| line.split(' ').next());
        let program = program.map(Path::new).filter(|path| path.is_absolute()).unwrap_or(binary).to_owned();
        let block =
            wanted_block(place, installation, &program, &before, forwarding && uses_pam, max_startups);
        Ok(Ok(Some(Wired {
            uses_pam,
            first: present == text::with(&plain, &self.files.include),
            locked_out: locked_out(&member, group, asked),
            missing: member.missing(&block::in_force(&block.lines()?)),
            objection: before.objection(&after, &block)?,
            untrusted: untrusted(&program),
            program,
        })))
    }
}

fn untrusted(program: &Path) -> Option<String> {
    if !program.is_file() {
        return Some(format!("{} does not exist", program.display()));
    }
    trusted::check(program).err().map(|error| error.to_string())
}

/// The version of OpenSSH: of `sshd`, or else of `ssh`. None where neither says one.
pub fn open_ssh() -> Option<String> {
    let servers = sshd::PLACES.iter().filter(|place| Path::new(place).is_file()).copied();
    servers.chain(["/usr/bin/ssh", "/usr/local/bin/ssh"]).find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-V").env_clear().current_dir("/").stdin(Stdio::null());
        let output = output_within(&mut command, ANSWER_LIMIT).ok()?;
        // Older servers do not know the flag and say their version in the complaint.
        [output.stderr, output.stdout].iter().find_map(|text| version_in(&String::from_utf8_lossy(text)))
    })
}

fn version_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("OpenSSH_")?;
    let version: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_an_answer_and_in_a_complaint() {
        assert_eq!(version_in("OpenSSH_9.2, OpenSSL 3.0.19 27 Jan 2026\n").as_deref(), Some("9.2"));
        let complaint =
            "unknown option -- V\nOpenSSH_8.4p1 Debian-5, OpenSSL 1.1.1\nusage: sshd [-46DdeiqTt]\n";
        assert_eq!(version_in(complaint).as_deref(), Some("8.4p1"));
        assert_eq!(version_in("Dropbear v2022.83"), None);
    }
}
