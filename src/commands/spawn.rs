//! `spawn`, the stub: what a container user's login is on the host. Recognised before the command line is parsed.

use podspawn_wire::Exit as Ended;

use crate::command_error::{CommandError, ErrorKind};
use crate::exit::{self, Exit};
use crate::server::stub::{self, Streams, StubArgs, StubError, Tell};
use crate::session::attach::AttachError;
use crate::system::{Host, hygiene};
use crate::ui::{Announced, Stdio, Ui};

/// Serves one channel of an SSH connection.
pub(super) fn run(args: Result<StubArgs, StubError>, host: &Host, ui: Ui) -> Result<Exit, CommandError> {
    // Nothing that sshd may have left open reaches further than this.
    let _ = hygiene::close_inherited();
    let stdio = Stdio::own();
    let streams = Streams { stdin: stdio.stdin(), stdout: stdio.stdout(), stderr: stdio.stderr() };
    match args.and_then(|args| stub::run(&args, host, streams, &Shown { ui, progress: Announced::new(ui) })) {
        Ok(ended) => Ok(Exit::Session(Ended::status(ended))),
        // Whoever hung up or pressed Ctrl-C knows.
        Err(StubError::Attach(error @ AttachError::Interrupted(_))) => {
            Ok(Exit::Session(error.status().unwrap_or(exit::FAILURE)))
        }
        Err(StubError::Ended { told: true, .. }) => Ok(Exit::Session(exit::FAILURE)),
        Err(error) => Err(error.into()),
    }
}

struct Shown {
    ui: Ui,
    progress: Announced,
}

impl Tell for Shown {
    fn progress(&self, text: &str) {
        self.progress.say(text);
    }

    fn over(&self) {
        self.progress.settle();
    }

    fn notice(&self, text: &str, raw: bool) {
        if raw {
            self.ui.interject(&format!("podspawn: {text}"));
        } else {
            self.progress.settle();
            self.ui.note(&format!("podspawn: {text}"));
        }
    }
}

impl From<StubError> for CommandError {
    fn from(error: StubError) -> Self {
        match error {
            StubError::Failed { text, hints } => Self { kind: ErrorKind::State, text, hints },
            StubError::NoBroker(_) => Self::new(ErrorKind::Failure, error.to_string())
                .hint("ask the administrator of this host: `podspawn doctor` says more"),
            StubError::Maintenance => Self::new(ErrorKind::Failure, error.to_string())
                .hint("sessions that exist go on; try again later"),
            StubError::Broker(_) => Self::new(ErrorKind::Failure, error.to_string()).hint("connect again"),
            StubError::Attach(AttachError::Lost) => {
                Self::new(ErrorKind::State, "the connection to your container was lost").hint("connect again")
            }
            StubError::Attach(AttachError::Stopped | AttachError::NotRunning(_)) => {
                Self::new(ErrorKind::State, "the container of this session has ended")
            }
            StubError::Ended { text, .. } => Self::new(ErrorKind::State, text),
            StubError::Attach(error) => error.into(),
            StubError::Usage | StubError::NotText | StubError::TooLong(_) | StubError::Project(_) => {
                Self::new(ErrorKind::Usage, error.to_string())
            }
        }
    }
}
