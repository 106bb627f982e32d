//! The module's arguments as they stand in its PAM line.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `socket=` `group=` `broker=` `config=`. Others are passed over: a line may be older or newer than the module.
#[derive(Default)]
pub(crate) struct Arguments<'a> {
    /// The broker's socket.
    pub(crate) socket: Option<&'a Path>,
    /// Group of container users.
    pub(crate) group: Option<&'a CStr>,
    /// Program that starts a broker where none answers.
    pub(crate) broker: Option<&'a Path>,
    /// Configuration file for that program.
    pub(crate) config: Option<&'a Path>,
}

impl<'a> Arguments<'a> {
    /// # Safety
    /// `words` has `count` pointers to strings, all of them alive for `'a`.
    pub(crate) unsafe fn from_raw(count: c_int, words: *const *const c_char) -> Self {
        let mut arguments = Self::default();
        for at in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: the caller's promise: `at` is below the number of pointers.
            let word = unsafe { *words.add(at) };
            // SAFETY: the caller's promise: it points to a string that lives for `'a`.
            arguments.take(unsafe { CStr::from_ptr(word) });
        }
        arguments
    }

    fn take(&mut self, word: &'a CStr) {
        let bytes = word.to_bytes_with_nul();
        let value = |name: &str| {
            let value = bytes.strip_prefix(name.as_bytes())?;
            CStr::from_bytes_with_nul(value).ok()
        };
        let path = |value: &'a CStr| Some(Path::new(OsStr::from_bytes(value.to_bytes())));
        if let Some(text) = value("socket=") {
            self.socket = path(text);
        } else if let Some(text) = value("group=") {
            self.group = Some(text);
        } else if let Some(text) = value("broker=") {
            self.broker = path(text);
        } else if let Some(text) = value("config=") {
            self.config = path(text);
        }
    }
}
