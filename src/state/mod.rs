//! What podspawn remembers: the SQLite store, leases and locks.
//!
//! Owns the database file, its migrations, the lock directory. Calls `system` and `names` only.

pub mod record;

pub use record::*;
