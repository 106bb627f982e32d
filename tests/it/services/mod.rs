//! What stands around a session's container: services, volumes, ports, copied files, owners.

mod files;
mod lab;
mod life;
mod ready;
