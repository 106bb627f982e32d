//! podspawn: private containers over plain SSH, and throwaway machines locally.
//!
//! Dependencies point one way: `commands → server | local → session → spec, state, runtimes, wire → names, system`.

pub mod check;
pub mod cli;
pub mod command_error;
pub mod commands;
pub mod config;
pub mod engine;
pub mod exit;
pub mod local;
pub mod names;
pub mod podfile;
pub mod sandbox;
pub mod server;
pub mod session;
pub mod spec;
pub mod state;
pub mod system;
pub mod ui;
