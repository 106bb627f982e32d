//! The PAM module, carried inside this program and written out where sshd's PAM stack loads it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::files::{TrustError, open_trusted, write_atomic};

/// Name of the module's file.
pub const PAM_MODULE: &str = "pam_podspawn.so";

/// The shared object that sshd loads.
pub fn pam_module() -> &'static [u8] {
    include_bytes!(env!("PODSPAWN_PAM"))
}

/// SHA-256 of [`pam_module`] as 64 hexadecimal digits.
pub fn pam_hash() -> &'static str {
    env!("PODSPAWN_PAM_SHA256")
}

/// What a file is, compared with the embedded module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Match {
    /// The same, byte for byte.
    Same,
    /// Something else.
    Other,
}

/// Compares a file with the embedded module. It and its directory must belong to root, and nobody else may write to them.
/// A symbolic link counts as something else. The comparison is of all bytes: it needs no hash of the file and takes well
/// below a millisecond.
pub fn compare(path: &Path) -> Result<Match, TrustError> {
    Ok(if open_same(path)?.is_some() { Match::Same } else { Match::Other })
}

/// The same comparison; the file if it is the embedded module.
pub fn open_same(path: &Path) -> Result<Option<File>, TrustError> {
    let io = |source| TrustError::Io { path: path.to_owned(), source };
    let facts = fs::symlink_metadata(path).map_err(io)?;
    if facts.is_symlink() {
        return Ok(None);
    }
    let file = open_trusted(path, 0)?;
    Ok(is_same(&file, pam_module()).map_err(io)?.then_some(file))
}

/// Whether a process has loaded the module from this very file: then it holds a lock there, at the byte that has its number.
/// The kernel knows whose a lock is; anybody else's in that place is none of its.
pub fn is_loaded_by(module: &File, process: i32) -> io::Result<bool> {
    let start = u64::try_from(process).map_err(|_| io::ErrorKind::InvalidInput)?;
    let asked =
        Flock { start, length: 1, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    Ok(fcntl_getlk(module, &asked)?
        .is_some_and(|held| held.pid.is_some_and(|pid| pid.as_raw_pid() == process)))
}

/// Whether `<dir>/pam_podspawn.so` is this module and everybody may read it, as the account has to that sshd asks for keys.
pub fn is_intact(path: &Path) -> bool {
    let mode = || fs::symlink_metadata(path).map(|facts| facts.mode() & 0o7777);
    matches!(compare(path), Ok(Match::Same)) && mode().is_ok_and(|mode| mode == 0o644)
}

/// Compares piece by piece: sshd waits for the answer, and memory for the whole file would cost more than reading it.
fn is_same(mut file: impl Read, mut expected: &[u8]) -> io::Result<bool> {
    let mut piece = [0; 32 * 1024];
    loop {
        let length = match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        if length == 0 {
            return Ok(expected.is_empty());
        }
        match expected.strip_prefix(&piece[..length]) {
            Some(rest) => expected = rest,
            None => return Ok(false),
        }
    }
}

/// Makes sure that `<dir>/pam_podspawn.so` is exactly this module with mode 0644, and returns its path. The directory is
/// made if it is missing. A connection that has loaded the file that was there keeps it.
pub fn install(dir: &Path) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let path = dir.join(PAM_MODULE);
    if !is_intact(&path) {
        write_atomic(&path, pam_module(), 0o644)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_embedded_module_is_a_shared_object_and_has_the_recorded_hash() {
        let module = pam_module();
        assert_eq!(&module[..4], b"\x7fELF");
        assert_eq!(module[16], 3, "the type of a shared object");
        for name in ["pam_sm_open_session", "pam_sm_close_session"] {
            assert!(module.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
        }
        let hash: String = Sha256::digest(module).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, pam_hash());
    }

    #[test]
    fn a_module_that_was_tampered_with_is_seen_and_replaced() {
        let dir = std::env::temp_dir().join(format!("podspawn-pam-module-{}", std::process::id()));
        let path = install(&dir).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(install(&dir).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "an intact module is left alone");
        assert_eq!(compare(&path).unwrap(), Match::Same);

        let mut bytes = pam_module().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(compare(&path).unwrap(), Match::Other);
        bytes.push(0);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(compare(&path).unwrap(), Match::Other);
        fs::write(&path, &pam_module()[..100]).unwrap();
        assert_eq!(compare(&path).unwrap(), Match::Other);
        install(&dir).unwrap();
        assert_eq!(fs::read(&path).unwrap(), pam_module());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(compare(&path), Err(TrustError::Writable { .. })));
        install(&dir).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        fs::rename(&path, dir.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.join("elsewhere"), &path).unwrap();
        assert_eq!(compare(&path).unwrap(), Match::Other, "a link is not followed");
        install(&dir).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        fs::remove_dir_all(&dir).unwrap();
    }
}
