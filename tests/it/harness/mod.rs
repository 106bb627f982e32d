//! What every story of this test binary builds on: a private home, a private owner name, real engines, terminals.
//!
//! Owns nothing of podspawn: it drives the built program as a person or a script would. Everything made through an
//! [`Env`] is removed when it is dropped.

#[macro_use]
mod matrix;
pub mod command;
pub mod dockerd;
pub mod elder;
pub mod engines;
pub mod env;
pub mod greeter;
pub mod json;
pub mod machine;
pub mod moments;
pub mod podman;
pub mod server;
pub mod sshd;
pub mod system;
pub mod terminal;

/// Whether the long rounds are wanted.
pub fn soak() -> bool {
    podspawn::system::Host::capture().var("PODSPAWN_SOAK") == Some("1")
}

/// How long the round of random events lasts: `PODSPAWN_SOAK_SECONDS`, else half an hour where the long rounds are wanted.
pub fn round() -> std::time::Duration {
    let host = podspawn::system::Host::capture();
    let told = host.var("PODSPAWN_SOAK_SECONDS").filter(|text| !text.is_empty());
    let told = told.map(|text| text.parse().expect("PODSPAWN_SOAK_SECONDS in seconds"));
    std::time::Duration::from_secs(told.unwrap_or(if soak() { 1800 } else { 15 }))
}

pub use command::Run;
pub use engines::EngineName;
pub use env::Env;
pub use server::Server;
pub use terminal::Terminal;
