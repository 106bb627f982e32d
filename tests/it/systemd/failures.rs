//! What an administrator meets first: what its users see, what the doctor says, and that the fix which it prints repairs it.

use serde_json::Value;

use crate::harness::engines::fact;
use crate::harness::json;
use crate::harness::machine::Machine;

/// What the doctor says of one check.
struct Said {
    outcome: String,
    detail: String,
    fix: String,
}

/// The checks of one run that did not pass and are not about the room on this machine's disk.
#[track_caller]
fn wrong(machine: &Machine) -> Vec<Value> {
    let run = machine.run("podspawn doctor --output json").run();
    let report = json::parse(&run);
    let checks = report["checks"].as_array().expect("checks");
    let failed = checks.iter().any(|check| check["outcome"] == "fail");
    assert_eq!(run.status, i32::from(failed));
    checks.iter().filter(|check| check["outcome"] != "pass").cloned().collect()
}

#[track_caller]
fn said(machine: &Machine, name: &str) -> Said {
    let wrong = wrong(machine);
    let found = wrong.iter().find(|check| check["name"] == name);
    let found = found.unwrap_or_else(|| panic!("`{name}` is not in {wrong:#?}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Said { outcome: text("outcome"), detail: text("detail"), fix: text("fix") }
}

/// A check says this, and the command that it prints is what makes it pass.
#[track_caller]
fn repaired(machine: &Machine, name: &str, outcome: &str, detail: &str, fix: &str) {
    let Said { outcome: found, detail: why, fix: command } = said(machine, name);
    assert_eq!((found.as_str(), command.as_str()), (outcome, fix), "{why}");
    assert!(why.contains(detail), "{why}");
    machine.sh(&command);
    let still = wrong(machine);
    assert!(!still.iter().any(|check| check["name"] == name), "{still:#?}");
}

/// Somebody who comes is told this in one line, with hints at most, and fails.
#[track_caller]
fn refused(machine: &Machine, line: &str) {
    let run = machine.ssh("ann", "echo in").run();
    assert_ne!(run.status, 0);
    assert_eq!(run.out(), "");
    let (hints, lines): (Vec<_>, Vec<_>) = run.stderr.lines().partition(|line| line.starts_with("hint: "));
    assert!(lines.len() == 1 && hints.len() <= 1, "{}", run.stderr);
    assert!(lines[0].starts_with(line), "{}", run.stderr);
}

#[track_caller]
fn served(machine: &Machine) {
    assert_eq!(machine.ssh("ann", "id -un").run().ok().out(), "ann\n");
}

#[test]
fn each_failure_has_its_line_and_the_fix_that_the_doctor_prints_repairs_it() {
    let machine = Machine::boot();
    let image = fact("IMAGE_BUSYBOX");
    machine.sh(&format!(
        "install -d /etc/podspawn
         printf 'runtime: docker\ndefaults:\n  image: {image}\n  shell: /bin/sh\nsession:\n  grace_period: 1s\n' >/etc/podspawn/config.yaml"
    ));

    // sshd was not told: its unit refuses to.
    machine.sh(
        "install -d /etc/systemd/system/ssh.service.d
         printf '[Service]\\nExecReload=\\nExecReload=/bin/false\\n' >/etc/systemd/system/ssh.service.d/no.conf
         systemctl daemon-reload",
    );
    let run = machine.run("podspawn server-setup").run();
    assert_ne!(run.status, 0, "{}", run.stderr);
    machine.sh("rm /etc/systemd/system/ssh.service.d/no.conf; systemctl daemon-reload");
    machine.sh("podspawn add-user ann --key-file /root/key.pub");
    refused(&machine, "ann@127.0.0.1: Permission denied (publickey");
    repaired(&machine, "sshd for container users", "warn", "sshd was not told", "podspawn server-setup");
    served(&machine);

    // Others may write to the directory of keys.
    machine.sh("chmod 777 /etc/podspawn/keys");
    refused(&machine, "ann@127.0.0.1: Permission denied (publickey");
    assert_eq!(said(&machine, "keys for sshd").outcome, "fail");
    repaired(&machine, "key directory", "warn", "has mode 0777", "chmod 700 /etc/podspawn/keys");
    served(&machine);

    // Nobody listens for logins, and the module that would start a broker is missing.
    machine.sh("rm /usr/local/lib/podspawn/pam_podspawn.so
         systemctl stop podspawn-broker.socket podspawn-broker.service");
    refused(&machine, "Error: podspawn's broker cannot be reached: ");
    let start = "systemctl enable --now podspawn-broker.socket";
    repaired(&machine, "broker", "fail", "podspawn-broker.socket is not active", start);
    served(&machine);

    // It hangs: whoever asks it gets no answer.
    machine.sh("systemctl kill --signal=STOP podspawn-broker.service");
    repaired(&machine, "broker", "fail", "", "systemctl restart podspawn-broker.service");
    served(&machine);

    // What crashes leave would stay.
    machine.sh("systemctl stop podspawn-cleanup.service");
    let start = "systemctl enable --now podspawn-cleanup.service";
    repaired(
        &machine,
        "cleanup",
        "warn",
        "neither podspawn-cleanup.service nor podspawn-cleanup.timer",
        start,
    );

    // The module alone is missing: logins work, and nothing is forwarded.
    let forward = "ssh -F /root/.ssh-config -o LogLevel=INFO -W 127.0.0.1:22 ann@127.0.0.1 </dev/null";
    let run = machine.run(forward).run();
    assert!(run.status != 0 && run.stderr.contains("administratively prohibited"), "{}", run.stderr);
    assert_eq!(said(&machine, "forwarding").outcome, "warn");
    repaired(&machine, "PAM module", "warn", "is missing", "podspawn server-setup");
    let run = machine.run(forward).run();
    // It ends in the container, where nobody listens.
    assert!(run.stderr.contains("Connection refused"), "{}", run.stderr);
    served(&machine);

    // No engine.
    machine.sh("systemctl stop docker.socket docker.service");
    refused(&machine, "Error: the container engine does not answer");
    let Said { outcome, detail, fix } = said(&machine, "engine choice");
    assert_eq!(outcome, "fail", "{detail}");
    let (command, _) = fix.split_once("; or, where there is none, ").expect("a command");
    assert_eq!(command, "systemctl start docker");
    machine.sh(command);
    served(&machine);

    // The image is missing, and its registry out of reach.
    machine.sh("podspawn stop ann || :
         sed -i 's|image: .*|image: localhost:9/none:1|' /etc/podspawn/config.yaml");
    refused(&machine, "Error: failed to pull image `localhost:9/none:1`: ");
    let Said { outcome, detail, fix } = said(&machine, "default image");
    assert_eq!(outcome, "warn", "{detail}");
    let (pull, otherwise) = fix.split_once("; ").expect("two ways");
    assert_eq!(pull, "docker pull localhost:9/none:1");
    assert_ne!(machine.run(pull).run().status, 0);
    assert_eq!(
        otherwise,
        "where its registry is out of reach, set `defaults.image` to an image that is here"
    );
    machine.sh(&format!("sed -i 's|image: .*|image: {image}|' /etc/podspawn/config.yaml"));
    served(&machine);

    // The engine's disk is nearly full. A broker that runs would not see what is mounted in a machine that is a container.
    machine.sh("podspawn stop ann || :
         systemctl stop docker.socket docker.service podspawn-broker.service
         mount -t tmpfs -o size=200m,mode=0711 podspawn-it /var/lib/docker
         systemctl start docker");
    machine.load(image);
    refused(&machine, "Error: this host has no room for another container: its disk is nearly full");
    let Said { outcome, detail, fix } = said(&machine, "disk space");
    assert_eq!(outcome, "fail", "{detail}");
    assert!(detail.ends_with(" at /var/lib/docker"), "{detail}");
    assert!(fix.starts_with("make room at /var/lib/docker: "), "{fix}");
    machine.sh("mount -o remount,size=8g /var/lib/docker");
    served(&machine);

    let last = wrong(&machine);
    assert!(
        last.iter().all(|check| check["name"] == "disk space" && check["outcome"] == "warn"),
        "{last:#?}"
    );
}
