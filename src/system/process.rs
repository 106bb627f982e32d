//! Processes of this host, named so that a pid that was given to another process meanwhile is never mistaken for the first.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, pidfd_open, pidfd_send_signal, setrlimit,
};
use thiserror::Error;

/// Why a process could not be pinned.
#[derive(Debug, Error)]
pub enum PinError {
    /// No process has that pid.
    #[error("no process has pid {0}")]
    Gone(i32),
    /// The pid belongs to another process than the one that was recorded.
    #[error("pid {0} belongs to another process now")]
    Replaced(i32),
    /// The machine was started again since.
    #[error("the host was started again since")]
    Rebooted,
    /// The system refused.
    #[error("look at process {pid}: {source}")]
    Io {
        /// The pid.
        pid: i32,
        /// The system's error.
        source: io::Error,
    },
}

/// A process held by a descriptor: while [`Pinned::is_alive`] says so, its pid means this process and no other.
#[derive(Debug)]
pub struct Pinned {
    pid: i32,
    pidfd: OwnedFd,
}

impl Pinned {
    /// Pins whatever process has this pid now.
    pub fn any(pid: i32) -> Result<Self, PinError> {
        let raw = (pid > 0).then(|| Pid::from_raw(pid)).flatten().ok_or(PinError::Gone(pid))?;
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(rustix::io::Errno::SRCH) => Err(PinError::Gone(pid)),
            Err(errno) => Err(PinError::Io { pid, source: errno.into() }),
        }
    }

    /// Pins the process that was recorded with this start time (clock ticks since boot) under this boot id.
    pub fn recorded(pid: i32, start: u64, boot: &str) -> Result<Self, PinError> {
        if boot_id().map_err(|source| PinError::Io { pid, source })? != boot {
            return Err(PinError::Rebooted);
        }
        // The descriptor first: the start time read after it belongs to the process it holds, if that still lives then.
        let pinned = Self::any(pid)?;
        let now =
            start_time(pid).map_err(|source| PinError::Io { pid, source })?.ok_or(PinError::Gone(pid))?;
        if now != start {
            return Err(PinError::Replaced(pid));
        }
        if !pinned.is_alive() {
            return Err(PinError::Gone(pid));
        }
        Ok(pinned)
    }

    /// The pid.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether the process has not ended yet.
    pub fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }
}

impl Pinned {
    /// Sends SIGHUP, by which many services read their configuration anew.
    pub fn hang_up(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::HUP)?)
    }

    /// Asks it to end.
    pub fn terminate(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::TERM)?)
    }

    /// Ends it.
    pub fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::KILL)?)
    }

    /// Waits at most that long for its end; true once it has ended.
    pub fn ends_within(&self, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).ok();
        loop {
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], limit.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                ready => return ready != Ok(0),
            }
        }
    }
}

