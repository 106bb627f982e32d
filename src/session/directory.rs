//! Removing a session's directory on this host. Where the guest's socket lies in it, root of the container could write there
//! with root's rights: what it left is not the invoking user's to remove, and goes by root of another container.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use podspawn_runtimes::{ContainerSpec, Engine, EngineError, Mount, Runtime};
use podspawn_wire::{GUEST_DIR, GUEST_PROGRAM};

use super::core::{Core, EngineSource};
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::report::{Report, Step};
use crate::state::SessionRecord;
use crate::system::guest_program::install_guest;

/// How long emptying it may take; a user's lock is held meanwhile, and whoever asked for the end waits no longer than twice that.
const LIMIT: Duration = Duration::from_secs(15);

/// Deepest directory of what podspawn itself puts there. Root inside may make a tree that no process has stack or descriptors for.
const DEEPEST: usize = 4;

/// Removes a directory with what is in it, if that is not deep.
fn remove_shallow(path: &Path, depth: usize) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(ErrorKind::DirectoryNotEmpty)?;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => remove_shallow(&entry.path(), depth)?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    std::fs::remove_dir(path)
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Removes it, once the session's containers are gone. The error is a fragment. What nobody here can remove is left with
    /// a warning: what a container has put there must not keep its session for ever.
    pub(super) async fn remove_directory(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        directory: &str,
        report: &mut dyn Report,
    ) -> Result<(), String> {
        let path = Path::new(directory);
        let remove = || match remove_shallow(path, DEEPEST) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let fragment = |error: &dyn std::fmt::Display| format!("remove `{directory}`: {error}");
        match remove() {
            Ok(()) => return Ok(()),
            // Whatever keeps it from here, a tree that is too deep for one, is put there from inside.
            Err(_) if engine.facts().local => {}
            Err(error) => return Err(fragment(&error)),
        }
        match self.empty(record, engine, path).await {
            // The next try would find no other image either.
            Err(SessionError::Engine(EngineError::NotFound { .. })) => {}
            other => other.map_err(|error| fragment(&error))?,
        }
        match remove() {
            Err(_) => {
                let text = format!(
                    "`{directory}` is left, with files that root of the machine put there: remove it as root"
                );
                tracing::warn!(user = %record.key.user, container = record.container_name, "{text}");
                report.step(Step::Warning(&text));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Removes what is in it as root of a container, as far as that can.
    async fn empty(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        directory: &Path,
    ) -> Result<(), SessionError> {
        let program = install_guest(&self.dirs.guest)
            .map_err(|source| SessionError::Prepare { path: self.dirs.guest.clone(), source })?;
        let bind = |source: &Path, target: &str, read_only| Mount::Bind {
            source: source.into(),
            target: target.into(),
            read_only,
        };
        let capabilities = ["DAC_OVERRIDE", "FOWNER"].map(Into::into);
        let helper = ContainerSpec {
            entrypoint: [GUEST_PROGRAM, "empty", GUEST_DIR].map(Into::into).into(),
            user: Some("0".into()),
            working_dir: Some("/".into()),
            mounts: vec![bind(&program, GUEST_PROGRAM, true), bind(directory, GUEST_DIR, false)],
            cap_drop: vec!["ALL".into()],
            cap_add: capabilities.into(),
            no_new_privileges: true,
            ..self.helper(record, "empty")
        };
        let id = self.make_helper(record, engine, &helper).await?;
        let ran = async {
            engine.start_container(&id).await?;
            // What it did is seen on the directory.
            let _ = tokio::time::timeout(LIMIT, engine.wait_container(&id)).await;
            Ok(())
        };
        let ran: podspawn_runtimes::Result<()> = ran.await;
        self.remove_helper(record, engine, &helper, &id).await?;
        Ok(ran?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_podspawn_puts_there_goes_and_what_is_deeper_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (usual, deep) = (dir.path().join("usual"), dir.path().join("deep"));
        std::fs::create_dir_all(usual.join("a/b")).unwrap();
        std::fs::write(usual.join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink("/", usual.join("a/link")).unwrap();
        remove_shallow(&usual, DEEPEST).unwrap();
        assert!(!usual.exists());
        std::fs::create_dir_all(deep.join("a/b/c/d")).unwrap();
        assert_eq!(remove_shallow(&deep, DEEPEST).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    }
}
