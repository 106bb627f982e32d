//! One file per command: wiring and printing, no decisions.
//!
//! Calls `cli`, `local`, `session`, `config`, `spec`, `ui`.

pub mod spec;
pub mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Refusal};
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::system::Host;
use crate::ui::Ui;

/// Runs one command line. The one place that prints an error and picks the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>, host: &Host) -> ExitCode {
    let ui = Ui::new(host.var_os("NO_COLOR").is_some(), host.var("TERM"));
    match parse_and_run(args, &ui) {
        Ok(exit) => exit.into(),
        Err(error) => {
            ui.error(&error.text, &error.hints);
            error.kind.exit_code().into()
        }
    }
}

fn parse_and_run(args: impl IntoIterator<Item = OsString>, ui: &Ui) -> Result<Exit, CommandError> {
    let Cli { global: _, command } = match Cli::try_parse_from(args).map_err(Refusal::from) {
        Ok(cli) => cli,
        Err(Refusal::Answer(text)) => {
            ui.report(&text)?;
            return Ok(Exit::Success);
        }
        Err(Refusal::Usage(error)) => return Err(error.into()),
    };
    match command {
        Command::Version(_) => version::run(ui),
    }
}
