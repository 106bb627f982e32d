//! The files that a Dockerfile of a repository may copy, as one archive.
//!
//! Symlinks are stored as symlinks and never followed, also not by a directory that is exchanged for one while it is read:
//! every step down is taken from an open directory, so nothing outside gets in. `.dockerignore` is honoured
//! ([`super::dockerignore`]). Size, number and depth of files are bounded.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;
use thiserror::Error;

use super::dockerignore::Ignore;

/// Largest context, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Most files, directories and symlinks in a context.
const MAX_ENTRIES: usize = 100_000;
/// Most of them that are looked at, those that `.dockerignore` leaves out among them.
const MAX_LOOKED_AT: usize = 1_000_000;
/// Deepest nesting of directories, each of which is held open.
const MAX_DEPTH: usize = 200;

/// A file, as it is opened: neither a link nor a pipe that somebody has put there since is waited for or followed.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// A directory, as it is opened.
const DIRECTORY: OFlags = FILE.union(OFlags::DIRECTORY);

/// Why a directory is no build context.
#[derive(Debug, Error)]
pub enum BuildContextError {
    /// Something in it cannot be read.
    #[error("read `{}` for the image's build: {source} (`.dockerignore` leaves out what it does not need)", path.display())]
    Read {
        /// File or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The Dockerfile is not a file of the context.
    #[error("the Dockerfile `{}` is not a file inside `{}`", file.display(), context.display())]
    Dockerfile {
        /// As it was named.
        file: PathBuf,
        /// The context.
        context: PathBuf,
    },
    /// There is too much of it.
    #[error("the build context `{}` has more than {limit}: list what is not needed in `.dockerignore`", path.display())]
    TooLarge {
        /// The context.
        path: PathBuf,
        /// `256 MiB` or `100000 files`.
        limit: String,
    },
}

/// A context, read.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// A plain tar archive, the same for the same files: sorted, without owners and times.
    pub archive: Vec<u8>,
    /// The Dockerfile as it stands in the archive.
    pub dockerfile: Vec<u8>,
    /// Where that is.
    entry: Entry,
}

/// Where an archive has a file, and as what.
#[derive(Debug, Clone, Default)]
struct Entry {
    bytes: Range<usize>,
    path: String,
    mode: u32,
}

impl BuildContext {
    /// Reads the directory `context`, in which `dockerfile` is a relative path. No part of either is a symlink.
    pub fn read(context: &Path, dockerfile: &str) -> Result<Self, BuildContextError> {
        let (top, relative, _) = open(context, dockerfile)?;
        let mut ignore = Ignore::read(&top)
            .map_err(|source| BuildContextError::Read { path: context.join(".dockerignore"), source })?;
        // Without it nothing can be built, whatever the list says.
        ignore.keep = vec![relative.clone()];
        let archive = tar::Builder::new(Vec::new());
        let mut reading = Reading {
            context,
            wanted: &relative,
            dockerfile: Vec::new(),
            entry: Entry::default(),
            ignore,
            archive,
            bytes: 0,
            entries: 0,
            looked_at: 0,
        };
        reading.directory(&top, "", 1)?;
        let Reading { archive, dockerfile, entry, .. } = reading;
        let archive = archive
            .into_inner()
            .map_err(|source| BuildContextError::Read { path: context.to_owned(), source })?;
        Ok(Self { archive, dockerfile, entry })
    }

    /// Puts another text in the place of the Dockerfile's.
    pub fn replace_dockerfile(&mut self, text: String) -> io::Result<()> {
        let mut one = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(self.entry.mode);
        header.set_size(text.len() as u64);
        one.append_data(&mut header, &self.entry.path, text.as_bytes())?;
        // Without the end of an archive.
        let new = one.get_ref().clone();
        let length = new.len();
        self.archive.splice(self.entry.bytes.clone(), new);
        self.entry.bytes.end = self.entry.bytes.start + length;
        self.dockerfile = text.into_bytes();
        Ok(())
    }
}

