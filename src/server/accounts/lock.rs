//! The lock of all changes to accounts: one for an installation.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::AccountError;
use super::place::Place;

/// Held until it is dropped, or until this process and the programs that it started with [`Lock::stdin`] have ended.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Waits for it. The directory of the records exists.
    pub(super) fn take(place: &Place) -> Result<Self, AccountError> {
        let path = place.accounts().join(".lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(AccountError::io("open", &path))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(AccountError::io("lock", &path)(errno.into())),
            }
        }
    }

    /// The lock as a program's (empty) standard input: the program holds it too, and so nobody acts on what it is just
    /// changing if this process is killed meanwhile.
    pub(super) fn stdin(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said explicitly: a child that another thread is just starting has the descriptor too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
