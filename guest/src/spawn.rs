//! Starting processes: one fork, one exec, and a pipe that tells how it went.
//!
//! Nothing here waits: whether the program could be executed is read from the pipe when it is readable. The child goes
//! through its steps in an order that matters: what needs root comes before the change of user, what must be judged with
//! the user's rights (working directory, program) after it.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::pipe::{PipeFlags, pipe_with};

/// The user that a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All groups, `gid` among them.
    pub groups: Vec<u32>,
}

impl Identity {
    /// The container's root.
    pub fn root() -> Self {
        Self { uid: 0, gid: 0, groups: vec![0] }
    }
}

/// A process to start.
#[derive(Debug)]
pub struct Command<'a> {
    /// Paths of the program, tried in order while they do not exist.
    pub programs: Vec<CString>,
    /// Arguments, the name first.
    pub argv: Vec<CString>,
    /// Environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// Working directory; none to stay.
    pub cwd: Option<CString>,
    /// Working directory as a descriptor, which goes before `cwd`.
    pub cwd_fd: Option<BorrowedFd<'a>>,
    /// Who runs it.
    pub identity: Identity,
    /// Standard input, output and error; all else is closed.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Standard input is a terminal to be controlled by; the process leads a session of its own in any case.
    pub terminal: bool,
    /// Commands of the terminal's keeper, where the kernel makes one necessary.
    pub keeper: Option<BorrowedFd<'a>>,
    /// Limit on the user's processes.
    pub nproc: Option<u64>,
    /// Soft limit on open files, to undo the first process's own.
    pub nofile: Option<u64>,
    /// File mode creation mask.
    pub umask: u32,
}

/// A process that was forked.
#[derive(Debug)]
pub struct Child {
    /// Its pid, which is also its session and its group.
    pub pid: i32,
    /// Readable once it is known how the start went: read it with [`outcome`].
    pub report: OwnedFd,
}

/// How a start went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not known yet.
    Pending,
    /// The program runs (or has run).
    Running,
    /// It does not.
    Failed(Step, i32),
}

/// The step at which a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Session, descriptors, limits.
    Prepare = 1,
    /// Becoming the user.
    Identity = 2,
    /// Entering the working directory.
    Directory = 3,
    /// Executing the program.
    Execute = 4,
}

/// Forks. The calling process must have one thread only.
pub fn spawn(command: &Command<'_>) -> std::io::Result<Child> {
    let (report, tell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Everything that allocates happens before the fork.
    let argv = pointers(&command.argv);
    let env = pointers(&command.env);
    let tell = above_stdio(tell)?;
    // SAFETY: the process has one thread, so that the child's memory is consistent; it makes system calls only.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => {
            let (step, errno) = become_program(command, &argv, &env, tell.as_raw_fd());
            let message = [step as u8, errno as u8];
            // SAFETY: the buffer lives, and `_exit` runs no code of the parent's.
            unsafe {
                libc::write(tell.as_raw_fd(), message.as_ptr().cast(), message.len());
                libc::_exit(127)
            }
        }
        pid => Ok(Child { pid, report }),
    }
}

/// Reads how the start went; never blocks.
pub fn outcome(report: &OwnedFd) -> Outcome {
    let mut message = [0u8; 2];
    match rustix::io::read(report, &mut message) {
        Ok(2) => {
            let step = match message[0] {
                1 => Step::Prepare,
                2 => Step::Identity,
                3 => Step::Directory,
                _ => Step::Execute,
            };
            Outcome::Failed(step, i32::from(message[1]))
        }
        Ok(_) => Outcome::Running,
        Err(_) => Outcome::Pending,
    }
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

/// The same descriptor with a number that the standard streams will not overwrite.
fn above_stdio(fd: OwnedFd) -> std::io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?)
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

/// Runs in the child; returns only what failed.
fn become_program(
    command: &Command<'_>,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
    tell: RawFd,
) -> (Step, i32) {
    // SAFETY: system calls with pointers to live, terminated data; no other thread exists in this process.
    unsafe {
        // Signals first: blocked and ignored ones would be inherited through exec.
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        crate::signal::default_all();
        if libc::setsid() < 0 {
            return (Step::Prepare, last_errno());
        }
        if let Err(errno) = place_stdio(command) {
            return (Step::Prepare, errno);
        }
        if command.terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
            return (Step::Prepare, last_errno());
        }
        limit(libc::RLIMIT_NOFILE, command.nofile, false);
        limit(libc::RLIMIT_NPROC, command.nproc, true);
        libc::umask(command.umask);
        if let Err(errno) = become_user(&command.identity) {
            return (Step::Identity, errno);
        }
        // With the user's rights, and still holding the terminal as standard input.
        if let Some(commands) = command.keeper {
            crate::keeper::leave_behind(commands.as_raw_fd(), tell);
        }
        let entered = match (command.cwd_fd, &command.cwd) {
            (Some(fd), _) => libc::fchdir(fd.as_raw_fd()),
            (None, Some(path)) => libc::chdir(path.as_ptr()),
            (None, None) => 0,
        };
        if entered < 0 {
            return (Step::Directory, last_errno());
        }
        close_others_on_exec(tell);
        let mut errno = libc::ENOENT;
        for program in &command.programs {
            libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr());
            match last_errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => errno = libc::EACCES,
                other => return (Step::Execute, other),
            }
        }
        (Step::Execute, errno)
    }
}

