//! What the audit log says, and what `status` counts.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::engines::fact;
use crate::harness::json;
use crate::harness::server::{Server, Wishes};

const SOON: Duration = Duration::from_secs(60);

/// The fields that every line has, whoever it is about, and which the others are.
#[track_caller]
fn others(line: &Value, user: &str) -> Vec<String> {
    assert_eq!(
        (&line["level"], &line["msg"], &line["user"]),
        (&json!("INFO"), &json!("audit"), &json!(user))
    );
    assert!(
        line["time"] == line["timestamp"] && line["time"].as_str().is_some_and(|time| time.ends_with('Z'))
    );
    let (actor, kind) =
        (line["actor"].as_str().expect("an actor"), line["actor_kind"].as_str().expect("its kind"));
    assert!(actor.starts_with(&format!("{kind}:")), "{line}");
    assert!(
        ["session_id", "container_id"].iter().all(|key| line[key].as_str().is_some_and(|id| !id.is_empty()))
    );
    let known = [
        "level",
        "msg",
        "user",
        "time",
        "timestamp",
        "actor",
        "actor_kind",
        "session_id",
        "container_id",
        "event",
    ];
    let names = line.as_object().expect("an object").keys().filter(|key| !known.contains(&key.as_str()));
    names.cloned().collect()
}

