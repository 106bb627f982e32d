//! Everything that a person sees: results, confirmations, errors, progress, tables, the log's text form.
//!
//! Nothing else in podspawn prints. Data goes to standard output; progress, confirmations, errors and the log go to
//! standard error. What comes from outside passes [`text::clean`] before it reaches a terminal.

pub mod announced;
pub mod ask;
pub mod duration;
pub mod foreign;
pub mod log;
pub mod progress;
pub mod stdio;
pub mod style;
pub mod table;
pub mod text;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub use announced::Announced;
pub use duration::{age, interval};
pub use foreign::Foreign;
pub use progress::Steps;
pub use stdio::Stdio;
pub use style::{Colour, Style};
pub use table::Table;
pub use text::clean;

/// The two streams towards the person, and how they like it.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    /// How standard output may be styled.
    pub out_style: Style,
    /// How standard error may be styled.
    pub err_style: Style,
    /// Standard error is a terminal: bars and spinners may be drawn.
    pub animate: bool,
}

impl Ui {
    /// Looks at the two streams once. `no_colour` is what `NO_COLOR` says, `term` what `TERM` says.
    pub fn new(no_colour: bool, term: Option<&str>) -> Self {
        let dumb = term.is_none_or(|term| term.is_empty() || term == "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            out_style: Style::new(out && !no_colour && !dumb),
            err_style: Style::new(err && !no_colour && !dumb),
            animate: err && !dumb,
        }
    }

    /// Writes a report to standard output, as it is. A reader that has gone away is no error.
    pub fn report(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// Writes a value for programs to standard output.
    pub fn json(&self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        text.push('\n');
        self.report(&text)
    }

    /// Confirms on standard error that something was done.
    pub fn done(&self, text: &str) {
        self.line(&format!("{}{}", self.err_style.paint(Colour::Green, "✓ "), clean(text)));
    }

    /// Says on standard error that the thing that was announced was not done; the error follows.
    pub fn failed(&self, text: &str) {
        self.line(&format!("{}{}", self.err_style.paint(Colour::Red, "✗ "), clean(text)));
    }

    /// Something that the person should know, on standard error.
    pub fn warn(&self, text: &str) {
        self.line(&format!("{}{}", self.err_style.paint(Colour::Yellow, "warning: "), clean(text)));
    }

    /// A line of progress on standard error.
    pub fn note(&self, text: &str) {
        self.line(&clean(text));
    }

    /// A line between what a program on a terminal in raw mode writes, where a line feed alone does not go back to the first
    /// column.
    pub fn interject(&self, text: &str) {
        let _ = write!(io::stderr().lock(), "\r\n*** {} ***\r\n", clean(text));
    }

    /// The one error of a command: `Error: …`, then its hints.
    pub fn error(&self, text: &str, hints: &[String]) {
        self.line(&format!("{} {}", self.err_style.paint(Colour::Red, "Error:"), clean(text)));
        hints.iter().for_each(|hint| self.hint(hint));
    }

    /// What to do about what was just said.
    pub fn hint(&self, hint: &str) {
        self.line(&format!("{} {}", self.err_style.paint(Colour::Cyan, "hint:"), clean(hint)));
    }

    fn line(&self, text: &str) {
        // Nobody is left to be told when standard error itself is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
