//! Guests that mean harm. Whatever they do, who attaches gets an error soon, and nothing of the host is touched.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::Duration;

use podspawn::session::attach::AttachError;
use podspawn_wire::{Exit, FromGuest, PROTOCOL, ToGuest, WireError, encode};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::stand_in::{Attached, Guest, PATIENCE, Place, attach, attach_as, wait};

/// The handshake may take 2 s; a busy machine is granted as much again.
const BOUND: Duration = Duration::from_secs(4);

#[track_caller]
fn refused(attached: Attached) -> AttachError {
    assert!(attached.took < BOUND, "took {:?}", attached.took);
    attached.outcome.expect_err("a hostile guest")
}

#[test]
fn a_link_to_a_host_socket_in_the_place_of_the_guests_socket_leads_nowhere() {
    let place = Place::new();
    let host = Place::new();
    let listener = UnixListener::bind(host.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    symlink(host.socket(), place.socket()).unwrap();
    let error = refused(attach(&place.address(), None));
    assert!(matches!(error, AttachError::NotTheGuest(_) | AttachError::NoGuest(_)), "{error:?}");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
}

#[test]
fn a_link_in_the_place_of_the_directory_leads_nowhere() {
    let place = Place::new();
    let host = Place::new();
    let listener = UnixListener::bind(host.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    symlink(host.file(""), place.file("link")).unwrap();
    let mut address = place.address();
    address.socket_dir = Some(place.file("link").to_str().unwrap().to_owned());
    let error = refused(attach(&address, None));
    assert!(matches!(error, AttachError::NoGuest(_)), "{error:?}");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
}

#[test]
fn a_named_pipe_a_file_or_a_directory_in_the_place_of_the_socket_holds_nobody_up() {
    for kind in ["pipe", "file", "directory", "nothing"] {
        let place = Place::new();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        match kind {
            "pipe" => rustix::fs::mkfifoat(rustix::fs::CWD, place.socket(), mode).unwrap(),
            "file" => fs::write(place.socket(), "x").unwrap(),
            "directory" => fs::create_dir(place.socket()).unwrap(),
            _ => {}
        }
        let error = refused(attach(&place.address(), None));
        assert!(matches!(error, AttachError::NotTheGuest(_) | AttachError::NoGuest(_)), "{kind}: {error:?}");
    }
}

#[test]
fn a_socket_that_another_process_listens_on_is_not_spoken_to() {
    let place = Place::new();
    let guest = place.guest(|mut guest| guest.hear().is_none());
    // Alive, with the start time that its record says; but it is this process that listens.
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let error = refused(attach(&place.address_of(other.id() as i32), None));
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(matches!(error, AttachError::NotTheGuest(_)), "{error:?}");
    assert!(guest.join().unwrap(), "nothing was sent");
}

#[test]
fn a_pid_that_belongs_to_another_process_now_is_not_looked_at() {
    let place = Place::new();
    let _listener = UnixListener::bind(place.socket()).unwrap();
    let mut address = place.address();
    address.process.as_mut().unwrap().start_time += 1;
    let error = refused(attach(&address, None));
    assert!(matches!(error, AttachError::NotRunning(_)), "{error:?}");
    let mut address = place.address();
    address.process.as_mut().unwrap().boot_id = "of an earlier boot".into();
    assert!(matches!(refused(attach(&address, None)), AttachError::NotRunning(_)));
    address.process = None;
    assert!(matches!(refused(attach(&address, None)), AttachError::NoProcess));
}

#[test]
fn a_guest_whose_backlog_is_full_is_waited_for_no_longer_than_two_seconds() {
    let place = Place::new();
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(place.socket()).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let filling = UnixStream::connect(place.socket()).unwrap();
    let error = refused(attach(&place.address(), None));
    assert!(matches!(error, AttachError::Guest(WireError::TimedOut)), "{error:?}");
    drop(filling);
}

/// Plays a guest that sends raw bytes as its answer to the first message, and goes on until nobody listens.
fn answering(piece: Vec<u8>, pause: Option<Duration>) -> Attached {
    let place = Place::new();
    let guest = place.guest(move |mut guest: Guest| {
        guest.hear();
        let mut raw = UnixStream::from(guest.channel.as_fd().try_clone_to_owned().unwrap());
        while raw.write_all(&piece).is_ok() {
            match pause {
                // One piece only.
                Some(Duration::MAX) => {
                    let _ = raw.read(&mut [0]);
                    return;
                }
                // A crumb now and then; whoever listens ends it by hanging up.
                Some(pause) => {
                    raw.set_read_timeout(Some(pause)).unwrap();
                    if raw.read(&mut [0]).is_ok() {
                        return;
                    }
                }
                None => {}
            }
        }
    });
    let attached = attach(&place.address(), None);
    guest.join().unwrap();
    attached
}

#[test]
fn a_socket_that_answers_garbage_is_an_error_at_once() {
    let error = refused(answering(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Some(Duration::MAX)));
    assert!(matches!(error, AttachError::Guest(WireError::TooLong(_) | WireError::Malformed)), "{error:?}");
    let error = refused(answering(vec![0xff; 4096], None));
    assert!(matches!(error, AttachError::Guest(WireError::TooLong(_))), "{error:?}");
    let error = refused(answering(vec![0, 0, 0, 2, 0xff, 0xff], Some(Duration::MAX)));
    assert!(matches!(error, AttachError::Guest(WireError::Malformed)), "{error:?}");
}

#[test]
fn a_socket_that_answers_too_much_is_an_error_at_once() {
    let long = FromGuest::Hello { protocol: PROTOCOL, shell: "x".repeat(60_000), warnings: vec![] };
    let mut frame = encode(&long, 0).unwrap();
    frame[1] = 0xff;
    let error = refused(answering(frame, None));
    assert!(matches!(error, AttachError::Guest(WireError::TooLong(_))), "{error:?}");
    // Well-formed, but once is enough: what follows is found when the conversation goes on.
    let hello = FromGuest::Hello { protocol: PROTOCOL, shell: "/bin/sh".into(), warnings: vec![] };
    let error = refused(answering(encode(&hello, 0).unwrap(), None));
    assert!(matches!(error, AttachError::Protocol(_)), "{error:?}");
}

#[test]
fn a_socket_that_answers_nothing_is_waited_for_no_longer_than_two_seconds() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        guest.hear();
        guest.hear().is_none()
    });
    let error = refused(attach(&place.address(), None));
    assert!(matches!(error, AttachError::Guest(WireError::TimedOut)), "{error:?}");
    assert!(guest.join().unwrap());
}

