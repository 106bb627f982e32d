//! A home that the image made for an account of the session's name with other ids: it is the session's user's now.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use podspawn_wire::User;
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};

use crate::accounts::Account;
use crate::files;

/// Most files that are given away: each is copied out of the image for it, before anybody is let in.
const MOST_FILES: usize = 100_000;
/// How long that may take: who made the container waits for it to answer, and not for much longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Largest file that is copied out of the image for it, in bytes.
const LARGEST: u64 = 256 << 20;
/// Deepest directory that is looked into.
const DEEPEST: usize = 64;

/// Gives away what the account had in its home. No link is followed, and nothing that is mounted there is looked at: that is
/// somebody else's.
pub(crate) fn home(former: &Account, user: &User) -> io::Result<()> {
    let mounts = mount_points();
    let mut budget = Budget { files: MOST_FILES, depth: DEEPEST, until: Instant::now() + LONGEST };
    give(Path::new(&user.home), former, user, &mounts, &mut budget)
}

struct Budget {
    files: usize,
    depth: usize,
    until: Instant,
}

fn give(
    path: &Path,
    former: &Account,
    user: &User,
    mounts: &[PathBuf],
    budget: &mut Budget,
) -> io::Result<()> {
    if mounts.iter().any(|mount| mount == path) {
        return Ok(());
    }
    budget.files = budget.files.checked_sub(1).ok_or_else(|| io::Error::other("it has too many files"))?;
    if Instant::now() > budget.until {
        return Err(io::Error::other("it takes too long"));
    }
    let meta = std::fs::symlink_metadata(path)?;
    if meta.is_file() && meta.len() > LARGEST {
        return Ok(());
    }
    let uid = (meta.uid() == former.uid && former.uid != user.uid).then(|| Uid::from_raw(user.uid));
    let gid = (meta.gid() == former.gid && former.gid != user.gid).then(|| Gid::from_raw(user.gid));
    if uid.is_some() || gid.is_some() {
        chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if !meta.is_dir() {
        return Ok(());
    }
    budget.depth = budget.depth.checked_sub(1).ok_or_else(|| io::Error::other("it is too deep"))?;
    for entry in std::fs::read_dir(path)? {
        give(&entry?.path(), former, user, mounts, budget)?;
    }
    budget.depth += 1;
    Ok(())
}

/// Where something is mounted.
fn mount_points() -> Vec<PathBuf> {
    let table = files::read(Path::new("/proc/self/mountinfo")).ok().flatten().unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| point.replace("\\040", " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: u32) -> (Account, User) {
        let text = |text: &str| text.to_owned();
        let (name, home, shell) = (text("node"), text("/home/node"), text("/bin/sh"));
        let former = Account { name: name.clone(), uid, gid: uid, home: home.clone(), shell: shell.clone() };
        (former, User { name, uid: 4321, gid: 4321, home, shell })
    }

    #[test]
    fn a_home_without_end_or_bottom_is_not_walked_to_its_end() {
        let root = std::env::temp_dir().join(format!("podspawn-hand-over-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        // Nobody's: nothing is given away.
        let (former, user) = account(u32::MAX - 1);
        let until = Instant::now() + LONGEST;
        let walk = |files, depth| give(&root, &former, &user, &[], &mut Budget { files, depth, until });
        assert!(walk(3, 3).is_ok());
        assert!(walk(2, 3).unwrap_err().to_string().contains("many"));
        assert!(walk(3, 2).unwrap_err().to_string().contains("deep"));
        let mut little = Budget { files: 1, depth: 1, until };
        let skipped = give(&root, &former, &user, &[root.join("a")], &mut little);
        assert!(skipped.is_ok(), "what is mounted is not looked at");
        let mut late = Budget { files: 9, depth: 9, until: Instant::now() - Duration::from_secs(1) };
        assert!(give(&root, &former, &user, &[], &mut late).unwrap_err().to_string().contains("long"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
