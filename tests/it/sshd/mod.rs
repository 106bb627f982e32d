//! Container users with stock clients against a real sshd.

mod commands;
