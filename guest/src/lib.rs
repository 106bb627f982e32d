//! podspawn's first process inside a container: the parts that tests and the host side share.
//!
//! One thread, one event loop ([`reactor`]), nothing that blocks. Knows the wire and the container it runs in, and nothing of
//! engines, sessions or configuration.

pub mod accounts;
mod agent;
pub mod arguments;
pub mod await_ports;
mod connection;
pub mod copy;
mod database;
pub mod empty;
pub mod environment;
mod files;
mod hand_over;
pub mod init;
mod keeper;
pub mod profile;
mod provision;
pub mod pty;
pub mod reactor;
pub mod relay;
mod sessions;
pub mod sftp;
pub mod signal;
pub mod spawn;
mod start;
pub mod sudo;
mod terminal;
mod terminfo;
mod x11;
