//! Attaching: a process in the container with this process's standard streams, or with a terminal.
//!
//! Two ways, one conversation. Directly, descriptors are passed to the guest's socket; through the engine, the guest's
//! relay carries the same conversation and the streams' bytes inside one byte pipe. Owns what may cross into a container
//! and how the guest is found. Calls `wire`, `runtimes`, `system`.

mod agent;
mod captured;
mod conversation;
mod crossing;
mod direct;
mod engine;
mod error;
mod find;
mod guests;
mod passed_on;
mod plumbing;
mod pump;
mod relay;
mod stream;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use podspawn_wire::{Program, RunAs, X11};

pub use captured::{Captured, Heard};
pub use conversation::{Aside, Prepared};
pub use crossing::{MustNotCross, Passable};
pub use direct::{attach_direct, open_direct};
pub use engine::{attach_engine, attach_relay, open_relay};
pub use error::AttachError;
pub use guests::{GuestError, Guests};
pub use passed_on::{passed_on, passes};

/// What to run and where its streams end on this side.
#[derive(Debug, Clone)]
pub struct AttachRequest<'a> {
    /// What to run.
    pub program: Program,
    /// Who runs it.
    pub run_as: RunAs,
    /// Working directory inside; the home if none.
    pub cwd: Option<String>,
    /// Further environment; `NAME`, value.
    pub env: Vec<(String, String)>,
    /// `TERM` of a terminal inside. None: three pipes.
    pub terminal: Option<String>,
    /// The key agent's socket on this host (`SSH_AUTH_SOCK`), if it is to be offered inside.
    pub agent: Option<PathBuf>,
    /// Read from here; none for the end of input at once.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Output goes here; with a terminal, all of it.
    pub stdout: BorrowedFd<'a>,
    /// Error output goes here.
    pub stderr: BorrowedFd<'a>,
    /// Anonymous pipes among the three are nobody's but this process's and its parent's (sshd's), and are passed into the
    /// container as they are where that is possible. Everything else is copied to and from pipes of podspawn's own. Who reads
    /// the output is the client then: when nobody does any more, it is gone.
    pub own_pipes: bool,
    /// The way to an X server, if it is to be offered inside.
    pub x11: Option<X11>,
}
