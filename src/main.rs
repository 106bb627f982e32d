//! The one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    podspawn::commands::main(std::env::args_os())
}
