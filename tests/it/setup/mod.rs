//! `server-setup`: what it does to sshd, and that nothing it does can lock anybody out.

mod damage;
mod effect;
mod lab;
mod links;
mod login;
mod restore;
mod units;
