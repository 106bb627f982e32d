//! Text of programs that write for a terminal, without what a terminal acts on.

use super::misleads;

/// The text without the control sequences that are well formed; any other control character is shown as an escape. Nothing
/// that a terminal acts on is left, colours included: a colour can hide text.
pub(crate) fn plain(text: &str) -> String {
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

    #[test]
    fn sequences_are_left_out_and_what_is_none_is_shown() {
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m"), "red");
        assert_eq!(plain("a\u{1b}]0;title\u{7}b\u{1b}]0;t\u{1b}\\c\u{1b}(Bd"), "abcd");
        assert_eq!(plain("\u{1b}[31"), "\\u{1b}[31");
        assert_eq!(plain("\u{1b}]52;c;x"), "\\u{1b}]52;c;x");
        assert_eq!(plain("\u{9b}2J\u{202e}\u{7}"), "\\u{9b}2J\\u{202e}\\u{7}");
        assert_eq!(plain("a\tgröße"), "a    größe");
    }
}
