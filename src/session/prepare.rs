//! What a container needs of this host before it is made: the guest's program, account files, directories, a filter.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use podspawn_runtimes::{ContainerSpec, Engine, EngineKind, Facts, Labels, Mount, Runtime, Seccomp};
use podspawn_wire::GUEST_PROGRAM;

use super::account_files;
use super::container_spec::{AccountFiles, GuestSource, Prepared, session_directory, user};
use super::core::{Core, EngineSource, label};
use super::error::SessionError;
use super::guest_port::GuestPort;
use crate::spec::{STRICT_SECCOMP, SeccompChoice, SessionSpec};
use crate::state::{Object, ObjectKind, SessionRecord};
use crate::system::guest_program::{guest_hash, guest_program, install_guest};

/// Longest seccomp profile that is read, in bytes.
const SECCOMP_MAX: u64 = 1024 * 1024;

/// How the names of volumes begin that hold the guest's program.
pub(super) const GUEST_VOLUME_PREFIX: &str = "podspawn-guest-";

/// How many digits of the program's hash follow.
pub(super) const GUEST_HASH_LENGTH: usize = 16;

/// The volume that holds this version of the guest's program.
pub(super) fn guest_volume_name() -> String {
    format!("{GUEST_VOLUME_PREFIX}{}", &guest_hash()[..GUEST_HASH_LENGTH])
}

/// Whether the guest's socket has to lie in a directory of this host: a user who is not root cannot look into the
/// containers of an engine that is.
pub(super) fn needs_socket_directory(facts: &Facts, uid: u32) -> bool {
    facts.local && facts.kind != EngineKind::Gvisor && !facts.rootless && uid != 0
}

/// Where the guest's socket lies in a session's directory.
pub(super) fn socket_directory(session: &Path) -> PathBuf {
    session.join("socket")
}

/// The text of the filter.
pub(super) fn seccomp(choice: &SeccompChoice) -> Result<Seccomp, SessionError> {
    match choice {
        SeccompChoice::Default => Ok(Seccomp::Default),
        SeccompChoice::Strict => Ok(Seccomp::Profile(STRICT_SECCOMP.into())),
        SeccompChoice::File(path) => read_profile(path)
            .map(Seccomp::Profile)
            .map_err(|source| SessionError::Prepare { path: path.clone(), source }),
    }
}

