//! Things that take time, each on a line of its own that is completed when it is done.

use std::cell::RefCell;
use std::io::{self, Write};

use super::{Ui, clean};

/// Behind what has begun.
const BEGUN: &str = "...";

/// Behind what is done.
const DONE: &str = " done";

/// Lines for a person who watches: `Doing it...` stays open, and a line `Doing it... done` completes it.
#[derive(Debug)]
pub struct Announced {
    ui: Ui,
    open: RefCell<Option<String>>,
}

impl Announced {
    /// Nothing is announced yet.
    pub fn new(ui: Ui) -> Self {
        Self { ui, open: RefCell::default() }
    }

    /// Says that something begins, or is done, or anything else.
    pub fn say(&self, text: &str) {
        let text = clean(text);
        let before = self.open.borrow_mut().take();
        let mut out = String::new();
        if let Some(before) = before {
            if text.strip_prefix(&before) == Some(DONE) {
                return self.ui.line(DONE);
            }
            out.push('\n');
        }
        out.push_str(&text);
        if text.ends_with(BEGUN) {
            *self.open.borrow_mut() = Some(text);
        } else {
            out.push('\n');
        }
        // Nobody is left to be told when standard error itself is gone.
        let _ = io::stderr().lock().write_all(out.as_bytes());
    }

    /// Ends the line that is open: somebody else writes now.
    pub fn settle(&self) {
        if self.open.borrow_mut().take().is_some() {
            self.ui.line("");
        }
    }
}
