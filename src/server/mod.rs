//! The sshd hook: everything that makes a host's stock sshd lead into containers.
//!
//! sshd calls `auth-keys` for the keys of a container user and, as that user, the stub (`spawn`); its PAM stack calls the
//! module of the crate `pam_podspawn`. Stub and module ask the broker, which alone owns the engine and the state.
//! Administrators' commands make accounts, wire sshd, and ask the broker for the rest. Calls `session`, `spec`, `state`,
//! `podfile`, `config`, `names`, `system`, `sandbox`, `wire`; prints nothing.

pub mod accounts;
pub mod admin;
pub mod auth_keys;
pub mod broker;
pub mod doctor;
pub mod firewall;
pub mod forwarding;
pub mod github;
pub mod installation;
pub mod key_sources;
pub mod keys;
pub mod pam;
pub mod projects;
pub mod route;
pub mod setup;
pub mod stub;
pub mod xauth;

pub use installation::Installation;
