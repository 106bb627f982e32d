//! The one program.

use std::process::ExitCode;

use podspawn::system::Host;

fn main() -> ExitCode {
    podspawn::commands::main(std::env::args_os(), &Host::capture())
}
