//! Lines of what a process wrote, harmless for a terminal and a log.
//!
//! Nothing passes that a terminal acts on, colours included: a colour can hide text. A sequence that is well formed is left
//! out, any other control character is shown as an escape.

use std::collections::VecDeque;

use crate::names::plain;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::misleads;
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
