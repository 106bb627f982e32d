//! The key to the client's X server, as `xauth` left it for sshd in the account's home.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use podspawn_wire::X11;

/// Largest file that is looked at, in bytes.
const LARGEST: u64 = 64 * 1024;

/// Takes the key of a display out of the file. None if there is none. The keys of the user's other connections stay, and
/// where another is just being written, so does this one: it is good for the time of its connection only.
pub fn take(file: &Path, display: &str) -> Option<X11> {
    let number = display_number(display)?;
    let (protocol, cookie) = find(&contents(file).ok()?, number)?;
    if let Err(error) = remove(file, number) {
        tracing::debug!("the key of a display stays in {}: {error}", file.display());
    }
    Some(X11 { display: display.to_owned(), protocol, cookie })
}

fn contents(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened =
        fs::File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file)?;
    opened.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes the entries of a display, under the lock that `xauth` takes: a file `-c` that is made, and a link `-l` to it.
fn remove(file: &Path, number: &str) -> io::Result<()> {
    let beside = |ending: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    let (made, link, new) = (beside("-c"), beside("-l"), beside("-n"));
    fs::File::options().write(true).create_new(true).mode(0o600).open(&made)?;
    let locked = fs::hard_link(&made, &link);
    let done = if locked.is_ok() {
        let done = rewrite(file, &new, number);
        // Both are to go, whatever has become of the rest.
        done.and(fs::remove_file(&link))
    } else {
        locked
    };
    done.and(fs::remove_file(&made))
}

fn rewrite(file: &Path, new: &Path, number: &str) -> io::Result<()> {
    let not_xauth = || io::Error::new(io::ErrorKind::InvalidData, "it is not a file of xauth's");
    let left = without(&contents(file)?, number).ok_or_else(not_xauth)?;
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(new)?.write_all(&left)?;
    fs::rename(new, file)
}

/// The number of a display that sshd made: `localhost:10.0`, `127.0.0.1:10.0`, `unix:10.0`.
fn display_number(display: &str) -> Option<&str> {
    let (host, rest) = display.rsplit_once(':')?;
    let number = rest.split('.').next()?;
    let known = matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "unix");
    (known && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

/// An entry: its bytes, and the display number, protocol and secret in them.
struct Entry<'a> {
    bytes: &'a [u8],
    display: &'a [u8],
    protocol: &'a [u8],
    secret: &'a [u8],
}

/// All entries; none if the text is cut or something else. An entry is a family and four fields, each after its length, all
/// numbers of 16 bits and most significant byte first: address, display number, protocol, secret.
fn entries(bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let begin = rest;
        rest = rest.get(2..)?;
        let mut fields = [&[][..]; 4];
        for field in &mut fields {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            *field = after.get(..length)?;
            rest = &after[length..];
        }
        let [_, display, protocol, secret] = fields;
        found.push(Entry { bytes: &begin[..begin.len() - rest.len()], display, protocol, secret });
    }
    Some(found)
}

/// Protocol and secret of the last entry for a display number.
fn find(bytes: &[u8], number: &str) -> Option<(String, Vec<u8>)> {
    let found = entries(bytes)?.into_iter().rfind(|entry| entry.display == number.as_bytes())?;
    Some((String::from_utf8(found.protocol.to_vec()).ok()?, found.secret.to_vec()))
}

/// The entries of all other displays.
fn without(bytes: &[u8], number: &str) -> Option<Vec<u8>> {
    let others = entries(bytes)?.into_iter().filter(|entry| entry.display != number.as_bytes());
    Some(others.flat_map(|entry| entry.bytes.iter().copied()).collect())
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
        assert_eq!(take(&file, "localhost:11.0"), None);
        let names = || {
            let all = fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<_> =
                all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };

        // While somebody else works on the file, it is only read.
        fs::write(directory.path().join("x-c"), "").unwrap();
        let x11 = take(&file, "localhost:10.0").unwrap();
        assert_eq!((x11.protocol.as_str(), x11.cookie.as_slice()), ("MIT-MAGIC-COOKIE-1", b"yes".as_slice()));
        assert_eq!((fs::read(&file).unwrap(), names()), (all, vec!["x".into(), "x-c".into()]));

        fs::remove_file(directory.path().join("x-c")).unwrap();
        assert_eq!(take(&file, "localhost:10.0"), Some(x11));
        assert_eq!(fs::read(&file).unwrap(), entry("9", "MIT-MAGIC-COOKIE-1", b"no"));
        assert_eq!(names(), ["x"]);
        assert_eq!(take(&file, "localhost:10.0"), None);
        // The file itself stays: without one, `xauth` complains to the user.
        assert!(take(&file, "localhost:9.0").is_some());
        assert_eq!((names(), fs::read(&file).unwrap()), (vec!["x".into()], Vec::new()));
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
            if let Some(left) = without(&bytes, "10") {
                prop_assert!(left.len() <= bytes.len() && find(&left, "10").is_none());
            }
        }
    }
}
