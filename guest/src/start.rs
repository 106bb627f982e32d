//! From a request to a process: what is executed, as whom, where, with which environment.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use podspawn_wire::{Failure, FailureKind, GUEST_PROGRAM, InitConfig, Program, RunAs, Start, Streams, User};
use rustix::fs::{FileType, fstat, fstatfs};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use crate::environment::{Environment, prompt};
use crate::spawn::{Command, Identity, Step};
use crate::x11::Authority;
use crate::{accounts, files, terminfo};

/// Where images keep an SFTP server.
const SFTP_SERVERS: [&str; 5] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/sftp-server",
];

/// `PIPEFS_MAGIC`: the file system of anonymous pipes.
const PIPEFS: u64 = 0x5049_5045;

/// What every process of this container begins with.
#[derive(Debug)]
pub(crate) struct Base {
    /// What the first process was told.
    pub(crate) config: InitConfig,
    /// The user, with the shell in force.
    pub(crate) user: User,
    /// The image's environment.
    pub(crate) image: Environment,
    /// Soft limit on open files before the first process raised its own.
    pub(crate) nofile: Option<u64>,
    /// Terminals need help of their own here.
    pub(crate) keepers: bool,
}

/// A failure of the request itself.
pub(crate) fn failure(kind: FailureKind, text: impl Into<String>) -> Failure {
    Failure { kind, text: text.into() }
}

/// Refuses descriptors that have no business in a container: whatever could be opened again with more rights than were
/// given, or moved to another peer.
pub(crate) fn check_descriptors(descriptors: &[OwnedFd]) -> Result<(), Failure> {
    for descriptor in descriptors {
        if !is_pipe(descriptor) && !is_unix_stream(descriptor) {
            return Err(failure(
                FailureKind::Request,
                "a descriptor is neither a pipe nor a unix stream socket",
            ));
        }
    }
    Ok(())
}

fn is_pipe(fd: &OwnedFd) -> bool {
    let fifo = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    fifo && fstatfs(fd).is_ok_and(|fs| fs.f_type as u64 == PIPEFS)
}

pub(crate) fn is_unix_stream(fd: &OwnedFd) -> bool {
    socket_domain(fd).is_ok_and(|domain| domain == AddressFamily::UNIX)
        && socket_type(fd).is_ok_and(|kind| matches!(kind, SocketType::STREAM | SocketType::SEQPACKET))
}

/// Who runs it.
pub(crate) fn identity(base: &Base, run_as: RunAs) -> Identity {
    match run_as {
        RunAs::Root => Identity::root(),
        RunAs::User => {
            // Read each time: the user may have been added to groups meanwhile.
            let group = files::read(Path::new("/etc/group")).ok().flatten().unwrap_or_default();
            let User { name, uid, gid, .. } = &base.user;
            Identity { uid: *uid, gid: *gid, groups: accounts::groups_of(&group, name, *gid) }
        }
    }
}

/// Group of terminals: `tty` where the image has it, so that `write` and `wall` work.
pub(crate) fn terminal_group(identity: &Identity) -> u32 {
    let group = files::read(Path::new("/etc/group")).ok().flatten().unwrap_or_default();
    accounts::group_id(&group, "tty").unwrap_or(identity.gid)
}

/// The process that a request asks for.
pub(crate) fn command<'a>(
    base: &Base,
    start: &Start,
    identity: Identity,
    agent: Option<PathBuf>,
    x11: Option<&Authority>,
    stdio: [BorrowedFd<'a>; 3],
) -> Result<Command<'a>, Failure> {
    let (home, shell, name) = match start.run_as {
        RunAs::User => (base.user.home.clone(), base.user.shell.clone(), base.user.name.clone()),
        RunAs::Root => root_account(base),
    };
    let mut env = base.image.clone();
    for (variable, value) in [("HOME", &home), ("USER", &name), ("LOGNAME", &name), ("SHELL", &shell)] {
        env.set(variable, value);
    }
    if !env.set_all(&base.config.env) || !env.set_all(&start.env) {
        return Err(failure(FailureKind::Request, "a name or value cannot stand in an environment"));
    }
    if let Streams::Terminal { term, .. } = &start.streams {
        env.set("TERM", &terminfo::term(term, Path::new(&home)));
        if matches!(start.program, Program::Shell { .. }) && env.get("PS1").is_none() {
            set_prompt(&mut env, &shell, &name, start.run_as == RunAs::Root);
        }
    }
    match agent {
        Some(path) => env.set("SSH_AUTH_SOCK", &path.to_string_lossy()),
        None => env.unset("SSH_AUTH_SOCK"),
    }
    if let Some(authority) = x11 {
        env.set("DISPLAY", authority.display());
        env.set("XAUTHORITY", &authority.path().to_string_lossy());
    }
    let (programs, argv) = program(&start.program, &shell, env.get("PATH").unwrap_or_default())?;
    let cwd = match &start.cwd {
        Some(path) => path.as_str(),
        None if Path::new(&home).is_dir() => &home,
        None => "/",
    };
    Ok(Command {
        programs,
        argv,
        env: env.to_strings(),
        cwd: Some(text(cwd)?),
        cwd_fd: None,
        nproc: base.config.nproc_limit,
        identity,
        stdio,
        terminal: matches!(start.streams, Streams::Terminal { .. }),
        keeper: None,
        nofile: base.nofile,
        umask: 0o022,
    })
}

