//! The three streams: what crosses instead of what this process was given, and that nothing is lost on the way.

use std::fs::File;
use std::io::{PipeReader, Read, Seek, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;

use podspawn::session::attach::{AttachError, AttachRequest, attach_direct};
use podspawn_wire::{Exit, FailureKind, FromGuest, Streams, ToGuest, Window};
use rustix::event::PollFlags;
use rustix::fs::{FileType, Mode};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::stand_in::{Place, attach, input, read_all, request, wait};

/// One of each kind of descriptor that a host process may have as a standard stream. What must stay open for it comes along.
pub fn every_kind(place: &Place) -> Vec<(&'static str, OwnedFd, Vec<OwnedFd>)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    let fifo = place.file("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
    let file = place.file("file");
    std::fs::write(&file, "of the host").unwrap();
    let rw = |path: PathBuf| File::options().read(true).write(true).open(path).unwrap();
    let (datagram, other_datagram) = UnixDatagram::pair().unwrap();
    let (stream, other_stream) = UnixStream::pair().unwrap();
    let (pipe, other_pipe) = rustix::pipe::pipe().unwrap();
    let (terminal, screen) = terminal();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(udp.local_addr().unwrap()).unwrap();
    vec![
        ("regular file", rw(file).into(), vec![]),
        ("directory", File::open(place.file("")).unwrap().into(), vec![]),
        ("device", rw("/dev/null".into()).into(), vec![]),
        ("terminal", terminal, vec![screen]),
        ("named pipe", rw(fifo).into(), vec![]),
        ("TCP socket", tcp.into(), vec![accepted.into()]),
        ("UDP socket", udp.into(), vec![]),
        ("unix datagram socket", datagram.into(), vec![other_datagram.into()]),
        ("unix stream socket", stream.into(), vec![other_stream.into()]),
        ("anonymous pipe", pipe, vec![other_pipe]),
    ]
}

/// A terminal's two sides: as a program has it, and as whoever drives it does.
pub fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (slave.into(), master)
}

fn identity(fd: impl AsFd) -> (u64, u64) {
    let facts = rustix::fs::fstat(fd).unwrap();
    (facts.st_dev, facts.st_ino)
}

#[test]
fn whatever_the_host_streams_are_only_pipes_of_podspawns_own_cross() {
    let place = Place::new();
    for (kind, fd, _others) in every_kind(&place) {
        let place = Place::new();
        let guest = place.guest(|mut guest| {
            let (start, descriptors) = guest.start();
            assert_eq!(start.streams, Streams::Pipes);
            let seen: Vec<_> = descriptors
                .iter()
                .map(|fd| {
                    let facts = rustix::fs::fstat(fd).unwrap();
                    let system = rustix::fs::fstatfs(fd).unwrap().f_type as u64;
                    let mode = facts.st_mode & 0o777;
                    (FileType::from_raw_mode(facts.st_mode), system, mode, identity(fd))
                })
                .collect();
            guest.exit(Exit::Code(0));
            seen
        });
        let attached = attach_all_to(&place, fd.as_fd());
        // A directory cannot be read: that is an error here, as it would be for any program.
        if kind != "directory" {
            assert!(matches!(attached, Ok(Exit::Code(0))), "{kind}: {attached:?}");
        }
        for (file_type, system, mode, seen) in guest.join().unwrap() {
            assert_eq!((file_type, system, mode), (FileType::Fifo, 0x5049_5045, 0o666), "{kind}");
            assert_ne!(seen, identity(&fd), "{kind}");
        }
    }
}

/// Attaches with one descriptor as all three streams.
fn attach_all_to(place: &Place, fd: std::os::fd::BorrowedFd<'_>) -> Result<Exit, AttachError> {
    attach_direct(&place.address(), &AttachRequest { stdin: Some(fd), ..request(fd, fd) })
}

