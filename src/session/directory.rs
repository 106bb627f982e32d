//! Removing a session's directory on this host. Where the guest's socket lies in it, root of the container could write there
//! with root's rights: what it left is not the invoking user's to remove, and goes by root of another container.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use podspawn_runtimes::{ContainerSpec, Engine, EngineError, ExitCode, Mount, Runtime};
use podspawn_wire::{GUEST_DIR, GUEST_PROGRAM};

use super::core::{Core, EngineSource};
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::report::{Report, Step};
use crate::state::SessionRecord;
use crate::system::guest_program::install_guest;

/// How long emptying it may take; a user's lock is held meanwhile.
const LIMIT: Duration = Duration::from_secs(60);

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
        let remove = || match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let fragment = |error: &dyn std::fmt::Display| format!("remove `{directory}`: {error}");
        match remove() {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied && engine.facts().local => {}
            Err(error) => return Err(fragment(&error)),
        }
        let emptied = match self.empty(record, engine, path).await {
            // The next try would find no other image either.
            Err(SessionError::Engine(EngineError::NotFound { .. })) => false,
            other => other.map_err(|error| fragment(&error))?,
        };
        match remove() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied || !emptied => {
                let text = format!(
                    "`{directory}` is left, with files that root of the machine put there: remove it as root"
                );
                tracing::warn!(user = %record.key.user, container = record.container_name, "{text}");
                report.step(Step::Warning(&text));
                Ok(())
            }
            other => other.map_err(|error| fragment(&error)),
        }
    }

    /// Removes what is in it as root of a container; false if that cannot.
    async fn empty(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        directory: &Path,
    ) -> Result<bool, SessionError> {
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
            let ended = tokio::time::timeout(LIMIT, engine.wait_container(&id)).await;
            Ok(matches!(ended, Ok(Ok(ExitCode(0)))))
        };
        let ran: podspawn_runtimes::Result<bool> = ran.await;
        self.remove_helper(record, engine, &helper, &id).await?;
        Ok(ran?)
    }
}
