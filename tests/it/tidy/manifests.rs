//! Dependencies: named once, with a reason, used, and pinned.

use super::source::{File, files, lines_with_word, none, rust_files};

fn manifests() -> Vec<File> {
    files()
        .into_iter()
        .filter(|file| file.path.ends_with("Cargo.toml") && !file.path.starts_with("fuzz/"))
        .collect()
}

/// The lines of one table of a manifest, without comments and blank lines; `[table]` or `[table.…]`.
fn table<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let head = format!("[{name}]");
    manifest
        .lines()
        .skip_while(|line| *line != head)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| {
            !line.trim().is_empty() && !line.starts_with('#') && line.starts_with(char::is_alphanumeric)
        })
        .collect()
}

#[test]
fn every_dependency_says_why_it_is_here() {
    let top = manifests().into_iter().find(|file| file.path == "Cargo.toml").expect("the top manifest");
    let lines = table(&top.text, "workspace.dependencies");
    assert!(lines.len() > 5, "the table of dependencies was not found");
    none(
        lines
            .iter()
            .filter(|line| !line.contains("path = ") && !line.contains(" # "))
            .map(|line| format!("Cargo.toml: no reason beside `{line}`"))
            .collect(),
    );
}

#[test]
fn versions_stand_in_the_workspace_only() {
    let mut findings = Vec::new();
    for file in manifests() {
        for name in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for line in table(&file.text, name) {
                if !line.contains("workspace = true") && !line.contains("path = \".\"") {
                    findings.push(format!(
                        "{}: `{line}` does not take its version from the workspace",
                        file.path
                    ));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn every_dependency_is_used() {
    let sources = rust_files();
    let mut findings = Vec::new();
    for file in manifests() {
        let dir = file.path.trim_end_matches("Cargo.toml");
        let members = ["runtimes/", "wire/", "guest/", "pam/"];
        for name in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for line in table(&file.text, name) {
                let dependency = line.split(['.', ' ', '=']).next().expect("a name").replace('-', "_");
                let used = sources
                    .iter()
                    .filter(|source| source.path.starts_with(dir))
                    .filter(|source| {
                        !dir.is_empty() || !members.iter().any(|member| source.path.starts_with(member))
                    })
                    .any(|source| !lines_with_word(&source.code(), &dependency).is_empty());
                if !used {
                    findings.push(format!("{}: `{dependency}` is used by no source file", file.path));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn the_small_programs_depend_on_little() {
    let heavy = ["tokio", "podspawn-runtimes", "bollard", "rusqlite", "clap", "figment", "serde_yaml"];
    let mut findings = Vec::new();
    for file in manifests() {
        if !["guest/Cargo.toml", "wire/Cargo.toml", "pam/Cargo.toml"].contains(&file.path.as_str()) {
            continue;
        }
        for line in table(&file.text, "dependencies") {
            if heavy.iter().any(|name| line.starts_with(name)) {
                findings.push(format!("{}: `{line}` has no place in a small program", file.path));
            }
        }
    }
    none(findings);
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    none(
        manifests()
            .iter()
            .filter(|file| table(&file.text, "lints") != ["workspace = true"])
            .map(|file| format!("{}: no `[lints] workspace = true`", file.path))
            .collect(),
    );
}
