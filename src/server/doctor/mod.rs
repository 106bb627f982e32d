//! Whether this host's sshd leads container users into their containers: one check after the other, none stopping the next.
//!
//! Only looks: nothing is made, changed or started, and no state is opened. What only root can look at is said to be so
//! where somebody else asks.

mod accounts;
mod broker;
mod keys;
mod pam;
mod socket;
mod sshd;

use std::io;
use std::path::{Path, PathBuf};

use crate::check::Check;
use crate::config::ConfigError;
use crate::server::Installation;
use crate::server::accounts::{self as users, Place};
use crate::system::accounts::{Passwd, group_id, groups_of, user_by_name};

/// What repairs most of what can be wrong.
const SET_UP: &str = "podspawn server-setup";

/// Most names that one check lists.
const MOST_NAMED: usize = 5;

/// A server that is looked at.
#[derive(Debug)]
pub struct Server {
    installation: Installation,
    place: Place,
    config_file: PathBuf,
    sshd_config: PathBuf,
    /// This program, links resolved.
    program: PathBuf,
    /// Who asks.
    uid: u32,
    /// Container users: those with a key file. None if whoever asks may not see them.
    users: Option<Vec<User>>,
}

/// A container user.
#[derive(Debug)]
struct User {
    name: String,
    /// How many keys; the reason if they cannot be read.
    keys: Result<usize, String>,
    account: Option<Passwd>,
    /// Every group of the account.
    groups: Vec<u32>,
}

impl Server {
    /// The server of an installation, by its configuration.
    pub fn new(
        installation: Installation,
        config: crate::config::Config,
        sshd_config: PathBuf,
        program: PathBuf,
        uid: u32,
    ) -> Self {
        let config_file = installation.beside("config.yaml");
        let config_file = installation.config_flag().map_or(config_file, Path::to_owned);
        let config_dir = config_file.parent().unwrap_or(Path::new("/")).to_owned();
        let place = Place { config, config_dir };
        let users = list(&place);
        Self { installation, place, config_file, sshd_config, program, uid, users }
    }

    /// The checks that come after those of the engine's daemon. `engine`: its name and its socket, if it has one.
    pub fn first(&self, engine: Option<(&str, Option<&Path>)>, tell: &dyn Fn(Check)) {
        if let Some((name, path)) = engine {
            tell(self.engine_socket(name, path));
        }
        without_configuration(&self.sshd_config, self.uid, tell);
        tell(self.config_dir());
        tell(self.key_dir());
    }

    /// All others.
    pub fn rest(&self, tell: &dyn Fn(Check)) {
        tell(Check::pass("configuration", self.config_file.display().to_string()));
        self.user_files().map(tell);
        tell(self.group());
        tell(self.auth_account());
        tell(self.git_account());
        self.server_account().map(tell);
        let sshd = self.sshd(tell);
        let (module, line) = (self.module(), self.line(sshd.pam_service.as_deref()));
        tell(module.check);
        tell(line.check);
        tell(self.forwarding(sshd.uses_pam, line.good));
        tell(self.keys_for_sshd(&sshd.program));
        tell(self.login_shell());
        tell(self.emergency_keys());
        tell(self.container_users());
        let starts_broker = module.good && line.good && sshd.uses_pam != Some(false);
        self.broker(starts_broker, tell);
    }

    /// The account that the broker works as, if it is not root's and if there is one.
    fn owner(&self) -> io::Result<Option<Passwd>> {
        match &self.place.config.server.account {
            Some(name) => user_by_name(name.as_str()),
            None => user_by_name("root"),
        }
    }

    /// Whether an error means that only root can look.
    fn is_closed(&self, error: &io::Error) -> bool {
        self.uid != 0 && error.kind() == io::ErrorKind::PermissionDenied
    }

    /// Container users whose account is in the group, as they should be.
    fn members(&self) -> impl Iterator<Item = &User> {
        let gid = group_id(self.place.config.server.group.as_str()).ok().flatten();
        let is_member =
            move |user: &&User| user.account.is_some() && gid.is_some_and(|gid| user.groups.contains(&gid));
        self.users.iter().flatten().filter(is_member)
    }
}

/// The checks that need no configuration.
pub fn without_configuration(sshd_config: &Path, uid: u32, tell: &dyn Fn(Check)) {
    tell(sshd::version());
    tell(sshd::valid(sshd_config, uid));
    tell(sshd::asks_podspawn(sshd_config, uid));
}

/// What is said of a configuration that is not valid.
pub fn broken_configuration(error: &ConfigError, said: String) -> Check {
    let fix = match error {
        ConfigError::Read { path, .. } => format!("look at {}", path.display()),
        _ => "correct the line that is named; until then nobody new can log in".into(),
    };
    Check::fail("configuration", said, fix)
}

fn list(place: &Place) -> Option<Vec<User>> {
    let listed = users::list(&place.config.auth.key_dir).ok()?;
    Some(
        listed
            .into_iter()
            .map(|users::Listed { name, keys }| {
                let account = user_by_name(&name).ok().flatten();
                let groups = account.as_ref().and_then(|account| groups_of(&name, account.gid).ok());
                User { name, keys, account, groups: groups.unwrap_or_default() }
            })
            .collect(),
    )
}

/// A list for people: the first few, and how many more.
fn some_of(texts: &[String]) -> String {
    let mut shown = texts.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(more) = texts.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        shown.push_str(&format!(", and {more} more"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(some_of(&names(2)), "0, 1");
        assert_eq!(some_of(&names(5)), "0, 1, 2, 3, 4");
        assert_eq!(some_of(&names(7)), "0, 1, 2, 3, 4, and 2 more");
    }
}
