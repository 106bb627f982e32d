//! Setups written down by hand, and somebody who remembers what they are told.

use std::sync::{Arc, Mutex};

use podspawn::podfile::{Hook, HookCommand};
use podspawn::session::{Audience, Cancel, News, Report, Session, SessionError, Skip, Step};
use podspawn::spec::{Environment, SessionSpec, Setup};

use crate::lifecycle::lab::machine;
use crate::lifecycle::real::Place;

/// Remembers what it is told, one line each.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<String>>>);

impl Memory {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("nobody panicked").clone()
    }

    pub fn has(&self, line: &str) -> bool {
        self.lines().iter().any(|told| told == line)
    }
}

impl Report for Memory {
    fn step(&mut self, step: Step<'_>) {
        let line = match step {
            Step::Setup(News::Waiting) => "waiting".to_owned(),
            Step::Setup(News::Begun(text)) => format!("begun {text}"),
            Step::Setup(News::Runs(_)) => return,
            Step::Setup(News::Said(text)) => text.to_owned(),
            Step::Setup(News::Done(text)) => format!("done {text}"),
            Step::Setup(News::Failed(text)) => format!("warning: {text}"),
            other => format!("{other:?}"),
        };
        self.0.lock().expect("nobody panicked").push(line);
    }
}

pub fn script(name: &str, text: &str) -> Hook {
    Hook { name: name.into(), command: HookCommand::Script(text.into()), dir: None }
}

/// A machine that is to be set up.
pub fn with(place: &Place, setup: &Setup) -> SessionSpec {
    place.spec(|user, name| {
        let environment = Environment { setup: setup.clone(), ..Environment::default() };
        SessionSpec { environment, ..machine(user, name) }
    })
}

/// Sets it up for a person, who is told what is in the answer.
pub async fn for_a_person(
    place: &Place,
    session: &mut Session,
    setup: &Setup,
) -> Result<Vec<String>, SessionError> {
    let mut memory = Memory::default();
    let told = memory.clone();
    let (cancel, skip) = (Cancel::never(), Skip::never());
    let mut audience = Audience::person(&mut memory, &cancel, &skip);
    Box::pin(place.core.prepare(session, setup, &mut audience)).await?;
    Ok(told.lines())
}

/// Waits until a file exists inside.
pub async fn file_inside(place: &Place, session: &Session, path: &str) {
    // A reader of a pipe that the hook opens would change what the hook does; a look is all that is left.
    let look = format!("until test -e {path}; do sleep 0.05; done; echo there");
    assert_eq!(place.inside(session, &look).await, "there");
}
