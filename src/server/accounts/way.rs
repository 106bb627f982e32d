//! Which way of making an account works on this host.

use std::fs;
use std::path::Path;

use super::error::AccountError;
use super::record::Way;
use super::tools;
use crate::config::AccountWay;

/// The way that the configuration asks for, if it works here.
pub(super) fn choose(wanted: AccountWay) -> Result<Way, AccountError> {
    match wanted {
        AccountWay::Useradd => Ok(Way::Useradd),
        AccountWay::Auto => Ok(if userdb_works().is_ok() { Way::Userdb } else { Way::Useradd }),
        AccountWay::Userdb => userdb_works().map(|()| Way::Userdb).map_err(AccountError::NoUserdb),
    }
}

/// Whether accounts of userdb drop-ins are seen by sshd; otherwise why not.
fn userdb_works() -> Result<(), String> {
    let text = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    if !asks_systemd(&text) {
        return Err("the line `passwd:` of /etc/nsswitch.conf does not name `systemd`".into());
    }
    if !has_library() {
        return Err("the library libnss_systemd.so.2 is not installed".into());
    }
    // Without PAM sshd itself looks into the shadow file, where such an account has no entry.
    match tools::ask("sshd", &["-T"]).map(|effective| uses_pam(&effective)) {
        Ok(true) => Ok(()),
        Ok(false) => Err("sshd does not have `UsePAM yes`".into()),
        Err(why) => Err(format!("`sshd -T` does not tell whether sshd has `UsePAM yes`: {why}")),
    }
}

/// Whether accounts are looked for in systemd's sources.
fn asks_systemd(nsswitch: &str) -> bool {
    nsswitch
        .lines()
        .filter_map(|line| line.split('#').next()?.trim_start().strip_prefix("passwd:"))
        .any(|sources| sources.split_whitespace().any(|source| source == "systemd"))
}

fn uses_pam(effective: &str) -> bool {
    effective.lines().any(|line| line.trim().eq_ignore_ascii_case("usepam yes"))
}

fn has_library() -> bool {
    let holds = |dir: &Path| dir.join("libnss_systemd.so.2").exists();
    ["/lib", "/usr/lib", "/lib64", "/usr/lib64"].iter().map(Path::new).any(|dir| {
        let below = fs::read_dir(dir).into_iter().flatten().flatten();
        holds(dir)
            || below
                .filter(|entry| entry.file_name().to_string_lossy().contains("-linux-"))
                .any(|entry| holds(&entry.path()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_accounts_own_line_counts() {
        assert!(asks_systemd("passwd:         files systemd\n"));
        assert!(asks_systemd("group: files\n  passwd: files [NOTFOUND=continue] systemd # as shipped\n"));
        assert!(!asks_systemd("passwd: files\ngroup: files systemd\n"));
        assert!(!asks_systemd("#passwd: files systemd\npasswd: files # systemd\n"));
        assert!(!asks_systemd(""));
    }

    #[test]
    fn the_effective_configuration_says_whether_pam_is_used() {
        assert!(uses_pam("port 22\nusepam yes\n"));
        assert!(!uses_pam("port 22\nusepam no\n"));
    }
}
