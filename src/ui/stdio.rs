//! This process's three streams, for whoever copies a session's bytes to and from them.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

/// The streams, as descriptors. What `ui` itself printed has been flushed line by line.
#[derive(Debug)]
pub struct Stdio {
    stdin: io::Stdin,
    stdout: io::Stdout,
    stderr: io::Stderr,
}

impl Stdio {
    /// This process's.
    pub fn own() -> Self {
        Self { stdin: io::stdin(), stdout: io::stdout(), stderr: io::stderr() }
    }

    /// Whether a person sits there, that is whether both standard input and output are terminals.
    pub fn is_person(&self) -> bool {
        self.stdin.is_terminal() && self.stdout.is_terminal()
    }

    /// Whether a person sees what is said on standard error.
    pub fn is_watched(&self) -> bool {
        self.stderr.is_terminal()
    }

    /// Standard input.
    pub fn stdin(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }

    /// Standard output.
    pub fn stdout(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    /// Standard error.
    pub fn stderr(&self) -> BorrowedFd<'_> {
        self.stderr.as_fd()
    }
}
