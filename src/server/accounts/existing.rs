//! Accounts that were there before: they join the group of container users, and leave it again.

use super::error::AccountError;
use super::lock::Lock;
use super::tools::run;
use crate::names::UserName;
use crate::system::accounts::{self, Passwd};

/// Groups whose members can become root.
const PRIVILEGED: [&str; 8] = ["root", "sudo", "wheel", "docker", "adm", "disk", "lxd", "libvirt"];

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

/// Puts an account into a group; true if it was not in it.
pub(super) fn join(
    lock: &Lock,
    user: &UserName,
    account: &Passwd,
    group: &str,
    gid: u32,
) -> Result<bool, AccountError> {
    if groups(user, account)?.contains(&gid) {
        return Ok(false);
    }
    run(lock, "gpasswd", ["--add", user.as_str(), group])?;
    Ok(true)
}

/// Takes an account out of a group, if it is in it; its primary group stays.
pub(super) fn leave(lock: &Lock, user: &UserName, group: &str) -> Result<(), AccountError> {
    let found = accounts::user_by_name(user.as_str()).map_err(AccountError::look_up(user.as_str()))?;
    let gid = accounts::group_id(group).map_err(AccountError::look_up(group))?;
    if let (Some(account), Some(gid)) = (found, gid)
        && account.gid != gid
        && groups(user, &account)?.contains(&gid)
    {
        run(lock, "gpasswd", ["--delete", user.as_str(), group])?;
    }
    Ok(())
}

fn groups(user: &UserName, account: &Passwd) -> Result<Vec<u32>, AccountError> {
    accounts::groups_of(user.as_str(), account.gid).map_err(AccountError::look_up(user.as_str()))
}
