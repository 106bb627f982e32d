//! A program at a terminal, up to its first prompt.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::Result;
use crate::engines::Place;

const LIMIT: Duration = Duration::from_secs(60);

/// Starts a program with a terminal of its own; seconds until a prompt (`$ ` or `# `) stands at the end of its output.
/// Then ends the shell and waits for the program, which is not counted.
pub(crate) fn seconds_to_prompt(place: &Place, program: &Command) -> Result<f64> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let window = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, window)?;
    let path = ptsname(&master, Vec::new())?;
    let slave = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(path.to_str()?)?;
    let mut command = at_controlling_terminal(program);
    // a command does not tell whose it was to be
    place.as_account(&mut command);
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let start = Instant::now();
    let mut child = command.spawn()?;
    drop(command);
    let mut master = File::from(master);
    let mut output = Vec::new();
    while !at_prompt(&output) {
        if !read_some(&mut master, &mut output, start + LIMIT)? {
            let said = String::from_utf8_lossy(&output).into_owned();
            return Err(format!("{program:?}: no prompt, only: {said}").into());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    master.write_all(b"exit\r")?;
    while read_some(&mut master, &mut output, Instant::now() + LIMIT)? {}
    let status = child.wait()?;
    if !status.success() {
        let said = String::from_utf8_lossy(&output).into_owned();
        return Err(format!("{program:?}: {status}: {said}").into());
    }
    Ok(seconds)
}

/// The same program behind `setsid -c`, which makes the terminal the controlling one.
fn at_controlling_terminal(program: &Command) -> Command {
    let mut command = Command::new("setsid");
    command.arg("-c").arg(program.get_program()).args(program.get_args());
    command.env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = program.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

fn at_prompt(output: &[u8]) -> bool {
    output.ends_with(b"$ ") || output.ends_with(b"# ")
}

/// False at the end of the output.
fn read_some(master: &mut File, output: &mut Vec<u8>, deadline: Instant) -> Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    if poll(&mut [PollFd::new(&*master, PollFlags::IN)], Some(&timeout))? == 0 {
        return Err("nothing came from the terminal in time".into());
    }
    let mut buffer = [0; 4096];
    match master.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(length) => {
            output.extend_from_slice(&buffer[..length]);
            Ok(true)
        }
        // the last process with the other end is gone
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
