//! Reading a configuration file: regular files only, bounded, and never waiting for a FIFO's other end.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, stat};
use rustix::io::Errno;

use super::error::ConfigError;
use super::yaml::MAX_BYTES;

/// The file's text; none if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let error = |reason: String| ConfigError::Read { path: path.to_owned(), reason };
    // Looked at before it is opened: opening a device can have effects.
    match stat(path) {
        Ok(stat) => check_type(FileType::from_raw_mode(stat.st_mode)).map_err(error)?,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(error(words(errno))),
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(error(words(errno))),
    };
    // Looked at again: it may be another file by now.
    let stat = fstat(&file).map_err(|errno| error(words(errno)))?;
    check_type(FileType::from_raw_mode(stat.st_mode)).map_err(error)?;

    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| error(e.to_string()))?;
    if bytes.len() > MAX_BYTES {
        return Err(error(format!("it is larger than {} KiB", MAX_BYTES / 1024)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(bad) => {
            let good = &bad.as_bytes()[..bad.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            Err(error(format!("it is not UTF-8 text (line {line})")))
        }
    }
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
