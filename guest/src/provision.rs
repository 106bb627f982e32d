//! Making the container ready for its user, without any tool of the image. Done once, before anybody is listened to;
//! doing it again (a container that was stopped and started) changes nothing.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use podspawn_wire::{InitConfig, User};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chmod, chownat, fchown, mkdir, openat, symlink};

use crate::accounts::{self, Account, Files};
use crate::{files, hand_over};

/// Deepest and largest home skeleton that is copied.
const SKELETON_DEPTH: usize = 8;

/// What has become of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The user, with the shell in force.
    pub(crate) user: User,
    /// What could not be had and does not matter enough to fail.
    pub(crate) warnings: Vec<String>,
}

/// Makes the account, its home and its directories. The error is a line for people.
pub(crate) fn provision(config: &InitConfig) -> Result<Ready, String> {
    let mut warnings = Vec::new();
    let user = User { shell: shell_in_force(&config.user.shell, &mut warnings), ..config.user.clone() };
    let former = account(&user)?;
    home(&user, &mut warnings)?;
    if let Some(former) = former
        && let Err(error) = hand_over::home(&former, &user)
    {
        warnings.push(format!("not all of the home is the user's: {error}"));
    }
    for directory in &config.user_dirs {
        if let Err(error) = user_directory(Path::new(directory), &user) {
            warnings.push(format!("cannot give `{directory}` to the user: {error}"));
        }
    }
    for directory in &config.volume_dirs {
        if let Err(error) = volume_directory(Path::new(directory), &user) {
            warnings.push(format!("cannot give the volume at `{directory}` to the user: {error}"));
        }
    }
    temporary_directory();
    if config.sudo
        && !config.readonly_rootfs
        && let Err(error) = sudoers(&user)
    {
        warnings.push(format!("cannot write the sudo rule of the user: {error}"));
    }
    Ok(Ready { user, warnings })
}

/// The shell asked for, else the one that every image with a shell has.
fn shell_in_force(wanted: &str, warnings: &mut Vec<String>) -> String {
    let found = [wanted, "/bin/sh"].into_iter().find(|shell| files::is_program(Path::new(shell)));
    if found.is_none() {
        warnings.push("the image has no shell".into());
    }
    found.unwrap_or("/bin/sh").to_owned()
}

/// Puts the account in place. What it was, if the image had one of that name with other ids.
fn account(user: &User) -> Result<Option<Account>, String> {
    const PASSWD: &str = "/etc/passwd";
    const GROUP: &str = "/etc/group";
    const SHADOW: &str = "/etc/shadow";
    let read =
        |path: &str| files::read(Path::new(path)).map_err(|error| format!("cannot read {path}: {error}"));
    let before = Files {
        passwd: read(PASSWD)?.unwrap_or_default(),
        group: read(GROUP)?.unwrap_or_default(),
        shadow: read(SHADOW)?,
    };
    let after = accounts::provision(&before, user).map_err(|error| error.to_string())?;
    let _ = mkdir("/etc", Mode::from_raw_mode(0o755));
    let write = |path: &str, old: &[u8], new: &[u8], mode| {
        if old == new {
            return Ok(());
        }
        files::replace(Path::new(path), new, mode).map_err(|error| format!("cannot write {path}: {error}"))
    };
    // Groups first: an account never names a group that does not exist.
    write(GROUP, &before.group, &after.group, 0o644)?;
    if let (Some(old), Some(new)) = (&before.shadow, &after.shadow) {
        // The account works without its line here, which a prepared read-only root does not have.
        let _ = write(SHADOW, old, new, 0o640);
    }
    match write(PASSWD, &before.passwd, &after.passwd, 0o644) {
        Err(_) if prepared(&before.passwd, user) => {}
        done => done?,
    }
    let former = accounts::by_name(&before.passwd, &user.name);
    Ok(former.filter(|former| former.uid != user.uid || former.gid != user.gid))
}

/// The account is there already but for what does not matter, such as the shell that was fallen back from.
fn prepared(passwd: &[u8], user: &User) -> bool {
    accounts::by_name(passwd, &user.name).is_some_and(|account| {
        account.uid == user.uid && account.gid == user.gid && account.home == user.home
    })
}

