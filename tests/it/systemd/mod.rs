//! A host with a service manager: everything is started, restarted and ended by units, and comes back after a boot.

mod boot;
mod care;
mod failures;
