//! Podfiles that mean harm end in one clear line, soon, and without much memory.

use std::time::Duration;

use super::{check, write};
use crate::harness::{Env, system};

/// Refused with one error line that has `told`.
#[track_caller]
fn refused(env: &Env, text: &str, told: &str) {
    let run = check(env, &[("podfile.yaml", text)]).status(1);
    let error = run.stderr.lines().next().unwrap_or_default();
    assert!(error.starts_with("Error: ") && error.contains(told), "{told}: {}", run.stderr);
    assert!(!run.stderr.trim_end().contains(|c: char| c.is_control() && c != '\n'), "{:?}", run.stderr);
    assert!(run.stderr.len() < 4000, "{}", run.stderr);
    assert!(run.took < Duration::from_secs(10), "{:?}", run.took);
}

#[test]
fn documents_that_grow_are_refused_by_their_shape() {
    let env = Env::without_engine();
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let row = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{row}]\n"));
    }
    let packages: String = (0..10_000).map(|n| format!("  - p{n}\n")).collect();
    for (text, told) in [
        (bomb, "its aliases (`*name`) expand to too much"),
        ("[".repeat(100_000), "not a valid Podfile"),
        (format!("base: {}", "x".repeat(2 << 20)), "it is larger than 1024 KiB"),
        (
            format!("base: x\npackages:\n{packages}"),
            "`packages`: it has 10000 items, at most 1000 are allowed",
        ),
        (format!("base: x\nenv:\n{}", "  A: b\n".repeat(2)), "duplicate mapping key"),
        ("base: x\n---\nbase: y\n".into(), "more than one document"),
    ] {
        refused(&env, &text, told);
    }
}

#[test]
fn a_bomb_takes_no_memory_to_refuse() {
    let env = Env::without_engine();
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(",")));
    }
    write(&env, &[("podfile.yaml", &bomb)]);
    let podspawn = system::podspawn().display().to_string();
    let script = format!("ulimit -v 300000; exec '{podspawn}' podfile check repo");
    let run = env.program("sh", ["-c", &script]).run().status(1);
    assert!(run.stderr.contains("expand to too much"), "{}", run.stderr);
}

#[test]
fn nothing_becomes_shell_text_or_an_option() {
    let env = Env::without_engine();
    for (line, told) in [
        ("services: [{name: 'db; rm -rf /', image: x}]", "invalid service name"),
        ("services: [{name: '$(id)', image: x}]", "invalid service name"),
        ("services: [{name: '--privileged', image: x}]", "it would be read as an option"),
        ("services: [{name: db, image: 'x; id'}]", "invalid image reference"),
        ("services: [{name: db, image: '`id`'}]", "invalid image reference"),
        ("packages: ['git && id']", "is not the name of a package"),
        ("packages: ['-o=x']", "is not the name of a package"),
        ("env: {'A=B': c}", "is not the name of a variable"),
        ("env: {\"A\\nRUN id\": c}", "is not the name of a variable"),
        ("env: {A: \"b\\nRUN id\"}", "must be one line"),
        ("shell: '/bin/sh; id'", "is no plain path of a shell"),
        ("branch: '--upload-pack=id'", "it would be read as an option"),
        ("repos: [{url: 'ext::sh -c id'}]", "invalid repository address"),
        ("dotfiles: {repo: '--upload-pack=id'}", "it would be read as an option"),
        ("on_create: \"a\\e]0;x\\a\"", "control character"),
    ] {
        refused(&env, &format!("base: x\n{line}\n"), told);
    }
    refused(&env, "base: \"x\\e[2J\"\n", "invalid image reference");
    refused(&env, "\"\\e[2J\": x\n", "unknown key");
}

#[test]
fn nothing_of_the_host_can_be_named() {
    let env = Env::without_engine();
    for volume in
        ["/etc:/host", "/var/run/docker.sock:/run/docker.sock", "./x:/x", "../x:/x", "~/.ssh:/ssh", "~:/x"]
    {
        refused(
            &env,
            &format!("base: x\nservices: [{{name: db, image: x, volumes: ['{volume}']}}]\n"),
            "names a path of the host, which a Podfile cannot use",
        );
    }
    for path in ["/proc/1/root", "/sys", "/dev/shm", "/run/podspawn", "/.podspawn"] {
        refused(&env, &format!("base: x\nworkspace: {path}\n"), "which a Podfile cannot use");
        refused(
            &env,
            &format!("base: x\nservices: [{{name: db, image: x, volumes: ['d:{path}']}}]\n"),
            "which a Podfile cannot use",
        );
        refused(
            &env,
            &format!("base: x\nrepos: [{{url: github.com/a/b, path: {path}}}]\n"),
            "which a Podfile cannot use",
        );
    }
    refused(&env, "base: x\nworkspace: /workspace/../proc\n", "must be a plain path");
    refused(&env, "base: x\nprivileged: true\n", "unknown key `privileged`");
    refused(
        &env,
        "base: x\nservices: [{name: db, image: x, network_mode: host}]\n",
        "unknown key `services.0.network_mode`",
    );
}

#[test]
fn extending_leads_neither_out_of_the_repository_nor_in_circles() {
    let env = Env::without_engine();
    std::fs::write(env.home().join("outside.yaml"), "base: secret\n").expect("a file");
    for reference in ["../outside.yaml", "../../../../../etc/passwd", "/etc/passwd", "./a/../../outside.yaml"]
    {
        refused(&env, &format!("extends: {reference}\n"), "it leads out of the repository");
    }
    std::fs::create_dir_all(env.home().join("repo")).expect("mkdir");
    std::os::unix::fs::symlink("../outside.yaml", env.home().join("repo/link.yaml")).expect("a link");
    refused(&env, "extends: link.yaml\n", "it leads out of the repository");
    write(&env, &[("b.yaml", "extends: c.yaml\n"), ("c.yaml", "extends: podfile.yaml\n")]);
    refused(&env, "extends: b.yaml\n", "it comes back to a file of its own chain");
    for level in 0..12 {
        write(&env, &[(&format!("l{level}.yaml"), &format!("extends: l{}.yaml\n", level + 1))]);
    }
    refused(&env, "extends: l0.yaml\n", "there are more than 10 levels");
    let fifo = env.home().join("repo/fifo.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    refused(&env, "extends: fifo.yaml\n", "it is a FIFO, not a regular file");
}
