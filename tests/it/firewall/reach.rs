//! Who reaches whom.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use podspawn::server::firewall::{Firewall, FirewallError, Flaw, Guard, Status, status};

use super::world::{LONG, SHORT, World, run};

/// The host's listener, and an echo, at each of the host's addresses, within `seconds`.
fn host_answers(world: &World, container: &str, seconds: u32) -> Vec<(Option<String>, bool)> {
    let ask = |address| {
        let ping = world.sh(container, &format!("ping -c 1 -W {seconds} {address}"));
        (world.ask_for(seconds, container, address, world.host_port), ping.is_some())
    };
    world.host_addresses.iter().map(ask).collect()
}

fn the_host_and_the_metadata_are_out_of_reach(runtime: &str) {
    let world = World::new();
    world.start("one", runtime);
    world.start("two", runtime);

    // Without rules everything is reached: what follows can fail.
    let answers = host_answers(&world, "one", LONG);
    assert!(answers.iter().all(|(who, _)| who.as_deref() == Some("host")), "{answers:?}");
    // gVisor gives its containers no raw sockets.
    assert!(answers.iter().all(|(_, ping)| *ping == (runtime == "runc")), "{answers:?}");
    assert_eq!(world.ask("one", world.metadata, 80).as_deref(), Some("outside"));

    world.firewall.ensure().expect("put the rules into force");
    for (address, (who, ping)) in world.host_addresses.iter().zip(host_answers(&world, "one", SHORT)) {
        assert_eq!((who, ping), (None, false), "{address} answered");
    }
    assert_eq!(world.ask_in_vain("one", world.metadata, 80), None, "the metadata address answered");
    assert_eq!(world.ask("one", world.metadata, 53).as_deref(), Some("outside"), "a resolver there");

    let others = world.container("two");
    assert_eq!(world.ask("one", &others, 80).as_deref(), Some("two"), "names resolve");
    assert_eq!(world.ask("one", world.address("two"), 80).as_deref(), Some("two"), "neighbours");
    assert_eq!(world.ask("one", world.outside, 80).as_deref(), Some("outside"), "the way out");

    // What the host begins is answered.
    let mut stream = TcpStream::connect((world.address("one"), 80)).expect("the host reaches a container");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "one\n");

    world.firewall.remove().expect("take the rules away");
    world.firewall.remove().expect("gone already is no error");
    assert_eq!(world.ask("one", world.host_addresses[1], world.host_port).as_deref(), Some("host"));
}

#[test]
fn a_container_reaches_everything_but_the_host_and_the_metadata_docker() {
    the_host_and_the_metadata_are_out_of_reach("runc");
}

#[test]
fn a_container_reaches_everything_but_the_host_and_the_metadata_gvisor() {
    the_host_and_the_metadata_are_out_of_reach("runsc");
}

#[test]
fn a_connection_that_was_begun_before_the_rules_ends_with_them() {
    for (rules, expected) in [(false, "host"), (true, "")] {
        assert_eq!(answer_to_a_connection_begun_before(rules), expected, "rules: {rules}");
    }
}

/// What a container gets from the host over a connection that it began before the rules were there, if they come.
fn answer_to_a_connection_begun_before(rules: bool) -> String {
    let world = World::new();
    world.start("one", "runc");
    let [gateway, _] = world.host_addresses;
    let limit = if rules { 4 } else { LONG };
    // The listener reads before it answers: the request is held back until the rules are there.
    let script = format!(
        "mkfifo /go /end; (cat /go; echo ask) | \
           (timeout {limit} nc {gateway} {} >/answer; echo >/end) >/dev/null 2>&1 & \
         until netstat -tn | grep -q ':{} .*ESTABLISHED'; do usleep 50000; done",
        world.host_port, world.host_port
    );
    world.sh("one", &script).expect("connect");
    if rules {
        world.firewall.ensure().expect("put the rules into force");
    }
    let answer = world.sh("one", "echo >/go; cat /end /answer").expect("the client ends");
    answer.trim().to_owned()
}

