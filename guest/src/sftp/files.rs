//! What requests do to files: thin steps over system calls, with an error of its own where an errno says too little.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Stat, StatVfs, StatVfsMountFlags, Timespec,
    Timestamps, Uid,
};
use rustix::io::Errno;

use super::packet::{Attrs, OpenMode};

/// Permission bits that a client may set.
const PERMISSIONS: u32 = 0o7777;

pub(super) fn attrs(stat: &Stat) -> Attrs {
    let seconds = |value: i64| u32::try_from(value.max(0)).unwrap_or(u32::MAX);
    Attrs {
        size: Some(u64::try_from(stat.st_size).unwrap_or(0)),
        owner: Some((stat.st_uid, stat.st_gid)),
        mode: Some(stat.st_mode),
        times: Some((seconds(stat.st_atime), seconds(stat.st_mtime))),
    }
}

pub(super) fn open(path: &[u8], mode: OpenMode, attrs: &Attrs) -> Result<OwnedFd, Errno> {
    let mut flags = match (mode.read(), mode.write() || mode.append()) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    flags |= OFlags::CLOEXEC | OFlags::NOCTTY;
    flags.set(OFlags::APPEND, mode.append());
    flags.set(OFlags::CREATE, mode.create());
    flags.set(OFlags::TRUNC, mode.truncate());
    flags.set(OFlags::EXCL, mode.exclusive());
    rustix::fs::open(path, flags, permissions(attrs).unwrap_or(Mode::from_raw_mode(0o666)))
}

fn permissions(attrs: &Attrs) -> Option<Mode> {
    attrs.mode.map(|mode| Mode::from_raw_mode(mode & PERMISSIONS))
}

pub(super) fn mkdir(path: &[u8], attrs: &Attrs) -> Result<(), Errno> {
    rustix::fs::mkdir(path, permissions(attrs).unwrap_or(Mode::from_raw_mode(0o777)))
}

