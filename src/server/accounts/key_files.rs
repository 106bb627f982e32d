//! The files of users' keys.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::AccountError;
use super::place::Place;
use crate::names::UserName;
use crate::server::keys::KeyLine;
use crate::system::files::{self, TrustError};

/// Longest key file that `auth-keys` reads, in bytes.
const LIMIT: usize = 1 << 20;

/// Adds keys to a user's file, all of them or none. The directory exists. The caller holds the lock.
pub(super) fn append(place: &Place, user: &UserName, keys: &[KeyLine]) -> Result<(), AccountError> {
    let path = place.key_file(user);
    let mut text = read(&path)?.unwrap_or_default();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    for key in keys {
        text.extend_from_slice(key.stored().as_bytes());
        text.push(b'\n');
    }
    if text.len() > LIMIT {
        return Err(AccountError::TooManyKeys(path));
    }
    files::write_atomic(&path, &text, 0o644).map_err(AccountError::io("write", &path))
}

/// A key file as it is; none if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, AccountError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(TrustError::NotAFile(path.to_owned()).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AccountError::io("look at", path)(error)),
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    let owner = fs::metadata(dir).map_err(AccountError::io("look at", dir))?.uid();
    Ok(Some(files::read_trusted(path, owner, LIMIT as u64)?))
}

/// A user with a key file.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// The file's name.
    pub name: String,
    /// How many keys it has; the reason if it cannot be read.
    pub keys: Result<usize, String>,
}

/// The key files of a directory, by name. A directory that does not exist has none. Directories and files whose names
/// begin with a dot are passed over.
pub fn list(key_dir: &Path) -> Result<Vec<Listed>, AccountError> {
    let entries = match fs::read_dir(key_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(AccountError::io("read", key_dir)(error)),
    };
    let mut listed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(AccountError::io("read", key_dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let keys = match read(&entry.path()) {
            Ok(text) => Ok(KeyLine::count(&text.unwrap_or_default())),
            Err(error) => Err(error.to_string()),
        };
        listed.push(Listed { name, keys });
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listed)
}
