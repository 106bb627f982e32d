//! Container users: their accounts, their keys, and what sshd is told about them.

mod at_once;
mod auth_keys;
mod existing;
mod github;
mod lab;
mod links;
mod sessions;
mod users;
pub mod web;
