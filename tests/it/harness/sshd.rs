//! An sshd of a test's own on a free port of the loopback, and what it says.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::system::{self, children};

/// Lines that come while a test runs.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    /// Adds a line.
    pub fn push(&self, line: String) {
        let (list, more) = &*self.0;
        list.lock().expect("the lines").push(line);
        more.notify_all();
    }

    /// Waits until a line that contains this has come; returns it.
    #[track_caller]
    pub fn wait(&self, part: &str, limit: Duration) -> String {
        let (lines, more) = &*self.0;
        let find = |lines: &[String]| lines.iter().find(|line| line.contains(part)).cloned();
        let lines = lines.lock().expect("the lines");
        let (lines, _) =
            more.wait_timeout_while(lines, limit, |lines| find(lines).is_none()).expect("the lines");
        let (found, text) = (find(&lines), lines.join("\n"));
        // Others look at them after a failure.
        drop(lines);
        found.unwrap_or_else(|| panic!("{part:?} is not among these lines:\n{text}"))
    }

    /// Waits until this holds for what has come, or for that long; returns what has come.
    pub fn until(&self, limit: Duration, holds: impl Fn(&str) -> bool) -> String {
        let (lines, more) = &*self.0;
        let lines = lines.lock().expect("the lines");
        let (lines, _) =
            more.wait_timeout_while(lines, limit, |lines| !holds(&lines.join("\n"))).expect("the lines");
        lines.join("\n")
    }

    /// All that have come.
    pub fn text(&self) -> String {
        self.0.0.lock().expect("the lines").join("\n")
    }

    /// Collects what is read, in a thread of its own.
    fn follow(&self, lines: impl Iterator<Item = std::io::Result<String>> + Send + 'static) {
        let into = self.clone();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| into.push(line)));
    }

    /// Collects what a child writes to standard error.
    pub fn of(child: &mut Child) -> Self {
        let lines = Self::default();
        lines.follow(BufReader::new(child.stderr.take().expect("a pipe")).lines());
        lines
    }
}

/// A running sshd. Dropping it ends it and every connection.
pub struct Sshd {
    /// Where it listens on `127.0.0.1`.
    pub port: u16,
    /// What it and its connections write.
    pub log: Lines,
    child: Child,
}

impl Sshd {
    /// The program under a name of the test's own below `dir`: that is the name of its PAM service.
    pub fn program(dir: &Path, service: &str) -> PathBuf {
        std::fs::create_dir_all("/run/sshd").expect("sshd's directory");
        let program = dir.join(service);
        symlink("/usr/sbin/sshd", &program).expect("link");
        program
    }

    /// Starts what `command` makes for a port. It has to stay in the foreground (`-D`) and write to standard error (`-e`).
    pub fn start(command: impl Fn(u16) -> Command) -> Self {
        let seed = u16::from_str_radix(&system::random_hex()[..4], 16).expect("hex");
        // Another program may take a port between any look at it and its use, so it is sshd that tries.
        for attempt in 0..20u16 {
            let port = 20_001 + (seed.wrapping_add(attempt * 997)) % 11_000;
            let mut child = command(port)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("start sshd");
            let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
            let log = Lines::default();
            let listens = lines.by_ref().map_while(Result::ok).any(|line| {
                log.push(line.clone());
                line.starts_with("Server listening")
            });
            if listens {
                log.follow(lines);
                return Self { port, log, child };
            }
            let status = child.wait().expect("wait for sshd");
            assert!(log.text().contains("already in use"), "{status}: {}", log.text());
        }
        panic!("no free port for sshd");
    }

    /// Lets it read its configuration again; returns once it listens again.
    pub fn reload(&self) {
        let times = |log: &str| log.matches("Server listening").count();
        let before = times(&self.log.text());
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("signal sshd");
        let log = self.log.until(Duration::from_secs(30), |log| times(log) > before);
        assert!(times(&log) > before, "sshd does not listen again:\n{log}");
    }

    /// The processes of sshd that serve connections, the privileged ones first.
    pub fn serving(&self) -> Vec<i32> {
        let privileged = children(self.child.id() as i32);
        let others: Vec<i32> = privileged.iter().flat_map(|pid| children(*pid)).collect();
        [privileged, others].concat()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // The daemon first, so that no connection is begun any more.
        let mut pids = vec![self.child.id() as i32];
        pids.extend(self.serving());
        for pid in pids {
            let _ = kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
