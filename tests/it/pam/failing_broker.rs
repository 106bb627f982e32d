//! Without a network from the broker a container user's forwarding leads nowhere, and logins work.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use podspawn_wire::broker::FromBroker;

use super::lab::{Lab, Network, host_network};
use super::player::{Answer, Player};

#[test]
fn a_broker_that_is_dead_costs_forwarding_and_nothing_else() {
    let lab = Lab::new();
    lab.assert_cut_off();
    lab.logged("did not start a broker");
    drop(UnixListener::bind(lab.socket()).expect("bind"));
    lab.assert_cut_off();
    lab.assert_ordinary();
    assert!(!lab.log().contains(&lab.stranger));
    let network = lab.login(&lab.member, "readlink /proc/self/ns/net; cat /proc/net/dev");
    assert_ne!(network.lines().next(), Some(host_network().as_str()));
    let devices: Vec<&str> = network.lines().skip(3).filter_map(|line| line.split(':').next()).collect();
    assert!(devices.iter().all(|device| !device.trim().starts_with("eth")), "{network}");
    assert_eq!(lab.witnessed().matches(&lab.member).count(), 0);
}

#[test]
fn whatever_is_no_containers_network_is_not_entered() {
    let lab = Lab::new();
    let broker = Player::listen(&lab.socket(), Answer::End);
    let open = |path: &str| File::open(path).expect("open");
    let says = |text: &str| FromBroker::NoNetwork { reason: text.into() };
    for (answer, logged) in [
        (Answer::End, "the other side closed the connection"),
        (Answer::Network(open("/proc/self/ns/net")), "the network of the host itself"),
        (Answer::Network(open("/proc/self/ns/mnt")), "a namespace that is no network"),
        (Answer::Network(open("/dev/null")), "something that is no namespace"),
        (Answer::Network(open("/")), "something that is no namespace"),
        (Answer::Says(says("the image is not here yet")), "the broker says: the image is not here yet"),
        (Answer::Says(says("two\nlines\x1b[31m")), "the broker says: two?lines?[31m"),
        (Answer::Says(FromBroker::Failed { text: "no".into(), hints: vec![] }), "the broker says: no"),
        (Answer::Says(FromBroker::Done), "not a message"),
        (Answer::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".into()), "bytes is longer than"),
        (Answer::Bytes(vec![0, 0, 0, 3, 255, 255, 255]), "not a message"),
        // The answer without its descriptors.
        (Answer::Bytes(vec![2, 0, 0, 1, 3]), "wrong number of descriptors"),
    ] {
        broker.set(answer);
        lab.assert_cut_off();
        lab.logged(logged);
    }
    lab.assert_ordinary();
}

#[test]
fn a_broker_that_says_nothing_delays_a_login_by_five_seconds() {
    let lab = Lab::new();
    let _broker = Player::listen(&lab.socket(), Answer::Nothing);
    let run = lab.ssh(&lab.member, &[], &["echo in"]).run().ok();
    assert_eq!(run.out(), "in\n");
    assert!((Duration::from_secs(5)..Duration::from_secs(9)).contains(&run.took), "{:?}", run.took);
    lab.logged("did not answer in time");
    let forwarded = lab.forward(&lab.member, lab.host.port);
    assert_eq!((forwarded.status, forwarded.out().as_str()), (255, ""));
    let run = lab.ssh(&lab.stranger, &[], &["echo in"]).run().ok();
    assert!(run.took < Duration::from_secs(5), "{:?}", run.took);
    lab.assert_ordinary();
}

#[test]
fn a_broker_that_accepts_nobody_delays_a_login_by_five_seconds() {
    let lab = Lab::new();
    let _full = UnixListener::bind(lab.socket()).expect("bind");
    let mut waiting = Vec::new();
    // Until the kernel has no room for a further one.
    loop {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        )
        .expect("a socket");
        let address = rustix::net::SocketAddrUnix::new(lab.socket()).expect("an address");
        match rustix::net::connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(error) => break assert_eq!(error, rustix::io::Errno::AGAIN),
        }
    }
    let run = lab.ssh(&lab.member, &[], &["echo in"]).run().ok();
    assert!((Duration::from_secs(5)..Duration::from_secs(9)).contains(&run.took), "{:?}", run.took);
    lab.logged("did not answer in time");
}

#[test]
fn a_socket_that_others_than_root_could_have_put_there_is_not_asked() {
    let lab = Lab::new();
    let _broker = Player::listen(&lab.socket(), Answer::Nothing);
    let run_dir = lab.path("run");
    fs::set_permissions(&run_dir, Permissions::from_mode(0o777)).expect("chmod");
    lab.assert_cut_off();
    lab.logged("others may write to the directory of the broker's socket");
    fs::set_permissions(&run_dir, Permissions::from_mode(0o755)).expect("chmod");
    chown(&run_dir, Some(65534), None).expect("chown");
    lab.assert_cut_off();
    lab.logged("the directory of the broker's socket does not belong to root");
    chown(&run_dir, Some(0), None).expect("chown");

    fs::rename(&run_dir, lab.path("elsewhere")).expect("rename");
    std::os::unix::fs::symlink("elsewhere", &run_dir).expect("link");
    lab.assert_cut_off();
    lab.logged("not a directory");
    fs::remove_file(&run_dir).expect("remove");
    fs::rename(lab.path("elsewhere"), &run_dir).expect("rename");

    fs::rename(lab.socket(), lab.path("run/other.sock")).expect("rename");
    std::os::unix::fs::symlink("other.sock", lab.socket()).expect("link");
    lab.assert_cut_off();
    lab.logged("not a socket");
    lab.assert_ordinary();
}

#[test]
fn an_sshd_that_may_not_enter_any_network_refuses_container_users() {
    let lab = Lab::powerless();
    let network = Network::with_server(lab.host.port);
    let _broker = Player::listen(&lab.socket(), Answer::Network(network.file()));
    let run = lab.forward(&lab.member, lab.host.port);
    assert_eq!((run.status, run.out().as_str()), (255, ""), "{}", run.stderr);
    let run = lab.ssh(&lab.member, &[], &["echo in"]).run();
    assert_eq!((run.status, run.out().as_str()), (254, ""), "{}", run.stderr);
    lab.logged("enter the network: Operation not permitted");
    lab.logged("no empty network either, so that the session is refused: Operation not permitted");
    lab.assert_ordinary();
}
