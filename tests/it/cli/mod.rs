//! Stories of the command line, one file per command.

mod audit;
mod bad_input;
mod cleanup;
mod create;
mod doctor;
mod exec;
mod help;
mod interrupt;
mod list;
mod log;
mod logs;
mod no_engine;
mod ordinary;
pub mod pull;
mod rm;
mod run;
mod shell;
mod stop;
mod terminal;
mod verify_image;
mod version;
