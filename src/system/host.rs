//! What the process was started with: environment, identity, working directory. Captured once and handed on.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Facts of the process, captured when it started. Nothing else reads them.
#[derive(Debug, Clone)]
pub struct Host {
    env: BTreeMap<OsString, OsString>,
    uid: u32,
    gid: u32,
    pid: i32,
    cwd: Option<PathBuf>,
}

impl Host {
    /// Reads them. Called once, first thing in `main`.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn capture() -> Self {
        Self {
            env: std::env::vars_os().collect(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            pid: rustix::process::getpid().as_raw_pid(),
            cwd: std::env::current_dir().ok(),
        }
    }

    /// Facts made up by a test: this environment, this uid (and equal gid), this working directory.
    pub fn made_up<K, V>(env: impl IntoIterator<Item = (K, V)>, uid: u32, cwd: impl Into<PathBuf>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { env, uid, gid: uid, pid: rustix::process::getpid().as_raw_pid(), cwd: Some(cwd.into()) }
    }

    /// The facts of this process after it has become another account: of the environment only what the account itself says.
    pub fn of_account(&self, uid: u32, gid: u32, name: &str, home: &Path) -> Self {
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        let mut put = |name: &str, value: OsString| env.insert(name.into(), value);
        put("HOME", home.into());
        put("USER", name.into());
        put("LOGNAME", name.into());
        put("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
        put("XDG_RUNTIME_DIR", format!("/run/user/{uid}").into());
        Self { env, uid, gid, pid: self.pid, cwd: self.cwd.clone() }
    }

    /// Whether a variable is set, be it empty.
    pub fn has(&self, name: &str) -> bool {
        self.env.contains_key(OsStr::new(name))
    }

    /// A variable that is set and not empty.
    pub fn var_os(&self, name: &str) -> Option<&OsStr> {
        self.env.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable that is set, not empty, and text.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.var_os(name)?.to_str()
    }

    /// A variable that is set, not empty, and names an absolute path.
    pub fn path_var(&self, name: &str) -> Option<&Path> {
        self.var_os(name).map(Path::new).filter(|path| path.is_absolute())
    }

    /// All variables whose name and value are text.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
    }

    /// Effective user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Effective group id.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// `HOME`, if it is an absolute path.
    pub fn home(&self) -> Option<&Path> {
        self.path_var("HOME")
    }

    /// Working directory at the start; none if it had been removed.
    pub fn cwd(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }
}

/// The time zone of this host by its name, such as `Europe/Berlin`; none if it has none or does not say.
pub fn timezone() -> Option<String> {
    let link = std::fs::read_link("/etc/localtime").ok()?;
    let (_, zone) = link.to_str()?.split_once("/zoneinfo/")?;
    (!matches!(zone, "" | "UTC" | "Etc/UTC")).then(|| zone.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset_and_a_relative_path_as_none() {
        let host = Host::made_up([("A", ""), ("B", "x"), ("HOME", "relative")], 7, "/");
        assert_eq!(host.var("A"), None);
        assert_eq!(host.var("B"), Some("x"));
        assert_eq!(host.var("C"), None);
        assert_eq!(host.home(), None);
        assert_eq!(host.uid(), 7);
    }

    #[test]
    fn the_captured_process_is_this_one() {
        let host = Host::capture();
        assert_eq!(host.pid() as u32, std::process::id());
        assert!(host.var("PATH").is_some());
    }
}