#[test]
fn with_a_terminal_one_unix_socket_of_podspawns_own_crosses() {
    let place = Place::new();
    let (slave, master) = terminal();
    tcsetwinsize(&slave, Winsize { ws_row: 1, ws_col: 1, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let raw_seen = slave.try_clone().unwrap();
    let screen = master.try_clone().unwrap();
    let guest = place.guest(move |mut guest| {
        let (start, descriptors) = guest.start();
        let Streams::Terminal { term, window } = start.streams else { panic!("a terminal") };
        assert_eq!((term.as_str(), window), ("vt100", Window { rows: 1, cols: 1 }));
        assert_eq!(descriptors.len(), 1);
        let mode = rustix::fs::fstat(&descriptors[0]).unwrap().st_mode;
        assert_eq!(FileType::from_raw_mode(mode), FileType::Socket);
        let mut socket = UnixStream::from(descriptors.into_iter().next().unwrap());

        // A key as it is, Ctrl-C included: the terminal is raw.
        let mut keys = File::from(screen);
        wait_until_raw(&raw_seen);
        keys.write_all(b"\x03").unwrap();
        let mut key = [0];
        socket.read_exact(&mut key).unwrap();
        assert_eq!(key, [3]);

        tcsetwinsize(&raw_seen, Winsize { ws_row: 200, ws_col: 500, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::WINCH).unwrap();
        let Some((ToGuest::Resize(window), _)) = guest.hear() else { panic!("a new size") };
        assert_eq!(window, Window { rows: 200, cols: 500 });

        socket.write_all(b"good").unwrap();
        guest.exit(Exit::Code(7));
        socket.write_all(b"bye").unwrap();
    });
    let fd = slave.as_fd();
    let exit = attach_direct(
        &place.address(),
        &AttachRequest { stdin: Some(fd), terminal: Some("vt100".into()), ..request(fd, fd) },
    );
    assert!(matches!(exit, Ok(Exit::Code(7))), "{exit:?}");
    guest.join().unwrap();
    assert!(tcgetattr(&slave).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON));
    let mut shown = [0; 7];
    File::from(master).read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"goodbye");
}

/// Raw mode is entered when the process has been started; this waits for it by what it changes: a key is readable at once.
fn wait_until_raw(terminal: &OwnedFd) {
    let begun = std::time::Instant::now();
    while tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ICANON) {
        assert!(begun.elapsed() < super::stand_in::PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn a_terminal_that_is_gone_ends_the_session_and_nothing_else() {
    let place = Place::new();
    let (slave, master) = terminal();
    let guest = place.guest(|mut guest| {
        let started = guest.start();
        drop(master);
        let gone = guest.hear().is_none();
        drop(started);
        gone
    });
    let fd = slave.as_fd();
    let outcome = attach_direct(
        &place.address(),
        &AttachRequest { stdin: Some(fd), terminal: Some("vt100".into()), ..request(fd, fd) },
    );
    assert!(matches!(outcome, Err(AttachError::Interrupted(_) | AttachError::Io { .. })), "{outcome:?}");
    assert!(guest.join().unwrap(), "the guest sees its client go");
}

/// Bytes that show every loss and every change of order.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_ne_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Plays `cat`.
fn cat(place: &Place) -> std::thread::JoinHandle<()> {
    place.guest(|mut guest| {
        let (_, descriptors) = guest.start();
        let mut streams = descriptors.into_iter().map(File::from);
        let (mut stdin, mut stdout) = (streams.next().unwrap(), streams.next().unwrap());
        let mut buffer = vec![0; 100_000];
        loop {
            let got = stdin.read(&mut buffer).unwrap();
            if got == 0 || stdout.write_all(&buffer[..got]).is_err() {
                break;
            }
        }
        drop(stdout);
        guest.exit(Exit::Code(0));
    })
}

#[test]
fn bytes_arrive_unchanged_and_the_end_of_input_ends_the_process() {
    let place = Place::new();
    let bytes = pattern(20_000_003);
    let guest = cat(&place);
    let attached = attach(&place.address(), Some(input(&bytes)));
    assert!(matches!(attached.outcome, Ok(Exit::Code(0))), "{:?}", attached.outcome);
    assert!(attached.stdout == bytes, "{} of {} bytes", attached.stdout.len(), bytes.len());
    assert!(attached.stderr.is_empty());
    guest.join().unwrap();
}

#[test]
fn bytes_arrive_unchanged_from_and_to_every_kind_of_stream() {
    let bytes = pattern(3_000_001);
    let place = Place::new();
    std::fs::write(place.file("in"), &bytes).unwrap();
    for kind in ["file", "appended file", "unix socket", "TCP socket", "pipe"] {
        let source: OwnedFd = match kind {
            "unix socket" => {
                let (source, mut feeder) = UnixStream::pair().unwrap();
                let bytes = bytes.clone();
                std::thread::spawn(move || feeder.write_all(&bytes));
                source.into()
            }
            "pipe" => input(&bytes),
            _ => File::open(place.file("in")).unwrap().into(),
        };
        let (sink, collected): (OwnedFd, Box<dyn FnOnce() -> Vec<u8> + Send>) = match kind {
            "file" | "appended file" => {
                let path = place.file(kind);
                let file = File::options()
                    .read(true)
                    .write(true)
                    .append(kind == "appended file")
                    .create(true)
                    .truncate(false)
                    .open(path)
                    .unwrap();
                let mut reader = file.try_clone().unwrap();
                (
                    file.into(),
                    Box::new(move || {
                        reader.rewind().unwrap();
                        read_all(reader.into())
                    }),
                )
            }
            "TCP socket" => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let sink = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (reader, _) = listener.accept().unwrap();
                (sink.into(), collect(reader.into()))
            }
            "unix socket" => {
                let (sink, reader) = UnixStream::pair().unwrap();
                (sink.into(), collect(reader.into()))
            }
            _ => {
                let (reader, sink) = rustix::pipe::pipe().unwrap();
                (sink, collect(reader))
            }
        };
        let place = Place::new();
        let guest = cat(&place);
        let stderr = File::open("/dev/null").unwrap();
        let outcome = attach_direct(
            &place.address(),
            &AttachRequest { stdin: Some(source.as_fd()), ..request(sink.as_fd(), stderr.as_fd()) },
        );
        drop(sink);
        assert!(matches!(outcome, Ok(Exit::Code(0))), "{kind}: {outcome:?}");
        let arrived = collected();
        assert!(arrived == bytes, "{kind}: {} of {} bytes", arrived.len(), bytes.len());
        guest.join().unwrap();
    }
}

/// Reads in the background until the end.
fn collect(reader: OwnedFd) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
    let reading = std::thread::spawn(move || read_all(reader));
    Box::new(move || reading.join().unwrap())
}

#[test]
fn the_modes_of_the_hosts_own_descriptors_are_left_alone() {
    let place = Place::new();
    let (read, write) = rustix::pipe::pipe().unwrap();
    let (out, stdout) = rustix::pipe::pipe().unwrap();
    drop(write);
    let guest = cat(&place);
    let outcome = attach_direct(
        &place.address(),
        &AttachRequest { stdin: Some(read.as_fd()), ..request(stdout.as_fd(), stdout.as_fd()) },
    );
    assert!(outcome.is_ok(), "{outcome:?}");
    guest.join().unwrap();
    for fd in [&read, &out, &stdout] {
        let flags = rustix::fs::fcntl_getfl(fd).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    }
}

#[test]
fn a_consumer_that_goes_away_is_noticed_inside() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        let (_, mut descriptors) = guest.start();
        let stdout = descriptors.remove(1);
        let mut errno = None;
        while errno.is_none() {
            errno = rustix::io::write(&stdout, b"y\n").err();
        }
        guest.exit(Exit::Signal(13));
        errno
    });
    let (mut reader, writer) = std::io::pipe().unwrap();
    let head = std::thread::spawn(move || {
        let mut line = [0; 2];
        PipeReader::read_exact(&mut reader, &mut line).unwrap();
        line
    });
    let stderr = File::open("/dev/null").unwrap();
    let outcome = attach_direct(&place.address(), &request(writer.as_fd(), stderr.as_fd()));
    assert!(matches!(outcome, Ok(Exit::Signal(13))), "{outcome:?}");
    assert_eq!(head.join().unwrap(), *b"y\n");
    assert_eq!(guest.join().unwrap(), Some(rustix::io::Errno::PIPE));
}

