//! How the setup starts processes inside: behind a trait, so that tests without containers have something to start.

use podspawn_wire::Start;

use super::super::attach::{AttachError, Captured, Guests, Heard};
use super::super::core::EngineSource;
use super::super::guest_port::{GuestAddress, GuestPort};
use crate::state::{AttachWay, SessionRecord};

/// Guests that start processes whose output is heard here.
#[allow(async_fn_in_trait)]
pub trait Runs: GuestPort {
    /// Such a process.
    type Process: Inside;

    /// Starts one in a session's container.
    async fn run<S: EngineSource>(
        &self,
        engines: &S,
        record: &SessionRecord,
        start: Start,
    ) -> Result<Self::Process, AttachError>;
}

/// A process inside.
#[allow(async_fn_in_trait)]
pub trait Inside {
    /// Waits for what comes next. May be dropped and called again.
    async fn next(&mut self) -> Result<Heard, AttachError>;
    /// Sends a signal to it and to what belongs to it.
    fn signal(&mut self, number: i32) -> Result<(), AttachError>;
    /// Leaves it.
    async fn hang_up(self);
}

impl Runs for Guests {
    type Process = Captured;

    async fn run<S: EngineSource>(
        &self,
        engines: &S,
        record: &SessionRecord,
        start: Start,
    ) -> Result<Captured, AttachError> {
        match record.attach {
            AttachWay::Direct => Captured::direct(&GuestAddress::from(record), start).await,
            AttachWay::Engine => {
                Captured::through_engine(engines.engine().await?, &record.container_id, start).await
            }
        }
    }
}

impl Inside for Captured {
    async fn next(&mut self) -> Result<Heard, AttachError> {
        Self::next(self).await
    }

    fn signal(&mut self, number: i32) -> Result<(), AttachError> {
        Self::signal(self, number)
    }

    async fn hang_up(self) {
        Self::hang_up(self).await;
    }
}
