//! The guest's program, carried inside this one and written out where an engine can mount it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::files::write_atomic;

/// The static program that runs as the first process of every container.
pub fn guest_program() -> &'static [u8] {
    include_bytes!(env!("PODSPAWN_GUEST"))
}

/// SHA-256 of [`guest_program`] as 64 hexadecimal digits.
pub fn guest_hash() -> &'static str {
    env!("PODSPAWN_GUEST_SHA256")
}

/// Makes sure that `<dir>/<hash prefix>/podspawn-guest` holds exactly this program, executable, and returns its path.
/// What lies there is compared byte by byte each time; anything else is replaced, and containers that run with the file that
/// was there keep it.
pub fn install_guest(dir: &Path) -> io::Result<PathBuf> {
    let folder = dir.join(&guest_hash()[..16]);
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&folder)?;
    let path = folder.join("podspawn-guest");
    if !is_installed(&path) {
        write_atomic(&path, guest_program(), 0o755)?;
    }
    Ok(path)
}

fn is_installed(path: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    metadata.is_file()
        && metadata.mode() & 0o7777 == 0o755
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.len() == guest_program().len() as u64
        && fs::read(path).is_ok_and(|bytes| bytes == guest_program())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_embedded_program_is_static_and_has_the_recorded_hash() {
        let program = guest_program();
        assert_eq!(&program[..4], b"\x7fELF");
        // An interpreter (`PT_INTERP`) would be missing in an image without a C library.
        assert!(!program.windows(8).any(|window| window == b"/ld-linu" || window == b"/ld-musl"));
        let hash: String = Sha256::digest(program).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, guest_hash());
    }

    #[test]
    fn a_program_that_was_tampered_with_is_replaced() {
        let dir = std::env::temp_dir().join(format!("podspawn-guest-program-{}", std::process::id()));
        let path = install_guest(&dir).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(install_guest(&dir).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "an intact program is left alone");

        let mut bytes = guest_program().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        install_guest(&dir).unwrap();
        assert_eq!(fs::read(&path).unwrap(), guest_program());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        install_guest(&dir).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/bin/true", &path).unwrap();
        install_guest(&dir).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        fs::remove_dir_all(&dir).unwrap();
    }
}
