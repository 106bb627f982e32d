//! Files of the container, treated as what they are: somebody else's.

use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{
    CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, openat, renameat, rmdir, unlink, unlinkat,
};

/// Longest file that is read.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The content of a regular file; never waits, whatever else stands in its place. None if there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size as u64 > MAX_BYTES {
        return Err(io::Error::other("not a regular file of sensible size"));
    }
    let mut content = Vec::new();
    std::fs::File::from(fd).take(MAX_BYTES).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Replaces a file's content, keeping owner and mode of an old one; atomic where the file system allows it.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let old = std::fs::symlink_metadata(path).ok();
    let linked = old.as_ref().is_some_and(|old| old.is_symlink());
    let temporary = path.with_extension("podspawn-new");
    let written = (!linked).then(|| write_new(&temporary, content, mode, old.as_ref()));
    let moved = match written {
        Some(Ok(())) => renameat(CWD, &temporary, CWD, path).map_err(io::Error::from),
        Some(Err(error)) => Err(error),
        None => Err(io::ErrorKind::Other.into()),
    };
    if moved.is_ok() {
        return Ok(());
    }
    let _ = unlinkat(CWD, &temporary, rustix::fs::AtFlags::empty());
    // A file that is a mount of its own, or a link to elsewhere, cannot be replaced: written in place.
    if old.is_none() {
        return moved;
    }
    std::fs::write(path, content)
}

fn write_new(path: &Path, content: &[u8], mode: u32, old: Option<&std::fs::Metadata>) -> io::Result<()> {
    let _ = unlinkat(CWD, path, rustix::fs::AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = content;
    while !rest.is_empty() {
        let wrote = rustix::io::write(&fd, rest)?;
        rest = &rest[wrote..];
    }
    if let Some(old) = old {
        let _ = fchown(&fd, Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())));
    }
    let mode = old.map_or(mode, |old| old.permissions().mode() & 0o7777);
    Ok(fchmod(&fd, Mode::from_raw_mode(mode))?)
}

/// A regular file that somebody may execute.
pub(crate) fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Removes a directory, if it is there, with whatever the user has put or renamed there, one level deep.
pub(crate) fn remove_directory(directory: &Path) {
    if rmdir(directory).is_ok() {
        return;
    }
    if let Ok(entries) = std::fs::read_dir(directory) {
        for entry in entries.flatten() {
            let _ = unlink(entry.path()).or_else(|_| rmdir(entry.path()));
        }
    }
    let _ = rmdir(directory);
}
