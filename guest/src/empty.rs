//! Emptying a directory of the host that root of a container could write to, as root of another container: what lies there is
//! not its owner's to remove.

use std::io;
use std::path::Path;

/// Removes everything in a directory; no link is followed. Goes on past errors and returns the first. However deep it is:
/// directories are brought up one level by one, and no more than two are open at a time. Nobody else may write to it meanwhile.
pub fn empty(directory: &Path) -> io::Result<()> {
    let mut first = Ok(());
    let mut moved = 0u64;
    let mut note = |outcome: io::Result<()>| {
        if first.is_ok() {
            first = outcome;
        }
    };
    let mut left = true;
    while std::mem::take(&mut left) {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                note(std::fs::remove_file(entry.path()));
                continue;
            }
            for inner in std::fs::read_dir(entry.path())? {
                let inner = inner?;
                if !inner.file_type()?.is_dir() {
                    note(std::fs::remove_file(inner.path()));
                    continue;
                }
                let up = loop {
                    moved += 1;
                    let up = directory.join(format!("up-{moved}"));
                    if up.symlink_metadata().is_err() {
                        break up;
                    }
                };
                let brought = std::fs::rename(inner.path(), up);
                left |= brought.is_ok();
                note(brought);
            }
            note(std::fs::remove_dir(entry.path()));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_goes_and_what_links_lead_to_stays() {
        let root = std::env::temp_dir().join(format!("podspawn-empty-{}", std::process::id()));
        let (full, kept) = (root.join("full"), root.join("kept"));
        std::fs::create_dir_all(full.join("a/b")).unwrap();
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::write(kept.join("file"), "").unwrap();
        std::fs::write(full.join("a/b/.hidden"), "").unwrap();
        std::os::unix::fs::symlink(&kept, full.join("link")).unwrap();
        std::os::unix::fs::symlink(&kept, full.join("a/link")).unwrap();
        // Deeper than a process may have files open, and than a path may be long.
        let mut deep = rustix::fs::open(&full, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&deep, "d", rustix::fs::Mode::RWXU).unwrap();
            deep =
                rustix::fs::openat(&deep, "d", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        }
        empty(&full).unwrap();
        assert_eq!(std::fs::read_dir(&full).unwrap().count(), 0);
        assert!(kept.join("file").exists());
        std::fs::remove_dir_all(root).unwrap();
    }
}
