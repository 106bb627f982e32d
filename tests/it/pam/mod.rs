//! The PAM module in a real sshd, with a broker that the test plays.

mod broken_module;
mod failing_broker;
mod forwarding;
mod lab;
mod lifetime;
mod player;
mod starting;