#[test]
fn a_full_disk_on_this_side_is_an_error_and_not_a_reader_that_has_gone() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        let (_, mut descriptors) = guest.start();
        rustix::io::write(descriptors.remove(1), b"does not fit").unwrap();
        guest.hear().is_none()
    });
    let full = File::options().write(true).open("/dev/full").unwrap();
    let outcome = attach_direct(&place.address(), &request(full.as_fd(), full.as_fd()));
    assert!(
        matches!(&outcome, Err(AttachError::Io { action: "write standard output", source })
            if source.kind() == std::io::ErrorKind::StorageFull),
        "{outcome:?}"
    );
    assert!(guest.join().unwrap(), "the guest sees its client go");
}

#[test]
fn a_process_that_closes_its_input_does_not_end_the_session() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        let (_, mut descriptors) = guest.start();
        drop(descriptors.remove(0));
        rustix::io::write(&descriptors[0], b"still here").unwrap();
        guest.exit(Exit::Code(0));
    });
    let attached = attach(&place.address(), Some(input(&pattern(5_000_000))));
    assert!(matches!(attached.outcome, Ok(Exit::Code(0))), "{:?}", attached.outcome);
    assert_eq!(attached.stdout, b"still here");
    guest.join().unwrap();
}

#[test]
fn without_input_the_process_reads_its_end_at_once() {
    let place = Place::new();
    let guest = place.guest(|mut guest| {
        let (_, mut descriptors) = guest.start();
        let read = read_all(descriptors.remove(0));
        guest.exit(Exit::Code(0));
        read
    });
    assert!(attach(&place.address(), None).outcome.is_ok());
    assert!(guest.join().unwrap().is_empty());
}

