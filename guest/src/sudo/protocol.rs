//! What the `sudo` program and its root helper say to each other, and how: a length, the message, descriptors with the
//! first byte. Both ends are this program; who may speak at all is checked by the credentials of the socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use podspawn_wire::Exit;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, UCred,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longest message: what the system takes as arguments and environment of one program, and some room.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// Working directory, terminal, three streams.
const MAX_DESCRIPTORS: usize = 5;
/// Room for what comes beside a message.
const CONTROL: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS), ScmCredentials(1));

/// A name and a value of an environment.
pub(super) type Variable = (Vec<u8>, Vec<u8>);

/// What is to be run, in the caller's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) run: Run,
    /// The caller's environment.
    pub(super) env: Vec<Variable>,
    /// The caller's file mode creation mask.
    pub(super) umask: u32,
    /// Signals that the caller ignores (bit n - 1 is signal n); the command ignores them too, as after `nohup`.
    pub(super) ignored: u64,
    /// The caller's limit on open files; none for no limit.
    pub(super) open_files: Option<u64>,
    /// The groups of the caller.
    pub(super) groups: Vec<u32>,
    /// The caller has a controlling terminal, which comes as the second descriptor.
    pub(super) terminal: Option<Terminal>,
}

/// The part of a request that comes from the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Who is to run it: a name or `#uid`; root if none.
    pub(super) user: Option<String>,
    /// With which group: a name or `#gid`.
    pub(super) group: Option<String>,
    pub(super) shell: Shell,
    /// The command and its arguments.
    pub(super) command: Vec<Vec<u8>>,
    /// `VAR=x` before the command.
    pub(super) assignments: Vec<Variable>,
    pub(super) preserve: Preserve,
    /// `HOME` is the target's even with a preserved environment.
    pub(super) set_home: bool,
    /// Keep the caller's groups.
    pub(super) preserve_groups: bool,
    /// Another working directory.
    pub(super) directory: Option<Vec<u8>>,
    /// Do not wait for it.
    pub(super) background: bool,
    /// Do not run it, only look it up.
    pub(super) list: bool,
}

/// Whether a shell stands in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shell {
    #[default]
    None,
    /// The caller's.
    Own,
    /// The target's, as a login shell.
    Login,
}

/// What is kept of the caller's environment beyond the ordinary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Preserve {
    #[default]
    Nothing,
    /// These variables.
    Names(Vec<Vec<u8>>),
    Everything,
}

/// How the caller's terminal is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terminal {
    /// Which of the standard streams are the terminal; the others come as descriptors.
    pub(super) streams: [bool; 3],
    /// The caller is in its foreground.
    pub(super) in_front: bool,
}

impl Terminal {
    /// Whether the command may use the terminal at once. In a pipeline it begins in the background, so that the other programs
    /// in it keep the terminal until this one wants it; but where the terminal does not stop who reads it in the background,
    /// nobody would notice that, and whoever may be asked something has it at once.
    pub(super) fn at_once(self, keys_dead: bool) -> bool {
        self.in_front && self.streams[0] && (self.streams[1] || keys_dead)
    }
}

/// From `sudo` to its helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ToHelper {
    /// The first message; comes with the working directory, the terminal if there is one, and the streams that are not it.
    Request(Box<Request>),
    /// Signal the command.
    Signal(i32),
    /// A key that is a signal, or a new size, where the kernel does not tell the command's foreground group itself.
    Key(i32),
    /// Let the command go on.
    Continue {
        /// It may use the terminal.
        foreground: bool,
    },
}

/// From the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromHelper {
    /// The command runs; comes with the other end of its terminal, if it has one.
    Started {
        /// Its pid.
        pid: i32,
        /// Its terminal makes no signals of keys: send [`ToHelper::Key`].
        keys_dead: bool,
    },
    /// The command was stopped by a signal.
    Stopped(i32),
    /// The command ended; the last message.
    Exited(Exit),
    /// What a look-up found; the last message.
    Found(Vec<u8>),
    /// It cannot be done; the last message.
    Refused(String),
}

/// What came beside a message.
#[derive(Debug, Default)]
pub(super) struct Attached {
    pub(super) descriptors: Vec<OwnedFd>,
    /// User and group of the sender.
    pub(super) sender: Option<(u32, u32)>,
}

