//! Between this process's streams and a program in a machine.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

use podspawn_runtimes::EngineError;
use podspawn_wire::{Exit, Program, RunAs};
use thiserror::Error;

use super::context::{Context, LocalError};
use crate::session::attach::{AttachError, AttachRequest, attach_direct, attach_engine};
use crate::session::{EngineSource, GuestAddress, Session};
use crate::state::AttachWay;

/// Terminal type inside where this side's is not known.
const UNKNOWN_TERMINAL: &str = "dumb";

/// What the program inside gets as its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// A terminal, copied to and from this process's.
    Terminal,
    /// This process's three streams.
    Pipes,
    /// This process's output streams, and no input.
    OutputOnly,
    /// A terminal without input.
    TerminalOutputOnly,
}

impl Streams {
    /// A terminal if a person sits there, that is if both standard input and output are terminals.
    pub fn for_a_person() -> Self {
        if io::stdin().is_terminal() && io::stdout().is_terminal() { Self::Terminal } else { Self::Pipes }
    }

    fn terminal(self) -> bool {
        matches!(self, Self::Terminal | Self::TerminalOutputOnly)
    }

    fn input(self) -> bool {
        matches!(self, Self::Terminal | Self::Pipes)
    }
}

/// A failed attach.
#[derive(Debug, Error)]
pub enum EnterError {
    /// Between here and the program.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The engine that has the machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// This process.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl Context {
    /// Runs a program in a session until it ends.
    pub fn enter(&self, session: &Session, program: Program, streams: Streams) -> Result<Exit, EnterError> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let request = AttachRequest {
            program,
            run_as: RunAs::User,
            cwd: None,
            env: Vec::new(),
            terminal: streams
                .terminal()
                .then(|| self.host.var("TERM").unwrap_or(UNKNOWN_TERMINAL).to_owned()),
            agent: None,
            stdin: streams.input().then(|| -> BorrowedFd<'_> { stdin.as_fd() }),
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
        };
        let record = &session.record;
        match record.attach {
            AttachWay::Direct => {
                let address = GuestAddress {
                    container_id: record.container_id.clone(),
                    process: record.process.clone(),
                    socket_dir: record.socket_dir.clone(),
                };
                Ok(attach_direct(&address, &request)?)
            }
            AttachWay::Engine => self.block_on(async {
                let engine = self.core.engines.engine().await?;
                Ok(attach_engine(engine, &record.container_id, &request).await?)
            })?,
        }
    }
}
