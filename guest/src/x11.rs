//! The key to the client's X server, where X clients look for it, for the time of one connection.
//!
//! The display itself is there already: its listener is in the container's network.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use podspawn_wire::X11;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, chown, fchown, mkdir, openat};

use crate::files;

/// Name of the file in the connection's directory.
const FILE: &str = "Xauthority";

/// `FamilyLocal` of the X protocol: the address is a host's name. What clients look for when a display is on the loopback.
const LOCAL: u16 = 256;
/// `FamilyWild`: any address. For a host whose name is changed meanwhile.
const WILD: u16 = 65535;

/// Highest display whose port (6000 more) exists.
const MAX_DISPLAY: u32 = 65_535 - 6000;
/// Longest name of a protocol and longest secret, in bytes.
const MAX_PROTOCOL: usize = 64;
const MAX_COOKIE: usize = 256;

/// The file; gone with the value.
#[derive(Debug)]
pub(crate) struct Authority {
    directory: PathBuf,
    display: String,
}

impl Authority {
    /// Writes it below `directory`, which only `uid` may enter. The request must have been checked.
    pub(crate) fn new(directory: PathBuf, uid: u32, gid: u32, x11: &X11, host: &str) -> io::Result<Self> {
        files::remove_directory(&directory);
        mkdir(&directory, Mode::RWXU)?;
        let authority = Self { directory, display: x11.display.clone() };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(CWD, authority.path(), flags, Mode::RUSR | Mode::WUSR)?;
        let content = entries(x11, host);
        let mut rest = &content[..];
        while !rest.is_empty() {
            let wrote = rustix::io::write(file.as_fd(), rest)?;
            rest = &rest[wrote..];
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchown(&file, uid, gid)?;
        // The directory last: from then on the user may rename what is in it. It is the user's so that `xauth` can lock and
        // replace the file.
        chown(&authority.directory, uid, gid)?;
        Ok(authority)
    }

    /// For `XAUTHORITY`.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// For `DISPLAY`.
    pub(crate) fn display(&self) -> &str {
        &self.display
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        files::remove_directory(&self.directory);
    }
}

/// Says what is wrong with a request, if anything is.
pub(crate) fn check(x11: &X11) -> Result<(), &'static str> {
    if number(&x11.display).is_none() {
        return Err("the X display is not one of the loopback");
    }
    let protocol = &x11.protocol;
    let sensible = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if protocol.is_empty() || protocol.len() > MAX_PROTOCOL || !protocol.chars().all(sensible) {
        return Err("the X authentication protocol has no sensible name");
    }
    if x11.cookie.is_empty() || x11.cookie.len() > MAX_COOKIE {
        return Err("the X cookie has no sensible length");
    }
    Ok(())
}

/// The display's number, as text, of `localhost:N`, `localhost:N.S` and the same with `127.0.0.1`.
fn number(display: &str) -> Option<&str> {
    let (host, rest) = display.split_once(':')?;
    let (number, screen) = rest.split_once('.').unwrap_or((rest, "0"));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let fits = digits(number, 5) && digits(screen, 3) && number.parse::<u32>().ok()? <= MAX_DISPLAY;
    (fits && ["localhost", "127.0.0.1"].contains(&host)).then_some(number)
}

/// The file's content: an entry for the host by name, and one for whatever it is called.
fn entries(x11: &X11, host: &str) -> Vec<u8> {
    // Clients compare the number as text, without leading zeros.
    let number =
        number(&x11.display).and_then(|number| number.parse::<u32>().ok()).unwrap_or_default().to_string();
    let mut content = Vec::new();
    for (family, address) in [(LOCAL, host.as_bytes()), (WILD, &[])] {
        content.extend_from_slice(&family.to_be_bytes());
        for field in [address, number.as_bytes(), x11.protocol.as_bytes(), &x11.cookie] {
            // None is longer than what `check` allows, nor a host's name than 64 bytes.
            let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
            content.extend_from_slice(&length.to_be_bytes());
            content.extend_from_slice(&field[..usize::from(length)]);
        }
    }
    content
}

