//! Stories of projects and of machines that have a checkout, with a real git remote.

mod crash;
mod hostile;
mod kept;
pub mod machines;
mod registry;
pub mod remote;
mod waiting;
