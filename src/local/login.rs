//! Logins that stand in the addresses of repositories, kept out of what everybody reads.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

/// Where git finds who it is to be: in its environment, which nobody else reads.
const LOGIN: &str = r#"!printf 'username=%s\npassword=%s\n' "$LOGIN_NAME" "$LOGIN_PASSWORD"; :"#;

/// A name and a password, or a token, that stand in an address. Arguments, those of git's own helpers too, are everybody's to
/// read: there the address stands without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    address: String,
    pub(super) without: String,
    /// `https://host[:port]`: nobody else is told.
    place: String,
    name: OsString,
    password: OsString,
}

impl Login {
    pub(super) fn of(address: &str) -> Option<Self> {
        let (host, path) = address.strip_prefix("https://")?.split_once('/')?;
        let (user, host) = host.rsplit_once('@')?;
        // git finds no setting for such a host.
        if host.contains('_') {
            return None;
        }
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let place = format!("https://{host}");
        Some(Self {
            address: address.to_owned(),
            without: format!("{place}/{path}"),
            place,
            name: decoded(name),
            password: decoded(password),
        })
    }

    /// Tells git, also where a clone's configuration has the address with the login.
    pub(super) fn tell(&self, command: &mut Command) {
        command.arg("-c").arg(format!("credential.{}.helper={LOGIN}", self.place));
        command.env("LOGIN_NAME", &self.name).env("LOGIN_PASSWORD", &self.password);
        command.env("GIT_CONFIG_COUNT", "1");
        command.env("GIT_CONFIG_KEY_0", format!("url.{}.insteadOf", self.without));
        command.env("GIT_CONFIG_VALUE_0", &self.address);
    }

    /// Writes the whole address into the configuration of a fresh clone: git fetches with it inside containers too.
    pub(super) fn keep(&self, directory: &Path) -> io::Result<()> {
        let path = directory.join(".git/config");
        let address = self.address.replace('\\', r"\\").replace('"', "\\\"");
        let mut text = String::new();
        for line in std::fs::read_to_string(&path)?.lines() {
            match line.starts_with("\turl = ") {
                true => text.push_str(&format!("\turl = \"{address}\"\n")),
                false => text.push_str(&format!("{line}\n")),
            }
        }
        std::fs::write(path, text)
    }
}

/// Text without its `%xx`.
fn decoded(text: &str) -> OsString {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let code = piece.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => bytes.extend([&[byte], &piece.as_bytes()[2..]].concat()),
            None => bytes.extend([b"%", piece.as_bytes()].concat()),
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_the_address() {
        for (user, host, path, name, password) in [
            ("me:word", "host.example", "a/b", "me", "word"),
            ("token", "host.example:8443", "a", "token", ""),
            ("m%40e:p%3a%25ss%", "h", "a%20b", "m@e", "p:%ss%"),
            ("me:p@ss%4g%+1", "h", "a@b", "me", "p@ss%4g%+1"),
            ("me:a:b", "[1:2:3:4:5:6:7:8]:8443", "a", "me", "a:b"),
        ] {
            let address = format!("https://{user}@{host}/{path}");
            let expected = Login {
                address: address.clone(),
                without: format!("https://{host}/{path}"),
                place: format!("https://{host}"),
                name: name.into(),
                password: password.into(),
            };
            assert_eq!(Login::of(&address), Some(expected));
        }
        for address in ["https://host.example/a@b", "ssh://me:word@host/a", "git@host:a", "git://host/a"] {
            assert_eq!(Login::of(address), None, "{address}");
        }
    }
}
