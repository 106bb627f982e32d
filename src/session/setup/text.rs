//! Lines of what a process wrote, harmless for a terminal and a log.
//!
//! Nothing passes that a terminal acts on, colours included: a colour can hide text. A sequence that is well formed is left
//! out, any other control character is shown as an escape.

use std::collections::VecDeque;

use crate::names::misleads;

/// Longest line, in bytes; a longer one is cut into several.
const LONGEST: usize = 4096;

/// What is kept for the log: the last lines, and the bytes of them.
const LAST_LINES: usize = 10;
const LAST_BYTES: usize = 2000;

/// Cuts bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// The lines that these bytes complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                lines.extend(self.rest());
            }
            while self.pending.len() > LONGEST {
                let rest = self.pending.split_off(LONGEST);
                lines.push(line(&std::mem::replace(&mut self.pending, rest)));
            }
        }
        lines
    }

    /// What was written last, without the end of a line.
    pub(super) fn rest(&mut self) -> Option<String> {
        (!self.pending.is_empty()).then(|| line(&std::mem::take(&mut self.pending)))
    }
}

/// The last words of a process.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<String>);

impl Tail {
    pub(super) fn add(&mut self, line: &str) {
        if self.0.len() == LAST_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    /// On one line, limited; the end is worth most.
    pub(super) fn text(&self) -> String {
        let text = self.0.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" / ");
        let from = text.len().saturating_sub(LAST_BYTES);
        let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text[from..].to_owned()
    }
}

fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    // A line that was written over, as progress is: what was there last.
    plain(text.rsplit('\r').next().unwrap_or_default())
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\u{1b}'
            && let Some(length) = sequence(rest)
        {
            rest = &rest[length..];
            continue;
        }
        match c {
            '\t' => plain.push_str("    "),
            '\u{2028}' | '\u{2029}' => plain.push(' '),
            c if misleads(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    plain
}

/// Length of the control sequence that the text begins with: `ESC [ … letter`, `ESC ] … BEL`, `ESC ( B`.
fn sequence(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes.get(1)? {
        b'[' => {
            let end = bytes[2..].iter().position(|byte| !matches!(byte, 0x20..=0x3f))?;
            matches!(bytes[2 + end], 0x40..=0x7e).then_some(end + 3)
        }
        b']' => {
            let end = bytes[2..].iter().position(|byte| matches!(byte, 0x07 | 0x1b))?;
            match (bytes[2 + end], bytes.get(3 + end)) {
                (0x07, _) => Some(end + 3),
                (_, Some(b'\\')) => Some(end + 4),
                _ => None,
            }
        }
        b'(' | b')' => matches!(bytes.get(2)?, b'0' | b'A' | b'B').then_some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut all: Vec<String> = pieces.iter().flat_map(|piece| lines.push(piece)).collect();
        all.extend(lines.rest());
        all
    }

    #[test]
    fn lines_are_put_together_however_they_come() {
        assert_eq!(all(&[b"on", b"e\ntw", b"o\r\n\nthree"]), ["one", "two", "", "three"]);
        assert_eq!(all(&[b"10%\r50%\r100%\n"]), ["100%"]);
        assert_eq!(all(&[&[b'x'; LONGEST + 1]]), ["x".repeat(LONGEST), "x".into()]);
    }

    #[test]
    fn sequences_are_left_out_and_what_is_none_is_shown() {
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m"), "red");
        assert_eq!(plain("a\u{1b}]0;title\u{7}b\u{1b}]0;t\u{1b}\\c\u{1b}(Bd"), "abcd");
        assert_eq!(plain("\u{1b}[31"), "\\u{1b}[31");
        assert_eq!(plain("\u{1b}]52;c;x"), "\\u{1b}]52;c;x");
        assert_eq!(plain("\u{9b}2J\u{202e}\u{7}"), "\\u{9b}2J\\u{202e}\\u{7}");
        assert_eq!(plain("a\tgröße"), "a    größe");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_acts_on_passes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for line in all(&[&bytes]) {
                prop_assert!(!line.contains(misleads), "{line:?}");
            }
        }
    }

    #[test]
    fn of_much_output_the_end_is_kept() {
        let mut tail = Tail::default();
        (0..100).for_each(|number| tail.add(&format!("{number} ")));
        assert_eq!(tail.text(), "90 / 91 / 92 / 93 / 94 / 95 / 96 / 97 / 98 / 99");
        tail.add(&"ö".repeat(5000));
        assert!(tail.text().len() <= LAST_BYTES);
    }
}
