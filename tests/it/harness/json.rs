//! Reading machine-readable output.

use serde_json::Value;

use super::Run;

/// Standard output as JSON; anything else fails the test.
#[track_caller]
pub fn parse(run: &Run) -> Value {
    serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|error| panic!("{}: {error} in\n{}", run.command, run.out()))
}
