//! One command line, its time limit and its result.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::system;
use super::terminal::Terminal;

/// Longest that a command may take where the story says nothing else.
const LIMIT: Duration = Duration::from_secs(120);

/// A command that has not been started.
pub struct Invocation {
    command: Command,
    input: Vec<u8>,
    limit: Duration,
}

impl Invocation {
    pub(super) fn new(command: Command) -> Self {
        Self { command, input: Vec::new(), limit: LIMIT }
    }

    /// Bytes for standard input, which ends after them. Empty unless set.
    pub fn stdin(mut self, input: impl AsRef<[u8]>) -> Self {
        self.input = input.as_ref().to_vec();
        self
    }

    /// In that directory.
    pub fn at(mut self, directory: &std::path::Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// A variable for this command only.
    pub fn var(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Longest that it may take; past it the test fails.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command as a person would type it.
    pub fn text(&self) -> String {
        let mut words = vec![self.command.get_program().to_string_lossy().into_owned()];
        words.extend(self.command.get_args().map(|a| a.to_string_lossy().into_owned()));
        words.join(" ")
    }

    /// Runs it to its end.
    pub fn run(self) -> Run {
        let limit = self.limit;
        self.start().wait(limit)
    }

    /// Starts it with pipes as its streams, in a process group of its own.
    pub fn start(mut self) -> Running {
        let text = self.text();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let started = Instant::now();
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("start {text}: {error}"));
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = std::mem::take(&mut self.input);
        std::thread::spawn(move || {
            // The command may end without reading everything.
            let _ = stdin.write_all(&input);
        });
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        Running { child, text, started, stdout, stderr }
    }

    /// Starts it with a terminal as its three streams and as its controlling terminal.
    pub fn terminal(self, rows: u16, cols: u16) -> Terminal {
        let text = self.text();
        Terminal::start(self.command, text, rows, cols)
    }
}

fn collect(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what the story may look at.
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// A command that runs. Dropping it kills it.
pub struct Running {
    child: Child,
    text: String,
    started: Instant,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
}

impl Running {
    /// Sends a signal to its process group, as Ctrl-C on a terminal does.
    pub fn signal(&self, signal: Signal) {
        system::signal_group(&self.child, signal);
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_some()
    }

    /// Waits for its end and for the end of its output.
    pub fn wait(mut self, limit: Duration) -> Run {
        let deadline = self.started + limit;
        let in_time = system::ends_by(&system::pidfd(&self.child), deadline);
        if !in_time {
            system::signal_group(&self.child, Signal::KILL);
        }
        let status = self.child.wait().expect("wait for a child");
        // A background process may hold the pipes: what was written is then lost, and the test says so.
        let text = |from: &mpsc::Receiver<Vec<u8>>| from.recv_timeout(Duration::from_secs(5));
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        let show = |bytes: &Result<Vec<u8>, _>| match bytes {
            Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => "(still open)".to_owned(),
        };
        assert!(in_time, "{} took longer than {limit:?}\n{}\n{}", self.text, show(&stdout), show(&stderr));
        Run {
            command: std::mem::take(&mut self.text),
            status: system::status_of(status),
            stdout: stdout.expect("the end of standard output"),
            stderr: String::from_utf8_lossy(&stderr.expect("the end of standard error")).into_owned(),
            took: self.started.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        system::signal_group(&self.child, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// How a command went.
#[derive(Debug)]
#[must_use]
pub struct Run {
    /// What was run.
    pub command: String,
    /// Exit status as a shell shows it.
    pub status: i32,
    /// Standard output, as bytes.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Run {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The result, if the command succeeded; else the test fails and shows everything.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.status(0)
    }

    /// The result, if the command ended with this status; else the test fails and shows everything.
    #[track_caller]
    pub fn status(self, expected: i32) -> Self {
        assert_eq!(
            self.status,
            expected,
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.out(),
            self.stderr
        );
        self
    }
}
