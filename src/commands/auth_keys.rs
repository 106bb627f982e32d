//! `auth-keys`
//!
//! Always succeeds: sshd throws away everything that a failing command printed, and would tell known users from unknown
//! ones. What goes wrong goes to the log.

use std::panic;
use std::path::{Path, PathBuf};

use crate::cli::AuthKeysRequest;
use crate::config::{self, Config, SERVER_CONFIG};
use crate::exit::Exit;
use crate::server::auth_keys::Places;
use crate::server::keys::Wanted;
use crate::system::{hygiene, process};
use crate::ui::{Ui, log};

/// Prints a container user's key lines, or nothing.
pub(super) fn run(request: AuthKeysRequest, ui: Ui) -> Exit {
    // First, while this process has opened nothing itself.
    let closed = hygiene::close_inherited();
    hygiene::plain_umask();
    let answer = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let (config, wrong) = read_config(request.config.as_deref());
        start_log(&request, &config);
        if let Err(error) = closed {
            tracing::warn!(%error, "inherited descriptors stay open");
        }
        if let Some(reason) = wrong {
            tracing::error!(reason, "the configuration cannot be used; the defaults are");
        }
        answer(&request, &config)
    }));
    // The whole answer at once, or none of it.
    if let Ok(answer) = answer
        && !answer.is_empty()
        && let Err(error) = ui.report(&answer)
    {
        tracing::error!(%error, "the keys could not be written");
    }
    Exit::Success
}

fn answer(request: &AuthKeysRequest, config: &Config) -> String {
    for flag in &request.wrong {
        tracing::warn!(flag = flag.as_str(), "flag ignored");
    }
    let Some((user, about_key)) = request.words.split_first() else {
        tracing::error!("auth-keys was called without a user name");
        return String::new();
    };
    let path = request.config.as_deref().unwrap_or(Path::new(SERVER_CONFIG));
    let binary = own_path();
    let places = Places {
        config,
        config_dir: path.parent().unwrap_or(Path::new("/")),
        key_dir: request.key_dir.as_deref().unwrap_or(&config.auth.key_dir),
        binary: binary.as_deref(),
        asker: process::starter(),
    };
    // Before anything that a container user could have had a hand in is opened.
    places.restrict();
    places.answer(user, &Wanted::from_arguments(about_key)).unwrap_or_else(|error| {
        tracing::error!(user = user.as_str(), %error, "no keys");
        String::new()
    })
}

/// The configuration in force, and why it is only the defaults where it cannot be read. The environment is not asked:
/// sshd's client has a hand in it.
fn read_config(file: Option<&Path>) -> (Config, Option<String>) {
    match config::load_server(file) {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(crate::command_error::chain(&error))),
    }
}

/// sshd discards standard error, so the log goes there only if there is no better place.
fn start_log(request: &AuthKeysRequest, config: &Config) {
    let file = request.log_file.as_ref().or(config.log.file.as_ref());
    let target = file.and_then(|file| log::Target::append(file).ok());
    log::start(target.unwrap_or(log::Target::Stderr));
}

/// This program by its resolved path. The file may have been replaced since it was started.
fn own_path() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(replaced) => Some(replaced.into()),
        None => Some(path),
    }
}
