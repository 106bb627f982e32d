//! Dependencies point one way, and each power belongs to few rooms.

use super::source::{File, lines_with_word, none, rust_files};

/// The rooms of the package, and which other rooms each may call. `main.rs` and `lib.rs` put them together.
const ROOMS: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("check", &[]),
    ("system", &["names"]),
    ("config", &["names", "spec", "system"]),
    ("podfile", &["names", "config", "spec", "system"]),
    ("spec", &["names", "config", "podfile"]),
    ("state", &["names", "spec", "system"]),
    ("session", &["names", "spec", "state", "system"]),
    ("ui", &["names", "system"]),
    ("engine", &["config", "session", "system"]),
    ("sandbox", &["system"]),
    (
        "server",
        &["check", "config", "engine", "names", "podfile", "sandbox", "session", "spec", "state", "system"],
    ),
    (
        "local",
        &["check", "config", "engine", "names", "podfile", "sandbox", "session", "spec", "state", "system"],
    ),
    ("cli", &["config", "names"]),
    ("exit", &[]),
    (
        "command_error",
        &[
            "cli", "config", "exit", "local", "names", "podfile", "server", "session", "spec", "state",
            "system", "ui",
        ],
    ),
    (
        "commands",
        &[
            "check",
            "cli",
            "command_error",
            "config",
            "engine",
            "exit",
            "local",
            "names",
            "podfile",
            "sandbox",
            "server",
            "session",
            "spec",
            "state",
            "system",
            "ui",
        ],
    ),
];

/// The room that a file of the package belongs to.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (name != "main" && name != "lib").then_some(name)
}

/// Findings for `words` in the product code of the files that `which` picks.
fn uses(which: impl Fn(&str) -> bool, words: &[&str], why: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for file in rust_files().iter().filter(|file| which(&file.path)) {
        let code = file.product_code();
        for word in words {
            for line in lines_with_word(&code, word) {
                findings.push(format!("{}:{line}: `{word}`: {why}", file.path));
            }
        }
    }
    findings
}

#[test]
fn dependencies_between_rooms_point_one_way() {
    let mut findings = Vec::new();
    for file in rust_files() {
        let Some(room) = room(&file.path) else { continue };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            findings.push(format!(
                "{}: the room `{room}` is not in the list of rooms in {}",
                file.path,
                file!()
            ));
            continue;
        };
        let code = file.product_code();
        for (other, _) in ROOMS.iter().filter(|(name, _)| *name != room && !allowed.contains(name)) {
            for line in lines_with_word(&code, &format!("crate::{other}")) {
                findings.push(format!("{}:{line}: `{room}` may not call `{other}`", file.path));
            }
        }
    }
    none(findings);
}

#[test]
fn resolving_a_spec_does_no_input_or_output_and_reads_no_clock() {
    none(uses(
        |path| path.starts_with("src/spec/"),
        &[
            "std::fs",
            "std::env",
            "std::net",
            "std::process",
            "std::io",
            "std::thread",
            "tokio",
            "rustix",
            "now",
        ],
        "what decides is pure",
    ));
}

#[test]
fn no_engine_client_leaves_the_runtimes_crate() {
    none(uses(
        |path| !path.starts_with("runtimes/"),
        &["bollard", "podman_api", "hyper", "docker_api"],
        "an engine's client library is known to `runtimes` alone",
    ));
}

#[test]
fn the_runtimes_crate_knows_nothing_of_sessions_and_configuration() {
    none(uses(
        |path| path.starts_with("runtimes/"),
        &["podspawn", "podspawn_wire", "podspawn_guest", "figment", "SessionSpec", "rusqlite", "clap"],
        "an engine is told what to do by its own types",
    ));
}

#[test]
fn the_lifecycle_core_knows_no_command_line_and_no_printing() {
    none(uses(
        |path| path.starts_with("src/session/") || path.starts_with("src/state/"),
        &["clap", "indicatif", "figment"],
        "that belongs to the commands",
    ));
}

#[test]
fn guest_module_and_wire_are_small_and_stand_alone() {
    none(uses(
        |path| ["guest/src/", "pam/src/", "wire/src/"].iter().any(|dir| path.starts_with(dir)),
        &["tokio", "podspawn", "podspawn_runtimes", "rusqlite", "figment", "clap"],
        "what runs inside the container or in sshd has no async runtime and knows none of the rest",
    ));
}

#[test]
fn only_ui_prints() {
    none(uses(
        |path| (path.starts_with("src/") && !path.starts_with("src/ui")) || is_library(path),
        &["println!", "eprintln!", "print!", "eprint!", "io::stdout", "io::stderr", "dbg!"],
        "only `ui` prints",
    ));
}

fn is_library(path: &str) -> bool {
    path.starts_with("runtimes/src/") || path.starts_with("wire/src/")
}

#[test]
fn only_system_reads_the_environment_the_clock_and_the_uid() {
    none(uses(
        |path| (path.starts_with("src/") && !path.starts_with("src/system")) || is_library(path),
        &[
            "env::var",
            "env::var_os",
            "env::vars",
            "env::vars_os",
            "env::current_dir",
            "env::temp_dir",
            "SystemTime::now",
            "Timestamp::now",
            "Zoned::now",
            "getuid",
            "geteuid",
        ],
        "only `system` asks the host",
    ));
}

#[test]
fn a_lint_is_switched_off_only_where_its_power_belongs() {
    let lints: &[(&str, &[&str])] = &[
        ("clippy::print_stdout", &["src/ui", "guest/", "tests/", "benches/"]),
        ("clippy::print_stderr", &["src/ui", "guest/", "tests/", "benches/", "build.rs"]),
        ("clippy::undocumented_unsafe_blocks", &[]),
        ("unsafe_op_in_unsafe_fn", &[]),
        ("dead_code", &["tests/it/main.rs"]),
        ("unused", &[]),
    ];
    let mut findings = Vec::new();
    for file in rust_files() {
        let code = file.code();
        for (number, line) in code.lines().enumerate() {
            if !(line.contains("allow(") || line.contains("expect(")) || !line.trim_start().starts_with("#") {
                continue;
            }
            for (lint, places) in lints {
                let named = !lines_with_word(line, lint).is_empty();
                if named && !places.iter().any(|place| file.path.starts_with(place)) {
                    findings.push(format!(
                        "{}:{}: `{lint}` may not be switched off here",
                        file.path,
                        number + 1
                    ));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn unsafe_stands_in_few_places_and_each_says_why_it_is_sound() {
    let places = ["src/system", "wire/", "guest/", "pam/"];
    let mut findings = Vec::new();
    for file in rust_files() {
        for line in lines_with_word(&file.code(), "unsafe") {
            let text = file.text.lines().nth(line - 1).unwrap_or_default();
            if !places.iter().any(|place| file.path.starts_with(place)) {
                findings.push(format!("{}:{line}: no `unsafe` here: {}", file.path, text.trim()));
            } else if !is_explained(&file, line) {
                findings.push(format!("{}:{line}: `unsafe` without a `SAFETY:` line", file.path));
            }
        }
    }
    none(findings);
}

/// Whether a `SAFETY:` comment (or a `# Safety` section of an `unsafe fn`) stands on the line or right above it.
fn is_explained(file: &File, line: usize) -> bool {
    let lines: Vec<&str> = file.text.lines().collect();
    let above = lines[..line].iter().rev().take(8);
    above.clone().any(|text| text.contains("SAFETY:") || text.contains("# Safety"))
        || lines[line - 1].contains("unsafe extern")
}
