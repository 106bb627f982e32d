//! What podspawn remembers: the SQLite store, leases and locks.
//!
//! Owns the database file, its migrations and the lock directory. Calls `system`, `names` and the plain types of `spec`
//! only. Nothing here knows an engine.

mod build_lock;
mod error;
pub mod identity;
mod lease;
pub mod lock;
mod migrations;
mod objects;
pub mod record;
mod rows;
mod setup_lock;
mod store;
mod workspaces;

pub use build_lock::{BuildLock, BuildLocks};
pub use error::{LimitReached, LockError, StoreError};
pub use lease::{HandedLease, Holder, Lease, Leases};
pub use lock::{LockWait, UserLock, UserLocks};
pub use record::*;
pub use setup_lock::{SetupLock, SetupLocks};
pub use store::Store;
pub use workspaces::Workspace;
