//! `podspawn list` and `podspawn status`

use crate::harness::{Env, json};

on_engines! {
    [docker, podman; soak: gvisor]
    fn machines_are_listed_by_name_and_counted(env: Env) {
        assert_eq!(env.podspawn(["list"]).run().ok().out(), "No machines.\n");
        assert_eq!(json::parse(&env.podspawn(["list", "--output", "json"]).run().ok()), serde_json::json!([]));
        let label = env.engine.expect("an engine").label();
        assert_eq!(
            env.podspawn(["status"]).run().ok().out(),
            format!("Sessions:    0 total (0 running, 0 grace)\nConnections: 0 active\nContainers:  0 in {label}\n")
        );

        for name in ["web", "api"] {
            let _ = env.podspawn(["create", name]).run().ok();
        }
        let out = env.podspawn(["list"]).run().ok().out();
        let rows: Vec<Vec<&str>> =
            out.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
        assert_eq!(rows[0], ["NAME", "STATUS", "BRANCH", "IMAGE", "AGE"]);
        assert_eq!(rows[1][..4], ["api", "running", "-", &env.image]);
        assert_eq!(rows[2][..4], ["web", "running", "-", &env.image]);
        assert_eq!(rows.len(), 3);

        let run = env.podspawn(["list", "--output", "json"]).run().ok();
        let all = json::parse(&run);
        let api = all.as_array().expect("a list").iter().find(|row| row["name"] == "api").expect("api");
        assert_eq!(api["user"], env.user.as_str());
        assert_eq!(api["status"], "running");
        assert_eq!(api["alive"], true);
        assert_eq!(api["connections"], 0);
        assert_eq!(api["container"], env.container("api").as_str());
        assert_eq!(api["kind"], "machine");
        assert_eq!(api["expires_at"], serde_json::Value::Null);
        assert!(api["disk_bytes"].is_u64(), "{api}");

        // Somebody inside is a connection.
        let mut terminal = env.terminal(["shell", "api"]);
        terminal.expect(&format!("{}@api", env.user));
        let status = json::parse(&env.podspawn(["status", "--output", "json"]).run().ok());
        assert_eq!(status["sessions"], 2);
        assert_eq!(status["running"], 2);
        assert_eq!(status["connections"], 1);
        assert_eq!(status["containers"], 2);
        let metrics = env.podspawn(["status", "--prometheus"]).run().ok().out();
        assert!(metrics.contains("# TYPE podspawn_connections_total gauge\npodspawn_connections_total 1\n"), "{metrics}");
        terminal.line("exit");
        let _ = terminal.wait();
        assert!(env.podspawn(["status"]).run().ok().out().contains("Connections: 0 active\n"));
        // The engine may have containers of others: at least our own are counted.
        let checked = json::parse(&env.podspawn(["status", "--check", "--output", "json"]).run().ok());
        assert!(checked["containers"].as_u64().expect("a number") >= 2, "{checked}");
    }
}

on_engines! {
    [docker, docker26, podman]
    fn what_a_machine_has_written_is_measured_for_programs(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let disk = || {
            let list = json::parse(&env.podspawn(["list", "--output", "json"]).run().ok());
            list[0]["disk_bytes"].as_u64().unwrap_or_else(|| panic!("a number of bytes: {list}"))
        };
        let before = disk();
        let _ = env.podspawn(["exec", "dev", "--", "sh", "-c", "head -c 3000000 /dev/urandom >~/written; sync"]).run().ok();
        let written = disk() - before;
        assert!((3_000_000..4_000_000).contains(&written), "{before} {written}");
    }
}

#[test]
fn a_list_for_programs_needs_no_engine() {
    let mut env = Env::on(crate::harness::EngineName::Docker);
    let _ = env.podspawn(["create", "dev"]).run().ok();
    let socket = env.directory().join("none.sock");
    env.set("DOCKER_HOST", format!("unix://{}", socket.display()));
    let unmeasured = || {
        let run = env.podspawn(["--runtime", "docker", "list", "--output", "json"]).run().ok();
        let listed = json::parse(&run);
        assert_eq!((&listed[0]["name"], &listed[0]["disk_bytes"]), (&"dev".into(), &serde_json::Value::Null));
        run.took
    };
    unmeasured();
    // One that takes connections and never says a word is not waited for long.
    let _silent = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let took = unmeasured();
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_list_on_a_terminal_has_colours_unless_they_are_unwanted() {
    let env = Env::on(crate::harness::EngineName::Docker);
    let _ = env.podspawn(["create", "dev"]).run().ok();
    let (_, screen) = env.terminal(["list"]).wait();
    assert!(screen.contains("\x1b[32mrunning\x1b[0m"), "{screen:?}");
    let (_, screen) = env.podspawn(["list"]).var("NO_COLOR", "1").terminal(24, 80).wait();
    assert!(screen.contains("running") && !screen.contains('\x1b'), "{screen:?}");
}

#[test]
fn a_report_that_nobody_reads_is_no_error() {
    let env = Env::without_engine();
    let program = crate::harness::system::podspawn();
    let run = env.program("sh", ["-c", &format!("{} status | true", program.display())]).run().ok();
    assert_eq!(run.stderr, "");
    let run = env.program("sh", ["-c", &format!("{} status > /dev/full", program.display())]).run().status(1);
    assert!(run.stderr.starts_with("Error: failed to write the output: "), "{}", run.stderr);
}
