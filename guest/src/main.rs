//! Entry of the guest: one program under several names.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let name = args.first().and_then(|name| std::path::Path::new(name).file_name()).unwrap_or_default();
    match (name.to_str(), args.get(1).and_then(|arg| arg.to_str())) {
        (Some("sudo"), _) => podspawn_guest::sudo::client::main(&args[1..]),
        (_, Some("sudo")) => podspawn_guest::sudo::client::main(&args[2..]),
        (_, Some(podspawn_guest::sudo::MONITOR)) => podspawn_guest::sudo::monitor::main(&args[2..]),
        (Some("sftp-server"), _) => podspawn_guest::sftp::main(&args[1..]),
        (_, Some("sftp-server")) => podspawn_guest::sftp::main(&args[2..]),
        (_, Some("init")) => init(&args),
        (_, Some("relay")) => relay(),
        (_, Some("await-ports")) => await_ports(&args[2..]),
        (_, Some("empty")) => empty(&args[2..]),
        _ => failed("usage: podspawn-guest (init CONFIG|relay|sftp-server|await-ports|empty) ..."),
    }
}

/// The first process; returns when the container is to end.
fn init(args: &[OsString]) -> ExitCode {
    /// Where its configuration stands.
    const CONFIG: usize = 2;
    podspawn_guest::arguments::hide_environment(args, CONFIG);
    let Some(config) = args.get(CONFIG).and_then(|config| config.to_str()) else {
        return failed("`init` needs its configuration as JSON");
    };
    match podspawn_guest::init::run(config, std::env::vars_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn relay() -> ExitCode {
    match podspawn_guest::relay::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => match std::error::Error::source(&error) {
            Some(source) => failed(&format!("{error}: {source}")),
            None => failed(&error.to_string()),
        },
    }
}

/// Succeeds once every port accepts connections; else names those that do not.
fn await_ports(args: &[OsString]) -> ExitCode {
    let args = args.iter().map(|arg| arg.to_str().unwrap_or_default());
    let Some(wanted) = podspawn_guest::await_ports::Wanted::parse(args) else {
        return failed("`await-ports` needs seconds and addresses with ports");
    };
    let closed = wanted.wait();
    for port in &closed {
        // Whoever no longer reads this does not need it.
        let _ = writeln!(std::io::stdout(), "{port}");
    }
    if closed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Removes what is in a directory.
fn empty(args: &[OsString]) -> ExitCode {
    let [directory] = args else { return failed("`empty` needs a directory") };
    match podspawn_guest::empty::empty(std::path::Path::new(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("cannot empty `{}`: {error}", directory.display())),
    }
}

fn failed(text: &str) -> ExitCode {
    // Nobody is left to tell where even this cannot be written.
    let _ = writeln!(std::io::stderr(), "podspawn-guest: {text}");
    ExitCode::FAILURE
}
