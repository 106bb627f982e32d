//! The search path of login shells. Debian's `/etc/profile` replaces the one that a login shell was started with, and with it
//! what image and Podfile say; a file beside it puts that back.

use std::io;
use std::path::Path;

use podspawn_wire::USER_DIR;
use rustix::fs::{CWD, Mode, OFlags, fchmod, openat};

use crate::files;

/// Where a system's profile looks for more. Its name makes it the first there: what others add comes after it and stays.
pub const FILE: &str = "/etc/profile.d/00-podspawn.sh";

/// What stands there. The same for every session: where the root is read-only it is mounted.
pub const TEXT: &str = "\
# The session's search path, which the system's profile has replaced.
[ ! -r /run/podspawn-user/profile ] || . /run/podspawn-user/profile
";

/// Name of the file in [`USER_DIR`] that the other one leads to.
const OF_THE_SESSION: &str = "profile";

/// Puts both files in place. One that the image has under that name stays as it is; an image without the directory has no
/// profile that looks there.
pub(crate) fn install(user: &str, path: &str, readonly_rootfs: bool) -> io::Result<()> {
    files::replace(&Path::new(USER_DIR).join(OF_THE_SESSION), script(user, path).as_bytes(), 0o644)?;
    let file = Path::new(FILE);
    if readonly_rootfs || !file.parent().is_some_and(Path::is_dir) {
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, file, flags, Mode::from_raw_mode(0o644)) {
        Ok(fd) => {
            fchmod(&fd, Mode::from_raw_mode(0o644))?;
            io::Write::write_all(&mut std::fs::File::from(fd), TEXT.as_bytes())
        }
        Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// For any shell that reads a system's profile. The session's path comes first; what only the profile knows stays behind it.
/// Root's login shells keep root's path.
fn script(user: &str, path: &str) -> String {
    let (user, path) = (quoted(user), quoted(path));
    format!(
        r#"if [ "${{LOGNAME-}}" = {user} ]; then
  _podspawn_rest=${{PATH-}}:
  PATH={path}
  while [ -n "$_podspawn_rest" ]; do
    _podspawn_one=${{_podspawn_rest%%:*}}
    _podspawn_rest=${{_podspawn_rest#*:}}
    case ":$PATH:" in
      *":$_podspawn_one:"*) ;;
      *) [ -z "$_podspawn_one" ] || PATH=$PATH:$_podspawn_one ;;
    esac
  done
  export PATH
  unset _podspawn_rest _podspawn_one
fi
"#
    )
}

/// A word that no shell looks into.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What `PATH` is after the script, in a shell that was started as `user` with a path of its own.
    fn after(path: &str, user: &str, profiles: &str) -> String {
        let line = format!("set -u; PATH='{profiles}'\n{}\nprintf %s \"$PATH\"", script("sarah", path));
        let output = Command::new("/bin/sh").args(["-c", &line]).env_clear().env("LOGNAME", user).output();
        let output = output.unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_sessions_path_comes_first_and_nothing_is_lost_or_doubled() {
        assert_eq!(
            after("/opt/bin:/bin", "sarah", "/usr/bin:/bin:/usr/games"),
            "/opt/bin:/bin:/usr/bin:/usr/games"
        );
        assert_eq!(after("/bin", "sarah", ""), "/bin");
        assert_eq!(after("/it's here/$(id):/b*", "sarah", ":/c d::"), "/it's here/$(id):/b*:/c d");
    }

    #[test]
    fn nobody_elses_path_is_touched() {
        assert_eq!(after("/opt/bin", "root", "/usr/sbin"), "/usr/sbin");
    }

    #[test]
    fn the_file_leads_to_the_sessions_own() {
        assert!(TEXT.contains(&format!("{USER_DIR}/{OF_THE_SESSION}")));
    }
}
