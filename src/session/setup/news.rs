//! Who hears of a setup, what they hear, and how they say that they have had enough of a hook.

use tokio::sync::watch;

use super::super::report::{Cancel, Report};

/// What there is to tell. Texts are neutralised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News<'a> {
    /// Another connection sets the session up and is waited for.
    Waiting,
    /// Something runs, such as `Running on_create: npm install`.
    Begun(&'a str),
    /// Something runs that is told only while it does, such as `Running on_start: make`.
    Runs(&'a str),
    /// A line that it wrote.
    Said(&'a str),
    /// It is done.
    Done(&'a str),
    /// It has failed, as one line with the remedy. Everything goes on.
    Failed(&'a str),
}

/// Who is there while a session is set up.
pub struct Audience<'a> {
    pub(super) report: &'a mut dyn Report,
    pub(super) person: bool,
    pub(super) cancel: &'a Cancel,
    pub(super) skip: &'a Skip,
    /// Something was told to the person.
    pub(super) told: bool,
}

impl<'a> Audience<'a> {
    /// A person, who sees everything, waits as long as they like, and may skip what runs.
    pub fn person(report: &'a mut dyn Report, cancel: &'a Cancel, skip: &'a Skip) -> Self {
        Self { report, person: true, cancel, skip, told: false }
    }

    /// A program: it hears nothing, and what runs has a time limit.
    pub fn program(report: &'a mut dyn Report, cancel: &'a Cancel, skip: &'a Skip) -> Self {
        Self { report, person: false, cancel, skip, told: false }
    }
}

/// The wish that the hook that runs be interrupted, and everything else go on. Asked a second time while the same hook runs,
/// it is left behind.
#[derive(Debug, Clone)]
pub struct Skip(Option<watch::Receiver<u32>>);

/// Makes that wish.
#[derive(Debug)]
pub struct SkipHandle(watch::Sender<u32>);

impl SkipHandle {
    /// Interrupts what runs now.
    pub fn skip(&self) {
        self.0.send_modify(|times| *times = times.wrapping_add(1));
    }
}

impl Skip {
    /// A wish that nobody makes.
    pub fn never() -> Self {
        Self(None)
    }

    /// A wish, and the handle that makes it.
    pub fn new() -> (SkipHandle, Self) {
        let (sender, receiver) = watch::channel(0);
        (SkipHandle(sender), Self(Some(receiver)))
    }

    /// What was wished so far was about something else.
    pub(super) fn forget(&mut self) {
        if let Some(receiver) = &mut self.0 {
            receiver.mark_unchanged();
        }
    }

    /// Waits until it is wished once more.
    pub(super) async fn asked(&mut self) {
        if let Some(receiver) = &mut self.0
            && receiver.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}
