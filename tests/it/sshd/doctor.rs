//! `podspawn doctor` on a server.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use podspawn::server::pam;
use serde_json::Value;

use crate::harness::command::Invocation;
use crate::harness::{EngineName, Run, Server, json, system};

/// The checks that every host of the sshd hook has, in their order.
const USUAL: [&str; 10] = [
    "daemon",
    "socket",
    "OpenSSH version",
    "sshd config valid",
    "AuthorizedKeysCommand",
    "podspawn config dir",
    "key directory",
    "state directory",
    "lock directory",
    "default image",
];

/// Those that are told besides.
const MORE: [&str; 18] = [
    "configuration",
    "group of container users",
    "account for keys",
    "account for git",
    "sshd for container users",
    "sshd for everybody else",
    "PAM module",
    "PAM line",
    "forwarding",
    "keys for sshd",
    "login shell",
    "emergency keys",
    "container users",
    "broker",
    "state database",
    "engine of the broker",
    "cleanup",
    "orphans",
];

/// What one check found.
struct Finding {
    outcome: String,
    detail: String,
    fix: String,
}

impl Finding {
    #[track_caller]
    fn is(&self, outcome: &str, detail: &str, fix: &str) {
        let Self { outcome: found, detail: said, fix: told } = self;
        assert_eq!(found, outcome, "{said}");
        assert!(said.contains(detail), "{detail:?} in {said:?}");
        assert!(told.contains(fix), "{fix:?} in {told:?}");
    }
}

/// All findings of one run.
struct Findings(Vec<Value>);

impl Findings {
    #[track_caller]
    fn of(run: &Run) -> Self {
        Self(json::parse(run)["checks"].as_array().expect("checks").clone())
    }

    #[track_caller]
    fn find(&self, name: &str) -> Finding {
        let found = self.0.iter().find(|check| check["name"] == name);
        let found = found.unwrap_or_else(|| panic!("no check `{name}` in {:#?}", self.0));
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        Finding { outcome: text("outcome"), detail: text("detail"), fix: text("fix") }
    }

    /// Names of the checks that did not pass, but for those of the room on this machine's disk.
    fn wrong(&self) -> Vec<&str> {
        let wrong = self.0.iter().filter(|check| check["outcome"] != "pass" && check["name"] != "disk space");
        wrong.filter_map(|check| check["name"].as_str()).collect()
    }
}

fn doctor(server: &Server, args: &[&str]) -> Invocation {
    let config = server.sshd_config();
    let usual = ["doctor", "--sshd-config", config.to_str().expect("text")];
    server.podspawn(&[&usual, args].concat())
}

#[track_caller]
fn findings(server: &Server) -> Findings {
    Findings::of(&doctor(server, &["--output", "json"]).run())
}

/// Changes a file by replacing a text that it holds.
#[track_caller]
fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("read");
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replace(from, to)).expect("write");
}

on_engines! {
    [docker, podman, gvisor]
    fn a_sound_server_passes_with_every_check(server: Server) {
        server.set_up();
        let ann = server.user("ann");
        server.sh(&ann, "true");
        let out = doctor(&server, &[]).run().ok().out();
        let label = server.engine.label();
        let mut at = 0;
        for name in USUAL {
            let name = if ["daemon", "socket"].contains(&name) { format!("{label} {name}") } else { name.into() };
            let line = format!("  [pass] {name}\n");
            let found = out.find(&line).unwrap_or_else(|| panic!("{line} in {out}"));
            assert!(found >= at, "{name} comes too early in {out}");
            at = found;
        }
        for name in MORE {
            assert!(out.contains(&format!("  [pass] {name}\n")), "{name} in {out}");
        }
        let filter = match server.engine {
            EngineName::Podman => "  [pass] packet filter: not podspawn's for a rootless engine",
            _ => "  [pass] packet filter\n",
        };
        assert!(out.contains(filter), "{out}");
        assert!(out.ends_with(", 0 failed\n"), "{out}");

        let found = findings(&server);
        let version = found.find("OpenSSH version").detail;
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
        found.find("container users").is("pass", "1, each with an account and keys", "");
        found.find("forwarding").is("pass", "on-demand", "");
        found.find("engine of the broker").is("pass", label, "");
    }
}

