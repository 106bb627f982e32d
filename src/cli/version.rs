//! `version`

use clap::Args;

/// Version and the commit that this program was built from, as `v0.1.0 (a1b2c3d)`.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"), " (", env!("PODSPAWN_COMMIT"), ")");

/// As typed; there is nothing to say.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn version")]
pub struct VersionArgs {}
