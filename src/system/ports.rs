//! Whether a TCP port of this host's loopback is free.

use std::net::{Ipv4Addr, TcpListener};

/// Whether a port can be bound on 127.0.0.1 right now. A port that only root may bind is not free for anybody else.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_port_is_not_free_until_it_is_released() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        drop(listener);
        assert!(is_free(port));
    }
}
