//! Signals to this process, as something that can be waited for beside other descriptors.
//!
//! A handler writes the signal's number into a pipe. `signalfd` would not do: it needs the signal blocked in every thread,
//! and the threads that a runtime has already started would take it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use rustix::pipe::{PipeFlags, pipe_with};

/// Signals that podspawn reacts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-\.
    Quit,
    /// Asked to end.
    Terminate,
    /// The terminal is gone.
    Hangup,
    /// The terminal's size changed.
    WindowChange,
    /// Asked to stop for a while (`kill -TSTP`).
    Suspend,
    /// Goes on after having been stopped.
    Continue,
}

impl Signal {
    const ALL: [Self; 7] = [
        Self::Interrupt,
        Self::Quit,
        Self::Terminate,
        Self::Hangup,
        Self::WindowChange,
        Self::Suspend,
        Self::Continue,
    ];

    /// The system's number.
    pub fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Terminate => libc::SIGTERM,
            Self::Hangup => libc::SIGHUP,
            Self::WindowChange => libc::SIGWINCH,
            Self::Suspend => libc::SIGTSTP,
            Self::Continue => libc::SIGCONT,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.number() == i32::from(number))
    }
}

/// How many waiters one process may have at once.
const SLOTS: usize = 256;

/// What the handler sees of a waiter. The pipe stays open for the life of the process, so that a handler that runs while its
/// waiter goes away never writes into somebody else's descriptor.
struct Slot {
    write_end: AtomicI32,
    /// Bit n: signal n is wanted.
    wanted: AtomicU64,
}

static TABLE: [Slot; SLOTS] =
    [const { Slot { write_end: AtomicI32::new(-1), wanted: AtomicU64::new(0) } }; SLOTS];

/// What only ordinary code sees.
struct Registry {
    /// Read ends of slots that nobody uses.
    idle: Vec<(usize, OwnedFd)>,
    /// Slots that have a pipe.
    made: usize,
    /// Signal, how many want it, what was in force before.
    handled: Vec<(i32, usize, libc::sigaction)>,
    write_ends: Vec<OwnedFd>,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { idle: Vec::new(), made: 0, handled: Vec::new(), write_ends: Vec::new() });

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

extern "C" fn on_signal(number: libc::c_int) {
    for slot in &TABLE {
        if slot.wanted.load(Ordering::Acquire) & (1 << number) != 0 {
            let byte = number as u8;
            // SAFETY: `write` and the errno location are safe in a signal handler; `byte` lives through the call. A full pipe
            // drops the signal: 64 K of them are waiting then. The interrupted code must find its errno unchanged.
            unsafe {
                let errno = *libc::__errno_location();
                libc::write(slot.write_end.load(Ordering::Acquire), (&raw const byte).cast(), 1);
                *libc::__errno_location() = errno;
            }
        }
    }
}

/// Receives signals until it is dropped; then what was in force before is again.
#[derive(Debug)]
pub struct Signals {
    slot: usize,
    read_end: Option<OwnedFd>,
    caught: Vec<i32>,
}

impl Signals {
    /// Catches these signals. One that the process was started with as ignored (`nohup`) stays ignored.
    pub fn catch(signals: &[Signal]) -> io::Result<Self> {
        let mut registry = registry();
        let (slot, read_end) = match registry.idle.pop() {
            Some(idle) => idle,
            None => {
                let slot = registry.made;
                if slot == SLOTS {
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many wait for signals"));
                }
                let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
                TABLE[slot].write_end.store(write_end.as_raw_fd(), Ordering::Release);
                registry.write_ends.push(write_end);
                registry.made += 1;
                (slot, read_end)
            }
        };
        let mut waiter = Self { slot, read_end: Some(read_end), caught: Vec::new() };
        let mut wanted = 0u64;
        for signal in signals {
            let number = signal.number();
            match registry.add(number) {
                Ok(true) => {
                    waiter.caught.push(number);
                    wanted |= 1 << number;
                }
                Ok(false) => {}
                Err(error) => {
                    // Dropping the waiter takes the lock again.
                    drop(registry);
                    return Err(error);
                }
            }
        }
        TABLE[slot].wanted.store(wanted, Ordering::Release);
        Ok(waiter)
    }

