//! What an init system is given: the units, and a broker that is started by its socket.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::system;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn an_init_system_finds_nothing_wrong_with_the_units() {
    let copies = tempfile::tempdir().expect("a directory");
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for unit in std::fs::read_dir(units).expect("the units") {
        let unit = unit.expect("a unit").path();
        let text = std::fs::read_to_string(&unit).expect("read");
        let copy = copies.path().join(unit.file_name().expect("a name"));
        let program = system::podspawn().display().to_string();
        std::fs::write(&copy, text.replace("/usr/local/bin/podspawn", &program)).expect("write");
        verify.arg(copy);
    }
    let output = verify.output().expect("start systemd-analyze");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

/// What the init system makes of a unit's sandbox: ten is none at all.
#[test]
fn every_unit_is_in_a_sandbox() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for (unit, most) in [("broker", 45), ("cleanup", 10), ("cleanup-once", 10)] {
        let unit = units.join(format!("podspawn-{unit}.service"));
        let mut security = Command::new("systemd-analyze");
        security
            .args(["security", "--offline=true", "--no-pager", &format!("--threshold={most}")])
            .arg(&unit);
        let output = security.output().expect("start systemd-analyze");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}");
    }
}

on_engines! {
    [docker, podman]
    fn a_broker_starts_with_its_first_client_where_the_socket_waits_for_it(server: Server) {
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        server.kill_broker();
        server.start_broker_with_its_first_client();
        assert_eq!(server.sh(&ann, "echo served"), "served");
        server.broker_log().wait("broker started", SOON);
        server.audited(&ann, "disconnect", 1, SOON);
        assert_eq!(server.list()[0]["connections"], 1);
        terminal.line("exit");
        terminal.wait();
        assert_eq!(server.containers(&ann).len(), 1);
    }
}
