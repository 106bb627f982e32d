//! The one event loop of the first process: descriptors and timers, told apart by keys.
//!
//! Level-triggered epoll in one thread. A key is never used twice for different things, so that an event that was already
//! fetched for something since closed finds nothing and is dropped by its owner. Calls nothing of this crate.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;

/// Which part of the program an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Owner {
    /// The loop itself: signals, the listener, shutdown.
    Init = 0,
    /// A connection of the host.
    Session = 1,
}

/// Names a descriptor or timer within its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Whose it is.
    pub owner: Owner,
    /// Which object of the owner; counted up, never used again.
    pub id: u32,
    /// Which descriptor or timer of the object (24 bits).
    pub part: u32,
}

impl Key {
    /// A key; `part` must fit in 24 bits.
    pub fn new(owner: Owner, id: u32, part: u32) -> Self {
        debug_assert!(part < 1 << 24);
        Self { owner, id, part }
    }

    fn pack(self) -> epoll::EventData {
        epoll::EventData::new_u64(
            (self.owner as u64) << 56 | u64::from(self.part & 0x00ff_ffff) << 32 | u64::from(self.id),
        )
    }

    fn unpack(data: epoll::EventData) -> Self {
        let packed = data.u64();
        let owner = match packed >> 56 {
            0 => Owner::Init,
            _ => Owner::Session,
        };
        Self { owner, id: packed as u32, part: (packed >> 32) as u32 & 0x00ff_ffff }
    }
}

/// What to watch a descriptor for. Hang-up is always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Something to read, or the end.
    pub read: bool,
    /// Room to write.
    pub write: bool,
}

impl Interest {
    /// Reading only.
    pub const READ: Self = Self { read: true, write: false };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// Something to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A descriptor is ready.
    Ready {
        /// Which.
        key: Key,
        /// Something to read, or the end.
        readable: bool,
        /// Room to write.
        writable: bool,
        /// Hung up on both sides, or broken. Reported until the descriptor is removed.
        hangup: bool,
    },
    /// A timer has run out; it is gone.
    Due(Key),
}

/// The loop's set of descriptors and timers.
#[derive(Debug)]
pub struct Reactor {
    epoll: OwnedFd,
    timers: BTreeMap<(Instant, u64), Key>,
    next_timer: u64,
}

/// A timer that can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer(Instant, u64);

impl Reactor {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, timers: BTreeMap::new(), next_timer: 0 })
    }

    /// Begins to watch a descriptor.
    pub fn add(&self, fd: impl AsFd, key: Key, interest: Interest) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, key.pack(), interest.flags())?)
    }

    /// Changes what a descriptor is watched for.
    pub fn change(&self, fd: impl AsFd, key: Key, interest: Interest) -> std::io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, key.pack(), interest.flags())?)
    }

    /// Stops watching. Call it before a descriptor is closed: a child between fork and exec still holds a copy.
    pub fn remove(&self, fd: impl AsFd) {
        // It can only fail where the descriptor is not watched, which is what is wanted.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Sets a timer.
    pub fn after(&mut self, delay: Duration, key: Key) -> Timer {
        self.next_timer += 1;
        let timer = Timer(Instant::now() + delay, self.next_timer);
        self.timers.insert((timer.0, timer.1), key);
        timer
    }

    /// Takes a timer back; nothing happens if it has run out.
    pub fn cancel(&mut self, timer: Timer) {
        self.timers.remove(&(timer.0, timer.1));
    }

    /// Waits until something is to be done and puts it into `events`.
    pub fn wait(&mut self, events: &mut Vec<Event>) -> std::io::Result<()> {
        events.clear();
        let timeout = match self.timers.keys().next() {
            // Rounded up to whole milliseconds, so that the loop does not spin through the last one.
            Some((due, _)) => {
                let left = due.saturating_duration_since(Instant::now());
                Some(Duration::from_millis(
                    u64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u64::MAX),
                ))
            }
            None => None,
        };
        let timeout = timeout.and_then(|left| left.min(Duration::from_secs(86_400)).try_into().ok());
        let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 64];
        let ready = match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            Ok((ready, _)) => ready,
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        for event in ready {
            let (flags, data) = (event.flags, event.data);
            events.push(Event::Ready {
                key: Key::unpack(data),
                readable: flags.contains(epoll::EventFlags::IN),
                writable: flags.contains(epoll::EventFlags::OUT),
                hangup: flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR),
            });
        }
        let now = Instant::now();
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > now {
                break;
            }
            events.push(Event::Due(first.remove()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_packing() {
        for owner in [Owner::Init, Owner::Session] {
            for (id, part) in [(0, 0), (u32::MAX, 0x00ff_ffff), (7, 3)] {
                let key = Key::new(owner, id, part);
                assert_eq!(Key::unpack(key.pack()), key);
            }
        }
    }

    #[test]
    fn timers_come_in_order_and_can_be_taken_back() {
        let mut reactor = Reactor::new().unwrap();
        let key = |id| Key::new(Owner::Init, id, 0);
        reactor.after(Duration::from_millis(20), key(2));
        let taken_back = reactor.after(Duration::from_millis(1), key(9));
        reactor.after(Duration::from_millis(5), key(1));
        reactor.cancel(taken_back);
        let (mut events, mut seen) = (Vec::new(), Vec::new());
        while seen.len() < 2 {
            reactor.wait(&mut events).unwrap();
            seen.append(&mut events);
        }
        assert_eq!(seen, [Event::Due(key(1)), Event::Due(key(2))]);
    }

    #[test]
    fn readiness_carries_the_key() {
        let mut reactor = Reactor::new().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let key = Key::new(Owner::Session, 5, 6);
        reactor.add(&reader, key, Interest::READ).unwrap();
        rustix::io::write(&writer, b"x").unwrap();
        let mut events = Vec::new();
        reactor.wait(&mut events).unwrap();
        assert_eq!(events, [Event::Ready { key, readable: true, writable: false, hangup: false }]);
        drop(writer);
        reactor.wait(&mut events).unwrap();
        assert!(matches!(events[..], [Event::Ready { hangup: true, .. }]));
    }
}
