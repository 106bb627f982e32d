//! One exclusive lock per image that is being made: who comes second waits, and then finds it made.
//!
//! The same kind of lock as a user's, in a directory of its own; its file goes when the image is made.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::LockError;
use super::lock::{LockWait, UserLock, UserLocks};
use crate::names::UserName;

/// Longest that a build by another process is waited for.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// The directory of these locks.
#[derive(Debug, Clone)]
pub struct BuildLocks(UserLocks);

/// A held lock. Dropping it lets it go.
#[derive(Debug)]
pub struct BuildLock {
    locks: UserLocks,
    held: UserLock,
}

impl BuildLocks {
    /// Locks below `directory`, that of the locks of users.
    pub fn new(directory: &Path) -> Self {
        Self(UserLocks::new(directory.join("images")))
    }

    /// Takes the lock of an image. `waiting` is told once, if there is need to wait.
    pub async fn lock(&self, image: &str, waiting: impl FnOnce(LockWait)) -> Result<BuildLock, LockError> {
        match self.0.lock(&file_name(image), LIMIT, waiting).await {
            Ok(held) => Ok(BuildLock { locks: self.0.clone(), held }),
            Err(LockError::Timeout { pid, .. }) => Err(LockError::Building { image: image.into(), pid }),
            Err(error) => Err(error),
        }
    }
}

impl Drop for BuildLock {
    fn drop(&mut self) {
        // Still held: who waits for this file takes the next one's lock. A file that cannot be removed is only litter.
        let _ = self.locks.remove_held(&self.held);
    }
}

/// An image's name holds what a file's must not: a hash stands for it.
fn file_name(image: &str) -> UserName {
    let hash = Sha256::digest(image);
    let digits: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("i{digits}").parse().expect("letters and digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_builds_and_the_other_waits_and_no_file_stays() {
        let dir = tempfile::Builder::new().prefix("podspawn-locks-").tempdir().unwrap();
        let locks = BuildLocks::new(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let image = "podspawn/web:podfile-0123456789ab";
            let held = locks.lock(image, |_| panic!("nobody holds it")).await.unwrap();
            // Another image's build is in nobody's way.
            drop(
                locks.lock("podspawn/web:podfile-ba9876543210", |_| panic!("nobody holds it")).await.unwrap(),
            );
            let mut told = None;
            let waiting = locks.lock(image, |wait| told = Some(wait));
            let (got, ()) = tokio::join!(waiting, async { drop(held) });
            drop(got.unwrap());
            assert_eq!(told, Some(LockWait { pid: Some(std::process::id()) }));
        });
        assert_eq!(std::fs::read_dir(dir.path().join("images")).unwrap().count(), 0);
    }
}
