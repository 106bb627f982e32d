//! Accounts: of container users, and those that podspawn itself works as.

use std::fs;
use std::io;
use std::path::Path;

use super::{SET_UP, Server, User, some_of};
use crate::check::Check;
use crate::names::{UserName, quoted};
use crate::system::accounts::{Passwd, group_id, user_by_name};

impl Server {
    pub(super) fn group(&self) -> Check {
        const NAME: &str = "group of container users";
        let name = self.place.config.server.group.as_str();
        match group_id(name) {
            Ok(Some(gid)) => Check::pass(NAME, format!("`{name}`, gid {gid}")),
            Ok(None) => Check::fail(NAME, format!("there is no group `{name}`"), SET_UP),
            Err(error) => Check::fail(NAME, format!("`{name}`: {error}"), format!("getent group {name}")),
        }
    }

    /// The account that sshd asks for keys as.
    pub(super) fn auth_account(&self) -> Check {
        account("account for keys", self.place.config.server.auth_account.as_str(), SET_UP, &|account| {
            account.uid == 0
        })
    }

    /// The account that git fetches the repositories of projects as.
    pub(super) fn git_account(&self) -> Check {
        let name = self.place.config.server.git_account.as_str();
        account("account for git", name, SET_UP, &|account| account.uid == 0)
    }

    /// The account that the broker works as, if it is not root's.
    pub(super) fn server_account(&self) -> Option<Check> {
        let name = self.place.config.server.account.as_ref()?.as_str();
        let fix = "make the account, or correct `server.account`";
        Some(account("account of the broker", name, fix, &|_| false))
    }

    pub(super) fn login_shell(&self) -> Check {
        const NAME: &str = "login shell";
        let shell = self.place.shell();
        let shown = shell.display();
        match fs::canonicalize(&shell) {
            Ok(target) => Check::pass(NAME, format!("{shown} is {}", target.display())),
            Err(error) if self.is_closed(&error) => Check::unseen(NAME, shown),
            Err(error) => Check::fail(NAME, format!("{shown}: {error}"), SET_UP),
        }
    }

    /// Whether every container user can log in at all.
    pub(super) fn container_users(&self) -> Check {
        const NAME: &str = "container users";
        let Some(users) = &self.users else {
            let dir = self.place.config.auth.key_dir.display();
            return match self.uid {
                0 => Check::fail(NAME, format!("{dir} cannot be read"), SET_UP),
                _ => Check::unseen(NAME, dir),
            };
        };
        let gid = group_id(self.place.config.server.group.as_str()).ok().flatten();
        let shell = self.place.shell();
        let wrong: Vec<String> = users.iter().filter_map(|user| objection(user, gid, &shell)).collect();
        match (wrong.is_empty(), users.len()) {
            (true, 0) => Check::pass(NAME, "none yet: `podspawn add-user` makes one"),
            (true, count) => Check::pass(NAME, format!("{count}, each with an account and keys")),
            (false, _) => Check::warn(
                NAME,
                some_of(&wrong),
                "podspawn remove-user <name>, or `podspawn add-user <name> --key-file <file>` again (for an account that was \
                 there before, with `--existing`)",
            ),
        }
    }

    /// What an administrator decided for single users.
    pub(super) fn user_files(&self) -> Option<Check> {
        const NAME: &str = "configuration of single users";
        let dir = self.installation.beside("users");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) if self.is_closed(&error) => return Some(Check::unseen(NAME, dir.display())),
            Err(error) => {
                let detail = format!("{}: {error}", dir.display());
                return Some(Check::fail(NAME, detail, format!("ls -ld {}", dir.display())));
            }
        };
        let names = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".yaml")?.parse::<UserName>().ok()
        });
        let mut count = 0;
        let mut wrong = Vec::new();
        for name in names {
            count += 1;
            if let Err(error) = self.installation.load_for(&name) {
                wrong.push(format!("{name}: {error}"));
            }
        }
        wrong.sort();
        Some(match wrong.is_empty() {
            true => Check::pass(NAME, format!("{count} in {}", dir.display())),
            false => Check::fail(NAME, some_of(&wrong), format!("correct the file in {}", dir.display())),
        })
    }
}

fn account(name: &str, account: &str, fix: &str, is_wrong: &dyn Fn(&Passwd) -> bool) -> Check {
    match user_by_name(account) {
        Ok(Some(found)) if is_wrong(&found) => {
            Check::fail(name, format!("`{account}` is root"), "name another one in the configuration")
        }
        Ok(Some(found)) => Check::pass(name, format!("`{account}`, uid {}", found.uid)),
        Ok(None) => Check::fail(name, format!("there is no account `{account}`"), fix),
        Err(error) => Check::fail(name, format!("`{account}`: {error}"), format!("getent passwd {account}")),
    }
}

/// Why a user cannot log in, or not only into a container. Key files are named by whoever may write to their directory.
fn objection(user: &User, group: Option<u32>, shell: &Path) -> Option<String> {
    let name = quoted(&user.name);
    if user.name.parse::<UserName>().is_err() {
        return Some(format!("{name} is no name of a user"));
    }
    match (&user.account, &user.keys) {
        (None, _) => Some(format!("{name} has no account")),
        (Some(account), _) if account.uid == 0 => Some(format!("{name} is root")),
        (Some(_), Err(error)) => Some(format!("{name} has keys that cannot be read ({error})")),
        (Some(_), Ok(0)) => Some(format!("{name} has no key")),
        (Some(account), Ok(_)) => {
            let member = group.is_some_and(|gid| user.groups.contains(&gid));
            if !member {
                return Some(format!("{name} is not in the group"));
            }
            // sshd runs the forced command through it: what the shell reads first, it reads on this host.
            let foreign = Path::new(&account.shell) != shell;
            foreign.then(|| format!("{name} has the login shell {} of this host", quoted(&account.shell)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_account_group_or_key_is_told_about() {
        let shell = Path::new("/lib/podspawn-shell");
        let account = Passwd {
            name: "ann".into(),
            uid: 50_000,
            gid: 7,
            home: String::new(),
            shell: "/lib/podspawn-shell".into(),
        };
        let objection = |user: &User, group| super::objection(user, group, shell);
        let user = |name: &str, keys: usize, groups: &[u32]| User {
            name: name.into(),
            keys: Ok(keys),
            account: Some(account.clone()),
            groups: groups.into(),
        };
        assert_eq!(objection(&user("ann", 1, &[7]), Some(7)), None);
        assert_eq!(objection(&user("ann", 0, &[7]), Some(7)).unwrap(), "\"ann\" has no key");
        assert_eq!(objection(&user("ann", 1, &[8]), Some(7)).unwrap(), "\"ann\" is not in the group");
        let bash = Passwd { shell: "/bin/bash".into(), ..account.clone() };
        let foreign = User { account: Some(bash), ..user("ann", 1, &[7]) };
        assert_eq!(
            objection(&foreign, Some(7)).unwrap(),
            "\"ann\" has the login shell \"/bin/bash\" of this host"
        );
        let nobody = User { account: None, ..user("ann", 1, &[]) };
        assert_eq!(objection(&nobody, Some(7)).unwrap(), "\"ann\" has no account");
        assert_eq!(
            objection(&user("\x1b[2J", 1, &[7]), Some(7)).unwrap(),
            "\"\\u{1b}[2J\" is no name of a user"
        );
    }
}
