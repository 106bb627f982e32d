//! A person at a terminal: types, waits for what must appear, changes the window.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::system;

/// Longest to wait for one expected piece of output.
const LIMIT: Duration = Duration::from_secs(60);

/// A program with a terminal of its own. Dropping it hangs up and kills the program.
pub struct Terminal {
    child: Child,
    pidfd: OwnedFd,
    // None after hang-up.
    master: Option<OwnedFd>,
    text: String,
    output: Vec<u8>,
    // Where the last expectation was met.
    seen: usize,
}

impl Terminal {
    pub(super) fn start(command: Command, text: String, rows: u16, cols: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let path = ptsname(&master, Vec::new()).expect("the terminal's name");
        tcsetwinsize(&master, window(rows, cols)).expect("set the window");
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
            .open(path.to_str().expect("a path"))
            .expect("open the terminal");
        // `setsid -c` makes the terminal the controlling one and then becomes the program.
        let mut outer = Command::new("setsid");
        outer.arg("-c").arg(command.get_program()).args(command.get_args());
        outer.env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                outer.env(name, value);
            }
        }
        if let Some(dir) = command.get_current_dir() {
            outer.current_dir(dir);
        }
        let clone = || slave.try_clone().expect("dup");
        outer.stdin(clone()).stdout(clone()).stderr(clone());
        let child = outer.spawn().unwrap_or_else(|error| panic!("start {text}: {error}"));
        let pidfd = system::pidfd(&child);
        Self { child, pidfd, master: Some(master), text, output: Vec::new(), seen: 0 }
    }

    fn master(&self) -> &OwnedFd {
        self.master.as_ref().expect("the terminal was hung up")
    }

    /// Reads what is there now; false at the end of the output.
    fn read(&mut self) -> bool {
        let mut buffer = [0u8; 16 * 1024];
        match rustix::io::read(self.master(), &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => false,
            Ok(n) => {
                self.output.extend_from_slice(&buffer[..n]);
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            Err(error) => panic!("read a terminal: {error}"),
        }
    }

    /// Types text as it is.
    #[track_caller]
    pub fn send(&mut self, text: &str) -> &mut Self {
        let mut bytes = text.as_bytes();
        while !bytes.is_empty() {
            let n = rustix::io::write(self.master(), bytes).expect("write to a terminal");
            bytes = &bytes[n..];
        }
        self
    }

    /// Types a line and Enter.
    #[track_caller]
    pub fn line(&mut self, text: &str) -> &mut Self {
        self.send(&format!("{text}\r"))
    }

    /// Waits for text after what the last expectation matched; returns what stood between.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) -> String {
        self.expect_within(wanted, LIMIT)
    }

    /// As [`Terminal::expect`] with a limit of its own.
    #[track_caller]
    pub fn expect_within(&mut self, wanted: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = find(&self.output[self.seen..], wanted.as_bytes()) {
                let between = String::from_utf8_lossy(&self.output[self.seen..self.seen + at]).into_owned();
                self.seen += at + wanted.len();
                return between;
            }
            let more = system::readable(&[self.master().as_fd()], deadline) && self.read();
            assert!(more, "{}: {wanted:?} did not appear in\n{}", self.text, self.screen());
        }
    }

    /// Everything that was written so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Changes the window's size.
    pub fn resize(&mut self, rows: u16, cols: u16) -> &mut Self {
        tcsetwinsize(self.master(), window(rows, cols)).expect("set the window");
        self
    }

    /// Sends a signal to the program's process group.
    pub fn signal(&self, signal: Signal) {
        system::signal_group(&self.child, signal);
    }

    /// Closes the terminal as a person does who closes the window.
    pub fn hang_up(&mut self) -> &mut Self {
        self.master = None;
        self
    }

    /// Reads to the end and waits for the program; its status and everything it wrote.
    #[track_caller]
    pub fn wait(mut self) -> (i32, String) {
        let deadline = Instant::now() + LIMIT;
        if self.master.is_some() {
            loop {
                let master = self.master().as_fd();
                assert!(
                    system::readable(&[master], deadline),
                    "{} did not end\n{}",
                    self.text,
                    self.screen()
                );
                if !self.read() {
                    break;
                }
            }
        }
        assert!(system::ends_by(&self.pidfd, deadline), "{} did not end\n{}", self.text, self.screen());
        let status = self.child.wait().expect("wait for a child");
        (system::status_of(status), self.screen())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.master = None;
        system::signal_group(&self.child, Signal::KILL);
        let _ = self.child.wait();
    }
}

fn window(rows: u16, cols: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
