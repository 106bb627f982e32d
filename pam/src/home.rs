//! The home of a container user's account on this host: it lies where a boot takes it away, and only root can make it again.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, openat};
use rustix::io::Errno;

use crate::member::Account;

/// Where `xauth` keeps the keys of displays.
const KEYS: &str = ".Xauthority";

/// Makes the home, empty and the account's alone, if it is one of podspawn's (`<directory of the socket>/homes/…`) and not
/// there. Another one, of an account that existed before, is none of ours.
pub(crate) fn make(socket: Option<&Path>, account: &Account) -> io::Result<()> {
    let home = Path::new(OsStr::from_bytes(account.home.to_bytes()));
    let Some(homes) = socket.and_then(Path::parent).map(|directory| directory.join("homes")) else {
        return Ok(());
    };
    if home.parent() != Some(&homes) {
        return Ok(());
    }
    if home.symlink_metadata().is_err() {
        create(&homes, home, account)?;
    }
    keys(home, account)
}

fn create(homes: &Path, home: &Path, account: &Account) -> io::Result<()> {
    // What is made in a directory that others may change could be exchanged before it is given away.
    let facts = homes.symlink_metadata()?;
    if !facts.is_dir() || facts.uid() != 0 || facts.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not root's alone", homes.display()),
        ));
    }
    match fs::DirBuilder::new().mode(0o700).create(home) {
        Ok(()) => lchown(home, Some(account.uid), Some(account.gid)),
        // Another login of the same moment.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes an empty file of keys: of one that is not there `xauth` would tell the client, with its path on this host.
fn keys(home: &Path, account: &Account) -> io::Result<()> {
    let common = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let home = openat(CWD, home, OFlags::PATH | OFlags::DIRECTORY | common, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | common;
    match openat(home, KEYS, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(fchown(file, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid)))?),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
