//! The files that a Dockerfile of a repository may copy, as one archive.
//!
//! Symlinks are stored as symlinks and never followed, so nothing outside of the directory gets in. `.dockerignore` is
//! honoured: one pattern a line, `*`, `?` and `**`, a leading `!` takes back. Size and number of files are bounded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Largest context, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Most files, directories and symlinks in a context.
const MAX_ENTRIES: usize = 100_000;
/// Largest `.dockerignore`, in bytes.
const MAX_IGNORE: u64 = 256 << 10;

/// Why a directory is no build context.
#[derive(Debug, Error)]
pub enum BuildContextError {
    /// Something in it cannot be read.
    #[error("read `{}` for the image's build: {source}", path.display())]
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
}

impl BuildContext {
    /// Reads the directory `context`, in which `dockerfile` is a relative path.
    pub fn read(context: &Path, dockerfile: &str) -> Result<Self, BuildContextError> {
        let wrong = || BuildContextError::Dockerfile { file: dockerfile.into(), context: context.to_owned() };
        let relative = clean(dockerfile).ok_or_else(wrong)?;
        let mut place = context.to_owned();
        for part in relative.split('/') {
            place.push(part);
            let kind = fs::symlink_metadata(&place).map_err(|_| wrong())?.file_type();
            let last = place == context.join(&relative);
            if (last && !kind.is_file()) || (!last && !kind.is_dir()) {
                return Err(wrong());
            }
        }
        let mut ignore = Ignore::read(&context.join(".dockerignore"))?;
        // Without it nothing can be built, whatever the list says.
        ignore.keep = vec![relative];
        let mut reading =
            Reading { context, ignore, archive: tar::Builder::new(Vec::new()), bytes: 0, entries: 0 };
        reading.directory("")?;
        let io = |source| BuildContextError::Read { path: context.to_owned(), source };
        Ok(Self { archive: reading.archive.into_inner().map_err(io)? })
    }
}

struct Reading<'a> {
    context: &'a Path,
    ignore: Ignore,
    archive: tar::Builder<Vec<u8>>,
    bytes: u64,
    entries: usize,
}

impl Reading<'_> {
    fn directory(&mut self, inside: &str) -> Result<(), BuildContextError> {
        let at = self.context.join(inside);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| BuildContextError::Read { path, source }
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&at).map_err(io(&at))? {
            let name = entry.map_err(io(&at))?.file_name();
            // A name that is no text cannot be named in a Dockerfile either.
            names.extend(name.into_string());
        }
        names.sort();
        for name in names {
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            let place = self.context.join(&path);
            let meta = fs::symlink_metadata(&place).map_err(io(&place))?;
            let ignored = self.ignore.covers(&path);
            if ignored && !(meta.is_dir() && self.ignore.may_take_back(&path)) {
                continue;
            }
            let mut header = tar::Header::new_gnu();
            header.set_mode(meta.mode() & 0o7777);
            header.set_size(0);
            if meta.is_dir() {
                if !ignored {
                    self.count(0)?;
                    header.set_entry_type(tar::EntryType::Directory);
                    self.archive
                        .append_data(&mut header, format!("{path}/"), io::empty())
                        .map_err(io(&place))?;
                }
                self.directory(&path)?;
            } else if meta.is_symlink() {
                self.count(0)?;
                let target = fs::read_link(&place).map_err(io(&place))?;
                header.set_entry_type(tar::EntryType::Symlink);
                self.archive.append_link(&mut header, &path, &target).map_err(io(&place))?;
            } else if meta.is_file() {
                // Somebody may have put something else there since: neither a link nor a pipe is opened.
                let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
                let file = File::options().read(true).custom_flags(flags).open(&place).map_err(io(&place))?;
                let size = file.metadata().map_err(io(&place))?.len();
                self.count(size)?;
                let mut content = Vec::new();
                file.take(size).read_to_end(&mut content).map_err(io(&place))?;
                header.set_size(content.len() as u64);
                self.archive.append_data(&mut header, &path, content.as_slice()).map_err(io(&place))?;
            }
        }
        Ok(())
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
        Err(BuildContextError::TooLarge { path: self.context.to_owned(), limit })
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

/// What `.dockerignore` says.
#[derive(Debug, Default)]
struct Ignore {
    /// Patterns by their parts, and whether they take back; the last that matches decides.
    patterns: Vec<(Vec<String>, bool)>,
    /// Paths that are never left out.
    keep: Vec<String>,
}

impl Ignore {
    fn read(path: &Path) -> Result<Self, BuildContextError> {
        let failed = |source| BuildContextError::Read { path: path.to_owned(), source };
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match File::options().read(true).custom_flags(flags).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(failed)?,
        };
        let mut text = String::new();
        file.take(MAX_IGNORE).read_to_string(&mut text).map_err(failed)?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
        let patterns = lines.filter_map(|line| {
            let (line, back) = match line.strip_prefix('!') {
                Some(line) => (line.trim(), true),
                None => (line, false),
            };
            let parts: Vec<String> =
                line.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect();
            (!parts.is_empty()).then_some((parts, back))
        });
        Self { patterns: patterns.collect(), keep: Vec::new() }
    }

    fn covers(&self, path: &str) -> bool {
        if self.keep.iter().any(|kept| kept == path) {
            return false;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let mut ignored = false;
        for (pattern, back) in &self.patterns {
            // A pattern that covers a directory covers what is in it.
            if (1..=parts.len()).any(|length| matches(pattern, &parts[..length])) {
                ignored = !back;
            }
        }
        ignored
    }

    /// Whether something inside of a directory that is left out may be wanted nevertheless.
    fn may_take_back(&self, directory: &str) -> bool {
        let inside = format!("{directory}/");
        self.patterns.iter().any(|(_, back)| *back) || self.keep.iter().any(|kept| kept.starts_with(&inside))
    }
}

fn matches(pattern: &[String], path: &[&str]) -> bool {
    wildcard(
        pattern,
        path,
        |part| part == "**",
        |part, name| {
            let (pattern, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
            wildcard(&pattern, &name, |c| *c == '*', |a, b| *a == '?' || a == b)
        },
    )
}

/// Whether `pattern` matches all of `text`, where a star stands for any number of items. Takes at most the product of the
/// two lengths, whatever the pattern: only the last star is ever tried again.
fn wildcard<P, T>(
    pattern: &[P],
    text: &[T],
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && is_star(&pattern[p]) {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && fits(&pattern[p], &text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(is_star)
}

#[cfg(test)]
mod tests {
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
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
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
    fn a_dockerfile_outside_of_its_context_is_refused() {
        let dir = tempfile::Builder::new().prefix("podspawn-context-").tempdir().unwrap();
        let context = dir.path().join("inside");
        fs::create_dir(&context).unwrap();
        fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        std::os::unix::fs::symlink("../Dockerfile", context.join("link")).unwrap();
        std::os::unix::fs::symlink("..", context.join("up")).unwrap();
        for path in ["../Dockerfile", "link", "up/Dockerfile", "/etc/passwd", "", ".", "missing"] {
            let error = BuildContext::read(&context, path).unwrap_err();
            assert!(error.to_string().starts_with("the Dockerfile"), "{path}: {error}");
        }
    }
}
