//! Reading a configuration file: regular files only, bounded, and never waiting for a FIFO's other end.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, stat};
use rustix::io::Errno;

use super::error::ConfigError;
use super::yaml::MAX_BYTES;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// The file's text; none if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    read_text(path).map_err(|reason| ConfigError::Read { path: path.to_owned(), reason })
}

/// The text of any file that podspawn takes YAML from; none if there is no such file. The error is the reason alone.
pub fn read_text(path: &Path) -> Result<Option<String>, String> {
    // Looked at before it is opened: opening a device can have effects.
    match stat(path) {
        Ok(stat) => check_type(FileType::from_raw_mode(stat.st_mode))?,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(words(errno)),
    }
    match openat(CWD, path, FLAGS, Mode::empty()) {
        Ok(file) => text_of(File::from(file)).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(words(errno)),
    }
}

/// The text of a file of a tree that somebody else may be changing: `root` is followed wherever it leads, below it not one
/// symbolic link is.
pub fn read_text_below(root: &Path, inside: &Path) -> Result<Option<String>, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty()).map_err(words)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path = OFlags::PATH | OFlags::CLOEXEC;
    let found = match openat2(&root, inside, path, Mode::empty(), resolve) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(words(errno)),
    };
    let stat = fstat(&found).map_err(words)?;
    check_type(FileType::from_raw_mode(stat.st_mode))?;
    let file = openat2(&root, inside, FLAGS, Mode::empty(), resolve).map_err(words)?;
    text_of(File::from(file)).map(Some)
}

fn text_of(file: File) -> Result<String, String> {
    // Looked at again: it may be another file by now.
    let stat = fstat(&file).map_err(words)?;
    check_type(FileType::from_raw_mode(stat.st_mode))?;

    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("it is larger than {} KiB", MAX_BYTES / 1024));
    }
    String::from_utf8(bytes).map_err(|bad| {
        let good = &bad.as_bytes()[..bad.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        format!("it is not UTF-8 text (line {line})")
    })
}

fn check_type(file_type: FileType) -> Result<(), String> {
    match file_type {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err("it is a directory".into()),
        FileType::Fifo => Err("it is a FIFO, not a regular file".into()),
        FileType::Socket => Err("it is a socket, not a regular file".into()),
        _ => Err("it is a device, not a regular file".into()),
    }
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::ACCESS => "permission denied".into(),
        Errno::NOTDIR => "a part of its path is not a directory".into(),
        Errno::LOOP => "too many symbolic links".into(),
        Errno::NAMETOOLONG => "the path is too long".into(),
        other => std::io::Error::from(other).to_string(),
    }
}
