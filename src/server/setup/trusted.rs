//! Files that sshd runs or loads as root, and directories that decide about them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::SetupError;

/// That a path, and everything above it, is root's, and that nobody else may write to any of it: what sshd asks for before
/// it runs anything. What does not exist yet is passed over.
pub(super) fn check(path: &Path) -> Result<(), SetupError> {
    for path in path.ancestors().filter(|path| *path != Path::new("")) {
        let facts = match fs::metadata(path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(SetupError::io("look at", path)(error)),
        };
        let (owner, mode) = (facts.uid(), facts.mode() & 0o7777);
        if owner != 0 || mode & 0o022 != 0 {
            return Err(SetupError::Untrusted { path: path.to_owned(), owner, mode });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_open_directory_above_is_enough_to_refuse() {
        check(Path::new("/usr/bin/no-such-program")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = check(&dir.path().join("a/b")).unwrap_err();
        assert!(matches!(error, SetupError::Untrusted { path, .. } if path == dir.path()));
    }
}
