//! What a fake does at a given call besides its work: fail, die or wait.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::error::EngineError;

/// Which call of a fake's process is meant. Numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The nth call of all.
    Call(usize),
    /// The nth call of this method, such as `("create_network", 1)`.
    Named(&'static str, usize),
}

impl At {
    fn matches(self, name: &str, of_all: usize, of_name: usize) -> bool {
        match self {
            Self::Call(number) => number == of_all,
            Self::Named(method, number) => method == name && number == of_name,
        }
    }
}

/// Whether something happens before the engine has done its work, or after, when only the answer is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The engine has done nothing yet.
    Before,
    /// The engine has done it; the caller has not heard of it.
    After,
}

/// A call that waits until the test lets it go on.
#[derive(Debug, Clone, Default)]
pub struct Pause(Arc<(Notify, Notify)>);

impl Pause {
    /// Waits until the call is there.
    pub async fn reached(&self) {
        self.0.0.notified().await;
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.0.1.notify_one();
    }

    pub(super) async fn wait(&self) {
        self.0.0.notify_one();
        self.0.1.notified().await;
    }
}

pub(super) enum Action {
    Fail(Box<dyn FnOnce() -> EngineError + Send>),
    /// The process ends here. The closure may really end it; if it returns, the call never does.
    Die(Box<dyn FnOnce() + Send>),
    Wait(Pause),
}

#[derive(Default)]
pub(super) struct Script(Vec<(At, When, Action)>);

impl Script {
    pub(super) fn add(&mut self, at: At, when: When, action: Action) {
        self.0.push((at, when, action));
    }

    /// Takes out what is planned for this call, in the order in which it was planned.
    pub(super) fn take(&mut self, name: &str, of_all: usize, of_name: usize) -> Vec<(When, Action)> {
        let (now, later) = std::mem::take(&mut self.0)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, _, _)| at.matches(name, of_all, of_name));
        self.0 = later;
        now.into_iter().map(|(_, when, action)| (when, action)).collect()
    }
}