/// Reads until `room` is full or the file ends; 0 means the end.
pub(super) fn read(file: BorrowedFd<'_>, room: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < room.len() {
        match rustix::io::pread(file, &mut room[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes everything, at `offset` or at the end of a file opened for appending.
pub(super) fn write(file: BorrowedFd<'_>, mut data: &[u8], offset: Option<u64>) -> Result<(), Errno> {
    let mut position = offset;
    while !data.is_empty() {
        let written = match position {
            Some(position) => rustix::io::pwrite(file, data, position),
            None => rustix::io::write(file, data),
        };
        match written {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                data = &data[count..];
                position = position.map(|position| position.saturating_add(count as u64));
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What attributes are set on.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// A path, symbolic links followed.
    Path(&'a [u8]),
    /// A path, a symbolic link itself.
    Link(&'a [u8]),
    /// An open file.
    File(BorrowedFd<'a>),
}

/// Sets what is given, goes on past an error and reports the first.
pub(super) fn set_attrs(target: Target<'_>, attrs: &Attrs) -> Result<(), Errno> {
    // The owner comes before the mode, since a new owner clears the set-user-id bit; the times come last, since
    // cutting a file changes them.
    let steps = [
        attrs.size.map(|size| set_size(target, size)),
        attrs.owner.map(|(user, group)| set_owner(target, user, group)),
        permissions(attrs).map(|mode| set_mode(target, mode)),
        attrs.times.map(|(access, modification)| set_times(target, access, modification)),
    ];
    steps.into_iter().flatten().fold(Ok(()), Result::and)
}

fn set_size(target: Target<'_>, size: u64) -> Result<(), Errno> {
    match target {
        Target::Path(path) => {
            let file =
                rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
            rustix::fs::ftruncate(file, size)
        }
        Target::Link(_) => Err(Errno::INVAL),
        Target::File(file) => rustix::fs::ftruncate(file, size),
    }
}

fn set_owner(target: Target<'_>, user: u32, group: u32) -> Result<(), Errno> {
    // All ones means "leave it", as in chown(2).
    let user = (user != u32::MAX).then(|| Uid::from_raw(user));
    let group = (group != u32::MAX).then(|| Gid::from_raw(group));
    match target {
        Target::Path(path) => rustix::fs::chownat(CWD, path, user, group, AtFlags::empty()),
        Target::Link(path) => rustix::fs::chownat(CWD, path, user, group, AtFlags::SYMLINK_NOFOLLOW),
        Target::File(file) => rustix::fs::fchown(file, user, group),
    }
}

fn set_mode(target: Target<'_>, mode: Mode) -> Result<(), Errno> {
    match target {
        Target::Path(path) => rustix::fs::chmod(path, mode),
        Target::Link(path) => {
            let file =
                rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode).is_symlink() {
                return Err(Errno::OPNOTSUPP);
            }
            rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
        }
        Target::File(file) => rustix::fs::fchmod(file, mode),
    }
}

fn set_times(target: Target<'_>, access: u32, modification: u32) -> Result<(), Errno> {
    let time = |seconds: u32| Timespec { tv_sec: i64::from(seconds), tv_nsec: 0 };
    let times = Timestamps { last_access: time(access), last_modification: time(modification) };
    match target {
        Target::Path(path) => rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()),
        Target::Link(path) => rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW),
        Target::File(file) => rustix::fs::futimens(file, &times),
    }
}

/// Renames without replacing, as version 3 of the protocol wants it.
pub(super) fn rename(old: &[u8], new: &[u8]) -> Result<(), Errno> {
    match rustix::fs::renameat_with(CWD, old, CWD, new, RenameFlags::NOREPLACE) {
        // A file system without that flag: look first.
        Err(Errno::INVAL | Errno::NOSYS) => match rustix::fs::lstat(new) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::rename(old, new),
            Err(error) => Err(error),
        },
        other => other,
    }
}

/// The absolute path without links; the last component need not exist.
pub(super) fn real_path(path: &[u8]) -> Result<Vec<u8>, Errno> {
    let path = Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }));
    let resolve = |path: &Path| {
        std::fs::canonicalize(path)
            .map(|path| path.into_os_string().into_vec())
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    match resolve(path) {
        Err(Errno::NOENT) => {
            let name = path.file_name().ok_or(Errno::NOENT)?;
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let mut resolved = resolve(parent)?;
            if resolved.last() != Some(&b'/') {
                resolved.push(b'/');
            }
            resolved.extend_from_slice(name.as_bytes());
            Ok(resolved)
        }
        other => other,
    }
}

/// The fields of a file system's description in the order of the extension.
pub(super) fn file_system(statvfs: &StatVfs) -> [u64; 11] {
    let mut flags = 0;
    if statvfs.f_flag.contains(StatVfsMountFlags::RDONLY) {
        flags |= 1;
    }
    if statvfs.f_flag.contains(StatVfsMountFlags::NOSUID) {
        flags |= 2;
    }
    [
        statvfs.f_bsize,
        statvfs.f_frsize,
        statvfs.f_blocks,
        statvfs.f_bfree,
        statvfs.f_bavail,
        statvfs.f_files,
        statvfs.f_ffree,
        statvfs.f_favail,
        statvfs.f_fsid,
        flags,
        statvfs.f_namemax,
    ]
}

/// Copies between open files; `length` 0 means up to the end.
pub(super) fn copy(
    from: &OwnedFd,
    from_offset: u64,
    length: u64,
    to: &OwnedFd,
    to_offset: u64,
) -> Result<(), Errno> {
    let (source, target) = (rustix::fs::fstat(from)?, rustix::fs::fstat(to)?);
    let same_file = (source.st_dev, source.st_ino) == (target.st_dev, target.st_ino);
    let reach = if length == 0 { u64::MAX } else { length };
    let overlap =
        from_offset < to_offset.saturating_add(reach) && to_offset < from_offset.saturating_add(reach);
    if same_file && overlap {
        return Err(Errno::INVAL);
    }
    let mut buffer = vec![0; 256 * 1024];
    let mut done = 0;
    while done < reach {
        let room = usize::try_from(reach - done).unwrap_or(usize::MAX).min(buffer.len());
        let count = read(from.as_fd(), &mut buffer[..room], from_offset.saturating_add(done))?;
        if count == 0 {
            // A length that was asked for is owed in full.
            return if length == 0 { Ok(()) } else { Err(Errno::IO) };
        }
        write(to.as_fd(), &buffer[..count], Some(to_offset.saturating_add(done)))?;
        done += count as u64;
    }
    Ok(())
}
