//! `podspawn spec` and wrong configuration, as a person meets them.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::harness::{EngineName, Env, system};

/// Address space that is enough for podspawn, and too little for what the files below would grow to.
const MEMORY_KIB: u32 = 300_000;

#[test]
fn spec_shows_each_value_and_where_it_comes_from() {
    let mut env = Env::without_engine();
    env.write_config("defaults:\n  memory: 1g\nlocal:\n  image: debian:12\n");
    env.set("PODSPAWN_SESSION__MODE", "persistent");
    env.set("TZ", "Europe/Vienna");
    let config = env.home().join(".podspawn/config.yaml").display().to_string();

    let run = env.podspawn(["spec", "dev"]).run().ok();
    assert_eq!(run.stderr, "");
    let out = run.out();
    let row = |key: &str| {
        let line = out.lines().find(|line| line.starts_with(&format!("{key} "))).expect(key);
        line.split("  ")
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(row("image"), ["image", "debian:12", &format!("{config}:4")]);
    assert_eq!(row("resources.memory"), ["resources.memory", "1g", &format!("{config}:2")]);
    assert_eq!(row("mode"), ["mode", "persistent", "environment variable PODSPAWN_SESSION__MODE"]);
    assert_eq!(row("env.TZ"), ["env.TZ", "Europe/Vienna", "environment variable TZ"]);
    assert_eq!(row("account.name"), ["account.name", env.user.as_str(), "name of the owner"]);
    assert_eq!(row("hostname"), ["hostname", "dev", "name of the machine"]);

    let run = env.podspawn(["spec", "dev", "--output", "json", "--runtime", "podman"]).run().ok();
    let value: serde_json::Value = serde_json::from_str(&run.out()).expect("JSON");
    assert_eq!(value["spec"]["resources"]["memory"], 1 << 30);
    assert_eq!(value["spec"]["container"], format!("podspawn-{}-dev", env.user));
    assert_eq!(value["sources"]["engine"], json!({ "kind": "flag", "flag": "--runtime" }));
    assert_eq!(
        value["sources"]["image"],
        json!({ "kind": "file", "file": config, "line": 4, "key": "local.image" })
    );
}

#[test]
fn a_servers_spec_is_what_its_broker_goes_by() {
    let mut env = Env::without_engine();
    let place = env.directory().join("server");
    std::fs::create_dir_all(place.join("users")).unwrap();
    let (config, of_sarah) = (place.join("config.yaml"), place.join("users/sarah.yaml"));
    let text = format!(
        "runtime: docker\ndefaults:\n  image: debian:12\n  memory: 1g\nprojects_file: {}/projects.yaml\n",
        place.display()
    );
    std::fs::write(&config, text).unwrap();
    std::fs::write(&of_sarah, "memory: 3g\nmode: persistent\nenv: {EDITOR: vi}\n").unwrap();
    env.set("PODSPAWN_DEFAULTS__MEMORY", "5g");
    env.set("PODSPAWN_SESSION__MODE", "no mode at all");
    let (config, of_sarah) = (config.display().to_string(), of_sarah.display().to_string());
    let spec = |more: &[&str]| {
        let run = env.podspawn(["--config", &config, "spec"].iter().chain(more)).run().ok();
        let out = run.out();
        move |key: &str| {
            let line = out.lines().find(|line| line.starts_with(&format!("{key} "))).expect(key).to_owned();
            line.split("  ")
                .filter(|cell| !cell.is_empty())
                .skip(1)
                .map(|cell| cell.trim().to_owned())
                .collect::<Vec<_>>()
        }
    };
    for target in ["sarah", "sarah@scratch"] {
        let row = spec(&[target]);
        assert_eq!(row("resources.memory"), ["3g", &format!("{of_sarah}:1")], "{target}");
        assert_eq!(row("mode"), ["persistent", &format!("{of_sarah}:2")], "{target}");
        assert_eq!(row("env.EDITOR")[0], "vi", "{target}");
        assert_eq!(row("image"), ["debian:12", &format!("{config}:3")], "{target}");
    }
    // Somebody of whom nothing was decided; who asks is one, too.
    let row = spec(&["james", "--image", "alpine:3"]);
    assert_eq!(row("resources.memory"), ["1g", &format!("{config}:4")]);
    assert_eq!(row("image"), ["alpine:3", "flag --image"]);
    assert_eq!(spec(&[])("owner")[0], env.user);

    let refused =
        |args: &[&str]| env.podspawn(["--config", &config].iter().chain(args)).run().status(1).stderr;
    assert_eq!(
        refused(&["--runtime", "podman", "spec"]),
        "Error: `--runtime` is for local machines, and this host is a server\nhint: leave `--runtime` out\n"
    );
    std::fs::write(place.join("projects.yaml"), "api:\n  repo: https://host.example/api\n").unwrap();
    let said = refused(&["spec", "sarah@api", "--image", "alpine:3"]);
    assert!(said.starts_with("Error: `--image` and a project cannot be used together"), "{said}");

    // What root alone can read.
    let outsider = Env::as_an_outsider();
    std::fs::set_permissions(&of_sarah, std::fs::Permissions::from_mode(0o600)).unwrap();
    let ask = |target: &str| outsider.podspawn(["--config", &config, "spec", target]).run();
    let row = ask("james").ok().out();
    assert!(row.contains("debian:12"), "{row}");
    for (target, text) in [
        ("sarah", "only root can look into what was decided for one user"),
        ("james@api", "only root can look into a server's projects"),
    ] {
        assert_eq!(ask(target).status(1).stderr, format!("Error: {text}\nhint: sudo\n"));
    }
    // As every command that asks the broker, whether there is one or not.
    let said = outsider.podspawn(["--config", &config, "list"]).run().status(1).stderr;
    assert!(
        said.starts_with("Error: the broker cannot be reached at ") && said.ends_with("\nhint: sudo\n"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn a_host_whose_sshd_reads_podspawns_file_is_a_server() {
    let env = Env::without_engine();
    let ours = env.directory().join("podspawn.conf");
    let main = env.directory().join("sshd_config");
    std::fs::write(&main, format!("Include {}\nUsePAM yes\n", ours.display())).unwrap();
    let program = system::podspawn().display().to_string();
    // In place of the host's own, as this command alone sees it.
    let script = "mount --bind \"$0\" /etc/ssh/sshd_config && exec \"$@\"";
    let arguments = ["--mount", "sh", "-c", script, main.to_str().unwrap(), &program, "list", "--machines"];
    let list = || env.program("unshare", arguments).run();
    assert_eq!(list().ok().out(), "No machines.\n");
    std::fs::write(
        &ours,
        "Match Group podspawn-users\nAuthorizedKeysCommand /usr/bin/podspawn auth-keys %u\n",
    )
    .unwrap();
    let said = list().status(1).stderr;
    assert!(said.contains("this host is a server"), "{said}");
}

#[test]
fn a_wrong_configuration_stops_every_command_with_one_line() {
    let env = Env::without_engine();
    env.write_config("session:\n  mode: persistant\n");
    let config = env.home().join(".podspawn/config.yaml").display().to_string();
    let line = format!(
        "Error: {config}:2: `session.mode`: \"persistant\" is not a mode (grace-period, destroy-on-disconnect, \
         persistent); did you mean `persistent`?\n"
    );
    for command in [&["spec"][..], &["create", "dev"], &["run", "dev"], &["list"], &["status"]] {
        let run = env.podspawn(command).run().status(1);
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("", line.as_str()), "{command:?}");
    }
    assert!(!env.home().join(".podspawn/state.db").exists(), "nothing is made before configuration is right");
}

#[test]
fn an_unreadable_file_is_refused() {
    let env = Env::without_engine();
    env.write_config("defaults: {image: debian:12}\n");
    let config = env.home().join(".podspawn/config.yaml");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Without these capabilities root is refused as anybody else is.
    let program = system::podspawn().display().to_string();
    let arguments = ["--bounding-set=-dac_override,-dac_read_search", "--", &program, "spec"];
    let run = env.program("setpriv", arguments).run().status(1);
    assert_eq!(
        run.stderr,
        format!("Error: failed to read the configuration file `{}`: permission denied\n", config.display())
    );
}

#[test]
fn hostile_files_are_refused_within_a_bound_of_memory_and_time() {
    let env = Env::without_engine();
    let config = env.home().join(".podspawn/config.yaml");
    env.write_config("");
    let bomb: String = (1..60).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let row = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("{text}a{level}: &a{level} [{row}]\n")
    });
    let refused = |expected: &str| {
        let script = format!("ulimit -v {MEMORY_KIB} && exec \"$0\" spec");
        let program = system::podspawn();
        let run = env.program("/bin/sh", ["-c", &script, &program.display().to_string()]);
        let run = run.limit(Duration::from_secs(20)).run().status(1);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    };
    for (text, expected) in [
        (bomb, "its aliases (`*name`) expand to too much"),
        ("[".repeat(1_000_000), "not a valid configuration file"),
        ("{a: ".repeat(250_000), "not a valid configuration file"),
        (
            (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
            "it is nested deeper than 16 levels",
        ),
    ] {
        std::fs::write(&config, text).unwrap();
        refused(expected);
    }
    // 100 MB that are there, not a hole.
    let block = "# 100 MB of comment\n".repeat(52_429);
    let mut file = std::fs::File::create(&config).unwrap();
    for _ in 0..100 {
        std::io::Write::write_all(&mut file, block.as_bytes()).unwrap();
    }
    refused("it is larger than 1024 KiB");

    // The bound itself is enough for a right file, so that what is refused is refused for what it is.
    std::fs::write(&config, "").unwrap();
    let script = format!("ulimit -v {MEMORY_KIB} && exec \"$0\" spec");
    let run = env.program("/bin/sh", ["-c", &script, &system::podspawn().display().to_string()]).run().ok();
    assert!(run.out().contains("ubuntu:24.04"), "{}", run.out());
}

#[test]
fn a_podman_that_is_found_is_as_good_as_one_that_is_named() {
    let spec = |env: &Env| {
        let run = env.podspawn(["spec", "dev", "--output", "json"]).run().ok();
        crate::harness::json::parse(&run)["spec"]["account"]["uid"].clone()
    };
    // A persistent home that belongs to somebody: on an engine of root's, its owner is the account inside.
    let persistent = |mut env: Env| {
        env.set("PODSPAWN_SESSION__MODE", "persistent");
        env
    };
    let named = persistent(Env::on(EngineName::Podman));
    assert_eq!(spec(&named), 1000);
    let mut found = persistent(Env::on(EngineName::Podman).finding_its_engine());
    found.set("CONTAINER_HOST", format!("unix://{}", EngineName::Podman.socket()));
    assert_eq!(spec(&found), 1000);
    assert_eq!(spec(&persistent(Env::as_an_ordinary_user(EngineName::Docker))), 1234);
}
