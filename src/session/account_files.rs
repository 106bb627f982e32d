//! Account files for a root file system that nobody can edit: the image's own texts, with the session's account put in by
//! the same rules as the guest applies inside.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use podspawn_guest::accounts::{Files, provision};
use podspawn_guest::profile;
use podspawn_runtimes::{Engine, EngineError, Runtime};
use podspawn_wire::User;

use super::container_spec::AccountFiles;
use super::error::SessionError;
use crate::system::files::write_atomic;

/// Longest archive of one account file that is looked at, in bytes.
const ARCHIVE_MAX: usize = 4 * 1024 * 1024;

/// How long an engine may take to hand one out.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// Reads the account files of a container (running or not), puts the account in and writes the results to `directory`.
pub(super) async fn prepare(
    engine: &Runtime,
    container: &str,
    user: &User,
    directory: &Path,
) -> Result<AccountFiles, SessionError> {
    let texts = Files {
        passwd: read(engine, container, "/etc/passwd", READ_LIMIT).await?,
        group: read(engine, container, "/etc/group", READ_LIMIT).await?,
        shadow: None,
    };
    let texts = provision(&texts, user).map_err(|error| SessionError::Impossible(error.to_string()))?;
    let [passwd, group, of_shells] = ["passwd", "group", "profile"].map(|name| directory.join(name));
    let files = AccountFiles { passwd, group, profile: of_shells };
    let of_shells = (&files.profile, profile::TEXT.as_bytes());
    for (path, text) in [(&files.passwd, &*texts.passwd), (&files.group, &*texts.group), of_shells] {
        write_atomic(path, text, 0o644)
            .map_err(|source| SessionError::Prepare { path: path.clone(), source })?;
    }
    Ok(files)
}

/// A file of a container; empty if there is none, or something else has its name.
async fn read(
    engine: &Runtime,
    container: &str,
    path: &str,
    limit: Duration,
) -> Result<Vec<u8>, SessionError> {
    let action = || format!("read `{path}`");
    // The engine's own limit ends where its answer begins, and a user's lock is held meanwhile.
    let archive = tokio::time::timeout(limit, archive(engine, container, path))
        .await
        .map_err(|_| EngineError::Timeout { action: action(), seconds: limit.as_secs() })??;
    first_file(&archive).map_err(|source| EngineError::Io { action: action(), source }.into())
}

async fn archive(engine: &Runtime, container: &str, path: &str) -> Result<Vec<u8>, SessionError> {
    let mut stream = match engine.copy_out(container, path).await {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let mut archive = Vec::new();
    while let Some(piece) = stream.next().await {
        archive.extend_from_slice(&piece?);
        if archive.len() > ARCHIVE_MAX {
            return Err(SessionError::Impossible(format!("`{path}` of the image is too long")));
        }
    }
    Ok(archive)
}

fn first_file(archive: &[u8]) -> io::Result<Vec<u8>> {
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            return Ok(text);
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use podspawn_runtimes::testing::{At, Fake, When};

    use super::*;

    #[tokio::test]
    async fn an_engine_that_does_not_hand_a_file_out_is_not_waited_for() {
        let fake = Fake::new();
        let _never = fake.pause(At::Named("copy_out", 1), When::Before);
        let engine = Runtime::from(fake);
        let read = read(&engine, "x", "/etc/passwd", Duration::from_millis(50));
        let error = tokio::time::timeout(READ_LIMIT, read).await.expect("it is not waited for").unwrap_err();
        assert!(matches!(error, SessionError::Engine(EngineError::Timeout { .. })), "{error}");
    }
}
