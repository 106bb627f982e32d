//! A directory of this host as tar archives: what `mount: copy` brings in, once, before the container starts.
//!
//! Links are copied as links and never followed, also not by a directory that is exchanged for one meanwhile: every step
//! down is taken from an open directory. Made in pieces of bounded size, so that a tree of any size fits.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use podspawn_runtimes::{Engine, Runtime};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

use super::core::{Core, EngineSource};
use super::create::check;
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::report::{Cancel, Report, Step};
use crate::names::printable;
use crate::spec::{Account, CopySpec, SessionSpec};
use crate::state::SessionRecord;

/// Size from which an archive is sent, in bytes.
const PIECE: usize = 16 << 20;
/// Largest file, in bytes: it is held in memory while it is sent.
const LARGEST: u64 = 512 << 20;
/// Deepest nesting of directories, each of which is held open.
const DEEPEST: usize = 200;
/// Left out at the top, unless it is asked for.
const LEFT_OUT: &[u8] = b".git";
/// How many files that were left out are named.
const NAMED: usize = 5;

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Copies what the spec says into a container that has not been started.
    pub(super) async fn copy_files(
        &self,
        record: &SessionRecord,
        spec: &SessionSpec,
        engine: &Runtime,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), SessionError> {
        let Some(copy) = &spec.environment.copy else { return Ok(()) };
        report.step(Step::Copying { target: &copy.target });
        let mut tree = Tree::open(copy, &spec.account)?;
        while let Some(piece) = tree.next_piece()? {
            engine.copy_in(&record.container_id, "/", piece.into()).await?;
            check(cancel)?;
        }
        for text in tree.warnings() {
            report.step(Step::Warning(&text));
        }
        Ok(())
    }
}

/// Whether what is asked for can be done, before anything is made.
pub(super) fn check_copy(spec: &SessionSpec) -> Result<(), SessionError> {
    let Some(copy) = &spec.environment.copy else { return Ok(()) };
    if spec.security.readonly_rootfs {
        let reason = "files cannot be copied into a container with a read-only root: use `mount: bind`";
        return Err(SessionError::Impossible(reason.into()));
    }
    Tree::open(copy, &spec.account).map(drop)
}

/// A tree on its way.
struct Tree {
    source: PathBuf,
    owner: (u64, u64),
    with_git: bool,
    /// Directories that are being read, the innermost last.
    open: Vec<Level>,
    archive: tar::Builder<Vec<u8>>,
    empty: bool,
    skipped: Vec<(String, &'static str)>,
    skipped_more: usize,
}

struct Level {
    directory: OwnedFd,
    entries: std::vec::IntoIter<OsString>,
    /// Path inside the container, without the leading slash.
    inside: PathBuf,
    /// Path below the source.
    below: PathBuf,
}

impl Tree {
    fn open(copy: &CopySpec, account: &Account) -> Result<Self, SessionError> {
        let target = Path::new(&copy.target);
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !target.is_absolute() || target.parent().is_none() || !target.components().all(plain) {
            let text = format!("`{}` is no directory to copy files to", printable(&copy.target));
            return Err(SessionError::Impossible(text));
        }
        let failed = |source: io::Error| SessionError::Prepare { path: copy.source.clone(), source };
        // The directory itself may be reached through a link: it was named by whoever asks.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            openat(CWD, &copy.source, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let stat = fstat(&directory).map_err(|errno| failed(errno.into()))?;
        let mut tree = Self {
            source: copy.source.clone(),
            owner: (account.uid.into(), account.gid.into()),
            with_git: copy.with_git,
            open: Vec::new(),
            archive: tar::Builder::new(Vec::new()),
            empty: true,
            skipped: Vec::new(),
            skipped_more: 0,
        };
        let inside = target.strip_prefix("/").unwrap_or(target).to_owned();
        tree.enter(directory, &stat, inside, PathBuf::new())?;
        Ok(tree)
    }

    /// The next archive; none at the end.
    fn next_piece(&mut self) -> Result<Option<Vec<u8>>, SessionError> {
        while let Some(level) = self.open.last_mut() {
            match level.entries.next() {
                Some(name) => self.take(&name)?,
                None => {
                    self.open.pop();
                }
            }
            if self.archive.get_ref().len() >= PIECE {
                break;
            }
        }
        if self.empty {
            return Ok(None);
        }
        self.empty = true;
        let full = std::mem::replace(&mut self.archive, tar::Builder::new(Vec::new()));
        full.into_inner()
            .map(Some)
            .map_err(|source| SessionError::Prepare { path: self.source.clone(), source })
    }