#[test]
fn what_keeps_forwarding_off_is_named_with_its_fix() {
    let server = Server::on(EngineName::Docker);
    server.set_up();
    assert_eq!(findings(&server).wrong(), Vec::<&str>::new());

    // sshd would still forward where nothing moves the connection away from the host.
    let wired = fs::read(&server.service).expect("read");
    let _ = pam::unwire(&server.service).expect("unwire");
    let run = doctor(&server, &["--output", "json"]).run().status(1);
    let found = Findings::of(&run);
    found.find("PAM line").is("warn", "has no line of podspawn's", "podspawn server-setup");
    found.find("forwarding").is("warn", "off: the PAM module", "podspawn server-setup");
    found.find("sshd for container users").is("fail", "allowtcpforwarding no", "podspawn server-setup");
    fs::write(&server.service, [b"session optional pam_permit.so\n", &wired[..]].concat()).expect("write");
    findings(&server).find("PAM line").is("warn", "but not first", "podspawn server-setup");
    server.set_up();
    assert_eq!(findings(&server).wrong(), Vec::<&str>::new());

    let module = server.path("lib/pam_podspawn.so");
    let whole = fs::read(&module).expect("read");
    fs::write(&module, &whole[..whole.len() / 2]).expect("write");
    let found = findings(&server);
    found.find("PAM module").is("warn", "is damaged, or of another version", "podspawn server-setup");
    found.find("forwarding").is("warn", "is not the one of this version", "podspawn server-setup");
    fs::remove_file(&module).expect("remove");
    findings(&server).find("PAM module").is("warn", "is missing", "podspawn server-setup");
    fs::write(&module, &whole).expect("write");
    fs::set_permissions(&module, fs::Permissions::from_mode(0o666)).expect("chmod");
    findings(&server).find("PAM module").is("fail", "can be written by others", "podspawn server-setup");
    server.set_up();
    assert_eq!(findings(&server).wrong(), Vec::<&str>::new());

    replace(&server.sshd_config(), "UsePAM yes", "UsePAM no");
    let found = findings(&server);
    found.find("forwarding").is("warn", "has no `UsePAM yes`", "set `UsePAM yes` in");
    found.find("sshd for container users").is("fail", "allowtcpforwarding no", "podspawn server-setup");
    replace(&server.sshd_config(), "UsePAM no", "UsePAM yes");

    replace(&server.config_file(), "forwarding: on-demand", "forwarding: \"off\"");
    server.set_up();
    let out = doctor(&server, &[]).run().ok().out();
    assert!(
        out.contains("  [pass] forwarding: off: forwarding is switched off in the configuration"),
        "{out}"
    );
}

#[test]
fn what_keeps_users_out_is_named_with_its_fix() {
    let server = Server::on(EngineName::Docker);
    let ann = server.user("ann");
    let keys = server.path("etc/keys");
    let mode = |mode: u32| fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).expect("chmod");
    server.set_up();

    mode(0o755);
    let found = findings(&server);
    found.find("key directory").is("warn", "has mode 0755, not 0700", "chmod 700 ");
    found.find("keys for sshd").is("pass", "", "");
    mode(0o777);
    let found = findings(&server);
    found.find("key directory").is("warn", "has mode 0777", "chmod 700 ");
    found.find("keys for sshd").is("fail", "others may write to", "chmod 700 ");
    mode(0o700);
    let owner = fs::metadata(&keys).expect("metadata").uid();
    chown(&keys, Some(0), None).expect("chown");
    findings(&server).find("keys for sshd").is("fail", "gets no keys", "podspawn server-setup");
    chown(&keys, Some(owner), None).expect("chown");
    // Nothing that a name of a file holds reaches the terminal as it is.
    fs::write(keys.join("\x1b[2Jx"), "").expect("write");
    let out = doctor(&server, &[]).run().ok().out();
    assert!(out.contains("  [warn] container users: ") && out.contains("is no name of a user"), "{out}");
    assert!(!out.contains('\x1b'), "{out:?}");
    fs::remove_file(keys.join("\x1b[2Jx")).expect("remove");
    fs::copy(keys.join(&ann), keys.join("nosuchuser")).expect("copy");
    findings(&server).find("container users").is(
        "warn",
        "\"nosuchuser\" has no account",
        "podspawn remove-user",
    );
    fs::remove_file(keys.join("nosuchuser")).expect("remove");

    let include = server.path("ssh/podspawn.conf");
    replace(&include, "    PermitTunnel no\n", "");
    findings(&server).find("sshd for container users").is("fail", "permittunnel no", "podspawn server-setup");
    server.set_up();
    replace(&server.sshd_config(), "UsePAM yes", "UsePAM yes\nAllowGroups root");
    findings(&server).find("sshd for container users").is(
        "fail",
        "no container user gets in: `AllowGroups` does not name",
        "correct that line in",
    );
    replace(&server.sshd_config(), "UsePAM yes\nAllowGroups root", "UsePAM yes");
    fs::write(server.path("ssh/config.copy"), fs::read(server.sshd_config()).expect("read")).expect("write");
    replace(&server.sshd_config(), "UsePAM yes", "NoSuchKeyword yes");
    let found = findings(&server);
    found.find("sshd config valid").is("fail", "NoSuchKeyword", "sshd -t");
    found.find("AuthorizedKeysCommand").is("pass", "", "");
    let include = format!("Include {}\n", include.display());
    let text = fs::read_to_string(server.path("ssh/config.copy")).expect("read");
    fs::write(server.sshd_config(), text.replace(&include, "")).expect("write");
    let found = findings(&server);
    found.find("AuthorizedKeysCommand").is("warn", "does not ask podspawn for keys", "podspawn server-setup");
    found.find("sshd for container users").is("fail", "does not lead anybody", "podspawn server-setup");
    // A file that nobody ever writes to keeps neither the doctor nor the sshd that it asked.
    fs::remove_file(server.sshd_config()).expect("remove");
    system::run(Command::new("mkfifo").arg(server.sshd_config()));
    findings(&server).find("sshd config valid").is("fail", "did not end within 10 s", "sshd -t");
    fs::rename(server.path("ssh/config.copy"), server.sshd_config()).expect("rename");
    server.set_up();

    fs::set_permissions(server.path("etc/emergency.keys"), fs::Permissions::from_mode(0o644)).expect("chmod");
    findings(&server).find("emergency keys").is("warn", "mode 0644", "chmod 600 ");
    server.set_up();
    assert_eq!(findings(&server).wrong(), Vec::<&str>::new());

    replace(&server.config_file(), "server:\n", "server:\n  no_such_key: 1\n");
    let found = Findings::of(&doctor(&server, &["--output", "json"]).run().status(1));
    found.find("configuration").is("fail", "no_such_key", "correct");
    found.find("sshd config valid").is("pass", "", "");
}

