//! Container users with stock clients against a real sshd.

mod audit;
mod commands;
mod crowd;
mod display;
mod doctor;
mod editors;
mod ending;
mod engines;
mod files;
mod forwarding;
mod identities;
mod life;
mod operators;
mod outside;
mod project_life;
pub mod projects;
mod recovery;
mod routing;
mod soak;
mod terminals;
mod tutorial;
mod words;