/// Gives a user a file of the administrator's.
fn decide(server: &Server, user: &str, text: &str) {
    fs::create_dir_all(server.path("etc/users")).expect("mkdir");
    fs::write(server.path("etc/users").join(format!("{user}.yaml")), text).expect("write");
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn every_line_says_who_did_what_in_which_session(engine: EngineName) {
        let server = Server::with(engine, &Wishes { forwarding: "off", ..Wishes::default() });
        let ann = server.user("ann");
        let human = format!("human:{ann}");
        let _ = server.ssh(&ann, &[], &["exit 3"]).run().status(3);
        let command = server.audited(&ann, "command", 1, SOON);
        assert_eq!(others(&command, &ann), ["command", "exit_code", "outcome", "project"]);
        assert_eq!(command["command"], "exit 3");
        assert_eq!((&command["exit_code"], &command["outcome"]), (&json!(3), &json!("failure")));
        assert_eq!((&command["project"], &command["actor"]), (&json!(""), &json!(human)));
        let created = server.audited(&ann, "container_create", 1, SOON);
        assert_eq!(others(&created, &ann), ["container", "image", "project"]);
        assert_eq!(created["image"], fact("IMAGE_SUDO"));
        assert_eq!(created["container"], format!("podspawn-{ann}"));
        let connected = server.audited(&ann, "connect", 1, SOON);
        assert_eq!(others(&connected, &ann), ["connections", "container", "project"]);
        assert_eq!((&connected["connections"], &connected["actor"]), (&json!(1), &json!(human)));
        let gone = server.audited(&ann, "disconnect", 1, SOON);
        assert_eq!(others(&gone, &ann), ["container", "project", "remaining_connections"]);
        assert_eq!(gone["remaining_connections"], 0);
        let ids = [&command, &created, &connected, &gone].map(|line| (&line["session_id"], &line["container_id"]));
        assert!(ids.iter().all(|other| *other == ids[0]));

        // A shell has no command, and is said to be one.
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        terminal.line("exit");
        assert_eq!(terminal.wait().0, 0);
        let shell = server.audited(&ann, "command", 2, SOON);
        assert_eq!(others(&shell, &ann), ["command", "exit_code", "outcome", "project", "shell"]);
        assert_eq!((&shell["command"], &shell["shell"]), (&json!(""), &json!(true)));
        assert_eq!((&shell["exit_code"], &shell["outcome"]), (&json!(0), &json!("success")));

        // Files are what the client asks for, in the client's words.
        let script = format!("echo pwd | sftp -q -b - $OPTIONS {ann}@127.0.0.1");
        let _ = server.script(&script).run().ok();
        let files = server.audited(&ann, "command", 3, SOON);
        assert!(files["command"].as_str().is_some_and(|text| text.contains("sftp")), "{files}");
        assert_eq!(files["exit_code"], 0);

        // The client goes first, and the command is hung up on.
        let running = server.running(&ann, &[], "exec sleep 1000");
        running.signal(Signal::KILL);
        drop(running.wait(SOON));
        // After the two that saw to it that it runs.
        let lost = server.audited(&ann, "command", 6, SOON);
        assert!(lost["command"].as_str().is_some_and(|text| text.contains("exec sleep 1000")), "{lost}");
        assert_eq!((&lost["exit_code"], &lost["outcome"]), (&json!(129), &json!("failure")));
    }

    [docker, podman; soak: gvisor]
    fn the_end_of_a_container_says_why(engine: EngineName) {
        let server = Server::with(engine, &Wishes { forwarding: "off", ..Wishes::default() });
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let ended = |user: &str, count: usize, reason: &str| {
            let line = server.audited(user, "container_destroy", count, SOON);
            assert_eq!(others(&line, user), ["container", "project", "reason"]);
            assert_eq!(line["reason"], reason);
        };
        server.sh(&ann, "true");
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        ended(&ann, 1, "stop");

        decide(&server, &ann, "mode: destroy-on-disconnect\n");
        server.sh(&ann, "true");
        ended(&ann, 2, "disconnect");

        decide(&server, &ann, "env: {}\n");
        server.sh(&ann, "true");
        let container = server.containers(&ann).pop().expect("a container");
        server.engine.run(&["rm", "-f", &container]);
        ended(&ann, 3, "container_gone");

        server.sh(&ben, "true");
        let _ = server.podspawn(&["remove-user", &ben, "--force"]).run().ok();
        ended(&ben, 1, "rm");

        let config = fs::read_to_string(server.config_file()).expect("read");
        let text = config.replace("max_lifetime: 8h", "max_lifetime: 2s");
        assert_ne!(text, config);
        fs::write(server.config_file(), text).expect("write");
        let eve = server.user("eve");
        let _ = server.ssh(&eve, &[], &["sleep 1000"]).run();
        ended(&eve, 1, "lifetime_expired");
    }

    [docker, podman; soak: gvisor]
    fn status_counts_sessions_connections_and_containers(server: Server) {
        let metric = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("podspawn_{name} ")));
            line.unwrap_or_else(|| panic!("{name} in {text}")).parse::<u64>().expect("a number")
        };
        let names = ["sessions_total", "sessions_running", "sessions_grace", "connections_total", "containers_docker"];
        let metrics = || {
            let text = server.podspawn(&["status", "--prometheus"]).run().ok().out();
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(lines.len(), names.len() + 1, "{text}");
            (names.map(|name| metric(&text, name)), metric(&text, "oldest_session_seconds"))
        };
        assert_eq!(metrics(), ([0; 5], 0));
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        server.sh(&ben, "true");
        server.audited(&ben, "disconnect", 1, SOON);
        let mut terminals = [server.login(&ann, &[]), server.login(&ann, &[])];
        terminals.iter_mut().for_each(|terminal| drop(terminal.expect("$ ")));
        let (counts, oldest) = metrics();
        assert_eq!(counts, [2, 1, 1, 2, 2]);
        assert!(oldest < 600, "{oldest}");
        let status = json::parse(&server.podspawn(&["status", "--output", "json"]).run().ok());
        let found = ["sessions", "running", "grace", "connections", "containers"].map(|key| status[key].as_u64());
        assert_eq!(found, [2, 1, 1, 2, 2].map(Some), "{status}");
        for mut terminal in terminals {
            terminal.line("exit");
            terminal.wait();
        }
        server.audited(&ann, "disconnect", 2, SOON);
        assert_eq!(metrics().0, [2, 0, 2, 0, 2]);
    }
}
