//! Where forwarding ends.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use super::lab::{HOST, INSIDE, Lab, Network, PATIENCE, RESOLVERS, greeting};
use super::player::{Answer, Player};
use crate::harness::greeter::Greeter;

#[test]
fn a_container_users_forwarding_ends_in_the_containers_network() {
    let lab = Lab::new();
    let network = Network::with_server(lab.host.port);
    let broker = Player::listen(&lab.socket(), Answer::Network(network.file()));

    // The same port is taken on both loopbacks.
    assert_eq!(lab.forward(&lab.member, lab.host.port).ok().out(), INSIDE);
    let connection = broker.connection();
    assert_eq!(connection.user, lab.member);

    let host_only = Greeter::listen(0, HOST);
    let run = lab.forward(&lab.member, host_only.port);
    assert_eq!((run.status, run.out().as_str()), (255, ""), "{}", run.stderr);
    lab.assert_ordinary();
    assert_eq!(lab.log(), "", "nothing to tell where all goes well");
}

#[test]
fn every_kind_of_forwarding_of_one_connection_is_in_that_network() {
    let lab = Lab::new();
    let network = Network::with_server(lab.host.port);
    let _broker = Player::listen(&lab.socket(), Answer::Network(network.file()));
    let to = |name: &str| lab.path(name).display().to_string();
    let (control, local, socks) = (to("control"), to("local.sock"), to("socks.sock"));
    let host_only = Greeter::listen(0, HOST);

    // `-f` returns as soon as all forwardings are there.
    let port = lab.host.port;
    let (forward, refused) =
        (format!("{local}:127.0.0.1:{port}"), format!("{local}2:127.0.0.1:{}", host_only.port));
    let remote = format!("127.0.0.1:0:127.0.0.1:{}", host_only.port);
    let _ = lab
        .ssh(
            &lab.member,
            &["-f", "-N", "-M", "-S", &control, "-L", &forward, "-L", &refused, "-D", &socks],
            &[],
        )
        .run()
        .ok();

    let read = |mut stream: UnixStream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let mut bytes = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut bytes);
        bytes
    };
    let connect = |path: &str| UnixStream::connect(path).expect("connect");
    assert_eq!(read(connect(&local)), INSIDE.as_bytes());
    assert_eq!(read(connect(&format!("{local}2"))), b"");

    let through_socks = |port: u16| {
        let mut stream = connect(&socks);
        let [high, low] = port.to_be_bytes();
        stream.write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low]).expect("write");
        read(stream)
    };
    assert!(through_socks(port).ends_with(INSIDE.as_bytes()));
    assert!(!through_socks(host_only.port).ends_with(HOST.as_bytes()));

    // A port that sshd listens on for this connection is open in the container and closed on the host.
    let answer =
        lab.ssh(&lab.member, &["-S", &control, "-O", "forward", "-R", &remote], &[]).run().ok().out();
    let port: u16 = answer.trim().parse().unwrap_or_else(|_| panic!("no port in {answer:?}"));
    let inside = network.inside(move || TcpStream::connect(("127.0.0.1", port)).map(greeting));
    assert_eq!(inside.expect("connect"), HOST);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "open on the host");
    let _ = lab.ssh(&lab.member, &["-S", &control, "-O", "exit"], &[]).run().ok();
}

#[test]
fn the_rest_of_the_session_stack_runs_for_ordinary_users_only() {
    let lab = Lab::new();
    let network = Network::new();
    let _broker = Player::listen(&lab.socket(), Answer::Network(network.file()));
    assert_eq!(lab.login(&lab.member, "readlink /proc/self/ns/net").trim_end(), network.name());
    assert_eq!(lab.witnessed(), "");
    lab.assert_ordinary();
    let opened = format!("{} open_session\n", lab.stranger);
    assert!(lab.witnessed().starts_with(&opened), "{}", lab.witnessed());
    assert!(!lab.witnessed().contains(&lab.member));
}

#[test]
fn nothing_of_the_module_is_open_in_the_users_processes() {
    let lab = Lab::new();
    let network = Network::new();
    let broker = Player::listen(&lab.socket(), Answer::Network(network.file()));
    // The fourth is the directory that is listed.
    assert_eq!(lab.login(&lab.member, "ls /proc/self/fd | wc -l").trim(), "4");
    assert_eq!(lab.login(&lab.member, "umask; pwd; grep SigIgn: /proc/self/status"), {
        broker.set(Answer::End);
        lab.login(&lab.stranger, "umask; pwd; grep SigIgn: /proc/self/status")
    });
}

/// Answers every question for an address, at this one, with the loopback's.
fn name_server(address: &str) {
    let socket = UdpSocket::bind((address, 53)).expect("bind");
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            let question = &packet[12..length];
            let end = question.iter().position(|byte| *byte == 0).expect("the end of the name") + 5;
            let is_v4 = question[end - 4..end] == [0, 1, 0, 1];
            let mut answer = packet[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
            answer.extend(&question[..end]);
            if is_v4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, client).expect("send");
        }
    });
}

#[test]
fn names_are_resolved_as_the_container_resolves_them_where_the_host_asks_itself() {
    let lab = Lab::new();
    let network = Network::with_server(8080);
    network.inside(|| name_server("127.0.0.11"));
    let broker = Player::listen(&lab.socket(), Answer::Network(network.file()));
    let forward = || lab.ssh(&lab.member, &["-W", "database.internal:8080"], &[]).run();
    let unresolved = forward();
    assert_eq!((unresolved.status, unresolved.out().as_str()), (255, ""), "{}", unresolved.stderr);
    let resolver = "127.0.0.11".parse().expect("an address");
    broker.set(Answer::Resolved(network.file(), vec![resolver]));
    assert_eq!(forward().ok().out(), INSIDE);
    // That file is all that is different.
    assert_eq!(lab.login(&lab.member, "cat /etc/resolv.conf"), "nameserver 127.0.0.11\n");
    let mounts = |user: &str| {
        let text = lab.login(user, "cut -d' ' -f5 /proc/self/mountinfo");
        let mut mounts: Vec<String> = text.lines().map(str::to_owned).collect();
        mounts.sort();
        mounts
    };
    let mut expected = mounts(&lab.stranger);
    expected.push("/etc/resolv.conf".into());
    expected.sort();
    assert_eq!(mounts(&lab.member), expected);
    assert_eq!(lab.login(&lab.stranger, "cat /etc/resolv.conf"), RESOLVERS);
}
