//! Making a container user: account, home, keys; all of it or nothing.

use std::fs;

use jiff::Timestamp;

use super::directories::{clear_unfinished, ensure_key_dir, ensure_run_home, make_root_dir, remove_tree};
use super::error::AccountError;
use super::lock::Lock;
use super::place::Place;
use super::record::{Record, Way, next_uid};
use super::{existing, key_files, useradd, userdb, way};
use crate::names::UserName;
use crate::server::keys::KeyLine;
use crate::system::accounts;

/// What is wanted.
#[derive(Debug)]
pub struct Addition<'a> {
    /// Whose keys.
    pub user: &'a UserName,
    /// Keys to add; at least one.
    pub keys: &'a [KeyLine],
    /// Use an account that exists already.
    pub existing: bool,
    /// When.
    pub now: Timestamp,
}

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub struct Added {
    /// The account.
    pub record: Record,
    /// It was made, or taken, just now.
    pub new: bool,
    /// What stands in the way of a login yet, one line each.
    pub warnings: Vec<String>,
}

/// Adds keys for a user, and makes the account if there is none. Needs root. If anything fails, what was made for this user
/// is undone; the group, the account for sshd and the directories stay, since every user needs them.
pub fn add(place: &Place, addition: &Addition<'_>) -> Result<Added, AccountError> {
    let Addition { user, keys, existing, now } = *addition;
    make_root_dir(&place.accounts(), 0o755)?;
    let lock = Lock::take(place)?;
    clear(place, user)?;

    // What can be refused is refused before anything is made.
    let known = match Record::read(place, user)? {
        Some(record) if existing && record.way != Way::Existing => {
            return Err(AccountError::Own(user.clone()));
        }
        Some(record) if !record.unfinished && record.is_intact()? => Some(record),
        Some(left) => {
            // Whoever made or removed it was killed, or somebody else removed the account.
            dismantle(&lock, place, user, &left)?;
            Record::remove(place, user)?;
            None
        }
        None => None,
    };
    let plan = match &known {
        Some(_) => None,
        None if existing => {
            let account = existing::find(user)?;
            if !existing::is_local(user)? {
                return Err(AccountError::Elsewhere(user.clone()));
            }
            Some((Way::Existing, Some(account)))
        }
        None => {
            let found =
                accounts::user_by_name(user.as_str()).map_err(AccountError::look_up(user.as_str()))?;
            if found.is_some() {
                return Err(AccountError::Exists(user.clone()));
            }
            Some((way::choose(place.config.accounts)?, None))
        }
    };

    let group = place.config.server.group.as_str();
    let gid = useradd::ensure_group(&lock, group)?;
    let auth = useradd::ensure_auth_account(&lock, place.config.server.auth_account.as_str())?;
    ensure_key_dir(&place.config.auth.key_dir, &auth)?;

    let new = plan.is_some();
    let shell = place.shell();
    let mut undo = Undo { lock: &lock, place, user, record: None, home: false };
    let record = match (known, plan) {
        (Some(mut record), _) => {
            if record.way == Way::Existing {
                let account = existing::find(user)?;
                // One that is kept elsewhere was taken when podspawn left shells alone: it has its other keys, and gets this one.
                let local = existing::is_local(user)?;
                // Others have given it another shell meanwhile, or it was taken then, too.
                if let Some(former) = existing::former_shell(&account).filter(|_| local) {
                    record.shell = Some(former);
                    record.write(place, user)?;
                }
                existing::join(&lock, user, &account, &shell, group, gid)?;
            }
            record
        }
        (None, plan) => {
            let (way, account) = plan.expect("what is not known is planned");
            let (uid, primary) = match &account {
                Some(account) => (account.uid, account.gid),
                None => (next_uid(place)?, gid),
            };
            let mut record = Record {
                name: user.to_string(),
                uid,
                gid: primary,
                way,
                created: now.to_string(),
                shell: account.as_ref().and_then(existing::former_shell),
                unfinished: true,
            };
            record.write(place, user)?;
            undo.record = Some(record.clone());
            match (way, &account) {
                (Way::Existing, Some(account)) => {
                    existing::join(&lock, user, account, &shell, group, gid)?;
                }
                (Way::Userdb, _) => userdb::create(place, user, &record)?,
                _ => useradd::create(&lock, place, user, &record)?,
            }
            if !record.is_intact()? {
                return Err(AccountError::Unseen(user.clone()));
            }
            record.unfinished = false;
            record
        }
    };
    undo.home = new;
    ensure_run_home(place, user, record.uid, record.gid)?;
    if new {
        record.write(place, user)?;
    }
    // Last: from here on there is a user, and before it an account that nobody has a key for.
    key_files::append(place, user, keys)?;
    undo.record = None;
    undo.home = false;
    drop(undo);
    Ok(Added { warnings: warnings(place), record, new })
}

/// Removes what was made so far, in reverse, unless it is told not to.
struct Undo<'a> {
    lock: &'a Lock,
    place: &'a Place,
    user: &'a UserName,
    record: Option<Record>,
    home: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let Self { lock, place, user, record, home } = self;
        let mut clean = true;
        // The error that is reported is the one that led here; what stays is repaired by the next command for this user.
        let mut tell = |outcome: Result<(), AccountError>| {
            if let Err(error) = outcome {
                tracing::warn!(user = %user, %error, "not undone");
                clean = false;
            }
        };
        if *home {
            tell(remove_tree(&place.run_home(user)));
        }
        if let Some(record) = record {
            tell(dismantle(lock, place, user, record));
            if clean && let Err(error) = Record::remove(place, user) {
                tracing::warn!(user = %user, %error, "not undone");
            }
        }
    }
}

/// Removes the account of a record, or takes it out of the group if it is not podspawn's own.
pub(super) fn dismantle(
    lock: &Lock,
    place: &Place,
    user: &UserName,
    record: &Record,
) -> Result<(), AccountError> {
    match record.way {
        Way::Userdb => userdb::remove(place, user, record),
        Way::Useradd => useradd::remove(lock, user, record),
        Way::Existing => {
            let group = place.config.server.group.as_str();
            existing::leave(lock, user, record.shell.as_deref(), group)
        }
    }
}

/// Removes what writers that were killed left behind.
pub(super) fn clear(place: &Place, user: &UserName) -> Result<(), AccountError> {
    clear_unfinished(&place.accounts(), user.as_str())?;
    clear_unfinished(&place.accounts(), ".last-uid")?;
    clear_unfinished(&place.config.auth.key_dir, user.as_str())?;
    clear_unfinished(place.userdb(), &userdb::entry_name(user))
}

fn warnings(place: &Place) -> Vec<String> {
    let shell = place.shell();
    if fs::metadata(&shell).is_err() {
        return vec![format!(
            "{} does not exist yet: run `podspawn server-setup` before the first login",
            shell.display()
        )];
    }
    Vec::new()
}
