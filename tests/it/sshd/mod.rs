//! Container users with stock clients against a real sshd.

mod commands;
mod ending;
mod files;
mod forwarding;
mod life;
mod routing;
mod terminals;