#[test]
fn a_broker_that_was_killed_is_told_from_one_that_has_nothing_to_do() {
    let server = Server::on(EngineName::Docker);
    server.set_up();
    server.kill_broker();
    let found = findings(&server);
    found.find("broker").is("warn", "nobody listens at", "podspawn broker --detach");
    found.find("state database").is("pass", "", "");
    fs::remove_file(server.socket()).expect("remove");
    findings(&server).find("broker").is("pass", "the next login starts it", "");
    let _ = pam::unwire(&server.service).expect("unwire");
    findings(&server).find("broker").is("fail", "no login starts it", "podspawn broker --detach");
    server.set_up();

    let database = server.path("state/state.db");
    fs::write(&database, "no database").expect("write");
    findings(&server).find("state database").is("fail", "is no database", "move ");
    fs::remove_file(&database).expect("remove");
    findings(&server).find("state database").is("fail", "No such file", "podspawn server-setup");
    // What a doctor looks at it does not make.
    assert!(!database.exists() && !server.socket().exists());
}

#[test]
fn rules_that_were_flushed_are_missed_as_soon_as_there_are_sessions() {
    let server = Server::on(EngineName::Docker);
    server.set_up();
    let ann = server.user("ann");
    server.sh(&ann, "true");
    findings(&server).find("packet filter").is("pass", "kept away", "");
    // A network of its own has no rules, and nobody else's are touched.
    let (program, config, sshd) = (server.program(), server.config_file(), server.sshd_config());
    let words = [program.as_os_str(), "--config".as_ref(), config.as_os_str(), "doctor".as_ref()];
    let words = words.into_iter().chain([
        "--sshd-config".as_ref(),
        sshd.as_os_str(),
        "--output".as_ref(),
        "json".as_ref(),
    ]);
    let words: Vec<&str> = ["-n"].into_iter().chain(words.map(|word| word.to_str().expect("text"))).collect();
    let run = server.tool("unshare", &words).run().status(1);
    let found = Findings::of(&run);
    found.find("packet filter").is(
        "fail",
        "containers are not kept away from this host",
        "restart the broker",
    );
    assert_eq!(found.wrong(), ["packet filter"]);
}

#[test]
fn somebody_else_than_root_is_told_what_only_root_sees() {
    let server = Server::on(EngineName::Docker);
    server.set_up();
    let (program, config, sshd) = (server.program(), server.config_file(), server.sshd_config());
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let words: Vec<String> = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        .map(String::from)
        .into_iter()
        .chain([text(&program), "--config".into(), text(&config), "doctor".into()])
        .chain(["--sshd-config".into(), text(&sshd)])
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let out = server.tool("setpriv", &words).run().ok().out();
    assert!(!out.contains("[FAIL]") && out.ends_with(", 0 failed\n"), "{out}");
    for name in
        ["sshd for container users", "keys for sshd", "container users", "state database", "packet filter"]
    {
        assert!(out.contains(&format!("  [warn] {name}: only root can look at ")), "{name} in {out}");
    }
    assert!(out.contains("         fix: sudo podspawn doctor\n"), "{out}");
    for name in ["PAM module", "PAM line", "group of container users", "podspawn config dir"] {
        assert!(out.contains(&format!("  [pass] {name}\n")), "{name} in {out}");
    }
}
