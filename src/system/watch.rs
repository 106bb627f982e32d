//! Waiting for a file to appear, without looking again and again.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// Tells when something appears in one directory.
#[derive(Debug)]
pub struct DirWatch {
    fd: OwnedFd,
}

impl DirWatch {
    /// Watches an open directory (an `O_PATH` descriptor will do). What appeared before is not told: look after this.
    pub fn new(directory: BorrowedFd<'_>) -> io::Result<Self> {
        Self::of(directory, WatchFlags::empty())
    }

    /// The same, and also tells what goes.
    pub fn of_comings_and_goings(directory: BorrowedFd<'_>) -> io::Result<Self> {
        Self::of(directory, WatchFlags::DELETE | WatchFlags::MOVED_FROM)
    }

    fn of(directory: BorrowedFd<'_>, more: WatchFlags) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // By descriptor, not by name: the name may mean something else by now.
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB | WatchFlags::ONLYDIR;
        inotify::add_watch(&fd, path, events | more)?;
        Ok(Self { fd })
    }

    /// Forgets what was told so far, so that the descriptor is readable only after the next change.
    pub fn drain(&self) -> io::Result<()> {
        self.read(|_| {})
    }

    /// As [`DirWatch::drain`]; whether something of this name was among it.
    pub fn told_of(&self, name: &OsStr) -> io::Result<bool> {
        let mut told = false;
        self.read(|of| told |= of == name.as_bytes())?;
        Ok(told)
    }

    fn read(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "the directory is gone"));
                }
                Ok(event) => each(event.file_name().map_or(b"", |name| name.to_bytes())),
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for DirWatch {
    /// Readable when something changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::fs;

    fn readable(watch: &DirWatch) -> bool {
        let mut fds = [PollFd::new(watch, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn a_file_that_appears_is_told_once() {
        let dir = std::env::temp_dir().join(format!("podspawn-watch-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let watch = DirWatch::new(fs::File::open(&dir).unwrap().as_fd()).unwrap();
        assert!(!readable(&watch));
        fs::write(dir.join("x"), "").unwrap();
        assert!(readable(&watch));
        watch.drain().unwrap();
        assert!(!readable(&watch));
        fs::write(dir.join("y"), "").unwrap();
        assert!(!watch.told_of("x".as_ref()).unwrap());
        fs::write(dir.join("z"), "").unwrap();
        assert!(watch.told_of("z".as_ref()).unwrap());
        fs::remove_dir_all(&dir).unwrap();
        assert!(watch.drain().is_err());
    }
}
