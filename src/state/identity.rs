//! The id of an installation beside its database: whoever has lost the database still owns what is labelled with it.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Where the id is kept for the database at `path`.
fn file(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".id");
    name.into()
}

fn known(path: &Path) -> Option<Uuid> {
    Uuid::parse_str(fs::read_to_string(file(path)).ok()?.trim()).ok()
}

/// The id for a new database: that of the one which was here before, if there was one.
pub(super) fn of_a_new(path: &Path) -> String {
    known(path).unwrap_or_else(Uuid::new_v4).to_string()
}

/// Keeps the id of the database in use. That it cannot be written (a full disk) keeps nobody from working: the next
/// process that opens the database tries again.
pub(super) fn remember(path: &Path, id: &str) {
    if known(path).is_some_and(|known| known.to_string() == id) {
        return;
    }
    if let Err(error) = write(path, id) {
        tracing::debug!(file = %file(path).display(), "the id of this installation cannot be kept: {error}");
    }
}

/// Whole or not at all: it is written beside and renamed.
fn write(path: &Path, id: &str) -> io::Result<()> {
    let (place, mut beside) = (file(path), OsString::from(path));
    beside.push(format!(".id.{}", Uuid::new_v4()));
    let beside = PathBuf::from(beside);
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = new.write_all(format!("{id}\n").as_bytes()).and_then(|()| fs::rename(&beside, &place));
    if written.is_err() {
        // The first error says more.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    #[test]
    fn a_database_that_was_lost_has_the_id_of_the_one_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let first = Store::open(&path).unwrap().installation().to_owned();
        for name in ["state.db", "state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(dir.path().join(name));
        }
        assert_eq!(Store::open(&path).unwrap().installation(), first);
        // One of another host is what it says itself, and what is written is no id where nobody wrote one.
        fs::write(file(&path), "no id").unwrap();
        assert_eq!(Store::open(&path).unwrap().installation(), first);
        assert_eq!(fs::read_to_string(file(&path)).unwrap().trim(), first);
        assert_eq!(
            fs::read_dir(dir.path())
                .unwrap()
                .filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().contains(".id."))
                .count(),
            0
        );
    }
}
