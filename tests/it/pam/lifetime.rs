//! The lease and the module's connection live as long as the connection of the user.

use rustix::process::{Pid, Signal, kill_process};

use super::lab::{Lab, Network};
use super::player::{Answer, Player};

#[test]
fn the_lease_is_held_until_the_connection_ends() {
    let lab = Lab::new();
    let network = Network::new();
    let broker = Player::listen(&lab.socket(), Answer::Network(network.file()));

    let control = lab.path("control").display().to_string();
    let _ = lab.ssh(&lab.member, &["-f", "-N", "-M", "-S", &control], &[]).run().ok();
    let connection = broker.connection();
    assert_eq!(lab.ssh(&lab.member, &["-S", &control], &["echo in"]).run().ok().out(), "in\n");
    assert!(connection.is_held());
    let _ = lab.ssh(&lab.member, &["-S", &control, "-O", "exit"], &[]).run().ok();
    connection.ends();
    assert!(!lab.witnessed().contains(&lab.member), "what was not opened is not closed");
}

#[test]
fn the_lease_ends_with_sshds_processes_however_they_end() {
    let lab = Lab::new();
    let network = Network::new();
    let broker = Player::listen(&lab.socket(), Answer::Network(network.file()));

    let control = lab.path("control").display().to_string();
    let _ = lab.ssh(&lab.member, &["-f", "-N", "-M", "-S", &control], &[]).run().ok();
    let connection = broker.connection();
    // The process that serves the client is there once it has done so.
    assert_eq!(lab.ssh(&lab.member, &["-S", &control], &["echo in"]).run().ok().out(), "in\n");
    let serving = lab.serving();
    assert_eq!(serving.len(), 2, "the privileged one and the one that serves the client");
    assert!(connection.is_held());
    for pid in serving {
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("kill");
    }
    connection.ends();
}

#[test]
fn a_process_of_the_user_that_stays_behind_holds_no_lease() {
    let lab = Lab::new();
    let network = Network::new();
    let broker = Player::listen(&lab.socket(), Answer::Network(network.file()));
    let pid = lab.login(&lab.member, "sleep 60 >/dev/null 2>&1 </dev/null & echo $!");
    broker.connection().ends();
    let pid = Pid::from_raw(pid.trim().parse().expect("a pid")).expect("a pid");
    kill_process(pid, Signal::KILL).expect("it still runs");
}
