//! A broker played by the test.

use std::fs;
use std::io::PipeReader;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use podspawn_wire::broker::{BROKER_PROTOCOL, FromBroker, ServerChannel, ToBroker};

use super::lab::{PATIENCE, later};
use crate::harness::system;

/// A request that was answered with a network.
pub struct Connection {
    /// For whom.
    pub user: String,
    /// At its end when nobody has the lease any more.
    pub lease: PipeReader,
    /// At its end when the module's connection is closed.
    pub channel: ServerChannel,
}

impl Connection {
    /// The lease and the connection are both still held.
    pub fn is_held(&self) -> bool {
        !system::readable(&[self.lease.as_fd()], std::time::Instant::now())
            && !system::readable(&[self.channel.as_fd()], std::time::Instant::now())
    }

    /// Waits for the end of both.
    #[track_caller]
    pub fn ends(&self) {
        assert!(system::readable(&[self.lease.as_fd()], later()), "the lease is still held");
        assert!(system::readable(&[self.channel.as_fd()], later()), "the connection is still held");
    }
}

/// Listens until the test ends. What it answers can be changed at any time.
pub struct Player {
    connections: mpsc::Receiver<Connection>,
    answer: Arc<Mutex<Answer>>,
}

/// What a client gets.
pub enum Answer {
    /// This as the network.
    Network(fs::File),
    /// The same, with addresses of name servers.
    Resolved(fs::File, Vec<IpAddr>),
    /// A message without descriptors.
    Says(FromBroker),
    /// These bytes.
    Bytes(Vec<u8>),
    /// The end of the connection.
    End,
    /// Nothing, until the client gives up.
    Nothing,
}

impl Player {
    /// Binds the socket, which must not be there yet.
    pub fn listen(socket: &Path, answer: Answer) -> Self {
        let listener = UnixListener::bind(socket).expect("bind");
        let (served, connections) = mpsc::channel();
        let answer = Arc::new(Mutex::new(answer));
        let answers = answer.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let channel = ServerChannel::new(OwnedFd::from(client.expect("accept")));
                if let Some(connection) = serve(channel, &answers.lock().expect("the answer")) {
                    // The test may have ended.
                    let _ = served.send(connection);
                }
            }
        });
        Self { connections, answer }
    }

    /// Answers with this from now on.
    pub fn set(&self, answer: Answer) {
        *self.answer.lock().expect("the answer") = answer;
    }

    /// The next connection that was given a network.
    #[track_caller]
    pub fn connection(&self) -> Connection {
        self.connections.recv_timeout(PATIENCE).expect("a connection")
    }
}

fn serve(mut channel: ServerChannel, answer: &Answer) -> Option<Connection> {
    let (request, _) = channel.receive(Some(later())).expect("a request");
    let ToBroker::Network { protocol: BROKER_PROTOCOL, user } = request else { panic!("{request:?}") };
    match answer {
        Answer::Network(file) => return Some(grant(channel, user, file, Vec::new())),
        Answer::Resolved(file, resolvers) => return Some(grant(channel, user, file, resolvers.clone())),
        Answer::Says(message) => channel.send(message, Vec::new(), later()).expect("send"),
        Answer::Bytes(bytes) => {
            let mut stream = std::os::unix::net::UnixStream::from(channel.into_socket());
            std::io::Write::write_all(&mut stream, bytes).expect("write");
            // Left open, as a broker would that believes it has said enough.
            assert!(system::readable(&[stream.as_fd()], later()), "the module holds on to a bad broker");
        }
        Answer::End => {}
        Answer::Nothing => {
            assert!(system::readable(&[channel.as_fd()], later()), "the module waits for ever");
        }
    }
    None
}

fn grant(mut channel: ServerChannel, user: String, file: &fs::File, resolvers: Vec<IpAddr>) -> Connection {
    let (lease, held) = std::io::pipe().expect("a pipe");
    let given = vec![file.try_clone().expect("dup").into(), held.into()];
    channel.send(&FromBroker::Network { resolvers }, given, later()).expect("send");
    Connection { user, lease, channel }
}