fn read_profile(path: &Path) -> io::Result<String> {
    // Non-blocking: a named pipe in its place must not hold anybody up.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    file.take(SECCOMP_MAX).read_to_string(&mut text)?;
    Ok(text)
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Prepares everything that a container needs besides its network.
    pub(super) async fn prepare_files(
        &self,
        record: &SessionRecord,
        spec: &SessionSpec,
        engine: &Runtime,
        seccomp: Seccomp,
    ) -> Result<Prepared, SessionError> {
        let facts = engine.facts();
        let socket = match &record.socket_dir {
            Some(path) => {
                make_directory(Path::new(path), 0o700)?;
                Some((PathBuf::from(path), self.uid))
            }
            None => None,
        };
        if let Some(home) = &spec.persistent_home {
            make_home(home, self.uid, facts, spec)?;
        }
        let guest = if facts.local {
            let file = install_guest(&self.dirs.guest)
                .map_err(|source| SessionError::Prepare { path: self.dirs.guest.clone(), source })?;
            GuestSource::File(file)
        } else {
            GuestSource::Volume(self.guest_volume(record, engine).await?)
        };
        let accounts = match spec.security.readonly_rootfs {
            true => Some(self.accounts(record, spec, engine).await?),
            false => None,
        };
        Ok(Prepared {
            guest,
            accounts,
            socket,
            seccomp,
            network: String::new(),
            address: None,
            hosts: Vec::new(),
        })
    }

    /// Prepared account files for a read-only root.
    async fn accounts(
        &self,
        record: &SessionRecord,
        spec: &SessionSpec,
        engine: &Runtime,
    ) -> Result<AccountFiles, SessionError> {
        if !engine.facts().local {
            let reason = "a read-only root needs files of this host, and the engine runs on another one";
            return Err(SessionError::Impossible(reason.into()));
        }
        let directory = session_directory(&self.dirs.sessions, &record.id);
        // A rootless engine may belong to another account; there is nothing secret in these files.
        make_directory(&directory, 0o711)?;
        let helper = self.helper(record, "accounts");
        let id = self.make_helper(record, engine, &helper).await?;
        let files = account_files::prepare(engine, &id, &user(spec), &directory).await;
        self.remove_helper(record, engine, &helper, &id).await?;
        files
    }

    /// The volume that holds the guest's program in an engine that cannot mount a file of this host. It is filled once for
    /// each version of the program, through a container that is never started.
    async fn guest_volume(&self, record: &SessionRecord, engine: &Runtime) -> Result<String, SessionError> {
        let volume = guest_volume_name();
        // Whether it was filled to the end only the store can tell.
        let note = format!("guest volume in {}", record.engine);
        let there = engine.volumes(&self.installation()).await?.iter().any(|found| found.name == volume);
        if there && self.store.note(&note)?.as_deref() == Some(volume.as_str()) {
            return Ok(volume);
        }
        let labels = Labels::from([
            (label::MANAGED_BY.into(), label::PODSPAWN.into()),
            (label::INSTALLATION.into(), self.store.installation().into()),
        ]);
        engine.create_volume(&volume, &labels).await?;
        let (directory, name) = GUEST_PROGRAM.rsplit_once('/').unwrap_or(("/", GUEST_PROGRAM));
        let helper = ContainerSpec {
            mounts: vec![Mount::Volume { name: volume.clone(), target: directory.into(), read_only: false }],
            ..self.helper(record, "guest")
        };
        let archive = archive(name, guest_program(), 0o755)
            .map_err(|source| SessionError::Prepare { path: GUEST_PROGRAM.into(), source })?;
        let id = self.make_helper(record, engine, &helper).await?;
        let copied = engine.copy_in(&id, directory, archive.into()).await;
        self.remove_helper(record, engine, &helper, &id).await?;
        copied?;
        self.store.set_note(&note, &volume)?;
        Ok(volume)
    }

    /// A container that is never started: through it files of the image are read, or a volume is filled.
    pub(super) fn helper(&self, record: &SessionRecord, purpose: &str) -> ContainerSpec {
        ContainerSpec {
            // No service is called so: their names begin with a letter.
            name: format!("{}..{purpose}", record.container_name),
            image: record.image.clone(),
            entrypoint: vec![GUEST_PROGRAM.into()],
            labels: self.labels(record),
            ..ContainerSpec::default()
        }
    }

    pub(super) async fn make_helper(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        helper: &ContainerSpec,
    ) -> Result<String, SessionError> {
        let object = Object { kind: ObjectKind::Container, name: helper.name.clone(), id: None };
        self.store.add_object(&record.id, &object)?;
        self.make_container(record, engine, helper).await
    }

    pub(super) async fn remove_helper(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        helper: &ContainerSpec,
        id: &str,
    ) -> Result<(), SessionError> {
        engine.remove_container(id).await?;
        self.store.remove_object(&record.id, ObjectKind::Container, &helper.name)?;
        Ok(())
    }
}

/// A tar archive with one file of root's.
fn archive(name: &str, content: &[u8], mode: u32) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_entry_type(tar::EntryType::Regular);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content)?;
    archive.into_inner()
}

fn make_directory(path: &Path, mode: u32) -> Result<(), SessionError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| SessionError::Prepare { path: path.into(), source })
}

/// Makes a home that outlives its containers and gives it to the account inside.
fn make_home(home: &Path, uid: u32, facts: &Facts, spec: &SessionSpec) -> Result<(), SessionError> {
    make_directory(home, 0o700)?;
    // A rootless engine's ids mean other ids on this host: there the guest, root inside, gives the home away.
    if uid == 0 && !facts.rootless {
        let (owner, group) = (Some(spec.account.uid), Some(spec.account.gid));
        std::os::unix::fs::chown(home, owner, group)
            .map_err(|source| SessionError::Prepare { path: home.into(), source })?;
    }
    Ok(())
}