#[test]
fn sessions_do_not_reach_each_other_even_while_dockers_own_rules_are_away() {
    let world = World::new();
    world.start("one", "runc");
    world.start("two", "runc");
    let far = world.start_elsewhere("far");
    // What a container meets while Docker has taken its isolation out: nothing in front of an ACCEPT. Since version 28 a
    // part of the isolation is in the table `raw`.
    let bridges = format!("{}+", world.bridge_prefix);
    let lapse = |action: &str| {
        let rule = ["-i", &bridges, "-o", &bridges, "-j", "ACCEPT"];
        let place = if action == "-I" { &["FORWARD", "1"][..] } else { &["FORWARD"] };
        run("iptables", &[&["-w", action][..], place, &rule].concat());
        let place = if action == "-I" { &["PREROUTING", "1"][..] } else { &["PREROUTING"] };
        run(
            "iptables",
            &[&["-w", "-t", "raw", action][..], place, &["-i", &bridges, "-j", "ACCEPT"]].concat(),
        );
    };
    lapse("-I");
    let without = world.ask("one", far, 80);
    world.firewall.ensure().expect("put the rules into force");
    let with = world.ask_in_vain("one", far, 80);
    let neighbour = world.ask("one", world.address("two"), 80);
    lapse("-D");
    assert_eq!(without.as_deref(), Some("far"), "or the next line shows nothing");
    assert_eq!(with, None, "another session answered");
    assert_eq!(neighbour.as_deref(), Some("two"), "the session's own network");
}

#[test]
fn rules_that_were_tampered_with_are_found_and_mended_and_sound_ones_are_left_alone() {
    let firewall = {
        let world = World::new();
        let save = || run("iptables-save", &["-t", "mangle"]);
        let chain = format!("{}-INPUT", world.chains);
        let jump = format!("-A INPUT -i {}+ -j {chain}\n", world.bridge_prefix);
        assert!(matches!(
            world.firewall.check(),
            Err(FirewallError::NotInForce { flaw: Flaw::Chain(_), .. })
        ));
        world.firewall.ensure().expect("put the rules into force");
        world.firewall.check().expect("the rules are in force");
        run("iptables", &["-w", "-t", "mangle", "-I", &chain, "1", "-j", "ACCEPT"]);
        assert!(matches!(world.firewall.check(), Err(FirewallError::NotInForce { .. })));
        world.firewall.ensure().expect("mend the chain");
        world.firewall.check().expect("the chain is mended");

        let bridge = format!("{}+", world.bridge_prefix);
        run("iptables", &["-w", "-t", "mangle", "-I", "INPUT", "1", "-i", &bridge, "-j", "ACCEPT"]);
        let found = world.firewall.check();
        world.firewall.ensure().expect("move the jump");
        world.firewall.check().expect("the jump stands before the foreign rule");
        let after = save();
        run("iptables", &["-w", "-t", "mangle", "-D", "INPUT", "-i", &bridge, "-j", "ACCEPT"]);
        assert!(matches!(found, Err(FirewallError::NotInForce { flaw: Flaw::Jump { .. }, .. })), "{found:?}");
        assert_eq!(after.matches(&jump).count(), 1, "{after}");

        // A guard believes what it saw; who asks it to look finds out.
        let guard = Guard::new(world.firewall.clone());
        guard.ensure().expect("look");
        run("iptables", &["-w", "-t", "mangle", "-F", &chain]);
        guard.ensure().expect("believed");
        world.firewall.check().expect_err("nobody looked");
        guard.ensure_now().expect("mend");
        world.firewall.check().expect("somebody looked");
        world.firewall.clone()
    };
    firewall.check().expect_err("removed at the end");
}

#[test]
fn doctor_tells_rules_that_are_missing_from_a_command_that_is() {
    // Other tests may have put the server's own rules into force; both answers mean that it could look.
    match status() {
        Status::InForce => {}
        Status::NotInForce { detail, remedy } => {
            assert!(detail.starts_with("IPv"), "{detail}");
            assert!(!remedy.is_empty());
        }
        Status::Unknown { detail, .. } => panic!("{detail}"),
    }
    assert!(Firewall::named("p-", "A CHAIN").is_err());
}
