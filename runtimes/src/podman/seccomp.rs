//! A seccomp profile as a file, since Podman takes a path where Docker takes the text.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::error::{EngineError, Result};
use crate::types::{EngineKind, Facts};

/// Where the engine's account can read, whoever asks it.
const PLACE: &str = "/tmp";
const PREFIX: &str = "podspawn-seccomp-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A profile that lies in a file until this is dropped. Podman reads it while the container is being made, and never again.
/// It is locked as long, so that a file whose maker was killed is known by its lock being free.
pub(super) struct ProfileFile {
    path: PathBuf,
    locked: File,
}

impl ProfileFile {
    pub(super) fn write(facts: &Facts, json: &str) -> Result<Self> {
        let action = || "hand a seccomp profile to Podman".to_owned();
        if !facts.local {
            return Err(EngineError::Unsupported {
                action: action(),
                engine: EngineKind::Podman.name(),
                reason: "it wants a file of its own host",
            });
        }
        let wrap = |source| EngineError::Io { action: action(), source };
        let (path, file) = create(Path::new(PLACE)).map_err(wrap)?;
        let written = Self { path, locked: file };
        (&written.locked).write_all(json.as_bytes()).map_err(wrap)?;
        Ok(written)
    }

    pub(super) fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

/// A new file that the engine's account can read; one that somebody put there before is never used.
fn create(place: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("{PREFIX}{}-{number}.json", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path) {
            Ok(file) => {
                flock(&file, FlockOperation::LockExclusive)?;
                // Whoever sweeps may have come between the two.
                if file.metadata()?.nlink() > 0 {
                    return Ok((path, file));
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes files whose makers were killed while the engine made a container.
pub(super) fn sweep() -> io::Result<()> {
    sweep_in(Path::new(PLACE))
}

fn sweep_in(place: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        // Anybody may put anything under such a name: it is not followed and not waited for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened =
            OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(entry.path());
        let Ok(file) = opened else { continue };
        if file.metadata()?.is_file() && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            not_ours_or_gone(std::fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

/// Two that sweep at once want the same, and the system keeps an account from removing another's files there.
fn not_ours_or_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(()),
        other => other,
    }
}

impl Drop for ProfileFile {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and nothing depends on it.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_whose_makers_are_gone_are_swept() {
        let place = tempfile::tempdir().unwrap();
        let (held, _file) = create(place.path()).unwrap();
        let (left, file) = create(place.path()).unwrap();
        // As the kernel does for a killed process.
        drop(file);
        let link = place.path().join(format!("{PREFIX}link"));
        std::os::unix::fs::symlink(place.path().join("other"), &link).unwrap();
        std::fs::write(place.path().join("other"), "").unwrap();
        sweep_in(place.path()).unwrap();
        assert!(held.exists() && !left.exists());
        assert!(link.symlink_metadata().is_ok() && place.path().join("other").exists());
    }
}
