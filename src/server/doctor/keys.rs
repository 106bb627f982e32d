//! Keys, and whether sshd gets to see them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{SET_UP, Server, User};
use crate::check::Check;
use crate::system::accounts::user_by_name;
use crate::system::process::output_within;

/// Longest that sshd's question may take here.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A name that no container user has.
const NOBODY: &str = "podspawn-doctor-asks";

impl Server {
    pub(super) fn config_dir(&self) -> Check {
        const NAME: &str = "podspawn config dir";
        let dir = &self.place.config_dir;
        let shown = dir.display();
        match fs::metadata(dir) {
            Ok(facts) if facts.is_dir() => Check::pass(NAME, shown.to_string()),
            Ok(_) => Check::fail(NAME, format!("{shown} is not a directory"), "move it out of the way"),
            Err(error) if self.is_closed(&error) => Check::unseen(NAME, shown),
            Err(error) => Check::fail(NAME, format!("{shown}: {error}"), SET_UP),
        }
    }

    pub(super) fn key_dir(&self) -> Check {
        const NAME: &str = "key directory";
        let dir = &self.place.config.auth.key_dir;
        let shown = dir.display();
        match fs::metadata(dir) {
            Ok(facts) if !facts.is_dir() => {
                Check::fail(NAME, format!("{shown} is not a directory"), "move it out of the way")
            }
            Ok(facts) => match facts.mode() & 0o7777 {
                0o700 => Check::pass(NAME, format!("{shown}, mode 0700")),
                mode => Check::warn(
                    NAME,
                    format!("{shown} has mode {mode:04o}, not 0700"),
                    format!("chmod 700 {shown}"),
                ),
            },
            Err(error) if self.is_closed(&error) => Check::unseen(NAME, shown),
            Err(error) => Check::fail(NAME, format!("{shown}: {error}"), SET_UP),
        }
    }

    /// Asks for keys as sshd does: the same program, as the same account.
    pub(super) fn keys_for_sshd(&self, program: &Path) -> Check {
        const NAME: &str = "keys for sshd";
        if self.uid != 0 {
            return Check::unseen(NAME, "what sshd is told");
        }
        let account = self.place.config.server.auth_account.as_str();
        let Ok(Some(auth)) = user_by_name(account) else {
            return Check::fail(NAME, format!("there is no account `{account}` to ask as"), SET_UP);
        };
        let dir = &self.place.config.auth.key_dir;
        let shown = dir.display();
        if fs::metadata(dir).is_ok_and(|facts| facts.mode() & 0o022 != 0) {
            let detail = format!("others may write to {shown}, so that no key in it is accepted");
            return Check::fail(NAME, detail, format!("chmod 700 {shown}"));
        }
        // Whose keys cannot be read is worth asking for too, but a good answer says more.
        let has_keys = |good: bool| move |user: &&User| user.keys.as_ref().map_or(!good, |keys| *keys > 0);
        let user = self.members().find(has_keys(true)).or_else(|| self.members().find(has_keys(false)));
        let mut command = Command::new(program);
        command.arg("auth-keys");
        if let Some(file) = self.installation.config_flag() {
            command.arg("--config").arg(file);
        }
        command.arg(user.map_or(NOBODY, |user| &user.name));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null());
        command.uid(auth.uid).gid(auth.gid);
        let output = match output_within(&mut command, ANSWER_LIMIT) {
            Ok(output) => output,
            Err(error) => {
                let said = format!("`{account}` cannot run {}: {error}", program.display());
                return Check::fail(
                    NAME,
                    said,
                    format!("put podspawn where everybody may run it, and `{SET_UP}`"),
                );
            }
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("the log says why");
        let answered = match user {
            Some(_) => !output.stdout.is_empty(),
            // Nobody's keys: that nothing went wrong has to do.
            None => output.stderr.is_empty(),
        };
        if answered && output.status.success() {
            return Check::pass(NAME, format!("`{account}` reads what it has to"));
        }
        let fix =
            format!("{SET_UP}; nobody may write to {shown} and the files in it but `{account}` and root");
        Check::fail(NAME, format!("`{account}` gets no keys: {said}"), fix)
    }

    /// Keys that let root in when nothing else does.
    pub(super) fn emergency_keys(&self) -> Check {
        const NAME: &str = "emergency keys";
        let file = crate::server::setup::emergency_keys(&self.place.config_dir);
        let shown = file.display();
        let facts = match fs::symlink_metadata(&file) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Check::warn(NAME, format!("{shown} is missing"), SET_UP);
            }
            Err(error) if self.is_closed(&error) => return Check::unseen(NAME, shown),
            Err(error) => return Check::fail(NAME, format!("{shown}: {error}"), format!("ls -l {shown}")),
        };
        let mode = facts.mode() & 0o7777;
        if !facts.is_file() || facts.uid() != 0 || mode & 0o077 != 0 {
            let detail = format!(
                "{shown} has to be a file of root's with mode 0600 (uid {}, mode {mode:04o})",
                facts.uid()
            );
            return Check::warn(NAME, detail, format!("chown root {shown}; chmod 600 {shown}"));
        }
        match fs::read(&file) {
            Ok(text) => match crate::server::keys::KeyLine::count(&text) {
                0 => Check::pass(NAME, format!("{shown} is there and empty: a key of root's may be put in")),
                count => Check::pass(NAME, format!("{count} in {shown}")),
            },
            Err(error) if self.is_closed(&error) => Check::pass(NAME, format!("{shown} is there")),
            Err(error) => Check::fail(NAME, format!("{shown}: {error}"), format!("ls -l {shown}")),
        }
    }
}
