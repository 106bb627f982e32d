//! Who can talk to whom.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use podspawn_runtimes::*;

use crate::lab::{Lab, Which};

/// A server on port 8080 that says its own name.
const SERVE: &str = "use IO::Socket::INET; use Sys::Hostname; $| = 1; \
    $s = IO::Socket::INET->new(Listen => 5, LocalPort => 8080, ReuseAddr => 1) or die; print qq(ready\\n); \
    while ($c = $s->accept) { print $c hostname; close $c }";

async fn server(lab: &Lab, suffix: &str, network: &str, aliases: &[&str]) -> String {
    let spec = ContainerSpec {
        command: ["perl", "-e", SERVE].map(String::from).to_vec(),
        hostname: Some(suffix.into()),
        network: Some(network.into()),
        aliases: aliases.iter().map(|alias| alias.to_string()).collect(),
        ..lab.spec(suffix)
    };
    let name = lab.start(&spec).await;
    let mut output = lab.engine.logs(&name, LogOptions { follow: true, tail: None }).await.unwrap();
    assert_eq!(output.next().await.unwrap().unwrap(), ExecOutput::Stdout("ready\n".into()));
    name
}

/// What the server at `host` says to somebody in `container`; nothing if it cannot be reached within `seconds`. By select,
/// because under old gVisors a connection that was made with a time limit stays non-blocking.
async fn ask_within(lab: &Lab, container: &str, host: &str, seconds: u32) -> String {
    let script = format!(
        "perl -MIO::Socket::INET -MIO::Select -e '\
           $s = IO::Socket::INET->new(PeerAddr => \"{host}\", PeerPort => 8080, Timeout => {seconds}) or die $@; \
           IO::Select->new($s)->can_read(30); print <$s>'"
    );
    lab.sh(container, &script).await.out
}

async fn ask(lab: &Lab, container: &str, host: &str) -> String {
    ask_within(lab, container, host, 30).await
}

/// As [`ask`]. Podman's name server starts anew with every container of its account, those of tests beside this one too, and
/// answers nothing meanwhile: there a name that stays unknown runs into the case's limit.
async fn ask_by_name(lab: &Lab, container: &str, host: &str) -> String {
    loop {
        let answer = ask(lab, container, host).await;
        if !answer.is_empty() || lab.which != Which::Podman {
            return answer;
        }
    }
}

pub(crate) async fn names_resolve_on_a_network_and_not_from_outside(lab: Arc<Lab>) {
    let inside = lab.network("inside").await;
    let outside = lab.network("outside").await;
    let first = server(&lab, "first", &inside, &["alias-of-first"]).await;
    let second = server(&lab, "second", &inside, &[]).await;
    let third = server(&lab, "third", &outside, &[]).await;
    let address = async |name: &str, network: &str| {
        let info = lab.engine.container(name).await.unwrap().unwrap();
        info.addresses.get(network).unwrap_or_else(|| panic!("{:?}", info.addresses)).clone()
    };
    let (first_at, third_at) = (address(&first, &inside).await, address(&third, &outside).await);
    for host in [first.as_str(), "alias-of-first", &first_at] {
        assert_eq!(ask_by_name(&lab, &second, host).await, "first", "{host}");
    }
    assert_eq!(ask_by_name(&lab, &first, &second).await, "second");
    assert_eq!(ask(&lab, &third, "127.0.0.1").await, "third", "the third serves, to itself");
    for host in [first.as_str(), "alias-of-first"] {
        let output = lab.sh(&third, &format!("getent hosts {host}")).await;
        assert_ne!(output.code, 0, "{host} must not resolve outside: {output:?}");
    }
    if lab.which == Which::Podman {
        // Podman's networks are made with `isolate`. Whether it is in force cannot be asserted beside other tests: when
        // the last container leaves an isolated network, netavark 1.4 takes away the rule that sends packets through the
        // isolation of all networks, until the next container is started.
        let path = format!("/v4.3.1/libpod/networks/{inside}/json");
        let network = crate::listing::ask(&lab, &path).await;
        assert_eq!(network["options"]["isolate"], "true", "{network}");
        return;
    }
    // What every Docker promises is less than a closed door: for each network that anybody makes it takes the jump to these
    // rules away and puts it back (SECURITY.md), and tests beside this one make networks. The rules themselves stay.
    for network in [&inside, &outside] {
        let id = crate::listing::ask(&lab, &format!("/networks/{network}")).await["Id"].clone();
        let bridge = format!("br-{}", &id.as_str().unwrap()[..12]);
        let rules = lab.filter_rules();
        let has = |rule: String| rules.lines().any(|line| line == rule);
        let stages =
            has(format!("-A DOCKER-ISOLATION-STAGE-1 -i {bridge} ! -o {bridge} -j DOCKER-ISOLATION-STAGE-2"))
                && has(format!("-A DOCKER-ISOLATION-STAGE-2 -o {bridge} -j DROP"));
        // As Docker 28 and later say it.
        let door = has(format!("-A DOCKER ! -i {bridge} -o {bridge} -j DROP"));
        assert!(stages || door, "nothing keeps others out of {bridge}:\n{rules}");
    }
    // Between two such moments nothing comes through; a door that stands open runs into the case's limit.
    for (from, to) in [(&third, &first_at), (&first, &third_at)] {
        while !ask_within(&lab, from, to, 2).await.is_empty() {}
    }
}

