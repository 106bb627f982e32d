//! Which ports of this host's loopback stand for which ports of a `dev` session.
//!
//! Pure but for the question whether a port is free, which the caller answers ([`crate::system::ports::is_free`]).

use thiserror::Error;

use crate::podfile::{PortStrategy, Ports};
use crate::spec::PortBinding;

/// How far above a taken port a free one is looked for.
const REACH: u16 = 100;
/// As a rule, only root may bind the ports below this one.
const UNPRIVILEGED: u16 = 1024;
/// What is added to such a port if none near it can be bound.
const HIGH: u16 = 8000;

/// A port that cannot be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PortError {
    /// The strategy `expose` wants this very port.
    #[error("port {0} of this host is taken or only root's, and `ports.strategy: expose` allows no other")]
    Taken(u16),
    /// It is taken, and so are all others that would do.
    #[error("port {port} of this host is taken or only root's, and so is every other up to {last}")]
    NoneFree {
        /// The port.
        port: u16,
        /// The last one that was tried.
        last: u16,
    },
    /// Port 0 means nothing.
    #[error("0 is no port: use numbers from 1 to 65535")]
    Zero,
}

impl PortError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Taken(_) => "end what uses the port, or use `ports.strategy: auto`",
            Self::NoneFree { .. } => "end what uses these ports, or choose another port inside",
            Self::Zero => "leave it out",
        }
    }
}

/// The ports inside that are wanted, each once: the Podfile's unless its strategy is `manual`, then those of `--ports`.
pub fn wanted(podfile: &Ports, extra: &[u16]) -> Vec<u16> {
    let listed: &[u16] = if podfile.strategy == PortStrategy::Manual { &[] } else { &podfile.expose };
    let mut wanted = Vec::new();
    for port in listed.iter().chain(extra) {
        if !wanted.contains(port) {
            wanted.push(*port);
        }
    }
    wanted
}

/// The bindings of a new session.
pub fn bind(
    podfile: &Ports,
    extra: &[u16],
    is_free: impl Fn(u16) -> bool,
) -> Result<Vec<PortBinding>, PortError> {
    let wanted = wanted(podfile, extra);
    if wanted.contains(&0) {
        return Err(PortError::Zero);
    }
    let mut bindings: Vec<PortBinding> = Vec::new();
    // Ports that keep their number first: none of them is taken away by one that has to move.
    let (keep, moved): (Vec<u16>, Vec<u16>) = wanted.iter().partition(|port| is_free(**port));
    bindings.extend(keep.iter().map(|port| PortBinding { container: *port, host: *port }));
    for port in moved {
        if podfile.strategy == PortStrategy::Expose {
            return Err(PortError::Taken(port));
        }
        let mut last = port.saturating_add(REACH);
        let near = port.saturating_add(1)..=last;
        // All around a low port may be root's alone: what 80 is to root, 8080 is to everybody.
        let high = (port < UNPRIVILEGED).then(|| HIGH + port..=HIGH + port + REACH);
        if let Some(high) = &high {
            last = *high.end();
        }
        let mut others = near.chain(high.into_iter().flatten());
        let used = |host: u16| bindings.iter().any(|binding| binding.host == host);
        let found = others.find(|host| *host != port && !used(*host) && is_free(*host));
        let host = found.ok_or(PortError::NoneFree { port, last })?;
        bindings.push(PortBinding { container: port, host });
    }
    bindings.sort_by_key(|binding| wanted.iter().position(|port| *port == binding.container));
    Ok(bindings)
}

/// Wanted ports that a session that exists already does not publish: it keeps the bindings that it was made with.
pub fn missing(podfile: &Ports, extra: &[u16], existing: &[PortBinding]) -> Vec<u16> {
    let there = |port: &u16| existing.iter().any(|binding| binding.container == *port);
    wanted(podfile, extra).into_iter().filter(|port| !there(port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(strategy: PortStrategy, expose: &[u16]) -> Ports {
        Ports { expose: expose.into(), strategy }
    }

    fn pairs(bindings: Vec<PortBinding>) -> Vec<(u16, u16)> {
        bindings.into_iter().map(|binding| (binding.container, binding.host)).collect()
    }

    #[test]
    fn auto_takes_the_next_free_port_and_says_which() {
        let podfile = ports(PortStrategy::Auto, &[3000, 8080]);
        let free = bind(&podfile, &[8080, 9000], |_| true).unwrap();
        assert_eq!(pairs(free), [(3000, 3000), (8080, 8080), (9000, 9000)]);
        let taken = bind(&podfile, &[], |port| ![3000, 3001].contains(&port)).unwrap();
        assert_eq!(pairs(taken), [(3000, 3002), (8080, 8080)]);
    }

    #[test]
    fn a_port_that_moves_takes_none_that_another_one_keeps_or_moved_to() {
        let podfile = ports(PortStrategy::Auto, &[3000, 3001, 3002]);
        let moved = bind(&podfile, &[], |port| ![3000, 3001].contains(&port)).unwrap();
        assert_eq!(pairs(moved), [(3000, 3003), (3001, 3004), (3002, 3002)]);
    }

    #[test]
    fn where_low_ports_are_roots_alone_a_high_one_stands_for_each() {
        let podfile = ports(PortStrategy::Auto, &[80, 443, 1000]);
        let bound = bind(&podfile, &[], |port| port >= 1024 && port != 8080).unwrap();
        assert_eq!(pairs(bound), [(80, 8081), (443, 8443), (1000, 1024)]);
        let none = bind(&podfile, &[], |_| false);
        assert_eq!(none, Err(PortError::NoneFree { port: 80, last: 8180 }));
    }

    #[test]
    fn manual_ignores_the_podfile_and_looks_further_as_auto_does() {
        let podfile = ports(PortStrategy::Manual, &[3000]);
        assert_eq!(pairs(bind(&podfile, &[], |_| true).unwrap()), []);
        assert_eq!(pairs(bind(&podfile, &[80], |port| port != 80).unwrap()), [(80, 81)]);
    }

    #[test]
    fn expose_is_that_port_or_an_error() {
        let podfile = ports(PortStrategy::Expose, &[3000]);
        assert_eq!(pairs(bind(&podfile, &[4000], |_| true).unwrap()), [(3000, 3000), (4000, 4000)]);
        assert_eq!(bind(&podfile, &[4000], |port| port != 4000), Err(PortError::Taken(4000)));
    }

    #[test]
    fn a_hundred_ports_further_is_the_end_and_so_is_the_last_port() {
        let podfile = ports(PortStrategy::Auto, &[3000]);
        assert_eq!(pairs(bind(&podfile, &[], |port| port == 3100).unwrap()), [(3000, 3100)]);
        let none = bind(&podfile, &[], |port| port == 3101);
        assert_eq!(none, Err(PortError::NoneFree { port: 3000, last: 3100 }));
        let last = ports(PortStrategy::Auto, &[65535]);
        assert_eq!(bind(&last, &[], |_| false), Err(PortError::NoneFree { port: 65535, last: 65535 }));
        assert_eq!(bind(&ports(PortStrategy::Auto, &[0]), &[], |_| true), Err(PortError::Zero));
    }

    #[test]
    fn a_session_that_exists_keeps_its_bindings() {
        let podfile = ports(PortStrategy::Auto, &[3000, 8080]);
        let existing = [PortBinding { container: 3000, host: 3007 }];
        assert_eq!(missing(&podfile, &[3000, 9000], &existing), [8080, 9000]);
    }
}
