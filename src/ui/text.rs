//! Text from users, engines, registries and containers, made harmless for a terminal and for a log of one line each.

use std::fmt::Write;

use crate::names::misleads;

/// The text on one line and without anything that a terminal would act on: line breaks become spaces, other control
/// characters and the characters that reorder text are shown as escapes.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.trim_end_matches(['\n', '\r']).chars() {
        match c {
            '\r' => {}
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => clean.push(' '),
            c if misleads(c) => {
                // Writing to a string cannot fail.
                let _ = write!(clean, "\\u{{{:x}}}", u32::from(c));
            }
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_shown_instead_of_acted_on() {
        assert_eq!(clean("a\x1b]0;title\x07b"), "a\\u{1b}]0;title\\u{7}b");
        assert_eq!(clean("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(clean("x\u{202e}y"), "x\\u{202e}y");
    }

    #[test]
    fn several_lines_become_one() {
        assert_eq!(clean("one\r\ntwo\tthree\n"), "one two three");
    }

    #[test]
    fn ordinary_text_of_any_language_stays() {
        assert_eq!(clean("größe ✓ 漢字"), "größe ✓ 漢字");
    }
}
