//! The life of sessions: making, joining, leaving, removing, and everything that can go wrong in between.

mod crash;
mod deadlines;
mod disk;
mod kills;
pub mod lab;
mod limits;
mod races;
mod real;
