//! Clients of the socket that do not keep the rules.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use podspawn_wire::{FailureKind, PROTOCOL, ToGuest, encode};

use crate::client::{Session, Way, connect, on_terminal, sh, start};
use crate::support::Machine;

/// The connection is closed without an answer; how long that took.
fn closed(mut socket: &UnixStream) -> Duration {
    let begun = Instant::now();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = Vec::new();
    // What was still on its way when the other side closed shows as a reset, which is an end as well.
    if let Err(error) = socket.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert!(answer.is_empty(), "{answer:?}");
    begun.elapsed()
}

#[test]
fn garbage_silence_and_floods_end_one_connection_and_disturb_nobody() {
    let machine = Machine::debian();
    let mut bystander = Session::open(&machine, Way::Direct);
    bystander.start(start(podspawn_wire::Program::Argv(vec!["cat".into()])));
    bystander.started();

    let silent = connect(&machine);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 3]] {
        let mut socket = connect(&machine);
        socket.write_all(garbage).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        closed(&socket);
    }
    // A flood of good messages without ever reading: given up once too much would pile up, or read on without growing.
    let flood = connect(&machine);
    flood.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let hello = encode(&ToGuest::Hello { protocol: PROTOCOL }, 0).unwrap().repeat(10_000);
    let _ = (&flood).write_all(&hello);

    bystander.write(b"still here\n");
    bystander.expect("still here");
    // Who says nothing is let go after some seconds.
    let waited = closed(&silent);
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    bystander.end_input();
    bystander.finish_started();
    let resident = machine.root("grep VmRSS /proc/1/status | tr -dc 0-9");
    assert!(resident.parse::<u32>().unwrap() < 8_000, "{resident} kB");
}

#[test]
fn another_protocol_and_a_start_before_the_greeting_are_refused() {
    let machine = Machine::debian();
    let mut session = Session::connect(&machine, Way::Direct);
    session.send(ToGuest::Hello { protocol: PROTOCOL + 1 });
    assert_eq!(session.failed().kind, FailureKind::Protocol);
    let mut session = Session::connect(&machine, Way::Direct);
    session.start(sh("touch /tmp/never"));
    assert_eq!(session.failed().kind, FailureKind::Protocol);
    assert_eq!(machine.sh("ls /tmp/never 2>/dev/null || echo none"), "none");
}

#[test]
fn descriptors_that_could_be_reopened_are_refused_inside_as_well() {
    let machine = Machine::debian();
    let folder = std::env::temp_dir();
    let fifo = folder.join(format!("podspawn-guest-fifo-{}", std::process::id()));
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    let open = |path: &std::path::Path| std::fs::File::options().read(true).write(true).open(path).unwrap();
    let hostile: Vec<std::os::fd::OwnedFd> = vec![
        open(std::path::Path::new("/dev/null")).into(),
        open(&fifo).into(),
        std::fs::File::open(&folder).unwrap().into(),
        std::fs::File::open("/etc/passwd").unwrap().into(),
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(),
        std::os::unix::net::UnixDatagram::unbound().unwrap().into(),
    ];
    std::fs::remove_file(fifo).unwrap();
    for descriptor in hostile {
        let mut session = Session::open(&machine, Way::Direct);
        let (reader, writer) = std::io::pipe().unwrap();
        let shown = format!("{descriptor:?}");
        let descriptors = vec![reader.into(), writer.into(), descriptor];
        session.send_with(ToGuest::Start(Box::new(sh("true"))), descriptors);
        assert_eq!(session.failed().kind, FailureKind::Request, "{shown}");
    }
}

#[test]
fn the_sessions_user_cannot_speak_to_the_guest() {
    let machine = Machine::debian();
    assert_eq!(machine.sh("ls /run/podspawn 2>/dev/null || echo closed"), "closed");
    // Not even where the directory were open: who is neither the host nor root is not listened to.
    machine.root("chmod 755 /run/podspawn; chmod 666 /run/podspawn/guest.sock");
    let ran = machine.run(Way::Direct, sh("/.podspawn/guest relay < /dev/null; echo $?"));
    assert_eq!(ran.out, "1\n", "{}", ran.err);
}

#[test]
fn a_full_backlog_is_emptied_again() {
    let machine = Machine::debian();
    let address = rustix::net::SocketAddrUnix::new(crate::client::socket(&machine)).unwrap();
    // More than are served at once and may wait, 512 and 128: the rest waits until these are let go.
    let crowd: Vec<UnixStream> = (0..700)
        .map_while(|_| {
            let socket = rustix::net::socket_with(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::STREAM,
                rustix::net::SocketFlags::NONBLOCK,
                None,
            )
            .unwrap();
            rustix::net::connect(&socket, &address).ok().map(|()| UnixStream::from(socket))
        })
        .collect();
    // One was turned away, so that it is full.
    assert!(crowd.len() < 700);
    drop(crowd);
    assert_eq!(machine.sh("echo served"), "served");
}

#[test]
fn a_client_that_never_reads_its_terminal_is_alone_in_waiting() {
    let machine = Machine::debian();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut stuck = Session::open(&machine, Way::Direct);
    let yes = podspawn_wire::Program::Argv(vec!["yes".into()]);
    stuck.send_with(ToGuest::Start(Box::new(on_terminal(yes, 24, 80))), vec![theirs.into()]);
    stuck.started();
    assert_eq!(machine.sh("echo served"), "served");
    drop(ours);
    stuck.vanish();
    machine.sh("for i in $(seq 100); do pgrep -x yes >/dev/null || exit 0; sleep 0.1; done; exit 1");
}
