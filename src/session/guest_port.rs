//! What the lifecycle core needs of the guest while a session is made: that it is ready.

use std::time::Duration;

use podspawn_runtimes::Runtime;

use crate::state::{AttachWay, FirstProcess, SessionRecord};

/// How one container's guest is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestAddress {
    /// The engine's id of the container.
    pub container_id: String,
    /// First process on this host, where the engine is local.
    pub process: Option<FirstProcess>,
    /// Directory on this host where the guest's socket is bind-mounted, if not reached through `/proc`.
    pub socket_dir: Option<String>,
}

impl From<&SessionRecord> for GuestAddress {
    fn from(record: &SessionRecord) -> Self {
        Self {
            container_id: record.container_id.clone(),
            process: record.process.clone(),
            socket_dir: record.socket_dir.clone(),
        }
    }
}

/// What a ready guest said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestReady {
    /// The way that works; direct where it was probed and found open.
    pub attach: AttachWay,
    /// Shell in force.
    pub shell: String,
    /// Lines for the log.
    pub warnings: Vec<String>,
}

/// Waits for guests. The real one connects to the guest; tests with a fake engine use one of their own.
#[allow(async_fn_in_trait)]
pub trait GuestPort {
    /// What went wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Waits until the guest has finished provisioning, probing the direct way first where the engine's facts allow it.
    /// May be dropped at any time.
    async fn wait_ready(
        &self,
        engine: &Runtime,
        address: &GuestAddress,
        limit: Duration,
    ) -> Result<GuestReady, Self::Error>;
}
