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
        (_, Some(podspawn_guest::sudo::MONITOR)) => podspawn_guest::sudo::monitor::main(),
        (Some("sftp-server"), _) => podspawn_guest::sftp::main(&args[1..]),
        (_, Some("sftp-server")) => podspawn_guest::sftp::main(&args[2..]),
        _ => {
            let _ = writeln!(std::io::stderr(), "podspawn-guest: usage: podspawn-guest (sftp-server) ...");
            ExitCode::FAILURE
        }
    }
}
