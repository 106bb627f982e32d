//! What `.dockerignore` leaves out of a build context: one pattern a line, `*`, `?` and `**`, a leading `!` takes back.
//!
//! The file is a repository's: its size is bounded, and so is the work of comparing names with it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

/// Largest file, in bytes.
const MAX_IGNORE: u64 = 256 << 10;
/// Most steps of comparing: a second or two.
const MAX_STEPS: u64 = 1 << 28;

/// What `.dockerignore` says.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    /// Patterns by their parts, and whether they take back; the last that matches decides.
    patterns: Vec<(Vec<Vec<char>>, bool)>,
    /// Paths that are never left out.
    pub(super) keep: Vec<String>,
    /// Steps of comparing so far.
    steps: Cell<u64>,
}

impl Ignore {
    /// The list of an open directory.
    pub(super) fn read(directory: impl AsFd) -> io::Result<Self> {
        // Neither a link nor a pipe in its place is followed or waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(directory, ".dockerignore", flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Self::default()),
            other => other?,
        };
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut text = String::new();
        File::from(file).take(MAX_IGNORE).read_to_string(&mut text)?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
        let patterns = lines.filter_map(|line| {
            let (line, back) = match line.strip_prefix('!') {
                Some(line) => (line.trim(), true),
                None => (line, false),
            };
            let parts: Vec<Vec<char>> = line
                .split('/')
                .filter(|part| !matches!(*part, "" | "."))
                .map(|part| part.chars().collect())
                .collect();
            (!parts.is_empty()).then_some((parts, back))
        });
        Self { patterns: patterns.collect(), ..Self::default() }
    }

    /// Whether comparing has taken so long that nobody should wait for the rest.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.get() > MAX_STEPS
    }

    /// Whether a path of the context is left out.
    pub(super) fn covers(&self, path: &str) -> bool {
        if self.keep.iter().any(|kept| kept == path) {
            return false;
        }
        let parts: Vec<Vec<char>> = path.split('/').map(|part| part.chars().collect()).collect();
        let mut ignored = false;
        for (pattern, back) in &self.patterns {
            // A pattern that covers a directory covers what is in it.
            if (1..=parts.len()).any(|length| matches(pattern, &parts[..length], &self.steps)) {
                ignored = !back;
            }
            if self.is_exhausted() {
                break;
            }
        }
        ignored
    }

    /// Whether something inside of a directory that is left out may be wanted nevertheless.
    pub(super) fn may_take_back(&self, directory: &str) -> bool {
        let inside = format!("{directory}/");
        self.patterns.iter().any(|(_, back)| *back) || self.keep.iter().any(|kept| kept.starts_with(&inside))
    }
}

fn matches(pattern: &[Vec<char>], path: &[Vec<char>], steps: &Cell<u64>) -> bool {
    wildcard(
        pattern,
        path,
        steps,
        |part| part == &['*', '*'],
        |part, name| wildcard(part, name, steps, |c| *c == '*', |a, b| *a == '?' || a == b),
    )
}

/// Whether `pattern` matches all of `text`, where a star stands for any number of items. Takes at most the product of the
/// two lengths, whatever the pattern: only the last star is ever tried again. Counts its steps.
fn wildcard<P, T>(
    pattern: &[P],
    text: &[T],
    steps: &Cell<u64>,
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        steps.set(steps.get() + 1);
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
