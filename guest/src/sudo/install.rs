//! Puts `sudo` where programs look for it, and a real one aside so that package managers can still install and upgrade it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use podspawn_wire::GUEST_PROGRAM;

/// The places, relative to the root: the one that scripts name and the one that comes first in a path.
const PLACES: [&str; 2] = ["usr/bin/sudo", "usr/local/bin/sudo"];
/// Where a real program is moved to, by the custom of Debian's diversions.
const ASIDE: &str = "usr/bin/sudo.distrib";
/// Debian's list of files that packages install under another name: three lines each.
const DIVERSIONS: &str = "var/lib/dpkg/diversions";

/// Makes `sudo` available below `root`. What could not be done is returned, one line each.
pub fn install(root: &Path, no_new_privileges: bool) -> Vec<String> {
    install_below(root, Path::new(GUEST_PROGRAM), no_new_privileges)
}

fn install_below(root: &Path, program: &Path, no_new_privileges: bool) -> Vec<String> {
    if !no_new_privileges && real_sudo(root, program) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    for place in PLACES {
        if let Err(error) = put(root, place, program) {
            warnings.push(format!("`sudo` cannot be put at `/{place}`: {error}"));
        }
    }
    // One place is enough to be found; a root that cannot be written has it from outside.
    if PLACES.iter().any(|place| is_ours(&root.join(place), program)) {
        warnings.clear();
    }
    warnings
}

fn real_sudo(root: &Path, program: &Path) -> bool {
    PLACES.iter().chain(&["bin/sudo"]).any(|place| {
        let path = root.join(place);
        !is_ours(&path, program)
            && fs::metadata(&path).is_ok_and(|found| found.is_file() && found.mode() & 0o4000 != 0)
    })
}

/// A link to the guest's program, or that program itself mounted there.
fn is_ours(path: &Path, program: &Path) -> bool {
    if fs::read_link(path).is_ok_and(|target| target == program) {
        return true;
    }
    match (fs::symlink_metadata(path), fs::metadata(program)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn put(root: &Path, place: &str, program: &Path) -> io::Result<()> {
    let path = root.join(place);
    if is_ours(&path, program) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if place == PLACES[0] {
        // The record comes first: what a package manager writes in between already goes aside.
        divert(root)?;
        match fs::rename(&path, root.join(ASIDE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let staged = staged(&path);
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(program, &staged)?;
    fs::rename(&staged, &path)
}

/// Tells dpkg, where there is one, that its `sudo` goes aside.
fn divert(root: &Path) -> io::Result<()> {
    let path = root.join(DIVERSIONS);
    let known = match fs::read_to_string(&path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !root.join("var/lib/dpkg/status").exists() {
                return Ok(());
            }
            String::new()
        }
        Err(error) => return Err(error),
    };
    let diverted = format!("/{}", PLACES[0]);
    if known.lines().step_by(3).any(|line| line == diverted) {
        return Ok(());
    }
    let staged = staged(&path);
    let mut file = fs::File::create(&staged)?;
    // The colon stands for the administrator, whose diversion no package may undo.
    file.write_all(format!("{known}{diverted}\n/{ASIDE}\n:\n").as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    drop(file);
    fs::rename(&staged, &path)
}

fn staged(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".podspawn-new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A root of its own, removed at the end.
    struct Root(PathBuf);

    impl Root {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("podspawn-sudo-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(path.join("usr/bin")).unwrap();
            fs::create_dir_all(path.join(".podspawn")).unwrap();
            fs::write(path.join(".podspawn/guest"), "guest").unwrap();
            Self(path)
        }

        fn with_dpkg(self) -> Self {
            fs::create_dir_all(self.0.join("var/lib/dpkg")).unwrap();
            fs::write(self.0.join("var/lib/dpkg/status"), "").unwrap();
            self
        }

        fn with_sudo(self) -> Self {
            fs::write(self.0.join("usr/bin/sudo"), "real").unwrap();
            fs::set_permissions(self.0.join("usr/bin/sudo"), fs::Permissions::from_mode(0o4755)).unwrap();
            self
        }

        fn program(&self) -> PathBuf {
            self.0.join(".podspawn/guest")
        }

        fn install(&self, no_new_privileges: bool) -> Vec<String> {
            install_below(&self.0, &self.program(), no_new_privileges)
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.0.join(path)).unwrap()
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn both_places_lead_to_the_guest() {
        let root = Root::new();
        for _ in 0..2 {
            assert_eq!(root.install(true), [""; 0]);
            for place in PLACES {
                assert_eq!(fs::read_link(root.0.join(place)).unwrap(), root.program());
            }
        }
        assert!(!root.0.join("var").exists());
    }

    #[test]
    fn a_real_one_goes_aside_and_packages_are_told() {
        let root = Root::new().with_dpkg().with_sudo();
        fs::write(root.0.join(DIVERSIONS), "/bin/sh\n/bin/sh.distrib\ndash\n").unwrap();
        for _ in 0..2 {
            assert_eq!(root.install(true), [""; 0]);
            assert_eq!(root.read("usr/bin/sudo"), "guest");
            assert_eq!(root.read(ASIDE), "real");
            let expected = "/bin/sh\n/bin/sh.distrib\ndash\n/usr/bin/sudo\n/usr/bin/sudo.distrib\n:\n";
            assert_eq!(root.read(DIVERSIONS), expected);
        }
    }

    #[test]
    fn a_package_installed_later_goes_aside_too() {
        let root = Root::new().with_dpkg();
        root.install(true);
        assert_eq!(root.read(DIVERSIONS), "/usr/bin/sudo\n/usr/bin/sudo.distrib\n:\n");
    }

    #[test]
    fn a_real_one_that_works_is_left_alone() {
        let root = Root::new().with_dpkg().with_sudo();
        assert_eq!(root.install(false), [""; 0]);
        assert_eq!(root.read("usr/bin/sudo"), "real");
        assert!(!root.0.join(DIVERSIONS).exists() && !root.0.join(PLACES[1]).exists());
    }

    #[test]
    fn without_a_real_one_ours_serves_with_new_privileges_too() {
        let root = Root::new();
        assert_eq!(root.install(false), [""; 0]);
        assert_eq!(root.read("usr/bin/sudo"), "guest");
    }

    #[test]
    fn what_was_mounted_there_counts_as_in_place() {
        let root = Root::new();
        fs::hard_link(root.program(), root.0.join("usr/bin/sudo")).unwrap();
        fs::create_dir_all(root.0.join("usr/local")).unwrap();
        fs::write(root.0.join("usr/local/bin"), "no directory").unwrap();
        assert_eq!(root.install(true), [""; 0]);
        assert!(!root.0.join(ASIDE).exists());
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let root = Root::new();
        fs::remove_dir(root.0.join("usr/bin")).unwrap();
        fs::write(root.0.join("usr/bin"), "no directory").unwrap();
        fs::write(root.0.join("usr/local"), "no directory").unwrap();
        let warnings = root.install(true);
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("`sudo` cannot be put at `/usr/bin/sudo`: "), "{warnings:?}");
    }
}