#[test]
fn a_socket_that_answers_in_crumbs_is_waited_for_no_longer_than_two_seconds() {
    // The beginning of a message that never ends: its length says 64 KB.
    let error = refused(answering(vec![0], Some(Duration::from_millis(50))));
    assert!(matches!(error, AttachError::Guest(_)), "{error:?}");
}

#[test]
fn another_version_of_the_protocol_is_named() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        guest.hear();
        guest.say(&FromGuest::Hello { protocol: PROTOCOL + 1, shell: String::new(), warnings: vec![] });
        guest.hear();
    });
    let error = refused(attach(&place.address(), None));
    assert!(matches!(error, AttachError::Version { theirs, ours } if theirs == ours + 1), "{error:?}");
    guest.join().unwrap();
}

#[test]
fn a_guest_that_dies_during_attach_is_an_error_after_its_last_output() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        let (_, descriptors) = guest.start();
        rustix::io::write(&descriptors[1], b"last words").unwrap();
    });
    let attached = attach(&place.address(), None);
    guest.join().unwrap();
    assert_eq!(attached.stdout, b"last words");
    let error = refused(attached);
    assert!(matches!(error, AttachError::Lost), "{error:?}");
}

#[test]
fn a_guest_that_dies_before_it_started_anything_is_an_error_at_once() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        guest.greet();
        guest.hear();
    });
    let error = refused(attach(&place.address(), None));
    guest.join().unwrap();
    assert!(matches!(error, AttachError::Lost), "{error:?}");
}

