//! Nonsense on the broker's socket, from a container user.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use podspawn_wire::broker::{BROKER_PROTOCOL, ClientChannel, FromBroker, Spawn, ToBroker};
use podspawn_wire::{Program, Streams, encode};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::harness::Server;
use crate::harness::engines::fact;
use crate::harness::moments::let_pass;
use crate::harness::server::{LATE, Wishes};
use crate::sshd::projects::{PROJECT, register};

/// Longer than the broker listens to somebody who says nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection whose other end sees this user.
fn connect(server: &Server, user: &str) -> UnixStream {
    connect_as(server.socket(), server.uid(user), server.gid())
}

fn connect_as(socket: PathBuf, uid: u32, gid: u32) -> UnixStream {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let connected = std::thread::spawn(move || {
        // Of this thread only.
        set_thread_groups(&[]).expect("setgroups");
        set_thread_res_gid(gid, gid, gid).expect("setresgid");
        set_thread_res_uid(uid, uid, uid).expect("setresuid");
        UnixStream::connect(socket).expect("connect")
    });
    let stream = connected.join().expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// A request that is sound but for what a story changes.
fn request(user: Option<&str>) -> ToBroker {
    ToBroker::Spawn {
        protocol: BROKER_PROTOCOL,
        spawn: Box::new(Spawn {
            user: user.map(str::to_owned),
            project: None,
            program: Program::CommandLine("true".into()),
            streams: Streams::Pipes,
            env: Vec::new(),
            agent: false,
            x11: None,
            interactive: false,
            original: "true".into(),
        }),
    }
}

/// Everything until the broker closes the connection, and how long that took.
fn until_closed(mut stream: UnixStream) -> (Vec<u8>, Duration) {
    let started = Instant::now();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the broker keeps the connection: {error}"),
    }
    (bytes, started.elapsed())
}

/// Sends bytes with descriptors, however many.
fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).expect("send");
    assert_eq!(sent, bytes.len());
}

/// The broker's last word.
fn answer(stream: UnixStream, message: &ToBroker, descriptors: Vec<OwnedFd>) -> FromBroker {
    let mut channel = ClientChannel::new(stream.into());
    let deadline = Instant::now() + PATIENCE;
    channel.send(message, descriptors, deadline).expect("send");
    channel.receive(Some(deadline)).expect("an answer").0
}

#[track_caller]
fn refused(answer: FromBroker, why: &str) {
    let FromBroker::Failed { text, .. } = answer else { panic!("{answer:?}") };
    assert!(text.contains(why), "{text}");
}

fn pipe_end() -> OwnedFd {
    std::io::pipe().expect("a pipe").1.into()
}

/// What `ssh true` takes this user.
pub(super) fn takes(server: &Server, user: &str) -> Duration {
    server.ssh(user, &[], &["true"]).run().ok().took
}

/// The pair in the middle, ordered by how much the second takes of the first.
pub(super) fn middle(mut pairs: Vec<(Duration, Duration)>) -> (Duration, Duration) {
    let ratio = |(quiet, during): &(Duration, Duration)| during.as_secs_f64() / quiet.as_secs_f64();
    pairs.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
    pairs[pairs.len() / 2]
}