/// Runs a program to its end, which has to come in time: past the limit it is killed, and the error is
/// [`io::ErrorKind::TimedOut`].
pub fn output_within(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let ended = i32::try_from(child.id()).map_err(io::Error::other).and_then(|pid| {
        // Not waited for yet, so that the pid is still this child's.
        Ok(Pinned::any(pid).map_err(io::Error::other)?.ends_within(limit))
    });
    if !matches!(ended, Ok(true)) {
        child.kill()?;
        child.wait()?;
        ended?;
        return Err(io::ErrorKind::TimedOut.into());
    }
    let status = child.wait()?;
    Ok(Output {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

fn collect(from: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What was read before an error is all that there is.
            let _ = from.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Makes a program that is about to be started end when the thread that starts it does, and puts it in a process group of
/// its own: Ctrl-C on a terminal is this process's business.
pub fn tied(command: &mut Command) -> &mut Command {
    let starter = own_pid();
    command.process_group(0);
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The starter may have died before the call.
            if libc::getppid() != starter { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        })
    }
}

/// Lets this process have as many descriptors as the system allows it. What it starts inherits that.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Not allowed only where there is nothing to be gained.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// How long processes are given to end by themselves, and after that to be ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends every process of a uid: first asked to, then killed. Fails if one is still there after several rounds, which a
/// process that starts others faster than they are killed can bring about.
pub fn end_all_of(uid: u32) -> io::Result<()> {
    if uid == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for round in 0..10 {
        let found = all_of(uid)?;
        if found.is_empty() {
            return Ok(());
        }
        let signal = if round == 0 { Signal::TERM } else { Signal::KILL };
        for process in &found {
            match pidfd_send_signal(&process.pidfd, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let deadline = std::time::Instant::now() + PATIENCE;
        for process in &found {
            process.ends_within(deadline.saturating_duration_since(std::time::Instant::now()));
        }
    }
    let left = all_of(uid)?;
    match left.first() {
        None => Ok(()),
        Some(process) => Err(io::Error::other(format!("process {} does not end", process.pid))),
    }
}

/// The processes that have a uid as one of theirs.
fn all_of(uid: u32) -> io::Result<Vec<Pinned>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // The descriptor first: what is read after it is about the process that it holds, if that still lives then. One that
        // has ended meanwhile cannot be read, or cannot be pinned.
        let Ok(pinned) = Pinned::any(pid) else { continue };
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        if has_uid(&status, uid) && pinned.is_alive() {
            found.push(pinned);
        }
    }
    Ok(found)
}

/// Whether a process is about to have, has, or had that uid: `Uid:` names the real, effective, saved and file system's.
fn has_uid(status: &str, uid: u32) -> bool {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.is_some_and(|uids| uids.split_ascii_whitespace().any(|text| text.parse() == Ok(uid)))
}

impl From<Pinned> for OwnedFd {
    fn from(pinned: Pinned) -> Self {
        pinned.pidfd
    }
}

impl AsFd for Pinned {
    /// Becomes readable when the process ends.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The id that the kernel gave this boot. Asked once: no process outlives a boot.
pub fn boot_id() -> io::Result<String> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id.clone());
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    Ok(ID.get_or_init(|| id).clone())
}

/// When a process started, in clock ticks since boot. None if there is no such process or only its zombie.
pub fn start_time(pid: i32) -> io::Result<Option<u64>> {
    // Bytes: a program's name need not be text.
    match read_stat(pid) {
        Ok(bytes) => parse_stat(&String::from_utf8_lossy(&bytes))
            .map(|(state, start)| (!matches!(state, 'Z' | 'X' | 'x')).then_some(start))
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as expected"))
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // The process ended between open and read.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `/proc/<pid>/stat`, which the kernel gives in one piece: three system calls, however many processes are looked at.
fn read_stat(pid: i32) -> io::Result<Vec<u8>> {
    /// Far longer than 52 numbers and the longest name are.
    const MOST: usize = 2048;
    let mut file = fs::File::open(format!("/proc/{pid}/stat"))?;
    let mut bytes = vec![0; MOST];
    let length = file.read(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// The process that started another one, or took it over. None if there is no such process.
pub fn parent(pid: i32) -> Option<i32> {
    let bytes = read_stat(pid).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // After the name come the state and the parent.
    text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The process that started this one; none if it is gone.
pub fn starter() -> Option<i32> {
    rustix::process::getppid().map(|pid| pid.as_raw_pid())
}

/// The pid of this process.
pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// State and start time. The program's name, in parentheses, may hold anything, parentheses and blanks included.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3; the start time is field 22.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1000 2 3";
        assert_eq!(parse_stat(text), Some(('S', 4242)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn this_process_has_a_start_time_and_an_ended_one_has_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).unwrap().is_some());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        assert_eq!(start_time(pid).unwrap(), None);
    }

    #[test]
    fn a_program_that_does_not_end_in_time_is_killed() {
        let output =
            output_within(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), PATIENCE)
                .unwrap();
        assert_eq!(
            (output.status.code(), &output.stdout[..], &output.stderr[..]),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        let hanging = output_within(Command::new("sleep").arg("1000"), Duration::from_millis(50));
        assert_eq!(hanging.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_boot_has_an_id() {
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[test]
    fn every_process_of_a_uid_is_ended_and_no_other() {
        assert!(end_all_of(0).is_err());
        assert!(has_uid("Name:\tx\nUid:\t0\t7\t0\t0\n", 7));
        assert!(!has_uid("Name:\tx\nUid:\t70\t0\t0\t0\nGid:\t7\t7\t7\t7\n", 7));
        let uid = 3_000_000_000 + std::process::id();
        let sleeper = || std::process::Command::new("sleep").arg("60").uid(uid).spawn().unwrap();
        // One that does not listen when it is asked to end.
        let mut deaf = std::process::Command::new("sh")
            .args(["-c", "trap '' TERM; echo; while :; do read x; done"])
            .uid(uid)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let input = deaf.stdin.take();
        let mut ready = [0];
        io::Read::read_exact(deaf.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let mut ended = [sleeper(), sleeper()];
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        end_all_of(uid).unwrap();
        for child in ended.iter_mut().chain([&mut deaf]) {
            assert!(child.try_wait().unwrap().is_some());
        }
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        end_all_of(uid).unwrap();
        drop(input);
    }

    #[test]
    fn only_the_recorded_process_is_pinned() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let (start, boot) = (start_time(pid).unwrap().unwrap(), boot_id().unwrap());
        let pinned = Pinned::recorded(pid, start, &boot).unwrap();
        assert!(pinned.is_alive());
        assert!(matches!(Pinned::recorded(pid, start + 1, &boot), Err(PinError::Replaced(_))));
        assert!(matches!(Pinned::recorded(pid, start, "another"), Err(PinError::Rebooted)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!pinned.is_alive());
        assert!(matches!(Pinned::recorded(pid, start, &boot), Err(PinError::Gone(_))));
        assert!(matches!(Pinned::any(-1), Err(PinError::Gone(_))));
        assert!(matches!(Pinned::any(0), Err(PinError::Gone(_))));
    }
}