#[test]
fn every_exit_comes_back_as_it_was() {
    for exit in [Exit::Code(0), Exit::Code(42), Exit::Code(255), Exit::Signal(9), Exit::Signal(15)] {
        let place = Place::new();
        let guest = place.guest(move |mut guest| {
            let started = guest.start();
            guest.exit(exit);
            drop(started);
        });
        assert_eq!(attach(&place.address(), None).outcome.unwrap(), exit);
        guest.join().unwrap();
    }
}

#[test]
fn a_request_that_cannot_be_carried_out_comes_back_with_the_guests_reason() {
    for (kind, status) in [
        (FailureKind::NotFound, Some(127)),
        (FailureKind::NotExecutable, Some(126)),
        (FailureKind::WorkingDirectory, None),
    ] {
        let place = Place::new();
        let guest = place.guest(move |mut guest| {
            guest.greet();
            let request = guest.hear();
            let failure = podspawn_wire::Failure { kind, text: "no such thing".into() };
            guest.say(&FromGuest::Failed(failure));
            drop(request);
        });
        let error = attach(&place.address(), None).outcome.unwrap_err();
        assert_eq!(error.status(), status);
        assert_eq!(error.to_string(), "no such thing");
        guest.join().unwrap();
    }
}

#[test]
fn agent_connections_are_made_on_this_side_and_passed_in() {
    let place = Place::new();
    let agent = place.file("agent");
    let listener = UnixListener::bind(&agent).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut question = [0; 4];
        connection.read_exact(&mut question).unwrap();
        connection.write_all(b"keys").unwrap();
        question
    });
    let guest = place.guest(|mut guest| {
        let (start, descriptors) = guest.start();
        assert!(start.agent);
        guest.say(&FromGuest::AgentWanted { id: 5 });
        let Some((ToGuest::AgentOpened { id: 5 }, mut passed)) = guest.hear() else { panic!("a connection") };
        let mut connection = UnixStream::from(passed.remove(0));
        connection.set_nonblocking(false).unwrap();
        connection.write_all(b"list").unwrap();
        let mut answer = [0; 4];
        connection.read_exact(&mut answer).unwrap();
        guest.exit(Exit::Code(0));
        drop(descriptors);
        answer
    });
    let (_out, stdout) = std::io::pipe().unwrap();
    let outcome = attach_direct(
        &place.address(),
        &AttachRequest { agent: Some(agent), ..request(stdout.as_fd(), stdout.as_fd()) },
    );
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(answering.join().unwrap(), *b"list");
    assert_eq!(guest.join().unwrap(), *b"keys");
}

#[test]
fn a_slow_consumer_gets_everything_after_the_end() {
    let place = Place::new();
    let bytes = pattern(200_000);
    let expected = bytes.clone();
    let (release, may_read) = std::sync::mpsc::channel::<()>();
    let guest = place.guest(move |mut guest| {
        let (_, mut descriptors) = guest.start();
        File::from(descriptors.remove(1)).write_all(&bytes).unwrap();
        guest.exit(Exit::Code(0));
        release.send(()).unwrap();
    });
    let (reader, stdout) = rustix::pipe::pipe().unwrap();
    let reading = std::thread::spawn(move || {
        // Not a byte before the process has ended.
        may_read.recv().unwrap();
        wait(&reader, PollFlags::IN);
        read_all(reader)
    });
    let outcome = attach_direct(&place.address(), &request(stdout.as_fd(), stdout.as_fd()));
    drop(stdout);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(reading.join().unwrap() == expected);
    guest.join().unwrap();
}