fn root_account(base: &Base) -> (String, String, String) {
    let passwd = files::read(Path::new("/etc/passwd")).ok().flatten().unwrap_or_default();
    match accounts::by_uid(&passwd, 0) {
        Some(root) => {
            let usable = files::is_program(Path::new(&root.shell));
            (root.home, if usable { root.shell } else { base.user.shell.clone() }, root.name)
        }
        None => ("/root".into(), base.user.shell.clone(), "root".into()),
    }
}

fn set_prompt(env: &mut Environment, shell: &str, user: &str, root: bool) {
    // `/bin/sh` is a link in nearly every image: what it leads to decides how a prompt is written.
    let program = std::fs::canonicalize(shell).unwrap_or_else(|_| shell.into());
    let program = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let host = host.split('.').next().unwrap_or_default();
    if let Some(prompt) = prompt(program, user, host, root) {
        env.set("PS1", &prompt);
    }
}

type Executable = (Vec<CString>, Vec<CString>);

fn program(program: &Program, shell: &str, path: &str) -> Result<Executable, Failure> {
    match program {
        Program::Shell { login } => {
            let name = shell.rsplit('/').next().unwrap_or(shell);
            let zero = if *login { format!("-{name}") } else { name.to_owned() };
            Ok((vec![text(shell)?, c"/bin/sh".to_owned()], vec![text(&zero)?]))
        }
        Program::CommandLine(line) => Ok((
            vec![c"/bin/sh".to_owned(), text(shell)?],
            vec![c"sh".to_owned(), c"-c".to_owned(), text(line)?],
        )),
        Program::Argv(argv) => {
            let Some(name) = argv.first().filter(|name| !name.is_empty()) else {
                return Err(failure(FailureKind::Request, "no program was named"));
            };
            let programs = if name.contains('/') {
                vec![text(name)?]
            } else {
                let paths = path.split(':').map(|dir| if dir.is_empty() { "." } else { dir });
                paths.map(|dir| text(&format!("{dir}/{name}"))).collect::<Result<_, _>>()?
            };
            Ok((programs, argv.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?))
        }
        Program::Sftp => match SFTP_SERVERS.into_iter().find(|server| files::is_program(Path::new(server))) {
            Some(server) => Ok((vec![text(server)?], vec![c"sftp-server".to_owned()])),
            None => Ok((vec![text(GUEST_PROGRAM)?], vec![c"sftp-server".to_owned()])),
        },
    }
}

fn text(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| failure(FailureKind::Request, "a zero byte cannot stand in an argument"))
}

/// A start that went wrong, in words.
pub(crate) fn failed(start: &Start, step: Step, errno: i32) -> Failure {
    let reason = std::io::Error::from_raw_os_error(errno);
    let name = match &start.program {
        Program::Argv(argv) => argv.first().cloned().unwrap_or_default(),
        Program::Shell { .. } | Program::CommandLine(_) => "the shell".into(),
        Program::Sftp => "the SFTP server".into(),
    };
    match (step, errno) {
        (_, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
            failure(FailureKind::Resources, format!("no further process could be had: {reason}"))
        }
        (Step::Execute, libc::ENOENT) => failure(FailureKind::NotFound, format!("{name}: not found")),
        (Step::Execute, _) => failure(FailureKind::NotExecutable, format!("{name}: {reason}")),
        (Step::Directory, _) => {
            let directory = start.cwd.as_deref().unwrap_or("the home");
            failure(FailureKind::WorkingDirectory, format!("{directory}: {reason}"))
        }
        (Step::Identity | Step::Prepare, _) => {
            failure(FailureKind::Resources, format!("the process could not be set up: {reason}"))
        }
    }
}

/// The standard streams of a process without a terminal.
pub(crate) fn three(descriptors: &[OwnedFd]) -> Option<[BorrowedFd<'_>; 3]> {
    match descriptors {
        [stdin, stdout, stderr] => Some([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]),
        _ => None,
    }
}
