//! podspawn's first process inside a container: the parts that tests and the host side share.
//!
//! One thread, one event loop ([`reactor`]), nothing that blocks. Knows the wire and the container it runs in, and nothing of
//! engines, sessions or configuration.

pub mod accounts;
pub mod copy;
mod database;
pub mod environment;
pub mod pty;
pub mod reactor;
pub mod service;
pub mod sftp;
pub mod signal;
pub mod spawn;
pub mod sudo;
