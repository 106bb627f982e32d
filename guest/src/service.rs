//! What a further service of the first process looks like to its loop.

use podspawn_wire::Exit;

use crate::reactor::{Event, Reactor};

/// Driven by the loop of the first process, like the sessions; never blocks.
pub trait Service {
    /// An event whose key the service gave to the reactor.
    fn event(&mut self, reactor: &mut Reactor, event: Event);

    /// A child of the first process was reaped. True if it was one of the service's.
    fn exited(&mut self, reactor: &mut Reactor, pid: i32, exit: Exit) -> bool;

    /// The container is being stopped: take no further request. Processes are signalled by the loop itself.
    fn stop(&mut self, reactor: &mut Reactor);
}
