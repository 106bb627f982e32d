//! Images that are made from Podfiles, on real engines: what is installed, for whom, what fails and how that is told.

mod bases;
mod builds;
mod lab;
pub mod mirror;
mod runtimes;