/// The directory of a connection.
pub(crate) fn directory(parent: &str, connection: u32) -> PathBuf {
    Path::new(parent).join(format!("x11-{connection}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use proptest::prelude::*;

    use super::*;

    fn x11(display: &str, protocol: &str, cookie: &[u8]) -> X11 {
        X11 { display: display.into(), protocol: protocol.into(), cookie: cookie.into() }
    }

    #[test]
    fn displays_of_the_loopback_are_taken_and_no_others() {
        for good in ["localhost:10.0", "localhost:0", "127.0.0.1:11.1", "localhost:59535.0"] {
            assert_eq!(check(&x11(good, "MIT-MAGIC-COOKIE-1", b"k")), Ok(()), "{good}");
        }
        let bad = [
            "",
            ":10",
            "unix:10.0",
            "host:10.0",
            "localhost",
            "localhost:",
            "localhost:x",
            "localhost:10.",
            "localhost:10.0.0",
            "localhost:59536",
            "localhost:-1",
            "localhost:+1",
            "localhost::1",
            "localhost/unix:1",
            "localhost:10.0\n",
            "localhost:1 ",
            "LOCALHOST:1\0",
        ];
        for bad in bad {
            assert!(check(&x11(bad, "MIT-MAGIC-COOKIE-1", b"k")).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn protocols_and_cookies_have_sensible_sizes() {
        let display = "localhost:10.0";
        for bad in ["", "a b", "a\n", "\u{e9}", &"x".repeat(MAX_PROTOCOL + 1)] {
            assert!(check(&x11(display, bad, b"k")).is_err(), "{bad:?}");
        }
        assert!(check(&x11(display, "P", b"")).is_err());
        assert!(check(&x11(display, "P", &[0; MAX_COOKIE + 1])).is_err());
        assert_eq!(check(&x11(display, "P", &[0; MAX_COOKIE])), Ok(()));
    }

    #[test]
    fn the_file_is_what_x_clients_read() {
        let content = entries(&x11("localhost:010.0", "MIT-MAGIC-COOKIE-1", &[0xab; 4]), "box");
        let tail = b"\x00\x0210\x00\x12MIT-MAGIC-COOKIE-1\x00\x04\xab\xab\xab\xab";
        let expected = [&b"\x01\x00\x00\x03box"[..], tail, b"\xff\xff\x00\x00", tail].concat();
        assert_eq!(content, expected);
    }

    #[test]
    fn the_file_is_the_users_alone_and_gone_with_the_connection() {
        let directory = std::env::temp_dir().join(format!("podspawn-x11-{}", std::process::id()));
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let request = x11("localhost:10.0", "MIT-MAGIC-COOKIE-1", b"secret");
        let authority = Authority::new(directory.clone(), uid, gid, &request, "box").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&authority.path())), (0o700, 0o600));
        assert_eq!(std::fs::metadata(authority.path()).unwrap().uid(), uid);
        assert_eq!(authority.display(), "localhost:10.0");
        std::fs::write(directory.join("Xauthority-c"), "a lock of xauth's").unwrap();
        drop(authority);
        assert!(!directory.exists());
    }

    /// Reads entries back as X clients do.
    fn parse(mut bytes: &[u8]) -> Option<Vec<(u16, [Vec<u8>; 4])>> {
        fn number(bytes: &mut &[u8]) -> Option<u16> {
            let (head, rest) = bytes.split_first_chunk::<2>()?;
            *bytes = rest;
            Some(u16::from_be_bytes(*head))
        }
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            let family = number(&mut bytes)?;
            let mut fields: [Vec<u8>; 4] = Default::default();
            for field in &mut fields {
                let length = usize::from(number(&mut bytes)?);
                let (value, rest) = bytes.split_at_checked(length)?;
                *field = value.to_vec();
                bytes = rest;
            }
            entries.push((family, fields));
        }
        Some(entries)
    }

    proptest! {
        #[test]
        fn what_passes_the_check_reads_back_as_it_was(
            display in 0_u32..=MAX_DISPLAY,
            protocol in "[A-Za-z0-9._-]{1,64}",
            cookie in proptest::collection::vec(any::<u8>(), 1..=MAX_COOKIE),
            host in "[a-z0-9-]{0,64}",
        ) {
            let request = x11(&format!("localhost:{display}.0"), &protocol, &cookie);
            prop_assert_eq!(check(&request), Ok(()));
            let tail = |address: &str| {
                [address.as_bytes().to_vec(), display.to_string().into_bytes(), protocol.clone().into_bytes(), cookie.clone()]
            };
            let expected = vec![(LOCAL, tail(&host)), (WILD, tail(""))];
            prop_assert_eq!(parse(&entries(&request, &host)), Some(expected));
        }

        #[test]
        fn no_display_makes_the_check_panic(display in any::<String>(), protocol in any::<String>()) {
            let _ = check(&x11(&display, &protocol, b"k"));
        }
    }
}
