//! Accounts as userdb drop-ins: a file and a link to it by uid. Live at once, gone with the files.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directories::{make_root_dir, remove_file};
use super::error::AccountError;
use super::place::Place;
use super::record::Record;
use crate::names::UserName;
use crate::system::files;

/// What systemd reads.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    user_name: &'a str,
    uid: u32,
    gid: u32,
    real_name: &'static str,
    home_directory: &'a Path,
    shell: &'a Path,
    disposition: &'static str,
}

fn entry(place: &Place, user: &UserName) -> PathBuf {
    place.userdb().join(entry_name(user))
}

/// The file's name; what the link points to.
pub(super) fn entry_name(user: &UserName) -> String {
    format!("{user}.user")
}

fn link(place: &Place, uid: u32) -> PathBuf {
    place.userdb().join(format!("{uid}.user"))
}

/// Makes the account of a record. It has no password, and no group but its primary one.
pub(super) fn create(place: &Place, user: &UserName, record: &Record) -> Result<(), AccountError> {
    make_root_dir(place.userdb(), 0o755)?;
    let (home, shell) = (place.run_home(user), place.shell());
    let path = entry(place, user);
    let text = serde_json::to_vec(&Entry {
        user_name: user.as_str(),
        uid: record.uid,
        gid: record.gid,
        real_name: super::useradd::COMMENT,
        home_directory: &home,
        shell: &shell,
        disposition: "regular",
    })
    .map_err(|error| AccountError::Record { path: path.clone(), reason: error.to_string() })?;
    // The link first: it alone is no account, so that there is none that only its name leads to.
    let link = link(place, record.uid);
    symlink(entry_name(user), &link).map_err(AccountError::io("make", &link))?;
    files::write_atomic(&path, &text, 0o644).map_err(AccountError::io("write", &path))
}

/// Removes what there is of the account of a record, and nothing else.
pub(super) fn remove(place: &Place, user: &UserName, record: &Record) -> Result<(), AccountError> {
    #[derive(Deserialize)]
    struct Uid {
        uid: u32,
    }

    let path = entry(place, user);
    match fs::read(&path) {
        Ok(text) => {
            let own = serde_json::from_slice::<Uid>(&text).is_ok_and(|entry| entry.uid == record.uid);
            if own {
                remove_file(&path)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(AccountError::io("read", &path)(error)),
    }
    let link = link(place, record.uid);
    if fs::read_link(&link).is_ok_and(|target| target == Path::new(&entry_name(user))) {
        remove_file(&link)?;
    }
    Ok(())
}
