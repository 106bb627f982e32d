//! What happens inside a machine before the person or program that comes gets in: its setup, and the hooks of a connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::context::Context;
use super::machine::{Machine, MachineError};
use crate::session::{Audience, Cancel, Report, SessionError, Skip};
use crate::spec::Setup;
use crate::system::signals::Signal;

/// Ctrl-C so many times within [`IMPATIENCE`] means the whole command.
const IMPATIENT: usize = 3;
const IMPATIENCE: Duration = Duration::from_secs(2);

impl Context {
    /// Whether a machine is still to be set up, or its hooks of a start to be run.
    pub fn needs_setup(&self, machine: &Machine<'_>, setup: &Setup) -> bool {
        self.core.needs_setup(&machine.session.record, setup)
    }

    /// Sets a machine up, or waits until another process has done so; then runs the hooks of this connection. Where there
    /// is nothing to do, no engine, no container and no asynchronous runtime is asked for anything.
    ///
    /// A person is told everything; Ctrl-C interrupts the hook that runs, and the rest goes on. A program hears nothing, its
    /// hooks have a time limit, and any signal gives the command up. What is given up is done by the next one who connects.
    pub fn prepare(
        &self,
        machine: &mut Machine<'_>,
        setup: &Setup,
        person: bool,
        report: &mut dyn Report,
    ) -> Result<(), MachineError> {
        let idle = setup.hooks.start.iter().all(|hook| hook.command.is_empty());
        if idle && !self.needs_setup(machine, setup) {
            return Ok(());
        }
        let Machine { session, interrupts, .. } = machine;
        let prepared = self.block_on(async {
            let (handle, cancel) = Cancel::new();
            let (skips, skip) = Skip::new();
            let mut audience = match person {
                true => Audience::person(report, &cancel, &skip),
                false => Audience::program(report, &cancel, &skip),
            };
            let mut work = std::pin::pin!(self.core.prepare(session, setup, &mut audience));
            let mut pressed = VecDeque::new();
            let mut given_up = None;
            loop {
                let signal = tokio::select! {
                    biased;
                    outcome = &mut work => return match (outcome, given_up) {
                        (Err(SessionError::Cancelled), given_up) => {
                            Err(MachineError::Interrupted(given_up.unwrap_or(Signal::Interrupt)))
                        }
                        (outcome, _) => Ok(outcome?),
                    },
                    signal = interrupts.next() => signal.map_err(MachineError::Signals)?,
                };
                if given_up.is_some() {
                    // Told twice: whatever is left goes with this process.
                    return Err(MachineError::Interrupted(signal));
                }
                let now = Instant::now();
                pressed.retain(|before| now.duration_since(*before) < IMPATIENCE);
                pressed.push_back(now);
                if person && signal == Signal::Interrupt && pressed.len() < IMPATIENT {
                    skips.skip();
                } else {
                    given_up = Some(signal);
                    handle.cancel();
                }
            }
        })?;
        if prepared.is_ok() {
            // They were for the hooks.
            interrupts.forget();
        }
        prepared
    }
}
