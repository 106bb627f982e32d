//! What ends from outside: containers that others kill, engines that are restarted, networks that are cut.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::EngineName;
use crate::harness::command::Running;
use crate::harness::dockerd::Dockerd;
use crate::harness::server::{Server, Wishes};
use crate::harness::system::{self, run};

const SOON: Duration = Duration::from_secs(30);

/// A connection whose container ended has one line about it, and fails.
#[track_caller]
fn told(running: Running) {
    let run = running.wait(SOON);
    assert_ne!(run.status, 0);
    assert_eq!(run.stderr.trim(), "Error: the container of this session has ended");
}

/// Nothing tells of a session any more.
#[track_caller]
fn nothing_left(server: &Server, user: &str) {
    server.gone(user, 1, SOON);
    assert_eq!(server.audited(user, "container_destroy", 1, SOON)["reason"], "container_gone");
    assert!(server.list().is_empty());
    assert_eq!(server.engine.labelled("network", &format!("podspawn-user={user}")), Vec::<String>::new());
    let leases = std::fs::read_dir(server.path("state/locks/leases")).expect("read the leases");
    assert_eq!(leases.count(), 0);
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn whoever_is_in_a_container_that_is_killed_is_told_and_gets_another(server: Server) {
        let ann = server.user("ann");
        let command = server.running(&ann, &[], "exec sleep 1000");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        let first = server.containers(&ann);
        let killed = Instant::now();
        server.engine.run(&["kill", &first[0]]);
        told(command);
        let (status, screen) = terminal.wait();
        assert_ne!(status, 0);
        assert_eq!(screen.matches("has ended").count(), 1, "{screen}");
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
        nothing_left(&server, &ann);
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("your previous container was replaced by a new one: it was gone");
        terminal.expect("$ ");
        terminal.line("exit");
        terminal.wait();
        assert_ne!(server.containers(&ann), first);
    }

    [docker; soak: podman]
    fn a_container_that_is_stopped_from_outside_ends_its_session_even_if_nobody_is_there(server: Server) {
        let ann = server.user("ann");
        server.sh(&ann, "true");
        server.audited(&ann, "disconnect", 1, SOON);
        server.engine.run(&["stop", &server.containers(&ann)[0]]);
        nothing_left(&server, &ann);
    }

    [docker; soak: podman]
    fn a_persistent_container_that_was_killed_is_started_again(engine: EngineName) {
        let server = Server::with(engine, &Wishes { mode: "persistent", ..Wishes::default() });
        let ann = server.user("ann");
        let command = server.running(&ann, &[], "echo kept >/var/tmp/file; exec sleep 1000");
        let first = server.containers(&ann);
        server.engine.run(&["kill", &first[0]]);
        told(command);
        assert_eq!(server.containers(&ann), first);
        assert_eq!(server.sh(&ann, "cat /var/tmp/file"), "kept");
        assert_eq!(server.containers(&ann), first);
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        assert_eq!(server.containers(&ann), Vec::<String>::new());
    }
}

#[test]
fn an_engine_that_is_restarted_takes_its_sessions_with_it() {
    let mut dockerd = Dockerd::start();
    let wishes = Wishes { image: "IMAGE_BUSYBOX", ..Wishes::default() };
    let server = Server::with(EngineName::Private, &wishes);
    let (ann, ben) = (server.user("ann"), server.user("ben"));
    let command = server.running(&ann, &[], "trap '' TERM HUP; while :; do sleep 1000; done");
    let mut terminal = server.login(&ben, &[]);
    terminal.expect("$ ");
    dockerd.end();
    told(command);
    let (status, screen) = terminal.wait();
    assert_ne!(status, 0);
    assert_eq!(screen.matches("has ended").count(), 1, "{screen}");
    // Nobody gets in meanwhile, and is told why.
    let run = server.ssh(&ann, &[], &["true"]).run();
    assert!(run.status != 0 && run.stderr.contains("the container engine does not answer"), "{}", run.stderr);
    dockerd.again();
    server.gone(&ann, 1, SOON);
    server.gone(&ben, 1, SOON);
    assert!(server.list().is_empty());
    let (cleo, dan) = (server.user("cleo"), server.user("dan"));
    for user in [&ann, &ben, &cleo] {
        assert_eq!(server.sh(user, "id -un"), *user);
    }
    // There is no address left for the network of a fourth.
    let run = server.ssh(&dan, &[], &["true"]).run();
    assert!(run.status != 0 && run.stderr.contains("no addresses left"), "{}", run.stderr);
    server.broker_log().wait("address pool", SOON);
    assert_eq!(server.list().len(), 3);
    let _ = server.podspawn(&["stop", &cleo]).run().ok();
    assert_eq!(server.sh(&dan, "id -un"), dan);
}

/// A network namespace with a cable to this host.
struct Elsewhere {
    name: String,
    /// This host's address there.
    here: String,
}

impl Elsewhere {
    fn new() -> Self {
        let id = system::random_hex();
        let byte = |at: usize| u8::from_str_radix(&id[at..at + 2], 16).expect("hex");
        // Of the block for measurements, which nobody else uses.
        let last = byte(2) & 0xfc;
        let address = |n: u8| format!("198.18.{}.{}", byte(0), last + n);
        let elsewhere = Self { name: format!("pi{}", &id[..8]), here: address(1) };
        let name = &elsewhere.name;
        for line in [
            format!("netns add {name}"),
            format!("link add {name} type veth peer name there netns {name}"),
            format!("address add {}/30 dev {name}", address(1)),
            format!("link set {name} up"),
            format!("-n {name} address add {}/30 dev there", address(2)),
            format!("-n {name} link set there up"),
        ] {
            run(Command::new("ip").args(line.split(' ')));
        }
        elsewhere
    }

    /// Pulls the cable: neither side hears anything of it.
    fn cut(&self) {
        run(Command::new("ip").args(["link", "delete", &self.name]));
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
        let _ = Command::new("ip").args(["link", "delete", &self.name]).output();
    }
}

on_engines! {
    [docker; soak: podman]
    fn a_client_whose_network_is_cut_leaves_its_session_to_the_grace_period(engine: EngineName) {
        let elsewhere = Elsewhere::new();
        let address = Some(elsewhere.here.clone());
        let wishes = Wishes { grace: "2s", address, alive: (1, 2), ..Wishes::default() };
        let server = Server::with(engine, &wishes);
        let ann = server.user("ann");
        let destination = format!("{ann}@{}", elsewhere.here);
        let mut args = vec!["netns", "exec", &elsewhere.name, "ssh"];
        let options = server.client_options();
        args.extend(options.iter().map(String::as_str));
        args.extend([&destination, "exec sleep 1000"]);
        let client = server.tool("ip", &args).start();
        server.audited(&ann, "connect", 1, SOON);
        server.sh(&ann, "true");
        server.audited(&ann, "disconnect", 1, SOON);
        assert_eq!(server.list()[0]["connections"], 1);
        // A container that was not ready for the PAM module in time is made again.
        let removed = |line: &serde_json::Value| line["event"] == "container_destroy";
        let before = server.audit().into_iter().filter(removed).count();
        elsewhere.cut();
        server.sshd_log.wait("Timeout, client not responding", SOON);
        server.audited(&ann, "disconnect", 2, SOON);
        server.gone(&ann, before + 1, SOON);
        assert_eq!(server.audited(&ann, "container_destroy", before + 1, SOON)["reason"], "grace_expired");
        // The client still knows nothing.
        drop(client);
    }
}