/// The text of a Dockerfile alone, without anything else of its context.
pub fn dockerfile(context: &Path, dockerfile: &str) -> Result<String, BuildContextError> {
    let (_, _, file) = open(context, dockerfile)?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES).read_to_end(&mut bytes);
    read.map_err(|source| BuildContextError::Read { path: context.join(dockerfile), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a Dockerfile takes nothing from its context: then the rest of that is of no importance. A build that only looks as
/// if it took something does.
pub fn stands_alone(dockerfile: &str) -> bool {
    let takes = |line: &str| {
        let word = line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        matches!(word.as_str(), "copy" | "add" | "onbuild")
    };
    let plain: String =
        dockerfile.chars().filter(|c| !c.is_whitespace() && !matches!(c, '\\' | '`' | '"' | '\'')).collect();
    // An instruction may begin on one line and go on on the next.
    let joined = dockerfile.replace("\\\r\n", "").replace("\\\n", "");
    !plain.to_ascii_lowercase().contains("--mount") && !dockerfile.lines().chain(joined.lines()).any(takes)
}

/// Opens a context and the Dockerfile in it, whose path comes back without what means nothing.
fn open(context: &Path, dockerfile: &str) -> Result<(OwnedFd, String, File), BuildContextError> {
    let wrong = || BuildContextError::Dockerfile { file: dockerfile.into(), context: context.to_owned() };
    let relative = clean(dockerfile).ok_or_else(wrong)?;
    // The caller has resolved its links: one that stands there now has been put there since.
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let top = openat2(CWD, context, DIRECTORY, Mode::empty(), resolve).map_err(read_error(context))?;
    let resolve = resolve | ResolveFlags::BENEATH;
    // Looked at before it is opened: opening a device can have effects.
    let path = OFlags::PATH | OFlags::CLOEXEC;
    let is_file = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let found = openat2(&top, &relative, path, Mode::empty(), resolve).and_then(fstat);
    if !found.is_ok_and(is_file) {
        return Err(wrong());
    }
    let file = openat2(&top, &relative, FILE, Mode::empty(), resolve)
        .map_err(read_error(&context.join(&relative)))?;
    if !fstat(&file).is_ok_and(is_file) {
        return Err(wrong());
    }
    Ok((top, relative, File::from(file)))
}

/// For `map_err`.
fn read_error(path: &Path) -> impl Fn(Errno) -> BuildContextError + use<> {
    let path = path.to_owned();
    move |errno| BuildContextError::Read { path: path.clone(), source: errno.into() }
}

struct Reading<'a> {
    context: &'a Path,
    /// The Dockerfile's path, and what it says.
    wanted: &'a str,
    dockerfile: Vec<u8>,
    entry: Entry,
    ignore: Ignore,
    archive: tar::Builder<Vec<u8>>,
    bytes: u64,
    entries: usize,
    looked_at: usize,
}

impl Reading<'_> {
    fn directory(&mut self, open: &OwnedFd, inside: &str, depth: usize) -> Result<(), BuildContextError> {
        if depth > MAX_DEPTH {
            return Err(self.too_large(format!("{MAX_DEPTH} directories one in the other")));
        }
        let failed = read_error(&self.context.join(inside));
        let mut names = Vec::new();
        for entry in Dir::read_from(open).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name().to_bytes().to_vec();
            self.looked_at += 1;
            if self.looked_at > MAX_LOOKED_AT {
                return Err(self.too_large(format!("{MAX_LOOKED_AT} files to look at")));
            }
            // A name that is no text cannot be named in a Dockerfile either.
            names.extend(String::from_utf8(name).ok().filter(|name| name != "." && name != ".."));
        }
        names.sort();
        for name in names {
            let path = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
            self.entry(open, &name, &path, depth)?;
        }
        Ok(())
    }

    /// Adds one entry of an open directory; `path` is its path in the context.
    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &str,
        path: &str,
        depth: usize,
    ) -> Result<(), BuildContextError> {
        let place = self.context.join(path);
        let failed = read_error(&place);
        let io = |source| BuildContextError::Read { path: place.clone(), source };
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(&failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let ignored = self.ignore.covers(path);
        if self.ignore.is_exhausted() {
            return Err(self.too_large("can be compared with the patterns of its `.dockerignore`".into()));
        }
        if ignored && !(kind == FileType::Directory && self.ignore.may_take_back(path)) {
            return Ok(());
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(stat.st_mode & 0o7777);
        header.set_size(0);
        match kind {
            FileType::Directory => {
                let open = openat(directory, name, DIRECTORY, Mode::empty()).map_err(&failed)?;
                if !ignored {
                    self.count(0)?;
                    header.set_entry_type(tar::EntryType::Directory);
                    self.archive.append_data(&mut header, format!("{path}/"), io::empty()).map_err(io)?;
                }
                self.directory(&open, path, depth + 1)?;
            }
            FileType::Symlink => {
                self.count(0)?;
                let target = readlinkat(directory, name, Vec::new()).map_err(&failed)?;
                header.set_entry_type(tar::EntryType::Symlink);
                let target = Path::new(std::ffi::OsStr::from_bytes(target.as_bytes()));
                self.archive.append_link(&mut header, path, target).map_err(io)?;
            }
            FileType::RegularFile => {
                let file = openat(directory, name, FILE, Mode::empty()).map_err(&failed)?;
                // What was looked at may have been exchanged since.
                let stat = fstat(&file).map_err(&failed)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(failed(Errno::AGAIN));
                }
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.count(size)?;
                let mut content = Vec::new();
                File::from(file).take(size).read_to_end(&mut content).map_err(io)?;
                header.set_size(content.len() as u64);
                let start = self.archive.get_ref().len();
                self.archive.append_data(&mut header, path, content.as_slice()).map_err(io)?;
                if path == self.wanted {
                    let bytes = start..self.archive.get_ref().len();
                    self.entry = Entry { bytes, path: path.to_owned(), mode: stat.st_mode & 0o7777 };
                    self.dockerfile = content;
                }
            }
            // Pipes, sockets and devices are nothing that an image could have.
            _ => {}
        }
        Ok(())
    }

    fn too_large(&self, limit: String) -> BuildContextError {
        BuildContextError::TooLarge { path: self.context.to_owned(), limit }
    }

    fn count(&mut self, bytes: u64) -> Result<(), BuildContextError> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.entries += 1;
        let limit = if self.bytes > MAX_BYTES {
            format!("{} MiB", MAX_BYTES >> 20)
        } else if self.entries > MAX_ENTRIES {
            format!("{MAX_ENTRIES} files")
        } else {
            return Ok(());
        };
        Err(self.too_large(limit))
    }
}

