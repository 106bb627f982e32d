//! Accounts, and groups, by the system's own programs.

use std::ops::RangeInclusive;
use std::path::Path;

use super::error::AccountError;
use super::lock::Lock;
use super::place::Place;
use super::record::Record;
use super::subids;
use super::tools::run;
use crate::names::UserName;
use crate::system::accounts::{self, Passwd};

/// The home of accounts that have none.
const NO_HOME: &str = "/nonexistent";

/// What accounts say about themselves.
pub(super) const COMMENT: &str = "podspawn container user";

/// Makes the account of a record: no password, no home, no group but its primary one, no ranges of subordinate ids.
pub(super) fn create(
    lock: &Lock,
    place: &Place,
    user: &UserName,
    record: &Record,
) -> Result<(), AccountError> {
    let (uid, gid) = (record.uid.to_string(), record.gid.to_string());
    let (home, shell) = (place.run_home(user), place.shell());
    let mut args: Vec<&std::ffi::OsStr> = Vec::new();
    for text in ["--no-create-home", "--no-user-group", "--no-log-init", "--password", "*"] {
        args.push(text.as_ref());
    }
    for text in ["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", "--comment", COMMENT] {
        args.push(text.as_ref());
    }
    args.extend(["--uid".as_ref(), uid.as_ref(), "--gid".as_ref(), gid.as_ref()] as [&std::ffi::OsStr; 4]);
    args.extend(["--home-dir".as_ref(), home.as_os_str(), "--shell".as_ref(), shell.as_os_str()]);
    args.push(user.as_str().as_ref());
    run(lock, "useradd", args)
}

/// Removes the account of a record, if the system has this very one.
pub(super) fn remove(lock: &Lock, user: &UserName, record: &Record) -> Result<(), AccountError> {
    if record.is_intact()? { run(lock, "userdel", [user.as_str()]) } else { Ok(()) }
}

/// The gid of a group, which is made if there is none.
pub(super) fn ensure_group(lock: &Lock, name: &str) -> Result<u32, AccountError> {
    let look = || accounts::group_id(name).map_err(AccountError::look_up(name));
    if let Some(gid) = look()? {
        return Ok(gid);
    }
    let made = run(lock, "groupadd", ["--system", name]);
    // Another installation may have made it meanwhile.
    match look()? {
        Some(gid) => Ok(gid),
        None => made.and(Err(AccountError::LookUp {
            name: name.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })),
    }
}

/// The account that sshd asks for keys as, which is made if there is none.
pub(super) fn ensure_auth_account(lock: &Lock, name: &str) -> Result<Passwd, AccountError> {
    ensure_account(lock, name, &["--no-create-home", "--home-dir", NO_HOME])
}

/// An account that [`ensure_auth_account`] made; none if there is none, or one of another making.
pub(super) fn own_account(name: &str) -> Result<Option<Passwd>, AccountError> {
    let found = accounts::user_by_name(name).map_err(AccountError::look_up(name))?;
    Ok(found.filter(|account| account.uid != 0 && account.home == NO_HOME))
}

/// Removes such an account.
pub(super) fn remove_account(lock: &Lock, name: &str) -> Result<(), AccountError> {
    match own_account(name)? {
        Some(_) => run(lock, "userdel", [name]),
        None => Ok(()),
    }
}

/// The account that a rootless engine belongs to, which is made if there is none. `reserved`: uids of container users.
pub(super) fn ensure_engine_account(
    lock: &Lock,
    name: &str,
    reserved: RangeInclusive<u32>,
) -> Result<Passwd, AccountError> {
    if let Some(account) = accounts::user_by_name(name).map_err(AccountError::look_up(name))? {
        return Ok(account);
    }
    let account = ensure_account(lock, name, &["--create-home"])?;
    subids::give(lock, &account, reserved)?;
    Ok(account)
}

/// An account of the system that nobody logs in to, which is made, with these flags, if there is none.
fn ensure_account(lock: &Lock, name: &str, flags: &[&str]) -> Result<Passwd, AccountError> {
    let look = || accounts::user_by_name(name).map_err(AccountError::look_up(name));
    if let Some(account) = look()? {
        return Ok(account);
    }
    let nologin = ["/usr/sbin/nologin", "/sbin/nologin"].into_iter().find(|path| Path::new(path).exists());
    let shell = nologin.unwrap_or("/bin/false");
    let usual = ["--system", "--user-group", "--shell", shell];
    let made = run(lock, "useradd", usual.iter().chain(flags).chain([&name]));
    match look()? {
        Some(account) => Ok(account),
        None => made.and(Err(AccountError::LookUp {
            name: name.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })),
    }
}
