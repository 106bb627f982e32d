//! One file per command: wiring and printing, no decisions.
//!
//! Calls `cli`, `local`, `session`, `config`, `spec`, `ui`.

mod add_project;
mod add_user;
mod ask;
mod auth_keys;
mod broker;
mod cleanup;
mod create;
mod dev;
mod doctor;
mod down;
mod enter;
mod exec;
mod fetch_project;
mod init;
mod list;
mod list_users;
mod logs;
mod podfile;
mod prebuild;
mod remove_project;
mod remove_user;
mod report;
mod rm;
mod run;
mod schema;
mod server;
mod server_project;
mod server_setup;
mod shell;
mod spawn;
mod spec;
mod status;
mod stop;
mod switch_branch;
mod update_project;
mod verify_image;
mod version;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{AuthKeysRequest, Cli, Command, GlobalRequest, Refusal};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Context, MachineError, Overrides, ProjectError};
use crate::names::SessionKey;
use crate::server::stub;
use crate::session::SessionError;
use crate::system::Host;
use crate::ui::{Ui, log};

/// Runs one command line. The one place that prints an error and picks the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>, host: &Host) -> ExitCode {
    let ui = Ui::new(host.var_os("NO_COLOR").is_some(), host.var("TERM"));
    let args: Vec<OsString> = args.into_iter().collect();
    // What sshd calls is recognised first: it has to be quick, and no flag of other commands belongs to it.
    if let Some(request) = AuthKeysRequest::recognise(&args) {
        return auth_keys::run(request, ui).into();
    }
    let outcome = match stub::recognise(&args) {
        Some(stub) => spawn::run(stub, host, ui),
        None => parse_and_run(args, host, ui),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !error.text.is_empty() {
                ui.error(&error.text, &error.hints);
            }
            error.kind.exit_code().into()
        }
    }
}

fn parse_and_run(
    args: impl IntoIterator<Item = OsString>,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let Cli { global, command } =
        match Cli::try_parse_from(&args).map_err(|error| Refusal::new(&error, &args)) {
            Ok(cli) => cli,
            Err(Refusal::Answer(text)) => {
                ui.report(&text)?;
                return Ok(Exit::Success);
            }
            Err(Refusal::Usage(error)) => return Err(error.into()),
        };
    let GlobalRequest { config, log_file, runtime } = global.into();
    // What is started with it, a broker for one, works in another directory.
    let config = config.map(|file| host.cwd().unwrap_or(Path::new("/")).join(file));
    let overrides = Overrides { config, log_file, runtime };
    match command {
        Command::AddUser(args) => add_user::run(args.try_into()?, &overrides, host, ui),
        Command::AuthKeys(args) => Ok(auth_keys::run(args.into(), ui)),
        Command::Run(args) => run::run(args.try_into()?, &overrides, host, ui),
        Command::Create(args) => create::run(args.try_into()?, &overrides, host, ui),
        Command::Shell(args) => shell::run(args.try_into()?, &overrides, host, ui),
        Command::Dev(args) => dev::run(args.try_into()?, &overrides, host, ui),
        Command::Down(args) => down::run(args.try_into()?, &overrides, host, ui),
        Command::Prebuild(args) => prebuild::run(args.try_into()?, &overrides, host, ui),
        Command::Exec(args) => exec::run(args.try_into()?, &overrides, host, ui),
        Command::Init(args) => init::run(args.into(), &overrides, host, ui),
        Command::List(args) => list::run(args.try_into()?, &overrides, host, ui),
        Command::Logs(args) => logs::run(args.try_into()?, &overrides, host, ui),
        Command::ListUsers(args) => list_users::run(args, &overrides, host, ui),
        Command::RemoveUser(args) => remove_user::run(args.try_into()?, &overrides, host, ui),
        Command::Stop(args) => stop::run(args.try_into()?, &overrides, host, ui),
        Command::SwitchBranch(args) => switch_branch::run(args.try_into()?, &overrides, host, ui),
        Command::AddProject(args) => add_project::run(args.try_into()?, &overrides, host, ui),
        Command::UpdateProject(args) => update_project::run(args.try_into()?, &overrides, host, ui),
        Command::FetchProject(args) => fetch_project::run(args.try_into()?, &overrides, host, ui),
        Command::RemoveProject(args) => remove_project::run(args.try_into()?, &overrides, host, ui),
        Command::Rm(args) => rm::run(args.try_into()?, &overrides, host, ui),
        Command::Status(args) => status::run(args.try_into()?, &overrides, host, ui),
        Command::Cleanup(args) => cleanup::run(args.try_into()?, &overrides, host, ui),
        Command::Doctor(args) => doctor::run(args.try_into()?, &overrides, host, ui),
        Command::VerifyImage(args) => verify_image::run(args.try_into()?, &overrides, host, ui),
        Command::Spec(args) => spec::run(args.try_into()?, &overrides, host, ui),
        Command::Podfile(args) => podfile::check(args.into(), &overrides, host, ui),
        Command::Schema(args) => schema::run(args, ui),
        Command::ServerSetup(args) => server_setup::run(args.try_into()?, &overrides, host, ui),
        Command::Version(_) => version::run(&ui),
        Command::Broker(args) => broker::run(args.into(), &overrides, host, ui),
    }
}

