//! Directories that root works in although they, or some above them, belong to another account: reached without following
//! a link that this account could have put there, and held open, so that nothing put in their place later matters.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, mkdirat, openat, readlinkat,
    statat, symlinkat,
};
use rustix::io::Errno;
use thiserror::Error;

/// Most links on the way to a directory, as the system has it.
const MOST_LINKS: usize = 40;
/// Levels of a tree that is given away: each holds a descriptor open, of which a process has a thousand.
const DEEPEST: usize = 512;

/// What is not done for whoever owns a directory.
#[derive(Debug, Error)]
enum Refused {
    #[error("`{}` is a symbolic link where a directory belongs, in a place that another account can change", .0.display())]
    Link(PathBuf),
    #[error("`{}` is no directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("`..` cannot lead out of `{}`, which others may move", .0.display())]
    Up(PathBuf),
    #[error("`{}` belongs to another account or can be changed by others, which root's own directory cannot lie below", .0.display())]
    Foreign(PathBuf),
    #[error("{name:?} belongs to uid {owner}, and not to who made everything else")]
    Owner { name: OsString, owner: u32 },
    #[error("{0:?} goes by another name elsewhere")]
    Linked(OsString),
    #[error("there are more than {DEEPEST} directories in one another")]
    Deep,
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::Link(_) | Refused::NotADirectory(_) => io::ErrorKind::NotADirectory,
            _ => io::ErrorKind::PermissionDenied,
        };
        Self::new(kind, refused)
    }
}

/// A directory that is held open.
#[derive(Debug)]
pub struct Directory {
    open: File,
    /// It, or else the first above it, that somebody else than root and this process's account may change.
    foreign: Option<PathBuf>,
}

impl Directory {
    /// Opens a directory. A link on the way to it is followed only where nobody but root and this process's account could
    /// have put it: not in what belongs to another account, and nowhere below.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::walk(path, None)
    }

    /// Opens a directory like that, and makes it, with this mode, and what is missing above it if it is not there.
    pub fn make(path: &Path, mode: u32) -> io::Result<Self> {
        Self::walk(path, Some(mode))
    }

    fn walk(path: &Path, make: Option<u32>) -> io::Result<Self> {
        let me = rustix::process::geteuid().as_raw();
        let is_mine = |uid: u32| uid == 0 || uid == me;
        let top = |path: &Path| PathBuf::from(if path.is_absolute() { "/" } else { "." });
        let mut reached = top(path);
        let mut here = enter(CWD, reached.as_os_str())?;
        let mut facts = fstat(&here)?;
        let (mut rest, mut links) = (parts(path), 0);
        let mut foreign = None;
        loop {
            // In a directory with the sticky bit nobody removes or renames what belongs to another.
            let open_to_others = facts.st_mode & 0o022 != 0;
            if foreign.is_none()
                && (!is_mine(facts.st_uid) || (open_to_others && facts.st_mode & 0o1000 == 0))
            {
                foreign = Some(reached.clone());
            }
            let Some(name) = rest.pop() else { break };
            if name == ".." && foreign.is_some() {
                return Err(Refused::Up(reached).into());
            }
            let place = reached.join(&name);
            match (enter(here.as_fd(), &name), make) {
                (Ok(next), _) => (here, reached) = (next, place),
                (Err(Errno::NOENT), Some(mode)) => {
                    let mode = if rest.is_empty() { mode } else { 0o755 };
                    match mkdirat(&here, &name, Mode::RWXU) {
                        // Whatever the mask of this process is.
                        Ok(()) => fs::set_permissions(
                            by_descriptor(&enter(here.as_fd(), &name)?),
                            Permissions::from_mode(mode),
                        )?,
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                    rest.push(name);
                    continue;
                }
                (Err(Errno::NOTDIR | Errno::LOOP), _) => {
                    let Ok(target) = readlinkat(&here, &name, Vec::new()) else {
                        return Err(Refused::NotADirectory(place).into());
                    };
                    let link = statat(&here, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if foreign.is_some() || (open_to_others && !is_mine(link.st_uid)) {
                        return Err(Refused::Link(place).into());
                    }
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    rest.extend(parts(&target));
                    if target.is_absolute() {
                        reached = top(&target);
                        here = enter(CWD, reached.as_os_str())?;
                    }
                }
                (Err(errno), _) => return Err(errno.into()),
            }
            facts = fstat(&here)?;
        }
        Ok(Self { open: reopen(&here)?.into(), foreign })
    }

    /// Whether only root and this process's account can change anything on the way to it and in it.
    pub fn is_ours(&self) -> bool {
        self.foreign.is_none()
    }

    /// Fails where [`Directory::is_ours`] is false.
    pub fn check_ours(&self) -> io::Result<()> {
        self.foreign.as_ref().map_or(Ok(()), |path| Err(Refused::Foreign(path.clone()).into()))
    }

    /// Its own facts.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.open.metadata()
    }

    /// A path to what has this name in it, whatever has the directory's name meanwhile. Good as long as this is held.
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        by_descriptor(&self.open).join(name)
    }

    /// Gives it to an account, but nothing in it.
    pub fn give(&self, uid: u32, gid: u32) -> io::Result<()> {
        fchown(&self.open, Some(uid), Some(gid))
    }

    /// Changes its mode.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.open.set_permissions(Permissions::from_mode(mode))
    }

    /// Gives the files in it to an account, but no file that somebody has elsewhere, and nothing that is no file.
    pub fn give_files(&self, uid: u32, gid: u32) -> io::Result<()> {
        let mut entries = Dir::read_from(&self.open)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let Some((found, facts)) = look(self.open.as_fd(), &entry)? else { continue };
            if kind(&facts) != FileType::RegularFile {
                continue;
            }
            if facts.st_nlink > 1 && facts.st_uid != uid {
                return Err(Refused::Linked(name(&entry)).into());
            }
            give(&found, uid, gid)?;
        }
        Ok(())
    }

    /// Gives it with everything in it, links themselves too, to an account. `from` owns all of it, and may be changing it
    /// still: what belongs to anybody else was put there by a link of the other kind, and is not given away.
    pub fn give_tree(&self, from: u32, uid: u32, gid: u32) -> io::Result<()> {
        give_below(reopen(&self.open)?, from, (uid, gid), DEEPEST)
    }

    /// Copies everything in it into an empty directory, for an account, which owns it here already: what belongs to anybody
    /// else was put here by a link of the other kind, and is not copied.
    pub fn copy_tree(&self, to: &Self, uid: u32, gid: u32) -> io::Result<()> {
        copy_below(reopen(&self.open)?, reopen(&to.open)?, (uid, gid), DEEPEST)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }
}

