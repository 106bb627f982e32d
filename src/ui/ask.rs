//! Questions to a person.

use std::io::{self, BufRead, Read, Write};

use super::{Ui, clean};

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

impl Ui {
    /// Asks on standard error and reads one line from standard input, without the blanks around it. None if there is no further
    /// line: the person has gone, or said so with Ctrl-D.
    pub fn ask(&self, question: &str) -> io::Result<Option<String>> {
        let mut err = io::stderr().lock();
        write!(err, "{} ", clean(question))?;
        err.flush()?;
        let mut answer = Vec::new();
        io::stdin().lock().take(MAX_ANSWER).read_until(b'\n', &mut answer)?;
        if answer.is_empty() {
            // What follows begins on a line of its own.
            writeln!(err)?;
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&answer).trim().to_owned()))
    }
}
