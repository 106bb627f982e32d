//! Editing sshd's configuration: pure, byte by byte, so that what was put in comes out again without a trace.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Comment above the line that reads our file.
const MARK: &[u8] = b"# podspawn: how container users log in (made by `podspawn server-setup`)";

/// The text with the line that reads `include` before everything else, whatever it had of ours before. There it applies to
/// every connection, and comes before what anything else says: for sshd the first value wins.
pub(super) fn with(text: &[u8], include: &Path) -> Vec<u8> {
    let mut new = [MARK, b"\nInclude ", include.as_os_str().as_bytes(), b"\n"].concat();
    new.extend(without(text, include));
    new
}

/// The text without anything of ours.
pub(super) fn without(text: &[u8], include: &Path) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| line.trim_ascii() != MARK && !reads(line, include)).flatten().copied().collect()
}

/// Whether the text reads `include`.
pub(super) fn has(text: &[u8], include: &Path) -> bool {
    text.split_inclusive(|byte| *byte == b'\n').any(|line| reads(line, include))
}

/// Whether a line is an `Include` of this file and of nothing else.
fn reads(line: &[u8], include: &Path) -> bool {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'=' | b'"');
    let mut words = line.split(blank).filter(|word| !word.is_empty());
    words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"include"))
        && words.next() == Some(include.as_os_str().as_bytes())
        && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "/etc/ssh/podspawn.conf";

    fn with_ours(text: &str) -> String {
        String::from_utf8(with(text.as_bytes(), Path::new(OURS))).unwrap()
    }

    fn without_ours(text: &[u8]) -> Vec<u8> {
        without(text, Path::new(OURS))
    }

    #[test]
    fn the_line_comes_first_even_before_a_match() {
        let text = "Match User bob\n  X11Forwarding no\n";
        let wired = with_ours(text);
        let lines: Vec<&str> = wired.lines().collect();
        assert!(lines[0].starts_with("# podspawn"));
        assert_eq!(lines[1..], ["Include /etc/ssh/podspawn.conf", "Match User bob", "  X11Forwarding no"]);
        assert_eq!(with_ours(&wired), wired, "it stands there once");
    }

    #[test]
    fn every_text_comes_back_byte_for_byte() {
        for text in [
            &b""[..],
            b"Port 22",
            b"Port 22\r\n\r\n",
            b"# caf\xe9 in latin-1\nMatch all\n\tInclude /etc/ssh/sshd_config.d/*.conf",
            b"\n\n# podspawn is great\nInclude /etc/ssh/podspawn.conf.d/x\n",
            b"Include /etc/ssh/podspawn.conf /etc/ssh/other.conf\n",
        ] {
            let wired = with(text, Path::new(OURS));
            assert_ne!(wired, text);
            assert_eq!(without_ours(&wired), text, "{}", String::from_utf8_lossy(text));
            assert!(has(&wired, Path::new(OURS)) && !has(text, Path::new(OURS)));
        }
    }

    #[test]
    fn a_line_that_was_moved_or_written_otherwise_is_found() {
        for line in ["  include\t/etc/ssh/podspawn.conf", "Include=\"/etc/ssh/podspawn.conf\"\r"] {
            let text = format!("Port 22\n{line}\nUsePAM yes\n");
            assert_eq!(without_ours(text.as_bytes()), b"Port 22\nUsePAM yes\n", "{line}");
        }
    }
}