/// A relative path without `.` and double slashes; none if it is absolute, empty or leads out.
fn clean(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn names(context: &BuildContext) -> Vec<String> {
        let mut archive = tar::Archive::new(context.archive.as_slice());
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn what_is_listed_stays_out_and_links_are_not_followed() {
        let dir = tempfile::Builder::new().prefix("podspawn-context-").tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["docker", "src/deep", "target/debug"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in
            ["docker/Dockerfile", "src/deep/a.rs", "src/b.log", "target/debug/keep", "target/x", "notes"]
        {
            fs::write(at(path), path).unwrap();
        }
        symlink("/etc/passwd", at("link")).unwrap();
        fs::write(at(".dockerignore"), "# words\ntarget\n!target/debug/keep\n**/*.log\ndocker\n/not?s\n")
            .unwrap();
        let context = BuildContext::read(dir.path(), "./docker/Dockerfile").unwrap();
        let wanted = [
            ".dockerignore",
            "docker/Dockerfile",
            "link",
            "src/",
            "src/deep/",
            "src/deep/a.rs",
            "target/debug/keep",
        ];
        assert_eq!(names(&context), wanted);
        assert!(!String::from_utf8_lossy(&context.archive).contains("root:x"));
        assert_eq!(BuildContext::read(dir.path(), "docker/Dockerfile").unwrap().archive, context.archive);
    }

    #[test]
    fn another_dockerfile_takes_the_place_of_the_one_that_was_read() {
        let dir = tempfile::Builder::new().prefix("podspawn-context-").tempdir().unwrap();
        let place = format!("{}/", "deep".repeat(30));
        fs::create_dir(dir.path().join(&place)).unwrap();
        for (name, text) in [("a", "first"), ("Dockerfile", "FROM x\n"), ("z", "last")] {
            fs::write(dir.path().join(&place).join(name), text).unwrap();
        }
        let name = format!("{place}Dockerfile");
        let mut context = BuildContext::read(dir.path(), &name).unwrap();
        for text in ["FROM y\n".repeat(1000), "FROM z\n".to_owned()] {
            context.replace_dockerfile(text.clone()).unwrap();
            fs::write(dir.path().join(&name), text).unwrap();
            let read = BuildContext::read(dir.path(), &name).unwrap();
            assert!(context.archive == read.archive && context.dockerfile == read.dockerfile);
        }
    }

    #[test]
    fn a_dockerfile_outside_of_its_context_is_refused() {
        let dir = tempfile::Builder::new().prefix("podspawn-context-").tempdir().unwrap();
        let context = dir.path().join("inside");
        fs::create_dir(&context).unwrap();
        fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        symlink("../Dockerfile", context.join("link")).unwrap();
        symlink("..", context.join("up")).unwrap();
        for path in ["../Dockerfile", "link", "up/Dockerfile", "/etc/passwd", "", ".", "missing"] {
            let error = BuildContext::read(&context, path).unwrap_err();
            assert!(error.to_string().starts_with("the Dockerfile"), "{path}: {error}");
        }
    }

    #[test]
    fn what_is_exchanged_for_a_link_while_it_is_read_leads_nowhere() {
        let dir = tempfile::Builder::new().prefix("podspawn-context-").tempdir().unwrap();
        let (context, secret) = (dir.path().join("context"), dir.path().join("secret"));
        fs::create_dir_all(context.join("swap")).unwrap();
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("key"), "OUTSIDE").unwrap();
        fs::write(context.join("swap/key"), "inside").unwrap();
        fs::write(context.join("Dockerfile"), "FROM scratch\n").unwrap();
        symlink(&secret, dir.path().join("link")).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let swap = context.join("swap");
                while !over.load(Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(CWD, &swap, CWD, dir.path().join("link"), flags).unwrap();
                }
            });
            for _ in 0..2000 {
                // It may fail: what was a directory is none any more.
                if let Ok(read) = BuildContext::read(&context, "Dockerfile") {
                    assert!(!String::from_utf8_lossy(&read.archive).contains("OUTSIDE"));
                }
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_context_that_has_become_a_link_is_not_followed() {
        let dir = tempfile::Builder::new().prefix("podspawn-context-").tempdir().unwrap();
        fs::create_dir(dir.path().join("secret")).unwrap();
        fs::write(dir.path().join("secret/Dockerfile"), "FROM scratch\n").unwrap();
        symlink("secret", dir.path().join("context")).unwrap();
        let error = BuildContext::read(&dir.path().join("context"), "Dockerfile").unwrap_err();
        assert!(matches!(error, BuildContextError::Read { .. }), "{error}");
        assert!(BuildContext::read(&dir.path().join("secret"), "Dockerfile").is_ok());
    }

    #[test]
    fn neither_depth_nor_patterns_take_for_ever() {
        let dir = tempfile::Builder::new().prefix("podspawn-context-").tempdir().unwrap();
        let top = dir.path();
        fs::write(top.join("Dockerfile"), "FROM scratch\n").unwrap();
        fs::create_dir_all(top.join("d/".repeat(MAX_DEPTH + 1))).unwrap();
        let error = BuildContext::read(top, "Dockerfile").unwrap_err().to_string();
        assert!(error.contains("more than 200 directories one in the other"), "{error}");

        fs::remove_dir_all(top.join("d")).unwrap();
        let name = "a".repeat(200);
        (0..200).for_each(|n| fs::write(top.join(format!("{name}{n}")), "").unwrap());
        fs::write(top.join(".dockerignore"), "*a*a*a*a*a*a*a*a*ab\n".repeat(13_000)).unwrap();
        let error = BuildContext::read(top, "Dockerfile").unwrap_err().to_string();
        assert!(error.contains("the patterns of its `.dockerignore`"), "{error}");

        fs::remove_file(top.join(".dockerignore")).unwrap();
        rustix::fs::mkfifoat(CWD, top.join(".dockerignore"), Mode::from_raw_mode(0o600)).unwrap();
        let error = BuildContext::read(top, "Dockerfile").unwrap_err().to_string();
        assert!(error.contains("it is not a regular file"), "{error}");
    }

    #[test]
    fn a_dockerfile_that_takes_nothing_stands_alone() {
        for text in ["FROM x\nRUN useradd a && \\\n  addgroup b\n", "# COPY a\nFROM x\nENV COPY=1\n"] {
            assert!(stands_alone(text), "{text}");
        }
        for text in [
            "FROM x\nCOPY a b\n",
            "FROM x\n  add a b\n",
            "FROM x\nCO\\\nPY a b\n",
            "FROM x\nRUN --mount=type=bind,target=/x ls\n",
            "FROM x\nRUN --mo\\\nunt=target=/x ls\n",
            "FROM x\nONBUILD COPY a b\n",
        ] {
            assert!(!stands_alone(text), "{text}");
        }
    }
}
