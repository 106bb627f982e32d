//! From the first boot to the next one.

use std::time::Duration;

use crate::harness::engines::fact;
use crate::harness::machine::Machine;

const SOON: Duration = Duration::from_secs(60);

/// Waits inside until a shell condition holds.
fn until(machine: &Machine, condition: &str) {
    let _ = machine.run(&format!("until {condition}; do sleep 0.1; done")).limit(SOON).run().ok();
}

/// State of a unit: `active`, `inactive`, `failed`.
fn state(machine: &Machine, unit: &str) -> String {
    machine.sh(&format!("systemctl is-active {unit} || :"))
}

#[test]
fn a_host_with_a_service_manager_serves_its_users_through_crashes_and_boots() {
    let machine = Machine::boot();
    let image = fact("IMAGE_BUSYBOX");
    machine.sh(&format!(
        "install -d /etc/podspawn
         printf 'defaults:\\n  image: {image}\\n  shell: /bin/sh\\nsession:\\n  grace_period: 2s\\n' >/etc/podspawn/config.yaml"
    ));
    let ordinary = machine.sh("sshd -T -C user=olaf,host=h,addr=127.0.0.1");
    let set_up = machine.run("podspawn server-setup").run().ok();
    assert!(set_up.stderr.ends_with("reloaded ssh\nserver-setup complete\n"), "{}", set_up.stderr);
    assert_eq!(machine.sh("sshd -T -C user=olaf,host=h,addr=127.0.0.1"), ordinary);
    assert_eq!(state(&machine, "podspawn-broker.socket podspawn-cleanup.service"), "active\nactive");
    machine
        .sh("podspawn add-user ann --key-file /root/key.pub; podspawn add-user ben --key-file /root/key.pub");
    // As it comes, this distribution knows accounts of drop-ins.
    assert_eq!(machine.sh("getent passwd ann; ! grep ^ann: /etc/passwd").split(':').next(), Some("ann"));

    // The first login starts the broker, within the limits of its unit.
    until(&machine, "[ \"$(systemctl is-active podspawn-broker.service)\" = inactive ]");
    assert_eq!(state(&machine, "podspawn-broker.service"), "inactive");
    let inside = machine.ssh("ann", "id -un; cat /etc/hostname").run().ok();
    assert_eq!(inside.out(), "ann\npodspawn-ann\n", "{}", inside.stderr);
    assert_eq!(state(&machine, "podspawn-broker.service"), "active");
    assert_eq!(machine.ssh("olaf", "id -un; cat /etc/hostname").run().ok().out(), "olaf\nmachine\n");
    let doctor = machine.run("podspawn doctor").run();
    assert_eq!(doctor.status, 0, "{}{}", doctor.out(), doctor.stderr);

    // Forwarding ends in the container, and no user manager was started for its user.
    let forwarded = machine
        .run("! ssh -F /root/.ssh-config -W 127.0.0.1:22 ann@127.0.0.1 </dev/null && ssh -F /root/.ssh-config -W 127.0.0.1:22 olaf@127.0.0.1 </dev/null | head -c 3")
        .run()
        .ok();
    assert_eq!(forwarded.out(), "SSH");
    // The limits of its unit do not keep the broker from the containers.
    let journal = machine.sh("journalctl --unit=podspawn-broker.service --no-pager --quiet");
    assert!(!journal.contains("direct attach is not possible"), "{journal}");
    assert_eq!(machine.sh("loginctl list-users --no-legend | grep -c ann || :"), "0");

    // A session outlives its broker, which is back at once.
    let session =
        machine.ssh("ann", "echo in >/tmp/file; until test -e /tmp/end; do sleep 0.1; done; exit 7").start();
    let container = "docker exec $(docker ps -q --filter label=podspawn-user=ann)";
    until(&machine, &format!("{container} test -e /tmp/file"));
    let before = machine.sh("systemctl show --property=MainPID --value podspawn-broker.service");
    machine.sh("systemctl kill --signal=KILL podspawn-broker.service");
    assert_eq!(machine.ssh("ann", "cat /tmp/file").run().ok().out(), "in\n");
    let after = machine.sh("systemctl show --property=MainPID --value podspawn-broker.service");
    assert_ne!(before, after);
    assert!(machine.sh("podspawn list").contains("ann"));
    machine.sh("systemctl restart podspawn-broker.service");
    assert_eq!(machine.ssh("ann", "cat /tmp/file").run().ok().out(), "in\n");
    // With nobody left and nothing to expire it ends, and starts again when it is needed.
    let _ = machine.ssh("ann", "touch /tmp/end").run().ok();
    let _ = session.wait(SOON * 2).status(7);
    until(&machine, "[ \"$(docker ps -q --filter label=podspawn-user=ann)\" = '' ]");
    until(&machine, "[ \"$(systemctl is-active podspawn-broker.service)\" = inactive ]");
    assert_eq!(machine.sh("systemctl show --property=Result --value podspawn-broker.service"), "success");
    assert_eq!(machine.sh("podspawn list"), "No active sessions.");

    // The timer instead of the daemon: it removes what nobody else would.
    machine.sh(
        "systemctl disable --now podspawn-cleanup.service; systemctl enable --now podspawn-cleanup.timer",
    );
    machine.sh("systemctl start podspawn-cleanup-once.service");
    assert_eq!(
        machine.sh("systemctl show --property=Result --value podspawn-cleanup-once.service"),
        "success"
    );
    assert_eq!(state(&machine, "podspawn-cleanup.timer"), "active");

    // A boot under a session of somebody who stays: it is there again, and so is everything else, without a hand.
    machine.sh("install -d /etc/podspawn/users; printf 'mode: persistent\\n' >/etc/podspawn/users/ben.yaml");
    assert_eq!(machine.ssh("ben", "echo kept >kept; cat kept").run().ok().out(), "kept\n");
    assert_eq!(machine.ssh("ann", "echo in >/tmp/file").run().ok().out(), "");
    machine.reboot();
    assert_eq!(
        state(&machine, "podspawn-broker.socket podspawn-cleanup.timer docker"),
        "active\n".repeat(3).trim_end()
    );
    // Some distributions start it with the first connection.
    assert!(state(&machine, "ssh ssh.socket").lines().any(|state| state == "active"));
    assert_eq!(machine.ssh("ben", "cat kept").run().ok().out(), "kept\n");
    assert_eq!(machine.ssh("ann", "test ! -e /tmp/file && echo new").run().ok().out(), "new\n");
    assert_eq!(machine.ssh("olaf", "echo in").run().ok().out(), "in\n");
    assert!(
        !machine
            .sh("journalctl --boot --unit='podspawn-*' --priority=err --no-pager --quiet")
            .contains("podspawn")
    );

    // And it is all taken away again.
    machine.sh("podspawn remove-user ann --force --purge; podspawn remove-user ben --force --purge; podspawn server-setup --remove");
    assert_eq!(machine.sh("sshd -T -C user=olaf,host=h,addr=127.0.0.1"), ordinary);
    assert_eq!(machine.sh("systemctl list-unit-files 'podspawn-*' --no-legend || :"), "");
    assert_eq!(machine.sh("docker ps -aq; docker network ls -q --filter name=podspawn"), "");
}