/// One end of the conversation. Reads never take more than one message, so that the socket can be waited for.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends a message; waits for room.
    pub(super) fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.transmit(message, descriptors, None)
    }

    /// Sends a message with who sends it, which the kernel vouches for.
    pub(super) fn send_signed(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let sender = UCred {
            pid: rustix::process::getpid(),
            uid: rustix::process::getuid(),
            gid: rustix::process::getgid(),
        };
        self.transmit(message, descriptors, Some(sender))
    }

    fn transmit(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
        sender: Option<UCred>,
    ) -> io::Result<()> {
        let body = postcard::to_allocvec(message).map_err(io::Error::other)?;
        if body.len() > MAX_MESSAGE {
            return Err(io::Error::from(Errno::TOOBIG));
        }
        // Checked above to fit.
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let bytes = [&length[..], &body].concat();
        let mut sent = 0;
        while sent < bytes.len() {
            let mut space = [MaybeUninit::uninit(); CONTROL];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if sent == 0
                && !descriptors.is_empty()
                && !control.push(SendAncillaryMessage::ScmRights(descriptors))
            {
                return Err(io::Error::from(Errno::INVAL));
            }
            if let Some(sender) = sender.filter(|_| sent == 0)
                && !control.push(SendAncillaryMessage::ScmCredentials(sender))
            {
                return Err(io::Error::from(Errno::INVAL));
            }
            match rustix::net::sendmsg(
                &self.0,
                &[IoSlice::new(&bytes[sent..])],
                &mut control,
                SendFlags::NOSIGNAL,
            ) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for a message; none at the end.
    pub(super) fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        Ok(self.receive_signed()?.map(|(message, attached)| (message, attached.descriptors)))
    }

    /// Lets [`Channel::receive_signed`] tell who sent a message. No peer outside this pid namespace may send one.
    pub(super) fn expect_signed(&self) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_passcred(&self.0, true)?)
    }

    /// As [`Channel::receive`], with all that came beside the message.
    pub(super) fn receive_signed<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Attached)>> {
        let mut attached = Attached::default();
        let mut length = [0; 4];
        if !self.fill(&mut length, &mut attached)? {
            return Ok(None);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::from(Errno::TOOBIG));
        }
        let mut body = vec![0; length];
        if length > 0 && !self.fill(&mut body, &mut attached)? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let message = postcard::from_bytes(&body).map_err(io::Error::other)?;
        Ok(Some((message, attached)))
    }

    /// False at the end before the first byte.
    fn fill(&self, bytes: &mut [u8], attached: &mut Attached) -> io::Result<bool> {
        let mut filled = 0;
        while filled < bytes.len() {
            let mut space = [MaybeUninit::uninit(); CONTROL];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let message = rustix::net::recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut bytes[filled..])],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            let count = match message {
                Ok(message) => message.bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::CONNRESET) => 0,
                Err(error) => return Err(error.into()),
            };
            for part in control.drain() {
                match part {
                    RecvAncillaryMessage::ScmRights(received) => attached.descriptors.extend(received),
                    RecvAncillaryMessage::ScmCredentials(sender) => {
                        attached.sender.get_or_insert((sender.uid.as_raw(), sender.gid.as_raw()));
                    }
                    _ => {}
                }
            }
            if count == 0 {
                return if filled == 0 { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            filled += count;
        }
        Ok(true)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one.into()), Channel::new(other.into()))
    }

    #[test]
    fn messages_keep_their_order_and_their_descriptors() {
        let (client, helper) = pair();
        let (mut reader, mut writer) = io::pipe().unwrap();
        client.send(&ToHelper::Signal(2), &[writer.as_fd()]).unwrap();
        client.send(&ToHelper::Continue { foreground: true }, &[]).unwrap();
        drop(client);
        let (first, descriptors) = helper.receive::<ToHelper>().unwrap().unwrap();
        assert_eq!((first, descriptors.len()), (ToHelper::Signal(2), 1));
        let (second, none) = helper.receive::<ToHelper>().unwrap().unwrap();
        assert_eq!((second, none.len()), (ToHelper::Continue { foreground: true }, 0));
        assert!(helper.receive::<ToHelper>().unwrap().is_none());
        writer.write_all(b"x").unwrap();
        drop((writer, descriptors));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn a_signed_message_tells_its_sender() {
        let (client, helper) = pair();
        helper.expect_signed().unwrap();
        client.send_signed(&ToHelper::Signal(2), &[]).unwrap();
        let (_, attached) = helper.receive_signed::<ToHelper>().unwrap().unwrap();
        let expected = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        assert_eq!((attached.sender, attached.descriptors.len()), (Some(expected), 0));
    }

    #[test]
    fn a_request_larger_than_the_socket_arrives_whole() {
        let (client, helper) = pair();
        let run = Run { command: vec![vec![b'x'; 3_000_000], b"y".to_vec()], ..Run::default() };
        let request = Request {
            run,
            env: vec![],
            umask: 0,
            ignored: 0,
            open_files: None,
            groups: vec![],
            terminal: None,
        };
        let sent = ToHelper::Request(Box::new(request));
        std::thread::scope(|scope| {
            scope.spawn(|| client.send(&sent, &[]).unwrap());
            let (received, _) = helper.receive::<ToHelper>().unwrap().unwrap();
            assert!(received == sent);
        });
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_nothing_else(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(&bytes).unwrap();
            drop(one);
            let helper = Channel::new(other.into());
            while let Ok(Some(_)) = helper.receive::<ToHelper>() {}
        }
    }
}