    /// The next signal that has arrived; none if none has.
    pub fn take(&mut self) -> Option<Signal> {
        loop {
            let mut byte = [0u8];
            match rustix::io::read(self.read_end.as_ref()?, &mut byte) {
                Ok(1) => {
                    if let Some(signal) = Signal::from_number(byte[0]) {
                        return Some(signal);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                _ => return None,
            }
        }
    }
}

impl AsFd for Signals {
    /// Readable when a signal has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read_end.as_ref().expect("held until dropped").as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        TABLE[self.slot].wanted.store(0, Ordering::Release);
        let mut registry = registry();
        for number in self.caught.drain(..) {
            registry.remove(number);
        }
        while self.take().is_some() {}
        if let Some(read_end) = self.read_end.take() {
            registry.idle.push((self.slot, read_end));
        }
    }
}

impl Registry {
    /// Makes sure that the handler is in force. False if the signal is ignored and stays so.
    fn add(&mut self, number: i32) -> io::Result<bool> {
        if let Some(entry) = self.handled.iter_mut().find(|entry| entry.0 == number) {
            entry.1 += 1;
            return Ok(true);
        }
        let before = action(number, None)?;
        if before.sa_sigaction == libc::SIG_IGN {
            return Ok(false);
        }
        // SAFETY: all zeroes is a valid `sigaction`: no flags, an empty mask, the default handler.
        let mut ours: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        ours.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
        ours.sa_flags = libc::SA_RESTART;
        action(number, Some(&ours))?;
        self.handled.push((number, 1, before));
        Ok(true)
    }

    fn remove(&mut self, number: i32) {
        let Some(at) = self.handled.iter().position(|entry| entry.0 == number) else { return };
        self.handled[at].1 -= 1;
        if self.handled[at].1 == 0 {
            let (number, _, before) = self.handled.swap_remove(at);
            // The call cannot fail: the signal and the action were accepted before.
            let _ = action(number, Some(&before));
        }
    }
}

fn action(number: i32, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `new` is null or points to a valid action whose handler is async-signal-safe (ours, or the one that was in
    // force before); `before` is writable and zero is a valid value of it.
    unsafe {
        if libc::sigaction(number, new, before.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(before.assume_init())
    }
}

/// Stops this process as `kill -TSTP` would have, and returns when it goes on.
pub fn stop_this_process() {
    // SIGSTOP to oneself takes effect before the call returns.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn raise(signal: Signal) {
        // SAFETY: sends a signal that is caught at the time to this process.
        unsafe {
            libc::kill(libc::getpid(), signal.number());
        }
    }

    fn wait(signals: &mut Signals) -> Option<Signal> {
        let mut fds = [PollFd::new(signals, PollFlags::IN)];
        while poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })) == Err(rustix::io::Errno::INTR) {}
        signals.take()
    }

    #[test]
    fn every_waiter_is_told_and_the_former_action_returns() {
        let number = Signal::WindowChange.number();
        let before = action(number, None).unwrap().sa_sigaction;
        let mut first = Signals::catch(&[Signal::WindowChange]).unwrap();
        let mut second = Signals::catch(&[Signal::WindowChange, Signal::Continue]).unwrap();
        raise(Signal::WindowChange);
        assert_eq!(wait(&mut first), Some(Signal::WindowChange));
        assert_eq!(wait(&mut second), Some(Signal::WindowChange));
        drop(first);
        raise(Signal::WindowChange);
        assert_eq!(wait(&mut second), Some(Signal::WindowChange));
        assert_eq!(second.take(), None);
        drop(second);
        assert_eq!(action(number, None).unwrap().sa_sigaction, before);
        let mut again = Signals::catch(&[Signal::WindowChange]).unwrap();
        assert_eq!(again.take(), None, "what was told to an earlier waiter is not told again");
    }
}
