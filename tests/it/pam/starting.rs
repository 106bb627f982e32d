//! Where no broker answers, the module starts one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::fs::{CWD, Mode};

use super::lab::{INSIDE, Lab, Network, host_network};
use super::player::{Answer, Player};

/// Tells how it was started, waits until the test listens, and ends as `broker --detach` does.
const STARTER: &str = "\
here=${0%/*}
{ echo \"$@\"; readlink /proc/self/ns/net; ls -l /proc/$$/fd | grep -c socket; pwd; env | grep -c .; cat /proc/$$/stat; } >$here/started
read answer <$here/answer
exit $answer
";

/// Plays the program that was started once: notes what it tells, then does something, then lets it end with 0.
fn play(lab: &Lab, then: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<Vec<String>> {
    let (started, answer) = (lab.path("started"), lab.path("answer"));
    for pipe in [&started, &answer] {
        rustix::fs::mkfifoat(CWD, pipe, Mode::from_raw_mode(0o600)).expect("a pipe");
    }
    std::thread::spawn(move || {
        let told = BufReader::new(fs::File::open(started).expect("open"));
        let told: Vec<String> = told.lines().map(|line| line.expect("a line")).collect();
        then();
        fs::write(answer, "0\n").expect("write");
        told
    })
}

#[test]
fn a_missing_broker_is_started_in_the_hosts_network_and_then_asked() {
    let lab = Lab::with_broker(STARTER);
    let network = Network::with_server(lab.host.port);
    // A socket that nobody listens on any more, as after a crash.
    drop(UnixListener::bind(lab.socket()).expect("bind"));
    let (socket, file) = (lab.socket(), network.file());
    let started = play(&lab, move || {
        fs::remove_file(&socket).expect("remove");
        // Listens on after this.
        std::mem::forget(Player::listen(&socket, Answer::Network(file)));
    });
    assert_eq!(lab.forward(&lab.member, lab.host.port).ok().out(), INSIDE);
    let told = started.join().expect("a broker was started");
    assert_eq!(told[0], format!("broker --detach --config {}", lab.path("etc/config.yaml").display()));
    assert_eq!(told[1], host_network());
    assert_eq!(told[2], "0", "connections of sshd are open");
    assert_eq!(told[3], "/");
    // Fields of stat after the name: state, parent, group, session.
    let (pid, rest) = told[5].split_once(" (").expect("stat");
    let session = rest.rsplit_once(')').expect("stat").1.split_whitespace().nth(3).expect("a session");
    assert_eq!(session, pid, "a session of its own");
}

#[test]
fn ordinary_users_start_nothing() {
    let lab = Lab::with_broker("touch ${0%/*}/was-started\n");
    lab.assert_ordinary();
    assert!(!lab.path("was-started").exists());
    lab.assert_cut_off();
    assert!(lab.path("was-started").exists());
}

#[test]
fn a_broker_that_does_not_start_costs_forwarding_and_nothing_else() {
    let lab = Lab::with_broker("exit 3\n");
    lab.assert_cut_off();
    lab.logged("did not start a broker: exit status: 3");
    lab.assert_ordinary();
}

#[test]
fn a_broker_that_hangs_while_it_starts_is_killed_after_five_seconds() {
    let lab = Lab::with_broker("echo $$ >${0%/*}/pid\nexec sleep 60\n");
    let run = lab.ssh(&lab.member, &[], &["echo in"]).run().ok();
    assert!((Duration::from_secs(5)..Duration::from_secs(9)).contains(&run.took), "{:?}", run.took);
    lab.logged("it takes too long");
    let pid = fs::read_to_string(lab.path("pid")).expect("a pid");
    assert!(!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists(), "it still runs");
}
