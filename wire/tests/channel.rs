//! The two ends of a connection against each other, and against somebody who does not keep the rules.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use podspawn_wire::{
    FromGuest, GuestChannel, HostChannel, Program, Received, RunAs, Start, Streams, ToGuest, Window,
    WireError, encode,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

fn start(streams: Streams) -> ToGuest {
    ToGuest::Start(Box::new(Start {
        program: Program::Argv(vec!["true".into()]),
        run_as: RunAs::User,
        cwd: None,
        env: vec![("A".into(), "b".repeat(30_000))],
        streams,
        agent: false,
        x11: None,
    }))
}

fn pair() -> (HostChannel, GuestChannel) {
    let (host, guest) = UnixStream::pair().unwrap();
    (HostChannel::new(host.into()), GuestChannel::new(guest.into()))
}

fn three() -> (std::io::PipeReader, Vec<OwnedFd>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let (other, _) = std::io::pipe().unwrap();
    (reader, vec![other.into(), writer.try_clone().unwrap().into(), writer.into()])
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Everything the guest's end makes of what has been sent so far.
fn drain(guest: &mut GuestChannel) -> Result<Vec<(ToGuest, Vec<OwnedFd>)>, WireError> {
    let mut all = Vec::new();
    loop {
        if guest.read()? != Received::Some {
            return Ok(all);
        }
        while let Some(message) = guest.next()? {
            all.push(message);
        }
    }
}

fn send_raw(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    assert_eq!(
        sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap(),
        bytes.len()
    );
}

#[test]
fn descriptors_arrive_with_their_own_message() {
    let (mut host, mut guest) = pair();
    let (mut reader, descriptors) = three();
    host.queue(&ToGuest::Hello { protocol: 1 }, vec![]).unwrap();
    host.queue(&start(Streams::Pipes), descriptors).unwrap();
    host.queue(&ToGuest::Resize(Window { rows: 1, cols: 2 }), vec![]).unwrap();
    let (one, mut other) = UnixStream::pair().unwrap();
    host.queue(&ToGuest::AgentOpened { id: 4 }, vec![one.into()]).unwrap();
    assert!(host.flush().unwrap());
    assert!(!host.wants_write());

    let mut all = drain(&mut guest).unwrap();
    let counts: Vec<usize> = all.iter().map(|(_, descriptors)| descriptors.len()).collect();
    assert_eq!(counts, [0, 3, 0, 1]);
    assert_eq!(all[1].0, start(Streams::Pipes));
    let agent = all.remove(3).1.remove(0);
    UnixStream::from(agent).write_all(b"to the agent").unwrap();
    let mut text = String::new();
    other.read_to_string(&mut text).unwrap();
    assert_eq!(text, "to the agent");
    let stdout = all.remove(1).1.remove(1);
    drop(all);
    rustix::io::write(&stdout, b"out").unwrap();
    drop(stdout);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "out", "the host's own copies must be closed once they are sent");
}

#[test]
fn received_descriptors_are_closed_on_exec() {
    let (mut host, mut guest) = pair();
    let (_reader, descriptors) = three();
    host.send(&start(Streams::Pipes), descriptors, soon()).unwrap();
    let all = drain(&mut guest).unwrap();
    for descriptor in &all[0].1 {
        assert!(rustix::io::fcntl_getfd(descriptor).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
}

#[test]
fn the_wrong_number_of_descriptors_is_refused_before_it_is_sent() {
    let (mut host, _guest) = pair();
    let (_reader, descriptors) = three();
    let terminal = Streams::Terminal { term: "xterm".into(), window: Window::default() };
    assert!(matches!(host.queue(&start(terminal), descriptors), Err(WireError::Descriptors)));
}

#[test]
fn missing_surplus_and_unannounced_descriptors_are_refused() {
    let (pipe, _writer) = std::io::pipe().unwrap();
    let fd = pipe.as_fd();
    let start = start(Streams::Pipes);
    let hello = ToGuest::Hello { protocol: 1 };
    for (message, announced, sent) in [
        (&start, 3, 2),
        (&start, 3, 0),
        (&start, 2, 2),
        (&start, 3, 4),
        (&start, 3, 12),
        (&hello, 0, 1),
        (&hello, 1, 1),
    ] {
        let (host, guest) = UnixStream::pair().unwrap();
        let mut guest = GuestChannel::new(guest.into());
        send_raw(&host, &encode(message, announced).unwrap(), &vec![fd; sent]);
        let result = drain(&mut guest);
        assert!(
            matches!(result, Err(WireError::Descriptors)),
            "{announced} announced, {sent} sent: {result:?}"
        );
    }
}

#[test]
fn the_host_never_takes_a_descriptor() {
    let (socket, guest) = UnixStream::pair().unwrap();
    let mut host = HostChannel::new(socket.into());
    let (reader, writer) = std::io::pipe().unwrap();
    let message = FromGuest::Started { pid: 4 };
    send_raw(&guest, &encode(&message, 0).unwrap(), &[writer.as_fd()]);
    drop(writer);
    assert_eq!(host.receive(Some(soon())).unwrap(), message);
    // The kernel dropped the descriptor, so that no writer is left.
    assert_eq!(std::io::read_to_string(reader).unwrap(), "");
    send_raw(&guest, &encode(&message, 1).unwrap(), &[]);
    assert!(matches!(host.receive(Some(soon())), Err(WireError::Descriptors)));
}

#[test]
fn silence_crumbs_and_closing_end_the_wait_of_the_host() {
    let (socket, mut guest) = UnixStream::pair().unwrap();
    let mut host = HostChannel::new(socket.into());
    let brief = || Some(Instant::now() + Duration::from_millis(50));
    assert!(matches!(host.receive(brief()), Err(WireError::TimedOut)));
    guest.write_all(&[0, 0]).unwrap();
    assert!(matches!(host.receive(brief()), Err(WireError::TimedOut)));
    drop(guest);
    assert!(matches!(host.receive(brief()), Err(WireError::Closed)));
}

#[test]
fn a_guest_that_answers_garbage_or_too_much_is_given_up() {
    for answer in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 3, 9, 9, 9]] {
        let (socket, mut guest) = UnixStream::pair().unwrap();
        let mut host = HostChannel::new(socket.into());
        guest.write_all(answer).unwrap();
        let result = host.receive(Some(soon()));
        assert!(
            matches!(result, Err(WireError::TooLong(_) | WireError::Malformed)),
            "{answer:?}: {result:?}"
        );
    }
}

#[test]
fn a_receiver_that_never_reads_costs_bounded_memory() {
    let (_host, mut guest) = pair();
    let message = FromGuest::Hello { protocol: 1, shell: "s".repeat(8_000), warnings: vec![] };
    let refused = (0..200).find_map(|_| {
        guest.flush().unwrap();
        guest.queue(&message).err()
    });
    assert!(matches!(refused, Some(WireError::TooLong(_))));
}

#[test]
fn what_can_no_longer_be_sent_is_not_kept() {
    let (mut host, guest) = pair();
    drop(guest);
    let (mut reader, descriptors) = three();
    host.queue(&start(Streams::Pipes), descriptors).unwrap();
    assert!(matches!(host.flush(), Err(WireError::Closed)));
    // Its end is there while the channel still is.
    assert!(!host.wants_write());
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
}
