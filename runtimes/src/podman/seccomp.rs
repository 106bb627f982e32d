//! A seccomp profile as a file, since Podman takes a path where Docker takes the text.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{EngineError, Result};
use crate::types::{EngineKind, Facts};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A profile that lies in a file until this is dropped. Podman reads it while the container is being made, and never again.
pub(super) struct ProfileFile(PathBuf);

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
        let (path, mut file) = create().map_err(wrap)?;
        let written = Self(path);
        file.write_all(json.as_bytes()).map_err(wrap)?;
        Ok(written)
    }

    pub(super) fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

/// A new file that the engine's account can read; one that somebody put there before is never used.
fn create() -> io::Result<(PathBuf, File)> {
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/podspawn-seccomp-{}-{number}.json", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

impl Drop for ProfileFile {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and nothing depends on it.
        let _ = std::fs::remove_file(&self.0);
    }
}
