//! The guest in real containers, on every engine, spoken to by a small client of the wire.

#![allow(unreachable_pub, missing_docs, dead_code)] // one binary of its own, whose helpers are shared by its modules
#![allow(clippy::print_stdout)] // what the harness shows with a failed test

mod client;
mod processes;
mod support;
