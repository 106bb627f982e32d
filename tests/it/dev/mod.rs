//! `dev`, `down`, `prebuild`: a repository with a Podfile becomes an environment.

mod api;
mod ending;
pub mod podfile;
mod session;
mod wrong;
pub mod yard;
