//! The three pages.

use std::time::Duration;

use super::host::Host;
use super::page::{Block, blocks};

/// Heading of the part that undoes everything.
const END: &str = "Taking it away again";

/// Follows a page up to its last part, looks around, and takes everything away as the page says.
fn follow(page: &'static str, look: impl Fn(&Host)) {
    let blocks = blocks(page);
    let (end, begin): (Vec<&Block>, Vec<&Block>) = blocks.iter().partition(|block| block.heading == END);
    assert!(!end.is_empty() && !begin.is_empty(), "{page} has no part `{END}`");
    let host = Host::new(page);
    let (traces, ordinary) = (host.traces(), host.ordinary());
    host.follow(begin);
    look(&host);
    assert_eq!(host.machine.ssh("olaf", "cat /etc/hostname").run().ok().out(), "machine\n");
    host.follow(end);
    assert_eq!(host.traces(), traces);
    assert_eq!(host.ordinary(), ordinary);
    let _ = host.laptop("ssh -o BatchMode=yes sarah@server true").run().status(255);
}

/// What sarah's container reaches at port 22 of the server's main address; 0 if that answers.
const REACH: &str = "ssh sarah@server \"nc -w 3 $(getent hosts machine | cut -d' ' -f1) 22 </dev/null >/dev/null 2>&1; echo \\$?\"";

/// Forwarding ends in the container, where nothing listens, and what the container itself dials is not the server.
fn the_server_is_out_of_reach(host: &Host) {
    let run = host.laptop("! ssh -W 127.0.0.1:22 sarah@server </dev/null").run().ok();
    assert!(!run.out().contains("SSH-"), "{}", run.out());
    assert_eq!(host.laptop(REACH).run().ok().out(), "1\n");
}

#[test]
fn the_page_for_a_docker_host_leads_to_a_session_and_back() {
    follow("deploy-docker-host.md", |host| {
        the_server_is_out_of_reach(host);
        // What the page says of an upgrade.
        let session = host
            .laptop("ssh sarah@server 'until test -e /tmp/end; do sleep 0.1; done; echo went on'")
            .start();
        host.machine.sh("until podspawn list | grep -q ' running  *1 '; do sleep 0.1; done");
        let upgrade =
            host.machine.run("cd /root/podspawn; make install >/dev/null; podspawn server-setup").run().ok();
        let restarted = "restarted podspawn-broker.service and podspawn-cleanup.service\n";
        let rest = upgrade.stderr.strip_prefix(restarted);
        assert_eq!(rest, Some("already configured, skipping\nserver-setup complete\n"), "{}", upgrade.stderr);
        let _ = host.laptop("ssh sarah@server touch /tmp/end").run().ok();
        assert_eq!(session.wait(Duration::from_secs(60)).ok().out(), "went on\n");
    });
}

#[test]
#[ignore = "a longer proof: make soak"]
fn the_page_for_gvisor_leads_to_a_session_and_back() {
    follow("deploy-hardened-gvisor.md", |host| {
        the_server_is_out_of_reach(host);
        // Nothing of a session stays, but for what is written down.
        host.machine.sh("until [ \"$(podspawn list)\" = 'No active sessions.' ]; do sleep 0.1; done
             [ \"$(docker ps -aq)\" = '' ]; grep -q '\"event\":\"command\"' /var/lib/podspawn/audit.jsonl");
    });
}

#[test]
fn the_page_for_rootless_podman_leads_to_a_session_through_a_boot_and_back() {
    follow("deploy-rootless-podman.md", |host| {
        the_server_is_out_of_reach(host);
        // It is the rule that keeps them apart, and it is there again after a boot, like everything else.
        host.machine.sh("systemctl stop podspawn-rootless-rules.service");
        assert_eq!(host.laptop(REACH).run().ok().out(), "0\n");
        host.machine.reboot();
        the_server_is_out_of_reach(host);
        // Of units that wait for each other systemd leaves one out, another at each boot.
        let cycles =
            host.machine.sh("systemd-analyze --man=no verify default.target 2>&1 | grep -i cycle || :");
        assert_eq!(cycles, "");
        // What the doctor prints brings the image back, on a host with what the page installs.
        let owned = "runuser -u podspawn -- env -C / XDG_RUNTIME_DIR=/run/user/$(id -u podspawn)";
        host.machine.sh(&format!("podspawn stop sarah; {owned} podman rmi --all --force >/dev/null"));
        let fix = "podspawn doctor | grep -A1 'default image' | sed -n 's/^ *fix: \\(.*\\); where its registry .*/\\1/p'";
        let fix = host.machine.sh(fix);
        assert!(fix.starts_with("runuser -u podspawn -- env -C /home/podspawn XDG_RUNTIME_DIR="), "{fix}");
        host.machine
            .sh(&format!("cd /root; {fix} >/dev/null 2>&1; podspawn doctor | grep -q 'pass. default image'"));
        // Nothing of root's serves users: neither the engine nor the broker, which asking for something starts.
        let broker = "podspawn doctor | tail -1
             ps -o user= -p $(systemctl show --property=MainPID --value podspawn-broker.service)";
        let owners = host.machine.sh(&format!("ps -o user= -C podman | sort -u\n{broker}"));
        assert!(owners.starts_with("podspawn\n") && owners.contains(" 0 failed\npodspawn"), "{owners}");
    });
}
