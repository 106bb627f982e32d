//! Whether forwarding of a container user's connection ends in that user's container.

use std::path::Path;

use crate::config::{Config, Forwarding};

/// Whether keys may allow forwarding; otherwise why not, as a fragment.
pub fn ready(config: &Config, _config_dir: &Path) -> Result<(), String> {
    if config.server.forwarding == Forwarding::Off {
        return Err("`server.forwarding` is off".into());
    }
    Err("the PAM module is not wired".into())
}