/// Removes what a path names, a directory with everything in it, reached as [`Directory::open`] does and without following
/// a link in its place.
pub fn remove_whole(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let above = Directory::open(path.parent().unwrap_or(Path::new("/")))?;
    let place = above.at(name);
    match fs::symlink_metadata(&place)?.is_dir() {
        true => fs::remove_dir_all(place),
        false => fs::remove_file(place),
    }
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// Good for looking and for going on only: a directory on the way need not be readable.
fn enter(at: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    openat(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn reopen(directory: impl AsFd) -> rustix::io::Result<OwnedFd> {
    openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn by_descriptor(open: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()))
}

fn name(entry: &rustix::fs::DirEntry) -> OsString {
    OsString::from_vec(entry.file_name().to_bytes().to_vec())
}

fn kind(facts: &Stat) -> FileType {
    FileType::from_raw_mode(facts.st_mode)
}

/// An entry of a directory itself and its facts; none if it is gone.
fn look(at: BorrowedFd<'_>, entry: &rustix::fs::DirEntry) -> io::Result<Option<(OwnedFd, Stat)>> {
    if [b".".as_slice(), b".."].contains(&entry.file_name().to_bytes()) {
        return Ok(None);
    }
    match openat(at, entry.file_name(), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(found) => {
            let facts = fstat(&found)?;
            Ok(Some((found, facts)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn give(found: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(chownat(found, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
}

fn give_below(directory: OwnedFd, from: u32, to: (u32, u32), levels: usize) -> io::Result<()> {
    // Before it is looked into: from then on `from` puts nothing more there.
    fchown(&directory, Some(to.0), Some(to.1))?;
    let mut entries = Dir::new(directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let Some((found, facts)) = look(entries.fd()?, &entry)? else { continue };
        if facts.st_uid != from && facts.st_uid != to.0 {
            return Err(Refused::Owner { name: name(&entry), owner: facts.st_uid }.into());
        }
        match kind(&facts) {
            FileType::Directory if levels == 0 => return Err(Refused::Deep.into()),
            FileType::Directory => give_below(reopen(found)?, from, to, levels - 1)?,
            _ => give(&found, to.0, to.1)?,
        }
    }
    Ok(())
}

fn copy_below(from: OwnedFd, to: OwnedFd, owner: (u32, u32), levels: usize) -> io::Result<()> {
    let mut entries = Dir::new(from)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let Some((found, facts)) = look(entries.fd()?, &entry)? else { continue };
        if facts.st_uid != owner.0 {
            return Err(Refused::Owner { name: name(&entry), owner: facts.st_uid }.into());
        }
        let mode = Permissions::from_mode(facts.st_mode & 0o777);
        match kind(&facts) {
            FileType::Directory if levels == 0 => return Err(Refused::Deep.into()),
            FileType::Directory => {
                mkdirat(&to, entry.file_name(), Mode::RWXU)?;
                let made: File = reopen(enter(to.as_fd(), &name(&entry))?)?.into();
                copy_below(reopen(found)?, made.as_fd().try_clone_to_owned()?, owner, levels - 1)?;
                made.set_permissions(mode)?;
                fchown(&made, Some(owner.0), Some(owner.1))?;
            }
            FileType::RegularFile => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut made: File = openat(&to, entry.file_name(), flags, Mode::RUSR | Mode::WUSR)?.into();
                // The very file that was looked at, whatever has its name by now.
                io::copy(&mut File::open(by_descriptor(&found))?, &mut made)?;
                made.set_permissions(mode)?;
                fchown(&made, Some(owner.0), Some(owner.1))?;
            }
            FileType::Symlink => {
                symlinkat(readlinkat(&found, "", Vec::new())?, &to, entry.file_name())?;
                let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
                chownat(&to, entry.file_name(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            // git makes no others.
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// A directory that others may change, with one of theirs in it, and beside it what they are after.
    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::Builder::new().prefix("podspawn-directory-").tempdir().unwrap();
        let (theirs, goal) = (dir.path().join("theirs"), dir.path().join("goal"));
        fs::create_dir(&theirs).unwrap();
        fs::create_dir_all(goal.join("inside")).unwrap();
        fs::write(goal.join("inside/file"), "text").unwrap();
        fs::set_permissions(&theirs, Permissions::from_mode(0o777)).unwrap();
        (dir, theirs, goal)
    }

    #[test]
    fn a_link_is_followed_where_nobody_else_could_have_put_it() {
        let (dir, theirs, goal) = place();
        symlink(&goal, dir.path().join("absolute")).unwrap();
        symlink("theirs/../goal", dir.path().join("through")).unwrap();
        symlink("goal", dir.path().join("relative")).unwrap();
        symlink("goal", theirs.join("link")).unwrap();
        symlink(&goal, theirs.join("away")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        let open = |path: &str| Directory::open(&dir.path().join(path));
        for path in ["goal/inside", "absolute/inside", "relative/inside", "goal/../relative/inside"] {
            assert!(open(path).unwrap().is_ours(), "{path}");
        }
        for path in ["theirs/away", "theirs/away/inside", "theirs/link"] {
            let error = open(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
            assert!(error.to_string().contains("is a symbolic link where a directory belongs"), "{error}");
            assert!(Directory::make(&dir.path().join(path), 0o700).is_err(), "{path}");
        }
        for path in ["theirs/../goal", "through/inside", "goal/inside/file", "loop", "none"] {
            assert!(open(path).is_err(), "{path}");
        }
        let theirs = open("theirs").unwrap();
        assert!(!theirs.is_ours());
        let error = theirs.check_ours().unwrap_err().to_string();
        assert!(error.contains("theirs` belongs to another account"), "{error}");
    }

    #[test]
    fn what_is_missing_is_made_with_its_mode_and_what_is_there_stays() {
        let (dir, theirs, _) = place();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert!(Directory::make(&dir.path().join("a/b"), 0o711).unwrap().is_ours());
        assert_eq!((mode(&dir.path().join("a")), mode(&dir.path().join("a/b"))), (0o755, 0o711));
        Directory::make(&dir.path().join("a/b"), 0o700).unwrap();
        assert_eq!(mode(&dir.path().join("a/b")), 0o711);
        let made = Directory::make(&theirs.join("new"), 0o700).unwrap();
        assert!(!made.is_ours());
        made.set_mode(0o750).unwrap();
        assert_eq!(mode(&theirs.join("new")), 0o750);
    }

    #[test]
    fn what_takes_the_place_of_an_open_directory_is_not_touched() {
        let (_dir, theirs, goal) = place();
        fs::create_dir(theirs.join("homes")).unwrap();
        let held = Directory::open(&theirs.join("homes")).unwrap();
        fs::rename(theirs.join("homes"), theirs.join("moved")).unwrap();
        symlink(&goal, theirs.join("homes")).unwrap();
        held.set_mode(0o711).unwrap();
        fs::write(held.at("file"), "").unwrap();
        assert!(theirs.join("moved/file").exists() && !goal.join("file").exists());
        assert_ne!(fs::metadata(&goal).unwrap().mode() & 0o7777, 0o711);
    }

    #[test]
    fn nothing_is_removed_at_the_end_of_a_link() {
        let (_dir, theirs, goal) = place();
        symlink(&goal, theirs.join("homes")).unwrap();
        let error = remove_whole(&theirs.join("homes/inside")).unwrap_err();
        assert!(error.to_string().contains("homes` is a symbolic link"), "{error}");
        remove_whole(&theirs.join("homes")).unwrap();
        assert!(goal.join("inside/file").exists() && theirs.join("homes").symlink_metadata().is_err());
        remove_whole(&goal.join("inside/file")).unwrap();
        remove_whole(&goal).unwrap();
        assert_eq!(remove_whole(&goal).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_tree_of_any_depth_is_given_away_or_refused() {
        let (_dir, _, goal) = place();
        let (me, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        symlink("nowhere", goal.join("link")).unwrap();
        let tree = Directory::open(&goal).unwrap();
        tree.give_tree(me, me, group).unwrap();
        let mut deep = Directory::open(&goal).unwrap();
        for _ in 0..=DEEPEST {
            fs::create_dir(deep.at("d")).unwrap();
            deep = Directory { open: File::open(deep.at("d")).unwrap(), foreign: None };
        }
        assert!(tree.give_tree(me, me, group).unwrap_err().to_string().contains("more than 512 directories"));
    }

    #[test]
    fn a_file_that_somebody_has_elsewhere_is_not_given_away() {
        let (_dir, theirs, goal) = place();
        fs::hard_link(goal.join("inside/file"), theirs.join("file")).unwrap();
        let me = rustix::process::geteuid().as_raw();
        let held = Directory::open(&theirs).unwrap();
        let error = held.give_files(me + 1, me + 1).unwrap_err();
        assert!(error.to_string().contains("\"file\" goes by another name elsewhere"), "{error}");
        let error = held.give_tree(me + 1, me, rustix::process::getegid().as_raw());
        // To whom it belongs already it may be given.
        error.unwrap();
    }

    #[test]
    fn a_copy_is_the_same_and_nothing_of_others_is_copied() {
        let (dir, _, goal) = place();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub/empty")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("sub/program"), "text").unwrap();
        fs::set_permissions(from.join("sub/program"), Permissions::from_mode(0o755)).unwrap();
        symlink("../../none", from.join("sub/link")).unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let copy = || Directory::open(&from).unwrap().copy_tree(&Directory::open(&to).unwrap(), uid, gid);
        copy().unwrap();
        assert_eq!(fs::read_to_string(to.join("sub/program")).unwrap(), "text");
        assert_eq!(fs::metadata(to.join("sub/program")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_link(to.join("sub/link")).unwrap(), Path::new("../../none"));
        assert!(to.join("sub/empty").is_dir());
        // Nothing that is there is replaced or followed.
        fs::remove_dir_all(to.join("sub")).unwrap();
        symlink(&goal, to.join("sub")).unwrap();
        assert_eq!(copy().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!goal.join("program").exists());
        if uid == 0 {
            fs::remove_file(to.join("sub")).unwrap();
            std::os::unix::fs::lchown(from.join("sub/link"), Some(65534), None).unwrap();
            let error = copy().unwrap_err().to_string();
            assert!(error.contains("belongs to uid 65534"), "{error}");
        }
    }
}
