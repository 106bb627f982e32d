//! Emptying a directory of the host that root of a container could write to, as root of another container: what lies there is
//! not its owner's to remove.

use std::io;
use std::path::Path;

/// Removes everything in a directory; no link is followed. Goes on past errors and returns the first.
pub fn empty(directory: &Path) -> io::Result<()> {
    let mut first = Ok(());
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let removed = match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path()),
            false => std::fs::remove_file(entry.path()),
        };
        if first.is_ok() {
            first = removed;
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
        empty(&full).unwrap();
        assert_eq!(std::fs::read_dir(&full).unwrap().count(), 0);
        assert!(kept.join("file").exists());
        std::fs::remove_dir_all(root).unwrap();
    }
}
