//! Noticing that the socket which clients come through is not this broker's any more.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::system::readiness::watched;
use crate::system::watch::DirWatch;

/// A socket's place.
pub(super) struct Door {
    directory: DirWatch,
    ready: AsyncFd<OwnedFd>,
    path: PathBuf,
    socket: Option<(u64, u64)>,
}

impl Door {
    /// With what is there now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let directory = DirWatch::of_comings_and_goings(File::open(parent)?.as_fd())?;
        let ready = watched(directory.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        Ok(Self { directory, ready, path: path.to_owned(), socket: identity(path) })
    }

    /// Returns once the path leads elsewhere, or nowhere.
    pub(super) async fn lost(&self) {
        while self.socket.is_some() && identity(&self.path) == self.socket {
            let Ok(mut ready) = self.ready.readable().await else { return };
            ready.clear_ready();
            let name = self.path.file_name().unwrap_or(OsStr::new(""));
            if self.directory.told_of(name).is_err() {
                return;
            }
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|facts| (facts.dev(), facts.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_socket_is_lost_when_its_name_goes_or_leads_elsewhere_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("broker.sock"), dir.path().join("other"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for replace in [true, false] {
            fs::write(&path, "").unwrap();
            runtime.block_on(async {
                let door = Door::of(&path).unwrap();
                fs::write(&other, "").unwrap();
                let short = Duration::from_millis(20);
                assert!(tokio::time::timeout(short, door.lost()).await.is_err());
                match replace {
                    true => fs::rename(&other, &path).unwrap(),
                    false => fs::remove_file(&path).unwrap(),
                }
                door.lost().await;
            });
        }
    }
}
