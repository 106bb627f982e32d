//! The directories of an installation as far as accounts need them, and the homes of accounts.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::error::AccountError;
use super::place::Place;
use crate::names::UserName;
use crate::system::accounts::Passwd;
use crate::system::directory::{Directory, remove_whole};

/// Makes a directory and what is missing above it, root's; one that exists stays as it is.
pub(super) fn make_root_dir(path: &Path, mode: u32) -> Result<(), AccountError> {
    Directory::make(path, mode).map(drop).map_err(AccountError::io("make", path))
}

/// The key directory: readable by the account that sshd asks for keys as, and by nobody else.
pub(super) fn ensure_key_dir(path: &Path, auth: &Passwd) -> Result<(), AccountError> {
    let held = Directory::make(path, 0o700).map_err(AccountError::io("make", path))?;
    let metadata = held.metadata().map_err(AccountError::io("look at", path))?;
    if metadata.uid() != 0 && metadata.uid() != auth.uid {
        return Err(AccountError::KeyDir { path: path.to_owned(), owner: metadata.uid() });
    }
    held.give(auth.uid, auth.gid).map_err(AccountError::io("give away", path))?;
    held.set_mode(0o700).map_err(AccountError::io("change", path))
}

/// The run-time home of an account, empty. Only root can put anything where it lies.
pub(super) fn ensure_run_home(
    place: &Place,
    user: &UserName,
    uid: u32,
    gid: u32,
) -> Result<(), AccountError> {
    make_root_dir(&place.config.server.run_dir, 0o755)?;
    make_root_dir(&place.run_homes(), 0o711)?;
    let home = place.run_home(user);
    match fs::symlink_metadata(&home) {
        Ok(metadata) if metadata.is_dir() && metadata.uid() == uid => return Ok(()),
        // It was another account's of this name.
        Ok(_) => remove_tree(&home)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(AccountError::io("look at", &home)(error)),
    }
    DirBuilder::new().mode(0o700).create(&home).map_err(AccountError::io("make", &home))?;
    let given = Directory::open(&home).and_then(|held| held.give(uid, gid));
    given.map_err(AccountError::io("give away", &home))
}

/// Removes a directory with everything in it, without following links of another account's; that it is gone already is no
/// error.
pub(super) fn remove_tree(path: &Path) -> Result<(), AccountError> {
    match remove_whole(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(AccountError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a file; that it is gone already is no error.
pub(super) fn remove_file(path: &Path) -> Result<(), AccountError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(AccountError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what a writer that was killed left beside the file that it was about to replace. The caller holds the lock, so
/// that nobody is writing.
pub(super) fn clear_unfinished(dir: &Path, name: &str) -> Result<(), AccountError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(AccountError::io("read", dir)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(AccountError::io("read", dir))?;
        let found = entry.file_name();
        let rest =
            found.to_str().and_then(|text| text.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.'));
        let numbers = rest.and_then(|rest| rest.split_once('-'));
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if numbers.is_some_and(|(pid, count)| number(pid) && number(count)) {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_writer_left_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".sarah.12-0", ".sarah.user.12-0", ".sarah.x-0", "sarah", ".sarah.12-", ".james.12-0"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        clear_unfinished(dir.path(), "sarah").unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".james.12-0", ".sarah.12-", ".sarah.user.12-0", ".sarah.x-0", "sarah"]);
        clear_unfinished(&dir.path().join("none"), "sarah").unwrap();
    }
}
