//! `auth-keys` as sshd calls it.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use super::lab::{KEY, Lab, OTHER, tool};
use crate::harness::system;

/// The program where every account can run it, removed with the lab.
fn program(lab: &Lab) -> std::path::PathBuf {
    let path = lab.path("podspawn");
    // Copied by another process: one made here could still be open for writing in a child of another test.
    let copied = tool("cp", &[system::podspawn().to_str().unwrap(), path.to_str().unwrap()]);
    assert!(copied.status.success(), "{copied:?}");
    path
}

/// As sshd does: as the account for it, with nothing of an environment.
fn ask(lab: &Lab, program: &std::path::Path, args: &[&str]) -> Output {
    let account = lab.auth_account();
    let mut command = Command::new(program);
    command.env_clear().args(args).uid(account.uid).gid(account.gid).current_dir("/");
    command.output().expect("start podspawn")
}

#[test]
fn the_account_for_sshd_gets_the_lines_it_asks_for() {
    let lab = Lab::new("auto");
    let (sarah, config) = (lab.user("sarah"), lab.path("config.yaml"));
    let config = config.to_str().unwrap();
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY, "--key", OTHER]).run().ok();
    let authority = format!("cert-authority {KEY} authority");
    let _ = lab.podspawn(&["add-user", &sarah, "--key", &authority]).run().ok();
    let program = program(&lab);
    let begin = format!(
        "command=\"{} spawn --user {sarah} --socket {}\",restrict,pty,agent-forwarding",
        program.display(),
        lab.path("run/broker.sock").display()
    );
    let (one, other) = (format!("{begin} {KEY}\n"), format!("{begin} {OTHER}\n"));
    let authority = format!("{begin},{authority}\n");
    let key: Vec<&str> = KEY.split(' ').collect();
    for (args, expected) in [
        (&[sarah.as_str()][..], format!("{one}{other}{authority}")),
        (&[&sarah, key[0], key[1]], format!("{one}{authority}")),
        (&[&sarah, "SHA256:none"], authority.clone()),
        (&[&sarah, "ssh-ed25519-cert-v01@openssh.com", "AAAA"], authority.clone()),
    ] {
        let output = ask(&lab, &program, &[&["auth-keys", "--config", config], args].concat());
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{args:?}");
    }
}

#[test]
fn whatever_goes_wrong_it_succeeds_and_prints_nothing() {
    let lab = Lab::new("auto");
    let (sarah, config) = (lab.user("sarah"), lab.path("config.yaml"));
    let config = config.to_str().unwrap();
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    let program = program(&lab);
    let nothing = |args: &[&str], told: &str| {
        let output = ask(&lab, &program, args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains(told), "{args:?}: {log}");
    };
    nothing(&["auth-keys"], "without a user name");
    nothing(&["auth-keys", "--config", config, &lab.user("james")], "");
    nothing(&["auth-keys", "--config", config, "../config.yaml"], "this is a name, not a path");
    nothing(&["auth-keys", "--config", config, "a;id"], "not allowed");
    nothing(&["auth-keys", "--config"], "flag ignored");
    nothing(&["auth-keys", "--config", "/none", &sarah], "the configuration cannot be used");
    nothing(&["auth-keys", "--config", config, "--key-dir", "/none", &sarah], "");
    std::fs::write(lab.path("broken.yaml"), "auth: [").unwrap();
    let broken = lab.path("broken.yaml");
    let broken = broken.to_str().unwrap();
    nothing(&["auth-keys", "--config", broken, &sarah], "the configuration cannot be used");
    // The flag counts all the same.
    let keys = lab.path("keys");
    let args = ["auth-keys", "--config", broken, "--key-dir", keys.to_str().unwrap(), &sarah];
    assert!(String::from_utf8(ask(&lab, &program, &args).stdout).unwrap().ends_with(&format!(" {KEY}\n")));
    tool("chmod", &["o+w", lab.path("keys").join(&sarah).to_str().unwrap()]);
    nothing(&["auth-keys", "--config", config, &sarah], "can be written by others");
}

#[test]
fn nothing_that_it_inherits_stays_open_and_no_key_file_is_opened_before_its_sandbox_is_on() {
    let lab = Lab::new("auto");
    let (sarah, config) = (lab.user("sarah"), lab.path("config.yaml"));
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    // What the process has open when it prints; the variable would lead to another directory.
    let script = format!(
        "exec 7</etc/passwd; PODSPAWN_AUTH__KEY_DIR=/none exec strace -qq -e trace=close_range,openat,landlock_restrict_self,write '{}' auth-keys \
         --config '{}' '{sarah}'",
        system::podspawn().display(),
        config.display()
    );
    let output = tool("sh", &["-c", &script]);
    let (keys, trace) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(keys.ends_with(&format!(" {KEY}\n")), "{keys}\n{trace}");
    let closed = trace.find("close_range(3, 4294967295, 0)").expect("it closes what it inherited");
    let opened = trace.find("config.yaml").expect("it reads its configuration");
    assert!(closed < opened, "{trace}");
    let restricted = trace.find("landlock_restrict_self(").expect("it restricts itself");
    let keys = trace.find(&format!("keys/{sarah}\"")).expect("it opens the key file");
    assert!(opened < restricted && restricted < keys, "{trace}");
    assert_eq!(trace.matches("write(1, ").count(), 1, "the whole answer at once: {trace}");
}