/// Whether a command shows the log where no file was named for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logs {
    /// Its messages and its error say everything.
    Quiet,
    /// The log is what people look at.
    Shown,
}

/// What a command works with, and its log.
fn open(
    host: &Host,
    overrides: &Overrides,
    reach: Reach,
    logs: Logs,
    ui: Ui,
) -> Result<Context, CommandError> {
    let context = Context::open(host, overrides, reach)?;
    log_to(context.settings.layers.config.log.file.as_deref(), logs, ui);
    if let Some(fault) = context.audit_fault() {
        // Not being able to record what happens is none either.
        ui.warn(&fault);
    }
    Ok(context)
}

/// Starts the log.
fn log_to(file: Option<&Path>, logs: Logs, ui: Ui) {
    match (file.map(|file| (file, log::Target::append(file))), logs) {
        (Some((_, Ok(target))), _) => log::start(target),
        (Some((file, Err(error))), logs) => {
            // Not being able to log is no reason not to work.
            ui.warn(&format!("the log file `{}` cannot be opened: {error}", file.display()));
            if logs == Logs::Shown {
                log::start(log::Target::Stderr);
            }
        }
        (None, Logs::Shown) => log::start(log::Target::Stderr),
        (None, Logs::Quiet) => {}
    }
}

/// What a command about the invoking user's projects works with.
fn open_projects(host: &Host, overrides: &Overrides, ui: Ui) -> Result<Context, CommandError> {
    open(host, overrides, Reach::Either, Logs::Quiet, ui)
}

/// As [`explain`], for what has to do with projects.
fn explain_project(context: &Context, error: ProjectError) -> CommandError {
    match error {
        ProjectError::Machine(error) => explain(context, error),
        error => error.into(),
    }
}

/// As [`explain`], for a machine that has to run: one of a project that is stopped exists all the same.
fn explain_stopped(context: &Context, key: &SessionKey, error: MachineError) -> CommandError {
    // Of a workspace that cannot be looked for, nothing more is known.
    if let (MachineError::Unknown(_), Ok(Some(workspace))) = (&error, context.workspace(key)) {
        let name = key.project();
        let text = format!("the machine `{name}` of the project `{}` is stopped", workspace.project);
        return CommandError::new(ErrorKind::State, text).hint(format!(
            "`podspawn create {name}` starts it, `podspawn shell {name}` opens a shell in it too"
        ));
    }
    explain(context, error)
}

/// A failure with what only the context knows: why there is no engine, what was tried, how to get one.
fn explain(context: &Context, error: MachineError) -> CommandError {
    match (&error, context.core.engines.failure()) {
        (MachineError::Session(SessionError::Engine(_)), Some(failure)) => failure.into(),
        _ => error.into(),
    }
}
