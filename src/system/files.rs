//! Files that are trusted, written whole or not at all, or reached through a directory that somebody else controls.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use thiserror::Error;

/// Why a file is not trusted.
#[derive(Debug, Error)]
pub enum TrustError {
    /// It cannot be opened or read.
    #[error("open {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is a directory, a device, a pipe.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Somebody else owns it or its directory.
    #[error("{} belongs to uid {owner}, not to root or uid {expected}", path.display())]
    Owner {
        /// The file or its directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who may.
        expected: u32,
    },
    /// Others may write to it or to its directory.
    #[error("{} can be written by others (mode {mode:04o})", path.display())]
    Writable {
        /// The file or its directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is longer than anything sensible.
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
}

/// Opens a file that decides what podspawn does: it and its directory belong to root or `owner`, and nobody else may write
/// to either. Checked on the open handle, so that a file put in its place afterwards does not matter.
pub fn open_trusted(path: &Path, owner: u32) -> Result<File, TrustError> {
    let io = |source| TrustError::Io { path: path.to_owned(), source };
    // Non-blocking: a named pipe put there must not hold anybody up.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(TrustError::NotAFile(path.to_owned()));
    }
    check_owner(path, &metadata, owner)?;
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    check_owner(parent, &fs::metadata(parent).map_err(io)?, owner)?;
    Ok(file)
}

/// Reads a trusted file whole, at most `limit` bytes.
pub fn read_trusted(path: &Path, owner: u32, limit: u64) -> Result<Vec<u8>, TrustError> {
    let io = |source| TrustError::Io { path: path.to_owned(), source };
    let file = open_trusted(path, owner)?;
    // Room for all of it and the end: one read instead of one for each doubling.
    let length = file.metadata().map_err(io)?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(TrustError::TooLong { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

fn check_owner(path: &Path, metadata: &fs::Metadata, owner: u32) -> Result<(), TrustError> {
    if metadata.uid() != 0 && metadata.uid() != owner {
        return Err(TrustError::Owner { path: path.to_owned(), owner: metadata.uid(), expected: owner });
    }
    let mode = metadata.mode() & 0o7777;
    // In a directory with the sticky bit nobody removes or renames what belongs to another.
    let sticky_directory = metadata.is_dir() && mode & 0o1000 != 0;
    if mode & 0o022 != 0 && !sticky_directory {
        return Err(TrustError::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Writes a file so that every reader sees the old content or the new, never a part: a neighbour is written, synced, renamed.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write_renamed(path, content, mode, None)
}

/// As [`write_atomic`], for a file that exists: mode, owner and group stay what they are.
pub fn replace_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let facts = fs::metadata(path)?;
    write_renamed(path, content, facts.mode() & 0o7777, Some((facts.uid(), facts.gid())))
}

fn write_renamed(path: &Path, content: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(temporary);
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The error that is reported is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Whether this process may make files in a directory.
pub fn writable(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}

/// Bytes that an ordinary process may still write on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let facts = rustix::fs::statvfs(path)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Opens `path` (relative, or absolute within `root`) without following a single symbolic link and without leaving `root`,
/// whatever the owner of that tree puts there meanwhile. The descriptor is good for looking and for connecting only.
pub fn open_path_in_root(root: impl AsFd, path: &Path, directory: bool) -> io::Result<OwnedFd> {
    let mut flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if directory {
        flags |= OFlags::DIRECTORY;
    }
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Opens an ordinary file like that for reading. Never waits for whoever holds it.
pub fn open_file_in_root(root: impl AsFd, path: &Path) -> io::Result<File> {
    let found = open_path_in_root(root, path, false)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // What was looked at, by whatever name it goes now.
    let again = format!("/proc/self/fd/{}", found.as_raw_fd());
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("podspawn-files-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    #[test]
    fn of_a_tree_that_is_somebody_elses_only_ordinary_files_are_read() {
        let dir = Temporary::new("tree");
        fs::create_dir(dir.0.join("etc")).unwrap();
        fs::write(dir.0.join("etc/file"), "text").unwrap();
        std::os::unix::fs::symlink("file", dir.0.join("etc/link")).unwrap();
        std::os::unix::fs::symlink("etc", dir.0.join("linked")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.0.join("etc/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let root = File::open(&dir.0).unwrap();
        let read = |path: &str| {
            let mut text = String::new();
            open_file_in_root(&root, Path::new(path))?.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(read("etc/file").unwrap(), "text");
        assert_eq!(read("/etc/file").unwrap(), "text");
        for path in ["etc/link", "linked/file", "etc/pipe", "etc", "etc/none", "../etc/passwd"] {
            assert!(read(path).is_err(), "{path}");
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn a_file_that_others_may_write_is_not_trusted() {
        let dir = Temporary::new("mode");
        let file = dir.0.join("config");
        write_atomic(&file, b"text", 0o644).unwrap();
        assert_eq!(read_trusted(&file, me(), 100).unwrap(), b"text");
        assert!(matches!(read_trusted(&file, me(), 3), Err(TrustError::TooLong { .. })));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(open_trusted(&file, me()), Err(TrustError::Writable { .. })));
    }

    #[test]
    fn a_file_in_a_directory_that_others_may_write_is_not_trusted() {
        let dir = Temporary::new("parent");
        let file = dir.0.join("config");
        write_atomic(&file, b"text", 0o600).unwrap();
        fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(open_trusted(&file, me()), Err(TrustError::Writable { .. })));
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_refused_at_once() {
        let dir = Temporary::new("pipe");
        let pipe = dir.0.join("config");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
        assert!(matches!(open_trusted(&pipe, me()), Err(TrustError::NotAFile(_))));
        assert!(matches!(open_trusted(&dir.0, me()), Err(TrustError::NotAFile(_))));
        assert!(matches!(open_trusted(&dir.0.join("none"), me()), Err(TrustError::Io { .. })));
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = Temporary::new("atomic");
        fs::create_dir(dir.0.join("taken")).unwrap();
        fs::write(dir.0.join("taken/full"), "").unwrap();
        assert!(write_atomic(&dir.0.join("taken"), b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1);
    }

    #[test]
    fn a_link_never_leads_out_of_a_root() {
        let dir = Temporary::new("root");
        fs::create_dir(dir.0.join("inside")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.0.join("link")).unwrap();
        fs::write(dir.0.join("inside/file"), "").unwrap();
        let root = File::open(&dir.0).unwrap();
        assert!(open_path_in_root(&root, Path::new("/inside/file"), false).is_ok());
        assert!(open_path_in_root(&root, Path::new("inside/../../inside/file"), false).is_ok());
        for path in ["link", "link/passwd", "/etc/passwd", "../../etc/passwd"] {
            let error =
                open_path_in_root(&root, Path::new(path), false).err().map(|e| e.raw_os_error().unwrap());
            assert!(
                // A link itself may be looked at where it is the last part; what is asked for is a socket, which it is not.
                path == "link" || matches!(error, Some(libc::ELOOP | libc::ENOENT)),
                "{path}: {error:?}"
            );
        }
    }
}
