//! `log.audit_log` of local commands.

use serde_json::Value;

use crate::harness::Env;
use crate::projects::remote::Remote;

/// The events of an audit log, each with what tells it apart.
fn events(env: &Env) -> Vec<Value> {
    let text = std::fs::read_to_string(env.home().join("audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().expect("text")).collect()
}

/// With an audit log.
fn audited(env: &Env) {
    env.write_config(&format!("local:\n  image: {}\nlog:\n  audit_log: ~/audit.jsonl\n", env.image));
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn what_happens_to_a_machine_is_written_down_with_who_did_it(env: Env) {
        use std::os::unix::fs::PermissionsExt;
        audited(&env);
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let _ = env.podspawn(["exec", "dev", "--", "sh", "-c", "exit 3"]).run().status(3);
        let target = format!("{}@dev", env.user);
        let _ = env.podspawn(["shell", &target]).var("USER", "somebody").stdin("true").run().ok();
        let _ = env.podspawn(["list"]).run().ok();
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        let events = events(&env);
        let wanted = [
            "container_create", "connect", "disconnect",
            "connect", "command", "disconnect",
            "connect", "command", "disconnect",
            "container_destroy",
        ];
        assert_eq!(names(&events), wanted, "{events:#?}");
        for event in &events {
            assert_eq!((&event["user"], &event["project"]), (&env.user.clone().into(), &"dev".into()), "{event}");
            assert!(event["session_id"].is_string() && event["container_id"].is_string(), "{event}");
        }
        let own = format!("human:{}", env.user);
        let actors: Vec<_> = events.iter().map(|event| event["actor"].as_str().expect("text")).collect();
        assert!(actors[..6].iter().chain(&actors[9..]).all(|actor| *actor == own), "{actors:?}");
        assert!(actors[6..9].iter().all(|actor| *actor == "operator:somebody"), "{actors:?}");
        assert_eq!(events[0]["container"], env.container("dev"));
        assert_eq!((&events[3]["connections"], &events[5]["remaining_connections"]), (&1.into(), &0.into()));
        let command = &events[4];
        assert_eq!((&command["command"], &command["exit_code"]), (&"sh -c 'exit 3'".into(), &3.into()));
        assert_eq!(command["outcome"], "failure");
        assert_eq!((&events[7]["shell"], &events[7]["outcome"]), (&true.into(), &"success".into()));
        assert_eq!(events[9]["reason"], "stop");
        let mode = std::fs::metadata(env.home().join("audit.jsonl")).expect("the log").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    [docker; soak: podman]
    fn what_a_command_makes_and_takes_along_is_written_down(env: Env) {
        audited(&env);
        let remote = Remote::start();
        let _ = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).run().ok();
        assert_eq!(events(&env), Vec::<Value>::new(), "nothing of a session");
        let _ = env.podspawn(["run", "scratch", "--", "true"]).run().ok();
        assert_eq!(
            names(&events(&env)),
            ["container_create", "connect", "command", "disconnect", "container_destroy"]
        );
        assert_eq!(events(&env)[4]["reason"], "disconnect");
        let before = events(&env).len();
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
        let events = &events(&env)[before..];
        let wanted =
            ["workspace.create", "container_create", "connect", "disconnect", "container_destroy", "workspace.delete"];
        assert_eq!(names(events), wanted, "{events:#?}");
        assert_eq!(events[4]["reason"], "rm");
        for (event, reason) in [(&events[0], Value::Null), (&events[5], "rm".into())] {
            assert_eq!((&event["name"], &event["project"]), (&"dev".into(), &"api".into()), "{event}");
            assert_eq!((&event["branch"], &event["reason"]), (&"main".into(), &reason), "{event}");
            let path = env.home().join(".podspawn/workspaces/dev");
            assert_eq!(event["workspace"], path.to_str().expect("text"));
            assert_eq!(event["actor"], format!("human:{}", env.user));
        }
    }
}

#[test]
fn an_audit_log_that_cannot_be_written_is_a_warning() {
    let env = Env::without_engine();
    env.write_config("log:\n  audit_log: /nonexistent/audit.jsonl\n");
    let run = env.podspawn(["list"]).run().ok();
    assert_eq!(run.out(), "No machines.\n");
    let warning = "warning: the audit log `/nonexistent/audit.jsonl` cannot be written: ";
    assert!(run.stderr.starts_with(warning), "{}", run.stderr);
}
