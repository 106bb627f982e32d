//! Without a usable module logins work; that a container user could then forward to the host is why keys grant nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use podspawn::server::forwarding::{Reason, ready};
use podspawn::server::pam;

use super::lab::{HOST, INSIDE, Lab, Network};
use super::player::{Answer, Player};

/// The position of the machine in an ELF file, and a machine that this one is not.
const MACHINE: usize = 18;
const ANOTHER: u8 = if cfg!(target_arch = "x86_64") { 183 } else { 62 };

#[test]
fn logins_work_without_a_usable_module_and_forwarding_is_not_ready() {
    let lab = Lab::new();
    let network = Network::with_server(lab.host.port);
    let _broker = Player::listen(&lab.socket(), Answer::Network(network.file()));
    ready(&lab.config, &lab.config_dir()).expect("ready");
    assert_eq!(lab.forward(&lab.member, lab.host.port).ok().out(), INSIDE);

    let module = lab.module();
    let whole = fs::read(&module).expect("read");
    let mut foreign = whole.clone();
    foreign[MACHINE] = ANOTHER;
    let mut contents = vec![None, Some(foreign)];
    // Wherever the end is, down to the last byte.
    let lengths =
        [0, 1, 64, 1000, 4096, whole.len() / 3, whole.len() / 2, whole.len() - 4096, whole.len() - 1];
    contents.extend(lengths.map(|length| Some(whole[..length].to_vec())));
    for content in contents {
        // A new file each time: the old one may be loaded.
        fs::remove_file(&module).expect("remove");
        if let Some(content) = &content {
            fs::write(&module, content).expect("write");
        }
        let reason = ready(&lab.config, &lab.config_dir()).expect_err("not ready");
        match content {
            None => assert!(matches!(reason, Reason::Missing(_)), "{reason}"),
            Some(_) => assert!(matches!(reason, Reason::Other(_)), "{reason}"),
        }
        lab.assert_ordinary();
        assert_eq!(lab.login(&lab.member, "echo in"), "in\n");
        // A key that granted forwarding now would lead to the host.
        assert_eq!(lab.forward(&lab.member, lab.host.port).ok().out(), HOST);
        pam::install_module(&lab.config.server.lib_dir).expect("install");
        ready(&lab.config, &lab.config_dir()).expect("ready");
    }
    assert_eq!(lab.forward(&lab.member, lab.host.port).ok().out(), INSIDE);
}

#[test]
fn a_module_that_only_root_can_read_still_works() {
    let lab = Lab::new();
    let network = Network::with_server(lab.host.port);
    let _broker = Player::listen(&lab.socket(), Answer::Network(network.file()));
    fs::set_permissions(lab.module(), Permissions::from_mode(0o000)).expect("chmod");
    lab.assert_ordinary();
    assert_eq!(lab.forward(&lab.member, lab.host.port).ok().out(), INSIDE);
}

#[test]
fn an_unwired_service_is_not_ready() {
    let lab = Lab::new();
    let service = pam::service_file(&lab.config_dir()).expect("the service file");
    let wired = pam::read(&service).expect("read");
    assert_eq!(pam::unwire(&service).expect("unwire"), pam::Outcome::Changed);
    assert!(matches!(ready(&lab.config, &lab.config_dir()), Err(Reason::NotWired { .. })));
    lab.assert_ordinary();
    assert_eq!(lab.login(&lab.member, "echo in"), "in\n");
    fs::write(&service, wired).expect("write");
    ready(&lab.config, &lab.config_dir()).expect("ready");
}

#[test]
fn asking_whether_forwarding_is_ready_is_cheap() {
    let lab = Lab::new();
    let mut times: Vec<_> = (0..30)
        .map(|_| {
            let start = Instant::now();
            ready(&lab.config, &lab.config_dir()).expect("ready");
            start.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[15].as_millis() < 5, "{:?}", times[15]);
}
