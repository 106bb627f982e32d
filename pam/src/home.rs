//! The home of a container user's account on this host: it lies where a boot takes it away, and only root can make it again.
//! The last connection that ends leaves it empty.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Gid, Mode, OFlags, Uid, fchown, flock, openat, unlinkat,
};
use rustix::io::Errno;

use crate::member::Account;

/// Where `xauth` keeps the keys of displays.
const KEYS: &str = ".Xauthority";

/// Directories in each other that are emptied; nothing of podspawn makes even one.
const DEEPEST: usize = 8;

/// An open home, shared by the connections of its account.
pub(crate) struct Home(OwnedFd);

/// Makes the home, empty and the account's alone, if it is one of podspawn's (`<directory of the socket>/homes/…`) and not
/// there. Another one, of an account that existed before, is none of ours.
pub(crate) fn make(socket: Option<&Path>, account: &Account) -> io::Result<Option<Home>> {
    let home = Path::new(OsStr::from_bytes(account.home.to_bytes()));
    let Some(homes) = socket.and_then(Path::parent).map(|directory| directory.join("homes")) else {
        return Ok(None);
    };
    if home.parent() != Some(&homes) {
        return Ok(None);
    }
    if home.symlink_metadata().is_err() {
        create(&homes, home, account)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let home = openat(CWD, home, flags, Mode::empty())?;
    // Whoever empties it in this moment takes nothing that is missed.
    let _ = flock(&home, FlockOperation::NonBlockingLockShared);
    keys(&home, account)?;
    Ok(Some(Home(home)))
}

impl Home {
    /// Removes what is in it, unless another connection of the account uses it.
    pub(crate) fn empty(&self) -> io::Result<()> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(empty(self.0.as_fd(), DEEPEST)?),
            Err(Errno::WOULDBLOCK) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Follows no link, whatever is exchanged meanwhile.
fn empty(directory: BorrowedFd<'_>, deepest: usize) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) if deepest > 0 => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = openat(directory, name, flags, Mode::empty())?;
                empty(inner.as_fd(), deepest - 1)?;
                unlinkat(directory, name, AtFlags::REMOVEDIR)?;
            }
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
    }
    Ok(())
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
fn keys(home: &OwnedFd, account: &Account) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(home, KEYS, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(fchown(file, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid)))?),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