/// # Safety
/// Only in the child: it replaces descriptors 0, 1 and 2.
unsafe fn place_stdio(command: &Command<'_>) -> Result<(), i32> {
    let mut high = [0; 3];
    for (to, from) in high.iter_mut().zip(&command.stdio) {
        // First all of them out of the way of 0, 1 and 2, so that none is overwritten before it is placed.
        // SAFETY: plain system call.
        *to = unsafe { libc::fcntl(from.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
        if *to < 0 {
            return Err(last_errno());
        }
    }
    for (number, from) in high.into_iter().enumerate() {
        // SAFETY: plain system call; the copy is not closed on exec.
        if unsafe { libc::dup2(from, number as i32) } < 0 {
            return Err(last_errno());
        }
    }
    Ok(())
}

/// # Safety
/// Only in the child: it changes the limits of the process.
unsafe fn limit(resource: libc::__rlimit_resource_t, value: Option<u64>, hard: bool) {
    let Some(value) = value else { return };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a live local. A limit that cannot be set is none worth failing for.
    unsafe {
        if libc::getrlimit(resource, &mut limit) == 0 {
            limit.rlim_cur = value.min(limit.rlim_max);
            if hard {
                limit.rlim_max = limit.rlim_cur;
            }
            libc::setrlimit(resource, &limit);
        }
    }
}

/// Changes who the process is; the error is an errno.
///
/// # Safety
/// Only in a child that has one thread.
pub(crate) unsafe fn become_user(identity: &Identity) -> Result<(), i32> {
    // SAFETY: raw system calls on the only thread, with a pointer to live data.
    unsafe {
        // Who stays who they are needs no right to change groups.
        let groups = identity.groups.len();
        if libc::syscall(libc::SYS_setgroups, groups, identity.groups.as_ptr()) < 0
            && libc::geteuid() != identity.uid
        {
            return Err(last_errno());
        }
        let (uid, gid) = (identity.uid, identity.gid);
        if libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0
            || libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0
        {
            return Err(last_errno());
        }
        if uid != 0 {
            // Ambient capabilities would survive exec.
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        }
    }
    Ok(())
}

/// # Safety
/// Only in the child: it marks every descriptor from 3 on.
unsafe fn close_others_on_exec(tell: RawFd) {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: plain system calls. Everything that this program opens is marked already; this covers what it inherited.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) == 0 {
            return;
        }
        for fd in 3..4096.max(tell + 1) {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// Closes everything but the standard streams; the first act of the first process.
pub fn close_inherited() {
    // SAFETY: nothing of this program has been opened yet, so that nobody owns what is closed.
    unsafe { close_from(3) }
}

/// Closes every descriptor from `first` on.
///
/// # Safety
/// Only where nobody in this process uses any of them any more.
pub(crate) unsafe fn close_from(first: RawFd) {
    // SAFETY: plain system calls.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) != 0 {
            for fd in first..4096 {
                libc::close(fd);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    fn text(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    /// Runs a command line in a forked child of a forked child: the tests' own process has several threads.
    fn run(programs: &[&str], argv: &[&str], cwd: Option<&str>) -> (Outcome, String) {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let command = Command {
            programs: programs.iter().map(|p| text(p)).collect(),
            argv: argv.iter().map(|a| text(a)).collect(),
            env: vec![text("ONLY=this")],
            cwd: cwd.map(text),
            cwd_fd: None,
            identity: Identity {
                uid: rustix::process::getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
                groups: rustix::process::getgroups().unwrap().iter().map(|g| g.as_raw()).collect(),
            },
            stdio: [null.as_fd(), writer.as_fd(), writer.as_fd()],
            terminal: false,
            keeper: None,
            nproc: None,
            nofile: Some(77),
            umask: 0o027,
        };
        let child = spawn(&command).unwrap();
        drop(writer);
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        let pid = rustix::process::Pid::from_raw(child.pid);
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
        (outcome(&child.report), output)
    }

    #[test]
    fn a_program_gets_what_it_was_given_and_nothing_else() {
        let _inherited = std::fs::File::open("/").unwrap();
        let script = "echo $0 $ONLY $(umask) $(ulimit -n) $PWD; ls /proc/self/fd | wc -l";
        let (outcome, output) = run(&["/no/such", "/bin/sh"], &["name", "-c", script], Some("/usr"));
        assert_eq!(outcome, Outcome::Running);
        // `ls` opens the directory itself: 0, 1, 2 and that one.
        assert_eq!(
            output.split_whitespace().collect::<Vec<_>>(),
            ["name", "this", "0027", "77", "/usr", "4"]
        );
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let (missing, _) = run(&["/no/such", "/none"], &["x"], None);
        assert_eq!(missing, Outcome::Failed(Step::Execute, libc::ENOENT));
        let (denied, _) = run(&["/etc/passwd"], &["x"], None);
        assert_eq!(denied, Outcome::Failed(Step::Execute, libc::EACCES));
        let (nowhere, _) = run(&["/bin/sh"], &["x"], Some("/no/such"));
        assert_eq!(nowhere, Outcome::Failed(Step::Directory, libc::ENOENT));
    }
}
