//! The key to the client's X server, as `xauth` left it for sshd in the account's home.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use podspawn_wire::X11;

/// Largest file that is looked at, in bytes.
const LARGEST: u64 = 64 * 1024;

/// Reads the key of a display. None if there is none. The file stays: another connection of the same user that starts at
/// this moment may have written its own key to it, and a key is good for the time of its connection only.
pub fn read(file: &Path, display: &str) -> Option<X11> {
    let number = display_number(display)?;
    let mut bytes = Vec::new();
    let opened = fs::File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file);
    opened.ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let (protocol, cookie) = find(&bytes, number)?;
    Some(X11 { display: display.to_owned(), protocol, cookie })
}

/// The number of a display that sshd made: `localhost:10.0`, `127.0.0.1:10.0`, `unix:10.0`.
fn display_number(display: &str) -> Option<&str> {
    let (host, rest) = display.rsplit_once(':')?;
    let number = rest.split('.').next()?;
    let known = matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "unix");
    (known && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

/// The last entry for a display number. An entry is a family and four fields, each after its length, all numbers of 16 bits
/// and most significant byte first: address, display number, protocol, secret.
fn find(bytes: &[u8], number: &str) -> Option<(String, Vec<u8>)> {
    let mut rest = bytes;
    let mut found = None;
    while !rest.is_empty() {
        rest = rest.get(2..)?;
        let mut fields = [&[][..]; 4];
        for field in &mut fields {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            *field = after.get(..length)?;
            rest = &after[length..];
        }
        let [_, display, protocol, cookie] = fields;
        if display == number.as_bytes() {
            found = Some((String::from_utf8(protocol.to_vec()).ok()?, cookie.to_vec()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(display: &str, protocol: &str, cookie: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, 0];
        for field in [b"host".as_slice(), display.as_bytes(), protocol.as_bytes(), cookie] {
            bytes.extend((field.len() as u16).to_be_bytes());
            bytes.extend(field);
        }
        bytes
    }

    #[test]
    fn the_key_of_the_display_is_found_and_those_of_others_stay() {
        let directory = tempfile::Builder::new().prefix("podspawn-xauth-").tempdir().unwrap();
        let file = directory.path().join("x");
        let all =
            [entry("9", "MIT-MAGIC-COOKIE-1", b"no"), entry("10", "MIT-MAGIC-COOKIE-1", b"yes")].concat();
        fs::write(&file, &all).unwrap();
        let x11 = read(&file, "localhost:10.0").unwrap();
        assert_eq!((x11.protocol.as_str(), x11.cookie.as_slice()), ("MIT-MAGIC-COOKIE-1", b"yes".as_slice()));
        assert_eq!(fs::read(&file).unwrap(), all);
        assert_eq!(read(&file, "localhost:11.0"), None);
    }

    #[test]
    fn displays_of_other_hosts_are_none_of_ours() {
        for display in ["", ":0", "other:10.0", "localhost:", "localhost:1x", "localhost"] {
            assert_eq!(display_number(display), None, "{display}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(&bytes, "10");
        }
    }
}
