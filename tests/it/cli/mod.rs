//! Stories of the command line, one file per command.

mod terminal;
mod version;