    fn failed(&self, below: &Path) -> impl Fn(io::Error) -> SessionError + use<> {
        let path = self.source.join(below);
        move |source| SessionError::Prepare { path: path.clone(), source }
    }

    /// Adds a directory and goes down into it.
    fn enter(
        &mut self,
        directory: OwnedFd,
        stat: &Stat,
        inside: PathBuf,
        below: PathBuf,
    ) -> Result<(), SessionError> {
        let failed = self.failed(&below);
        if self.open.len() >= DEEPEST {
            return Err(failed(io::Error::other("its directories are nested too deeply to be copied")));
        }
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory).map_err(|errno| failed(errno.into()))? {
            let name = entry.map_err(|errno| failed(errno.into()))?.file_name().to_bytes().to_vec();
            let left_out = !self.with_git && below.as_os_str().is_empty() && name == LEFT_OUT;
            if name != b"." && name != b".." && !left_out {
                entries.push(OsString::from_vec(name));
            }
        }
        entries.sort();
        let mut header = self.header(stat, tar::EntryType::Directory);
        self.add(&mut header, &inside, &[]).map_err(failed)?;
        self.open.push(Level { directory, entries: entries.into_iter(), inside, below });
        Ok(())
    }

    /// Adds one entry of the innermost directory.
    fn take(&mut self, name: &OsString) -> Result<(), SessionError> {
        let Some(level) = self.open.last() else { return Ok(()) };
        let (inside, below) = (level.inside.join(name), level.below.join(name));
        let failed = self.failed(&below);
        let stat = match statat(&level.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It was removed meanwhile.
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed(errno.into())),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let why = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = flags | OFlags::DIRECTORY;
                let directory = openat(&level.directory, name, flags, Mode::empty())
                    .map_err(|errno| failed(errno.into()))?;
                return self.enter(directory, &stat, inside, below);
            }
            FileType::RegularFile => {
                let file = openat(&level.directory, name, flags, Mode::empty())
                    .map_err(|errno| failed(errno.into()))?;
                // What was looked at may have been exchanged since.
                let stat = fstat(&file).map_err(|errno| failed(errno.into()))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    self.skip(&below, "changed meanwhile");
                    return Ok(());
                }
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let too_large = |size: u64| SessionError::CopyTooLarge {
                    path: self.source.join(&below),
                    mb: size >> 20,
                    most_mb: LARGEST >> 20,
                };
                if size > LARGEST {
                    return Err(too_large(size));
                }
                let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
                let read = File::from(file).take(LARGEST + 1).read_to_end(&mut content).map_err(&failed)?;
                if read as u64 > LARGEST {
                    return Err(too_large(read as u64));
                }
                let mut header = self.header(&stat, tar::EntryType::Regular);
                return self.add(&mut header, &inside, &content).map_err(failed);
            }
            FileType::Symlink => {
                let link =
                    readlinkat(&level.directory, name, Vec::new()).map_err(|errno| failed(errno.into()))?;
                let link = PathBuf::from(OsString::from_vec(link.into_bytes()));
                let mut header = self.header(&stat, tar::EntryType::Symlink);
                self.empty = false;
                return self.archive.append_link(&mut header, &inside, link).map_err(failed);
            }
            FileType::Socket => "is a socket",
            FileType::Fifo => "is a named pipe",
            FileType::CharacterDevice | FileType::BlockDevice => "is a device",
            FileType::Unknown => "is of an unknown kind",
        };
        self.skip(&below, why);
        Ok(())
    }

    fn header(&self, stat: &Stat, kind: tar::EntryType) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(0);
        header
    }

    fn add(&mut self, header: &mut tar::Header, inside: &Path, content: &[u8]) -> io::Result<()> {
        self.empty = false;
        header.set_size(content.len() as u64);
        self.archive.append_data(header, inside, content)
    }

    fn skip(&mut self, below: &Path, why: &'static str) {
        if self.skipped.len() < NAMED {
            let shown = String::from_utf8_lossy(below.as_os_str().as_bytes()).into_owned();
            self.skipped.push((printable(&shown), why));
        } else {
            self.skipped_more += 1;
        }
    }

    /// What was left out, one line each.
    fn warnings(&self) -> Vec<String> {
        let named = self.skipped.iter().map(|(path, why)| format!("`{path}` is not copied: it {why}"));
        let more = match self.skipped_more {
            0 => None,
            more => Some(format!("{more} more sockets, pipes or devices are not copied")),
        };
        named.chain(more).collect()
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
