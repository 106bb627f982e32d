//! Waiting until other containers of the session's network accept connections: `podspawn-guest await-ports SECONDS
//! ADDRESS:PORT...`.
//!
//! From inside, because nothing outside is sure to reach that network: a rootless engine's is in a namespace of its own. A
//! port that opens tells nobody, so it is tried again and again, less often as time goes by.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::poll;

/// Longest wait for one connection.
const CONNECTING: Duration = Duration::from_secs(2);

/// Pauses between two rounds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(320));

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    limit: Duration,
    ports: Vec<SocketAddr>,
}

impl Wanted {
    /// From the command line; none if it makes no sense.
    pub fn parse<'a>(mut args: impl Iterator<Item = &'a str>) -> Option<Self> {
        let limit = Duration::from_secs(args.next()?.parse().ok()?);
        let ports = args.map(str::parse).collect::<Result<Vec<_>, _>>().ok()?;
        (!ports.is_empty()).then_some(Self { limit, ports })
    }

    /// Waits; the ports that were still closed at the end.
    pub fn wait(self) -> Vec<SocketAddr> {
        let deadline = Instant::now() + self.limit;
        let (mut pause, mut closed) = (PAUSES.0, self.ports);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Past the deadline there is one last look all the same.
            let patience = CONNECTING.min(left).max(PAUSES.0);
            closed.retain(|port| TcpStream::connect_timeout(port, patience).is_err());
            if closed.is_empty() || left.is_zero() {
                return closed;
            }
            rest(pause.min(left));
            pause = PAUSES.1.min(pause * 2);
        }
    }
}

/// Nothing tells that a port has opened: there is only the time to wait for.
fn rest(pause: Duration) {
    if let Ok(pause) = pause.try_into() {
        let _ = poll(&mut [], Some(&pause));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_that_opens_late_is_waited_for_and_one_that_never_does_is_named() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let late = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let opening = std::thread::spawn(move || {
            rest(Duration::from_millis(300));
            TcpListener::bind(late).unwrap()
        });
        let wanted = |limit, ports: &[SocketAddr]| Wanted { limit, ports: ports.into() };
        let both = [open.local_addr().unwrap(), late];
        assert_eq!(wanted(Duration::from_secs(20), &both).wait(), []);
        drop(opening.join().unwrap());
        assert_eq!(wanted(Duration::from_millis(100), &both).wait(), [late]);
    }

    #[test]
    fn nonsense_is_no_request() {
        let parse = |text: &str| Wanted::parse(text.split_whitespace());
        assert!(parse("5 10.0.0.2:80 [fd00::2]:80").is_some());
        for bad in ["", "5", "x 10.0.0.2:80", "5 name:80", "5 10.0.0.2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
