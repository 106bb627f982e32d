//! What stands around a session's container: services, volumes, ports, copied files, owners.

mod files;
pub mod lab;
mod life;
mod ready;
