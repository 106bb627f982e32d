//! Accounts that were there before: they join the group of container users, and leave it again.
//!
//! As long as they are in it their login shell is podspawn's: sshd runs every command through that shell, also its
//! `ForceCommand`, and a shell of the host's reads start-up files first (bash its `~/.bashrc`, zsh its `~/.zshenv`) that the
//! account's owner wrote while it was one of the host's.

use std::fs;
use std::path::Path;

use super::error::AccountError;
use super::lock::Lock;
use super::tools::run;
use crate::names::UserName;
use crate::server::stub::SHELL_NAME;
use crate::system::accounts::{self, Passwd};

/// Groups whose members can become root.
const PRIVILEGED: [&str; 8] = ["root", "sudo", "wheel", "docker", "adm", "disk", "lxd", "libvirt"];

/// Where the host keeps its own accounts.
const PASSWD: &str = "/etc/passwd";

/// First uid of people.
const FIRST_PERSON: u32 = 1000;

/// The uid that stands for nobody.
const NOBODY: u32 = 65534;

/// The account, if it may become a container user.
pub(super) fn find(user: &UserName) -> Result<Passwd, AccountError> {
    let found = accounts::user_by_name(user.as_str()).map_err(AccountError::look_up(user.as_str()))?;
    let account = found.ok_or_else(|| AccountError::NoAccount(user.clone()))?;
    if account.uid < FIRST_PERSON || account.uid == NOBODY {
        return Err(AccountError::System { user: user.clone(), uid: account.uid });
    }
    let groups = groups(user, &account)?;
    for group in PRIVILEGED {
        let gid = accounts::group_id(group).map_err(AccountError::look_up(group))?;
        if gid.is_some_and(|gid| groups.contains(&gid)) {
            return Err(AccountError::Privileged { user: user.clone(), group });
        }
    }
    Ok(account)
}

/// Gives an account podspawn's login shell, and puts it into a group.
pub(super) fn join(
    lock: &Lock,
    user: &UserName,
    account: &Passwd,
    shell: &Path,
    group: &str,
    gid: u32,
) -> Result<(), AccountError> {
    // Before the group: a member never has a shell of the host's.
    if Path::new(&account.shell) != shell && is_local(user)? {
        let shell = shell.as_os_str();
        run(lock, "usermod", ["--shell".as_ref(), shell, user.as_str().as_ref()])?;
    }
    if !groups(user, account)?.contains(&gid) {
        run(lock, "gpasswd", ["--add", user.as_str(), group])?;
    }
    Ok(())
}

/// Whether the account stands in the host's own file, the only place where its login shell can be changed.
pub(super) fn is_local(user: &UserName) -> Result<bool, AccountError> {
    let text = fs::read(PASSWD).map_err(AccountError::io("read", Path::new(PASSWD)))?;
    let name = user.as_str().as_bytes();
    let mut lines = text.split(|byte| *byte == b'\n');
    Ok(lines.any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(b":"))))
}

/// The login shell of an account, to be remembered before it gets podspawn's; none if it has that already, of whichever
/// directory of programs.
pub(super) fn former_shell(account: &Passwd) -> Option<String> {
    (!is_ours(&account.shell)).then(|| account.shell.clone())
}

fn is_ours(shell: &str) -> bool {
    Path::new(shell).file_name() == Some(SHELL_NAME.as_ref())
}

/// Takes an account out of a group, if it is in it, and gives its login shell back; its primary group stays, and so does a
/// shell that somebody else has given it meanwhile.
pub(super) fn leave(
    lock: &Lock,
    user: &UserName,
    former: Option<&str>,
    group: &str,
) -> Result<(), AccountError> {
    let found = accounts::user_by_name(user.as_str()).map_err(AccountError::look_up(user.as_str()))?;
    let gid = accounts::group_id(group).map_err(AccountError::look_up(group))?;
    let Some(account) = found else { return Ok(()) };
    if let Some(gid) = gid
        && account.gid != gid
        && groups(user, &account)?.contains(&gid)
    {
        run(lock, "gpasswd", ["--delete", user.as_str(), group])?;
    }
    // After the group, for the same reason.
    if let Some(former) = former
        && is_ours(&account.shell)
    {
        run(lock, "usermod", ["--shell", former, user.as_str()])?;
    }
    Ok(())
}

fn groups(user: &UserName, account: &Passwd) -> Result<Vec<u32>, AccountError> {
    accounts::groups_of(user.as_str(), account.gid).map_err(AccountError::look_up(user.as_str()))
}