pub(crate) async fn an_address_is_kept_where_the_engine_takes_one(lab: Arc<Lab>) {
    let network = lab.network("fixed").await;
    let listed = lab.engine.networks(&lab.labels).await.unwrap();
    let subnet = listed.into_iter().find(|one| one.name == network).unwrap().subnet.expect("a subnet");
    let base: Ipv4Addr = subnet.split_once('/').unwrap().0.parse().unwrap();
    let address = Ipv4Addr::from_bits(base.to_bits() + 9);
    let spec = ContainerSpec {
        command: ["sleep", "1000"].map(String::from).to_vec(),
        network: Some(network.clone()),
        address: Some(address),
        ..lab.spec("fixed")
    };
    // Docker takes one in such a network from version 29 on.
    if let Err(error) = crate::security::create_and_start(&lab, &spec).await {
        assert!(lab.which != Which::Podman && error.to_string().contains("subnet"), "{error}");
        return;
    }
    let name = spec.name.clone();
    let now = async || lab.engine.container(&name).await.unwrap().unwrap().addresses[&network].clone();
    assert_eq!(now().await, address.to_string());
    lab.engine.kill_container(&name, "SIGKILL").await.unwrap();
    lab.engine.wait_container(&name).await.unwrap();
    // Somebody who comes meanwhile does not get it.
    let other = server(&lab, "other", &network, &[]).await;
    lab.engine.start_container(&name).await.unwrap();
    assert_eq!(now().await, address.to_string());
    assert_eq!(
        ask(&lab, &name, &lab.engine.container(&other).await.unwrap().unwrap().addresses[&network]).await,
        "other"
    );
}

pub(crate) async fn an_internal_network_has_no_way_out(lab: Arc<Lab>) {
    let mut spec = NetworkSpec {
        name: lab.name("closed"),
        labels: lab.labels.clone(),
        bridge_name: None,
        internal: true,
    };
    lab.engine.create_network(&spec).await.unwrap();
    let closed = server(&lab, "closed", &spec.name, &[]).await;
    spec.name = lab.name("open");
    spec.internal = false;
    lab.engine.create_network(&spec).await.unwrap();
    let open = server(&lab, "open", &spec.name, &[]).await;
    // The default route is the one whose destination is zero.
    let routes = "awk 'NR > 1 && $2 == \"00000000\"' /proc/net/route | wc -l";
    assert_eq!(lab.sh(&open, routes).await.out, "1\n");
    if matches!(lab.which, Which::Docker | Which::Gvisor) {
        // Docker before 23 leaves the route there and drops the packets on the host.
        let name = lab.name("closed");
        let network = crate::listing::ask(&lab, &format!("/networks/{name}")).await;
        assert_eq!(network["Internal"], true, "{network}");
    } else {
        assert_eq!(lab.sh(&closed, routes).await.out, "0\n");
    }
}

pub(crate) async fn networks_are_listed_by_label_and_removed(lab: Arc<Lab>) {
    let bridge = format!("pspn-{:08x}", std::process::id() ^ (lab.which as u32) << 28);
    let mut labels = lab.labels.clone();
    labels.insert("purpose".into(), "listing".into());
    let spec = NetworkSpec {
        name: lab.name("listed"),
        labels: labels.clone(),
        bridge_name: Some(bridge.clone()),
        internal: false,
    };
    let id = lab.engine.create_network(&spec).await.unwrap();
    lab.network("other").await;
    let found = lab.engine.networks(&labels).await.unwrap();
    let [network] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&network.id, &network.name, &network.labels), (&id, &spec.name, &labels));
    assert!(network.created_at.is_some_and(|time| time > 1_700_000_000));
    assert_eq!(lab.engine.networks(&lab.labels).await.unwrap().len(), 2);
    match lab.engine.create_network(&NetworkSpec { bridge_name: None, ..spec.clone() }).await {
        Err(error) => assert!(error.is_conflict(), "{error}"),
        Ok(second) => {
            assert!(
                matches!(lab.which, Which::Docker | Which::Gvisor),
                "only Docker before 25 makes another"
            );
            lab.engine.remove_network(&second).await.unwrap();
        }
    }
    let user = lab.start(&ContainerSpec { network: Some(spec.name.clone()), ..lab.spec("user") }).await;
    // Bridges of the two others live in a network namespace of their own.
    if matches!(lab.which, Which::Docker | Which::Gvisor) {
        assert!(Path::new("/sys/class/net").join(&bridge).exists(), "{bridge}");
    }
    assert!(lab.engine.remove_network(&id).await.is_err(), "a network in use stays");
    lab.engine.remove_container(&user).await.unwrap();
    lab.engine.remove_network(&id).await.unwrap();
    lab.engine.remove_network(&id).await.expect("gone already is no error");
    lab.engine.remove_network(&spec.name).await.expect("gone already is no error");
    assert_eq!(lab.engine.networks(&labels).await.unwrap(), []);
}
