//! The one integration-test binary: a folder per story.

#![allow(unreachable_pub, reason = "nothing outside this binary can use what its stories share")]

#[macro_use]
mod harness;

mod accounts;
mod attach;
mod cli;
mod config;
mod deploy;
mod dev;
mod firewall;
mod guest;
mod hooks;
mod image;
mod init;
mod lifecycle;
mod pam;
mod podfile;
mod projects;
mod security;
mod services;
mod setup;
mod sshd;
mod systemd;
mod tidy;
