//! A container's own output on this process's streams: as it is into a file or a pipe, harmless on a terminal.

use std::io::{self, IsTerminal, Write};

use crate::names::misleads;

/// Longest line that is held back until its end comes, in bytes.
const LONGEST: usize = 16 * 1024;

/// The two streams.
pub struct Foreign {
    out: Lines<io::Stdout>,
    err: Lines<io::Stderr>,
}

impl Foreign {
    /// This process's streams.
    pub fn own() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        Self { out: Lines::new(out.is_terminal(), out), err: Lines::new(err.is_terminal(), err) }
    }

    /// What the container wrote to its standard output.
    pub fn out(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write(bytes)
    }

    /// What it wrote to its standard error.
    pub fn err(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.err.write(bytes)
    }

    /// Writes what was held back. A reader that has gone is no error.
    pub fn finish(mut self) -> io::Result<()> {
        match self.out.finish().and_then(|()| self.err.finish()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// One stream. On a terminal whole lines are shown, so that no character is cut.
struct Lines<W> {
    terminal: bool,
    stream: W,
    held: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn new(terminal: bool, stream: W) -> Self {
        Self { terminal, stream, held: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.terminal {
            self.stream.write_all(bytes)?;
            return self.stream.flush();
        }
        self.held.extend_from_slice(bytes);
        let whole = match self.held.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if self.held.len() > LONGEST => self.held.len(),
            None => return Ok(()),
        };
        let rest = self.held.split_off(whole);
        let shown = std::mem::replace(&mut self.held, rest);
        self.show(&shown)
    }

    fn finish(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() { Ok(()) } else { self.show(&held) }
    }

    fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(harmless(&String::from_utf8_lossy(bytes)).as_bytes())?;
        self.stream.flush()
    }
}

/// Lines and tabs stay, everything else that a terminal would act on is shown as an escape.
fn harmless(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '\n' | '\t' => out.push(c),
            c if misleads(c) => out.extend(c.escape_debug()),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_lines_and_no_escapes_and_a_file_sees_every_byte() {
        let bytes = b"one\r\n\x1b[2Jtw\xc3\xb6\tx\n\xff";
        let mut shown = Lines::new(true, Vec::new());
        // Cut in the middle of a character.
        shown.write(&bytes[..12]).unwrap();
        shown.write(&bytes[12..]).unwrap();
        shown.finish().unwrap();
        assert_eq!(String::from_utf8(shown.stream).unwrap(), "one\n\\u{1b}[2Jtwö\tx\n\u{fffd}");
        let mut raw = Lines::new(false, Vec::new());
        raw.write(bytes).unwrap();
        raw.finish().unwrap();
        assert_eq!(raw.stream, bytes);
    }
}
