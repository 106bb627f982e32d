//! What an administrator does to a server while its users are there: upgrades, restores, projects that are written by hand.

use std::time::Duration;

use crate::harness::engines::fact;
use crate::harness::machine::Machine;

const SOON: Duration = Duration::from_secs(60);

/// Who works as a unit's main process.
fn main_process(machine: &Machine, unit: &str) -> String {
    machine.sh(&format!("systemctl show --property=MainPID --value {unit}"))
}

/// What is missing, and a server of repositories on the machine's loopback, `api` among them.
const REPOSITORY: &str = r#"
printf 'APT::Install-Recommends "false";\nDPkg::Options { "--force-unsafe-io"; };\n' >/etc/apt/apt.conf.d/90lean
apt-get -qq update >/dev/null
apt-get -qq install git sqlite3 >/dev/null 2>&1
export GIT_AUTHOR_NAME=olaf GIT_AUTHOR_EMAIL=olaf@machine GIT_COMMITTER_NAME=olaf GIT_COMMITTER_EMAIL=olaf@machine
git init -q -b main /srv/served/api
cd /srv/served/api
echo from-the-repository >where
git add where
git commit -q -m first
systemd-run --quiet --unit=served git daemon --export-all --base-path=/srv/served --listen=127.0.0.1 /srv/served
until git ls-remote git://127.0.0.1/api >/dev/null 2>&1; do sleep 0.1; done
"#;

#[test]
fn a_server_is_upgraded_and_restored_while_its_users_are_there() {
    let machine = Machine::boot();
    let image = fact("IMAGE_BUSYBOX");
    machine.sh(REPOSITORY);
    machine.sh(&format!(
        "install -d /etc/podspawn
         printf 'defaults:\\n  image: {image}\\n  shell: /bin/sh\\nlog:\\n  audit_log: /var/log/podspawn-audit.jsonl\\n\
         projects:\\n  api:\\n    repo: git://127.0.0.1/api\\n' >/etc/podspawn/config.yaml
         podspawn server-setup
         podspawn add-user ann --key-file /root/key.pub"
    ));

    // What was written by hand is fetched by the broker, within the limits of its unit.
    let project =
        "ssh -F /root/.ssh-config -o SetEnv=PODSPAWN_PROJECT=api ann@127.0.0.1 'cat /workspace/api/where'";
    assert_eq!(machine.sh(project), "from-the-repository");
    machine.sh("cd /srv/served/api && echo later >where && GIT_AUTHOR_NAME=o GIT_COMMITTER_NAME=o EMAIL=o@m git commit -qam second");
    machine.sh("podspawn update-project api; podspawn stop ann@api");
    assert_eq!(machine.sh(project), "later");
    machine.sh("grep -q '\"event\":\"connect\"' /var/log/podspawn-audit.jsonl");

    // A new program takes over as soon as the server is set up with it, and says what it did. Nobody is disturbed.
    let session =
        machine.ssh("ann", "touch /tmp/in; until test -e /tmp/end; do sleep 0.1; done; exit 7").start();
    let container = "docker exec $(docker ps -q --filter name=^podspawn-ann$)";
    let _ =
        machine.run(&format!("until {container} test -e /tmp/in; do sleep 0.1; done")).limit(SOON).run().ok();
    let units = ["podspawn-broker.service", "podspawn-cleanup.service"];
    let before = units.map(|unit| main_process(&machine, unit));
    let same = machine.run("podspawn server-setup").run().ok();
    assert!(!same.stderr.contains("restarted"), "{}", same.stderr);
    machine.sh("cd /usr/local/bin && cp podspawn new && echo >>new && mv new podspawn");
    let upgraded = machine.run("podspawn server-setup").run().ok();
    let told = "restarted podspawn-broker.service and podspawn-cleanup.service\n";
    assert!(upgraded.stderr.contains(told), "{}", upgraded.stderr);
    let after = units.map(|unit| main_process(&machine, unit));
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?} {after:?}");
    let same = machine.run("podspawn server-setup").run().ok();
    assert!(!same.stderr.contains("restarted"), "{}", same.stderr);
    assert!(machine.sh("podspawn list").contains("ann"));

    // A login where nobody listens starts the unit and no broker beside it.
    machine.sh("systemctl stop podspawn-broker.socket podspawn-broker.service");
    assert_eq!(machine.ssh("ann", "echo served").run().ok().out(), "served\n");
    assert_eq!(
        machine.sh("systemctl is-active podspawn-broker.socket podspawn-broker.service"),
        "active\nactive"
    );
    assert_eq!(main_process(&machine, units[0]), machine.sh("pgrep -fx '/usr/local/bin/podspawn broker'"));

    // The backup and the restore of docs/operations.md, with logins meanwhile.
    machine.sh("install -d -m 0700 /backup
         cd /var/lib/podspawn
         sqlite3 state.db \".backup '/backup/state.db'\"
         cp -p state.db.id /backup/");
    machine.sh("touch /run/podspawn/maintenance
         systemctl stop podspawn-cleanup.service podspawn-broker.socket podspawn-broker.service");
    let run = machine.ssh("ann", "echo in").run();
    assert!(
        run.status != 0 && run.stderr.starts_with("Error: this server is being worked on"),
        "{}",
        run.stderr
    );
    let doctor = machine.run("podspawn doctor").run().status(1);
    assert!(doctor.out().contains("fix: rm /run/podspawn/maintenance\n"), "{}", doctor.out());
    assert_eq!(machine.sh("pgrep -f '^/usr/local/bin/podspawn broker' || :"), "");
    machine.sh("cd /var/lib/podspawn
         rm -f state.db-wal state.db-shm
         cp -p /backup/state.db /backup/state.db.id .
         rm /run/podspawn/maintenance
         systemctl start podspawn-broker.socket podspawn-cleanup.service");
    assert_eq!(machine.ssh("ann", "echo served").run().ok().out(), "served\n");
    assert!(machine.sh("podspawn list").contains("ann"));
    // Who has been in all the time is in still.
    let _ = machine.ssh("ann", "touch /tmp/end").run().ok();
    let _ = session.wait(SOON * 2).status(7);
    let doctor = machine.run("podspawn doctor").run();
    assert_eq!(doctor.status, 0, "{}{}", doctor.out(), doctor.stderr);
}