#[test]
fn messages_that_do_not_belong_there_end_the_session() {
    let hello = || FromGuest::Hello { protocol: PROTOCOL, shell: String::new(), warnings: vec![] };
    let cases: [(&str, Vec<FromGuest>); 4] = [
        ("greets twice", vec![hello()]),
        ("exits before it starts", vec![FromGuest::Exited(Exit::Code(0))]),
        ("starts twice", vec![FromGuest::Started { pid: 1 }, FromGuest::Started { pid: 2 }]),
        (
            "asks for an agent that was not offered",
            vec![FromGuest::Started { pid: 1 }, FromGuest::AgentWanted { id: 0 }],
        ),
    ];
    for (case, messages) in cases {
        let place = Place::new();
        let guest = place.guest(move |mut guest| {
            guest.greet();
            let request = guest.hear();
            for message in messages {
                guest.say(&message);
            }
            drop(request);
            guest.hear();
        });
        let error = refused(attach(&place.address(), None));
        guest.join().unwrap();
        assert!(matches!(error, AttachError::Protocol(_)), "{case}: {error:?}");
    }
}

#[test]
fn a_container_that_floods_the_message_channel_ends_its_own_session_only() {
    // It asks for agent connections without end, and never reads an answer.
    let place = Place::new();
    let agent = place.file("agent");
    let listener = UnixListener::bind(&agent).unwrap();
    let taking = std::thread::spawn(move || {
        let mut taken = Vec::new();
        while let Ok((connection, _)) = listener.accept() {
            taken.push(connection);
            if taken.len() > podspawn_wire::MAX_AGENTS {
                break;
            }
        }
        taken.len()
    });
    let guest = place.guest(|mut guest| {
        let (_, descriptors) = guest.start();
        let mut asked = 0u32;
        while guest.say(&FromGuest::AgentWanted { id: asked }) {
            asked += 1;
        }
        (asked, descriptors.len())
    });
    let attached = attach_as(&place.address(), None, |request| request.agent = Some(agent.clone()));
    let error = refused(attached);
    assert!(matches!(error, AttachError::Protocol(_) | AttachError::Guest(_)), "{error:?}");
    let (asked, _) = guest.join().unwrap();
    assert!(asked >= 16, "asked {asked} times");
    // One more connection than is allowed ends the agent's thread; made here, it was not made by the flood.
    let _end = UnixStream::connect(&agent).unwrap();
    assert_eq!(taking.join().unwrap(), podspawn_wire::MAX_AGENTS + 1);
}

#[test]
fn a_flood_of_output_does_not_hold_up_the_end() {
    // The main process has ended; something in the background writes on and on.
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        let (_, descriptors) = guest.start();
        let mut writing: Vec<OwnedFd> = descriptors;
        let stdout = writing.remove(1);
        let flood = std::thread::spawn(move || {
            let mut written = 0usize;
            while let Ok(put) = rustix::io::write(&stdout, &[b'x'; 4096]) {
                written += put;
            }
            written
        });
        guest.exit(Exit::Code(3));
        while guest.hear().is_some() {}
        flood.join().unwrap()
    });
    let attached = attach(&place.address(), None);
    assert!(attached.took < BOUND, "took {:?}", attached.took);
    assert!(matches!(attached.outcome, Ok(Exit::Code(3))));
    assert!(guest.join().unwrap() >= attached.stdout.len());
}

#[test]
fn descriptors_that_a_container_sends_are_not_accepted() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        let (_, descriptors) = guest.start();
        let (read, write) = rustix::pipe::pipe().unwrap();
        // As the channel would not: a frame with a descriptor that nobody announced.
        let frame = encode(&FromGuest::AgentWanted { id: 0 }, 0).unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        let passed = [write.as_fd()];
        assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&passed)));
        let bytes = [std::io::IoSlice::new(&frame)];
        rustix::net::sendmsg(&guest.channel, &bytes, &mut control, rustix::net::SendFlags::empty()).unwrap();
        drop(write);
        // The message was heard; if its descriptor had been accepted, the pipe would still have a writer.
        let answer = guest.hear();
        wait(&read, PollFlags::IN);
        let end = rustix::io::read(&read, &mut [0u8; 1]);
        guest.exit(Exit::Code(0));
        drop(descriptors);
        (answer.map(|(message, _)| message), end)
    });
    let agent = place.file("no-agent");
    let attached = attach_as(&place.address(), None, |request| request.agent = Some(agent));
    assert!(attached.took < PATIENCE);
    assert!(matches!(attached.outcome, Ok(Exit::Code(0))), "{:?}", attached.outcome);
    let (answer, end) = guest.join().unwrap();
    assert_eq!(answer, Some(ToGuest::AgentRefused { id: 0 }));
    assert_eq!(end, Ok(0));
}
