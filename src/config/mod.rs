//! Configuration: the schema, its layers, and where every value came from.
//!
//! Owns `config.example.yaml`, the deployment profiles, the reading and checking of configuration files. Reads one file;
//! the environment, the home directory and flags come in as values. Calls `names` only.

mod check;
mod deployment;
mod dotfiles;
mod error;
mod file;
mod json_schema;
mod layers;
mod origin;
mod projects;
mod quick;
mod read;
mod schema;
mod seccomp;
mod servers;
mod text;
mod tmpfs;
mod units;
mod user;
mod words;
pub mod yaml;

pub use deployment::{Deployment, Reach, detect, sshd_includes, sshd_is_wired};
pub use dotfiles::Dotfiles;
pub use error::ConfigError;
pub use file::{read_text, read_text_below};
pub use json_schema::schema;
pub use layers::{DEFAULTS, Flag, Layers, SERVER_CONFIG, Sources, load, load_text};
pub use origin::Origin;
pub use projects::{Project, Projects, Word};
pub use quick::load_server;
pub use schema::{
    Auth, Config, Defaults, Log, PackageSources, Packages, Resources, Security, Server, Session, State,
};
pub use seccomp::STRICT_SECCOMP;
pub use servers::{Mapping, ServerAddress, Servers};
pub use text::{AccountName, Count, Cpus, HttpUrl, OciRuntime, Shell};
pub use units::{ByteSize, TimeSpan};
pub use words::{
    AccountWay, CAPABILITIES, Capability, EngineChoice, Forwarding, Mode, ProfileName, SeccompChoice, nearest,
};

#[cfg(test)]
mod tests;