fn home(user: &User, warnings: &mut Vec<String>) -> Result<(), String> {
    let path = Path::new(&user.home);
    let cannot = |error: io::Error| format!("cannot make the home `{}`: {error}", user.home);
    let made = make_directories(path).map_err(cannot)?;
    if made && let Err(error) = copy_skeleton(Path::new("/etc/skel"), path, user, SKELETON_DEPTH) {
        warnings.push(format!("cannot copy /etc/skel to the home: {error}"));
    }
    // A fresh mount belongs to root too: whoever owns it by name owns it in fact.
    let owner = std::fs::metadata(path).map_err(cannot)?.uid();
    if owner != user.uid && (made || owner == 0) {
        give(path, user).map_err(cannot)?;
    }
    let rc = match Path::new(&user.shell).file_name().and_then(|name| name.to_str()) {
        Some("bash") => Some(".bashrc"),
        Some("zsh") => Some(".zshrc"),
        _ => None,
    };
    if let Some(rc) = rc {
        // Only if nothing of that name is there: a first run would ask questions otherwise.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(file) = openat(CWD, path.join(rc), flags, Mode::from_raw_mode(0o644)) {
            let _ = fchown(&file, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)));
        }
    }
    Ok(())
}

/// Makes a directory and its parents; true if it was not there.
fn make_directories(path: &Path) -> io::Result<bool> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return Ok(false);
    }
    if let Some(parent) = path.parent() {
        make_directories(parent)?;
    }
    mkdir(path, Mode::from_raw_mode(0o755))?;
    // The mask does not apply to what is asked for here.
    chmod(path, Mode::from_raw_mode(0o755))?;
    Ok(true)
}

fn give(path: &Path, user: &User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    Ok(chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy_skeleton(from: &Path, to: &Path, user: &User, depth: usize) -> io::Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let meta = entry.metadata()?;
        if meta.is_dir() && depth > 0 {
            mkdir(&target, Mode::from_raw_mode(meta.permissions().mode() & 0o777))?;
            copy_skeleton(&source, &target, user, depth - 1)?;
        } else if meta.is_symlink() {
            symlink(std::fs::read_link(&source)?, &target)?;
        } else if meta.is_file() {
            std::fs::copy(&source, &target)?;
        } else {
            continue;
        }
        give(&target, user)?;
    }
    Ok(())
}

/// A directory that the user is to have. One that is a mount of the host's keeps its owner.
fn user_directory(path: &Path, user: &User) -> io::Result<()> {
    let made = make_directories(path)?;
    let owner = std::fs::metadata(path)?.uid();
    if made || owner == 0 && mounted_as(path).is_none_or(|kind| kind == "tmpfs") {
        give(path, user)?;
    }
    Ok(())
}

/// A volume's mount point. A new volume is root's and empty; what somebody has put into one stays as it is. The directories
/// that the engine made on the way there, where everything is the user's, are the user's too.
fn volume_directory(path: &Path, user: &User) -> io::Result<()> {
    let home = Path::new(&user.home);
    for between in path.ancestors().skip(1).take_while(|above| *above != home && above.starts_with(home)) {
        if std::fs::metadata(between)?.uid() == 0 {
            give(between, user)?;
        }
    }
    let empty =
        std::fs::read_dir(path)?.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lost+found"));
    if empty && std::fs::metadata(path)?.uid() == 0 {
        give(path, user)?;
    }
    Ok(())
}

/// Kind of the file system that is mounted at a path, if one is.
fn mounted_as(path: &Path) -> Option<String> {
    let table = files::read(Path::new("/proc/self/mountinfo")).ok()??;
    let table = String::from_utf8_lossy(&table);
    table.lines().rev().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let point: PathBuf = mount.split(' ').nth(4)?.replace("\\040", " ").into();
        (point == path).then(|| kind.split(' ').next().unwrap_or_default().to_owned())
    })
}

/// `/tmp`, which an image from scratch may lack and nearly every program expects.
fn temporary_directory() {
    if mkdir("/tmp", Mode::RWXU).is_ok() {
        let _ = chmod("/tmp", Mode::from_raw_mode(0o1777));
    }
}

/// The rule for a real `sudo`, now or once it is installed.
fn sudoers(user: &User) -> io::Result<()> {
    let directory = Path::new("/etc/sudoers.d");
    if mkdir(directory, Mode::RWXU).is_ok() {
        chmod(directory, Mode::from_raw_mode(0o750))?;
    }
    let rule = format!("{} ALL=(root) NOPASSWD:ALL\n", user.name);
    let path = directory.join(&user.name);
    if files::read(&path)?.as_deref() != Some(rule.as_bytes()) {
        files::replace(&path, rule.as_bytes(), 0o440)?;
    }
    chmod(&path, Mode::from_raw_mode(0o440))?;
    Ok(())
}