on_engines! {
    #[expect(clippy::print_stderr, reason = "a measurement")]
    [docker]
    fn two_hundred_silent_connections_slow_nobody_else_down(server: Server) {
        if !crate::harness::soak() {
            return;
        }
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        server.sh(&ben, "true");
        let (socket, uid, gid) = (server.socket(), server.uid(&ann), server.gid());
        // Side by side in pairs, so that whatever else this host does slows both down.
        let pairs: Vec<(Duration, Duration)> = (0..30)
            .map(|_| {
                let quiet = takes(&server, &ben);
                let all: Vec<UnixStream> =
                    (0..200).map(|_| connect_as(socket.clone(), uid, gid)).collect();
                let during = takes(&server, &ben);
                drop(all);
                // What they leave behind is dealt with before the next pair.
                takes(&server, &ben);
                (quiet, during)
            })
            .collect();
        let all: Vec<UnixStream> = (0..200).map(|_| connect_as(socket.clone(), uid, gid)).collect();
        let ends = all.into_iter().map(until_closed);
        let kept = ends.filter(|(bytes, took)| !bytes.is_empty() || *took > Duration::from_secs(13));
        assert_eq!(kept.count(), 0);
        let (quiet, during) = middle(pairs);
        let log = server.broker_log().text();
        let lines = log.matches("too many open").count() + log.matches("came to nothing").count();
        eprintln!("ssh true: {quiet:?}, {during:?} meanwhile (the pair in the middle); {lines} lines in the log");
        // Twenty a minute, however many they are.
        assert!(log.contains("is only counted") && lines <= 60, "{lines}");
        assert!(during <= quiet * 2, "{quiet:?}, {during:?}");
    }

    [docker]
    fn whoever_says_nothing_is_dropped_and_nobody_else_notices(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        server.sh(&ben, "true");
        let silent = connect(&server, &ann);
        // The beginning of a request, and no more of it.
        let halting = connect(&server, &ann);
        let whole = encode(&request(None), 3).expect("encode");
        (&halting).write_all(&whole[..whole.len() / 2]).expect("write");
        // The same, and then the end.
        let ending = connect(&server, &ann);
        (&ending).write_all(&whole[..whole.len() / 2]).expect("write");
        ending.shutdown(std::net::Shutdown::Write).expect("shut down");
        let (bytes, took) = until_closed(ending);
        assert!(bytes.is_empty() && took < Duration::from_secs(5), "{took:?}");
        // More than one user may have open.
        let many: Vec<UnixStream> = (0..70).map(|_| connect(&server, &ann)).collect();
        server.broker_log().wait("too many open requests", PATIENCE);
        assert!(server.broker_log().text().matches("too many open requests").count() <= 20);
        assert_eq!(server.sh(&ben, "echo served"), "served");
        let dropped: Vec<Duration> = many.into_iter().map(|stream| until_closed(stream).1).collect();
        assert_eq!(dropped.iter().filter(|took| **took > Duration::from_secs(12)).count(), 0, "{dropped:?}");
        for stream in [silent, halting] {
            let (bytes, _) = until_closed(stream);
            assert_eq!(bytes, b"");
        }
        // Afterwards they are welcome again.
        assert_eq!(server.sh(&ann, "echo served"), "served");
    }

    [docker]
    fn nonsense_ends_its_own_connection_only(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let whole = encode(&request(None), 3).expect("encode");
        let mut cut = whole.clone();
        cut.truncate(whole.len() - 1);
        cut.push(0xff);
        for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 100_000], &[0; 64], &cut] {
            let mut stream = connect(&server, &ann);
            // It may be closed before everything is written.
            let _ = stream.write_all(bytes);
            let (_, took) = until_closed(stream);
            assert!(took < Duration::from_secs(5), "{took:?} for {:?}...", &bytes[..20]);
        }
        server.broker_log().wait("a request came to nothing", PATIENCE);
        assert_eq!(server.sh(&ben, "echo served"), "served");
        assert_eq!(server.containers(&ann), Vec::<String>::new());
    }

    [docker]
    fn descriptors_that_are_missing_too_many_or_of_the_wrong_kind_are_refused(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let pipe = pipe_end();
        for (announced, sent) in [(3, 0), (3, 2), (0, 0), (3, 4), (3, 40), (2, 2), (200, 3)] {
            let stream = connect(&server, &ann);
            let bytes = encode(&request(None), announced).expect("encode");
            send(&stream, &bytes, &vec![pipe.as_fd(); sent]);
            let (answer, took) = until_closed(stream);
            assert!(took < Duration::from_secs(5), "{announced}, {sent}: {took:?}");
            assert_eq!(answer, b"", "{announced}, {sent}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let tcp = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
        let (path, _) = server.marker();
        let wrong: [(OwnedFd, &str); 4] = [
            (File::open(path).expect("open").into(), "a file must not be passed"),
            (File::open("/").expect("open").into(), "a directory must not be passed"),
            (File::open("/dev/null").expect("open").into(), "a device must not be passed"),
            (tcp.into(), "an internet socket must not be passed"),
        ];
        for (stdin, why) in wrong {
            let descriptors = vec![stdin, pipe_end(), pipe_end()];
            refused(answer(connect(&server, &ann), &request(None), descriptors), why);
            server.broker_log().wait(&format!("a stub is not served: {why}"), PATIENCE);
        }
        assert_eq!(server.sh(&ben, "echo served"), "served");
    }

    [docker, podman]
    fn a_user_is_who_the_kernel_says_and_no_administrator(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let pipes = || vec![pipe_end(), pipe_end(), pipe_end()];
        refused(answer(connect(&server, &ann), &request(Some(&ben)), pipes()), "the request is for another user");
        let network = ToBroker::Network { protocol: BROKER_PROTOCOL, user: ann.clone() };
        refused(answer(connect(&server, &ann), &network, Vec::new()), "only root");
        for request in [r#""list""#, r#"{"stop":{"user":"x","project":""}}"#, r#""cleanup""#] {
            let admin = ToBroker::Admin { protocol: BROKER_PROTOCOL, request: request.into() };
            refused(answer(connect(&server, &ann), &admin, Vec::new()), "only root");
        }
        assert_eq!(server.containers(&ben), Vec::<String>::new());
        // What they may ask is granted.
        let granted = answer(connect(&server, &ann), &request(Some(&ann)), pipes());
        assert!(matches!(granted, FromBroker::Attached { .. }), "{granted:?}");
        server.audited(&ann, "disconnect", 1, PATIENCE);
    }

    [docker]
    fn one_users_connections_leave_room_for_others(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        server.sh(&ben, "true");
        // This process holds them all.
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a limit");
        let mut held = Vec::new();
        let last = loop {
            let mut channel = ClientChannel::new(connect(&server, &ann).into());
            let deadline = Instant::now() + PATIENCE;
            let pipes = vec![pipe_end(), pipe_end(), pipe_end()];
            channel.send(&request(None), pipes, deadline).expect("send");
            match channel.receive(Some(deadline)).expect("an answer").0 {
                FromBroker::Attached { .. } => held.push(channel),
                other => break other,
            }
        };
        refused(last, "you have too many connections");
        assert_eq!(held.len(), 512);
        for broker in server.brokers() {
            let path = format!("/proc/{}/limits", broker.as_raw_nonzero());
            let limits = std::fs::read_to_string(path).expect("its limits");
            let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("that one");
            let numbers: Vec<&str> = files.split_whitespace().take(2).collect();
            assert_eq!(numbers[0], numbers[1], "{files}");
        }
        assert_eq!(server.sh(&ben, "echo served"), "served");
        drop(held);
        let deadline = Instant::now() + PATIENCE;
        while server.list().iter().any(|row| row["connections"] != 0) {
            assert!(Instant::now() < deadline, "{:?}", server.list());
            let_pass(Duration::from_millis(50));
        }
        assert_eq!(server.sh(&ann, "echo served"), "served");
    }

    /// Gone before the broker's answer can reach them, so that it is the broker that closes what it wanted to hand over.
    [docker, podman; soak: gvisor]
    fn whoever_goes_before_the_answer_leaves_no_connection_behind(server: Server) {
        let ann = server.user("ann");
        server.sh(&ann, "true");
        for _ in 0..20 {
            let mut channel = ClientChannel::new(connect(&server, &ann).into());
            let pipes = vec![pipe_end(), pipe_end(), pipe_end()];
            channel.send(&request(None), pipes, Instant::now() + PATIENCE).expect("send");
        }
        // And while the network is looked for.
        for _ in 0..5 {
            let network = ToBroker::Network { protocol: BROKER_PROTOCOL, user: ann.clone() };
            let mut channel = ClientChannel::new(connect_as(server.socket(), 0, 0).into());
            channel.send(&network, Vec::new(), Instant::now() + PATIENCE).expect("send");
        }
        let deadline = Instant::now() + PATIENCE;
        let connections = || {
            let rows = server.list();
            rows.iter().filter_map(|row| row["connections"].as_u64()).sum::<u64>()
        };
        while connections() > 0 {
            assert!(Instant::now() < deadline, "{:?}", server.list());
            let_pass(Duration::from_millis(50));
        }
    }

    /// They take no word of what is made for them, and are still there: what is told them fails, and nothing says the end.
    [docker; soak: podman, gvisor]
    fn whoever_does_not_listen_leaves_no_session_behind(engine: EngineName) {
        let server = Server::with(engine, &Wishes { grace: "1s", ..Wishes::default() });
        register(&server, &format!("base: {}\non_create: echo one; echo two\n", fact("IMAGE_SUDO")));
        let ann = server.user("ann");
        // The image is built, so that the hook is the first that is told.
        let _ = server.sh_with(&ann, &["-o", PROJECT], "true");
        server.gone(&ann, 2, LATE + PATIENCE);
        let ToBroker::Spawn { protocol, mut spawn } = request(None) else { unreachable!("see above") };
        spawn.interactive = true;
        spawn.project = Some("api".into());
        let stream = connect(&server, &ann);
        stream.shutdown(std::net::Shutdown::Read).expect("shut down");
        let mut channel = ClientChannel::new(stream.into());
        let deadline = Instant::now() + PATIENCE;
        let pipes = vec![pipe_end(), pipe_end(), pipe_end()];
        channel.send(&ToBroker::Spawn { protocol, spawn }, pipes, deadline).expect("send");
        server.audited(&ann, "container_create", 3, PATIENCE);
        server.gone(&ann, 3, LATE + PATIENCE);
        drop(channel);
    }
}
