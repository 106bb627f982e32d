//! Something that listens.

use std::io::Write;
use std::net::TcpListener;

/// Greets everybody on a port, in the network of the thread that makes it, until the test's process ends.
pub struct Greeter {
    /// Where.
    pub port: u16,
}

impl Greeter {
    /// On the loopback. Port 0 is any.
    pub fn listen(port: u16, greeting: &'static str) -> Self {
        Self::listen_at("127.0.0.1", port, greeting)
    }

    /// On an address.
    pub fn listen_at(address: &str, port: u16, greeting: &'static str) -> Self {
        let listener = TcpListener::bind((address, port)).expect("listen");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // A client that is gone already is none of our business.
                let _ = client.and_then(|mut client| client.write_all(greeting.as_bytes()));
            }
        });
        Self { port }
    }
}
