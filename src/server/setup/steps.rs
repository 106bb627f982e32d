//! One thing that is done, or only told about.

use super::error::SetupError;

/// Does things and says so, or only says what it would do.
pub(super) struct Steps<'a> {
    dry: bool,
    say: &'a mut dyn FnMut(&str),
    held: Option<Vec<String>>,
}

impl<'a> Steps<'a> {
    /// `say` gets one line for each thing.
    pub(super) fn new(dry: bool, say: &'a mut dyn FnMut(&str)) -> Self {
        Self { dry, say, held: None }
    }

    /// Nothing is to be changed.
    pub(super) fn is_dry(&self) -> bool {
        self.dry
    }

    /// Keeps lines back until [`Steps::first`], or the end.
    pub(super) fn hold(&mut self) {
        self.held = Some(Vec::new());
    }

    fn release(&mut self) {
        for line in self.held.take().unwrap_or_default() {
            (self.say)(&line);
        }
    }

    /// Does something whose lines come before those that were kept back, which are said then.
    pub(super) fn first<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, SetupError>,
    ) -> Result<T, SetupError> {
        let held = self.held.take().unwrap_or_default();
        let outcome = act(self);
        held.iter().for_each(|line| (self.say)(line));
        outcome
    }

    /// One thing: `would` fits after "would", `did` stands alone.
    pub(super) fn step(
        &mut self,
        would: &str,
        did: &str,
        act: impl FnOnce() -> Result<(), SetupError>,
    ) -> Result<(), SetupError> {
        if self.dry {
            self.line(format!("[dry-run] would {would}"));
        } else {
            act()?;
            self.line(did.to_owned());
        }
        Ok(())
    }

    /// Something that the administrator should know.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.line(text.into());
    }

    fn line(&mut self, text: String) {
        match &mut self.held {
            Some(held) => held.push(text),
            None => (self.say)(&text),
        }
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
