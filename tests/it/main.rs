//! The one integration-test binary: a folder per story.

#![allow(unreachable_pub, reason = "nothing outside this binary can use what its stories share")]

#[macro_use]
#[allow(dead_code, unused_imports, reason = "a toolbox: not every tool is in use at every time")]
mod harness;

mod attach;
mod cli;
mod config;
mod guest;
mod lifecycle;
mod tidy;
