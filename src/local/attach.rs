//! Between this process's streams and a program in a machine.

use std::os::fd::BorrowedFd;

use podspawn_runtimes::EngineError;
use podspawn_wire::{Exit, Program, RunAs};
use thiserror::Error;

use super::context::{Context, LocalError};
use crate::session::attach::{AttachError, AttachRequest, attach_direct, attach_engine, passed_on};
use crate::session::{EngineSource, GuestAddress, Session};
use crate::state::AttachWay;

/// Terminal type inside where this side's is not known.
const UNKNOWN_TERMINAL: &str = "dumb";

/// Where the streams of a program inside end on this side.
#[derive(Debug, Clone, Copy)]
pub struct Streams<'a> {
    /// Give the program a terminal of its own.
    pub terminal: bool,
    /// Its input; none for the end of input at once.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Its output; with a terminal, all of it.
    pub stdout: BorrowedFd<'a>,
    /// Its error output.
    pub stderr: BorrowedFd<'a>,
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
    pub fn enter(
        &self,
        session: &Session,
        program: Program,
        streams: Streams<'_>,
    ) -> Result<Exit, EnterError> {
        let request = self.request(program, RunAs::User, session.record.start_dir.clone(), streams);
        let request = AttachRequest { env: passed_on(self.settings.host.vars()), ..request };
        let ended = self.attach(session, &request);
        let status = match &ended {
            Ok(ended) => Some(ended.status()),
            Err(EnterError::Attach(error)) => error.status(),
            Err(EnterError::Engine(_) | EnterError::Local(_)) => None,
        };
        self.record_command(&session.record, &request.program, status);
        ended
    }

    /// As [`Context::enter`], as that account and in that directory, and with nothing of this process's environment: for what
    /// podspawn itself has to do inside, whose output it may read.
    pub(super) fn enter_as(
        &self,
        session: &Session,
        program: Program,
        run_as: RunAs,
        cwd: &str,
        streams: Streams<'_>,
    ) -> Result<Exit, EnterError> {
        self.attach(session, &self.request(program, run_as, Some(cwd.into()), streams))
    }

    fn request<'a>(
        &self,
        program: Program,
        run_as: RunAs,
        cwd: Option<String>,
        streams: Streams<'a>,
    ) -> AttachRequest<'a> {
        let Streams { terminal, stdin, stdout, stderr } = streams;
        AttachRequest {
            program,
            run_as,
            cwd,
            env: Vec::new(),
            terminal: terminal.then(|| self.settings.host.var("TERM").unwrap_or(UNKNOWN_TERMINAL).to_owned()),
            agent: None,
            stdin,
            stdout,
            stderr,
            own_pipes: false,
            x11: None,
        }
    }

    fn attach(&self, session: &Session, request: &AttachRequest<'_>) -> Result<Exit, EnterError> {
        let record = &session.record;
        match record.attach {
            AttachWay::Direct => {
                let address = GuestAddress {
                    container_id: record.container_id.clone(),
                    process: record.process.clone(),
                    socket_dir: record.socket_dir.clone(),
                };
                Ok(attach_direct(&address, request)?)
            }
            AttachWay::Engine => self.block_on(async {
                let engine = self.core.engines.engine().await?;
                Ok(attach_engine(engine, &record.container_id, request).await?)
            })?,
        }
    }
}
