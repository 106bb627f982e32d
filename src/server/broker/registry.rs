//! The stubs that are served, by session: so that they can be told what becomes of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use podspawn_wire::broker::FromBroker;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Who is connected to which session through a stub that this broker serves.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    stubs: HashMap<u64, Stub>,
}

#[derive(Debug)]
struct Stub {
    session: String,
    /// A person sits at a terminal.
    interactive: bool,
    messages: UnboundedSender<FromBroker>,
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a stub; the receiver gives what it is to be told.
    pub(super) fn enter(&self, session: &str, interactive: bool) -> (u64, UnboundedReceiver<FromBroker>) {
        let (messages, receiver) = unbounded_channel();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.stubs.insert(number, Stub { session: session.to_owned(), interactive, messages });
        (number, receiver)
    }

    /// Takes it out.
    pub(super) fn leave(&self, number: u64) {
        self.state().stubs.remove(&number);
    }

    /// Tells those who sit at a session.
    pub(super) fn tell_people(&self, session: &str, text: &str) {
        for stub in self.state().stubs.values().filter(|stub| stub.session == session && stub.interactive) {
            // One that is leaving no longer listens.
            let _ = stub.messages.send(FromBroker::Notice(text.to_owned()));
        }
    }

    /// Tells all stubs of a session why it ends now.
    pub(super) fn tell_end(&self, session: &str, text: &str) {
        for stub in self.state().stubs.values().filter(|stub| stub.session == session) {
            let _ = stub.messages.send(FromBroker::Ending(text.to_owned()));
        }
    }

    /// Tells all stubs of a session that its container is gone, and takes them out. Those who carry bytes through an engine
    /// may not notice.
    pub(super) fn over(&self, session: &str) {
        for (_, stub) in self.state().stubs.extract_if(|_, stub| stub.session == session) {
            let _ = stub.messages.send(FromBroker::Over);
        }
    }

    /// Ids of the sessions that a person sits at.
    pub(super) fn sessions_with_people(&self) -> Vec<String> {
        let state = self.state();
        let mut sessions: Vec<String> =
            state.stubs.values().filter(|stub| stub.interactive).map(|stub| stub.session.clone()).collect();
        sessions.sort();
        sessions.dedup();
        sessions
    }
}
