//! The terminal that a person sits at.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Whether the descriptor is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// Lines and columns; none if the descriptor is no terminal or does not know.
pub fn window_size(fd: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(fd).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// A terminal in raw mode: what is written to it, and every key unless they were left out, is passed on as it is. Dropping
/// it, in a panic too, puts back what was there.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
    during: Termios,
}

impl RawMode {
    /// Enters raw mode.
    pub fn enter(terminal: impl AsFd) -> io::Result<Self> {
        Self::with(terminal, Termios::make_raw)
    }

    /// Enters it for what is written only: keys keep their meaning, so that Ctrl-C reaches this process.
    pub fn output(terminal: impl AsFd) -> io::Result<Self> {
        Self::with(terminal, |modes| modes.output_modes.remove(OutputModes::OPOST))
    }

    fn with(terminal: impl AsFd, change: impl FnOnce(&mut Termios)) -> io::Result<Self> {
        // A descriptor of its own: the mode is put back whatever the caller closes meanwhile.
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut during = before.clone();
        change(&mut during);
        let raw_mode = Self { terminal, before, during };
        raw_mode.resume()?;
        Ok(raw_mode)
    }

    /// Enters the mode again after [`RawMode::suspend`].
    pub fn resume(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &self.during)?)
    }

    /// Puts the former mode back for the time being.
    pub fn suspend(&self) -> io::Result<()> {
        // At once and not when the output has gone out: a terminal stopped by its user would hold this up for ever.
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &self.before)?)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = self.suspend();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, Winsize, tcsetwinsize};
    use std::fs::File;

    fn pair() -> (OwnedFd, File) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(
            name.as_c_str(),
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        (master, slave.unwrap().into())
    }

    fn echoes(terminal: &File) -> bool {
        tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    #[test]
    fn raw_mode_ends_with_its_guard_even_in_a_panic() {
        let (_master, slave) = pair();
        let before = tcgetattr(&slave).unwrap();
        {
            let raw = RawMode::enter(&slave).unwrap();
            assert!(!echoes(&slave));
            raw.suspend().unwrap();
            assert!(echoes(&slave));
            raw.resume().unwrap();
            assert!(!echoes(&slave));
        }
        assert!(echoes(&slave));
        let panicked = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _raw = RawMode::enter(&slave).unwrap();
                    std::panic::resume_unwind(Box::new(()));
                })
                .join()
        });
        assert!(panicked.is_err());
        let after = tcgetattr(&slave).unwrap();
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.input_modes, before.input_modes);
        assert_eq!(after.output_modes, before.output_modes);
    }

    #[test]
    fn raw_output_leaves_the_keys_their_meaning() {
        let (_master, slave) = pair();
        let ends_lines = || tcgetattr(&slave).unwrap().output_modes.contains(OutputModes::OPOST);
        assert!(ends_lines());
        let raw = RawMode::output(&slave).unwrap();
        assert!(!ends_lines() && echoes(&slave));
        assert!(tcgetattr(&slave).unwrap().local_modes.contains(LocalModes::ISIG));
        drop(raw);
        assert!(ends_lines());
    }

    #[test]
    fn a_window_without_a_size_is_none() {
        let (_master, slave) = pair();
        assert!(is_terminal(&slave));
        assert_eq!(window_size(&slave), None);
        tcsetwinsize(&slave, Winsize { ws_row: 1, ws_col: 500, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        assert_eq!(window_size(&slave), Some((1, 500)));
        assert!(!is_terminal(File::open("/dev/null").unwrap()));
        assert!(RawMode::enter(File::open("/dev/null").unwrap()).is_err());
    }
}
