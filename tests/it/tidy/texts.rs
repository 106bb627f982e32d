//! What every file must look like, and what no file may say.

use std::collections::BTreeSet;

use super::source::{files, none, rust_files, top};

#[test]
fn no_file_has_more_than_800_lines() {
    none(
        rust_files()
            .iter()
            .filter(|file| file.text.lines().count() > 800)
            .map(|file| {
                format!("{}: {} lines: is there a natural cut?", file.path, file.text.lines().count())
            })
            .collect(),
    );
}

#[test]
fn every_module_begins_by_saying_what_it_owns() {
    none(
        rust_files()
            .iter()
            .filter(|file| !file.path.ends_with("tests.rs"))
            .filter(|file| !file.text.starts_with("//! ") && !file.text.starts_with("#!["))
            .map(|file| format!("{}: the first line is not a `//!` comment", file.path))
            .collect(),
    );
}

#[test]
fn every_source_file_belongs_to_its_crate() {
    let files = rust_files();
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    for file in &files {
        let Some((dir, name)) = file.path.rsplit_once('/') else { continue };
        let stem = name.trim_end_matches(".rs");
        let root =
            matches!(stem, "main" | "lib" | "build") || dir.ends_with("/tests") || dir.ends_with("benches");
        if root || dir.ends_with("/bin") || dir.ends_with("fuzz_targets") || dir == "tests" {
            continue;
        }
        let (module, parents) = if stem == "mod" {
            let (above, module) = dir.rsplit_once('/').expect("a module below a crate");
            (module, parents_of(above))
        } else {
            (stem, parents_of(dir))
        };
        let by_path = files.iter().any(|other| {
            other.path.starts_with(dir) && other.text.contains(&format!("#[path = \"{name}\"]"))
        });
        let declared = by_path
            || parents.iter().filter(|parent| paths.contains(parent.as_str())).any(|parent| {
                let text = &files.iter().find(|file| file.path == *parent).expect("a listed file").code();
                !super::source::lines_with_word(text, &format!("mod {module}")).is_empty()
            });
        if !declared {
            findings.push(format!("{}: no `mod {module};` in {}", file.path, parents.join(" or ")));
        }
    }
    none(findings);
}

/// The files that may declare the modules of a directory.
fn parents_of(dir: &str) -> Vec<String> {
    vec![format!("{dir}/mod.rs"), format!("{dir}/lib.rs"), format!("{dir}/main.rs"), format!("{dir}.rs")]
}

/// Words that must not stand in the tree, put together here so that this file does not contain them.
fn forbidden() -> Vec<(String, &'static str)> {
    let join = |parts: &[&str]| parts.concat();
    vec![
        (join(&["to", "do!("]), "unfinished"),
        (join(&["unimpl", "emented!("]), "unfinished"),
        (join(&["#[ig", "nore"]), "a test that does not run"),
        (join(&["FIX", "ME"]), "unfinished"),
        (join(&["XX", "X:"]), "unfinished"),
        (join(&["/wo", "rk/"]), "a path of one machine"),
        (join(&["/fa", "rm/"]), "a path of one machine"),
        (join(&["thread::", "sleep"]), "wait for an event instead"),
    ]
}

/// The reason of a test that `make soak` runs.
const LONGER: &str = "a longer proof: make soak";

#[test]
fn no_text_is_unfinished_or_tied_to_one_machine() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.path != "Cargo.lock" && file.path != "clippy.toml") {
        for (word, why) in forbidden() {
            let lines = file.text.lines().enumerate().filter(|(_, line)| line.contains(&word));
            for (number, line) in lines.filter(|(_, line)| !line.contains(LONGER)) {
                findings.push(format!("{}:{}: {why}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none(findings);
}

/// Ids of a decision table that is not part of this tree would send a reader nowhere.
#[test]
fn no_text_refers_to_a_document_that_is_not_here() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric());
            for word in words.filter(|word| is_table_id(word)) {
                findings.push(format!(
                    "{}:{}: `{word}` is explained nowhere: {}",
                    file.path,
                    number + 1,
                    line.trim()
                ));
            }
            for name in ["behaviour.md", "design.md", "environment.md", "style.md"] {
                let exists = top().join("docs").join(name).exists();
                if line.contains(name) && !exists && file.path != "tests/it/tidy/texts.rs" {
                    findings.push(format!("{}:{}: `{name}` is not here", file.path, number + 1));
                }
            }
        }
    }
    none(findings);
}

/// `C` or `G` and one or two digits; the control-character ranges C0 and C1 are no such ids.
fn is_table_id(word: &str) -> bool {
    let digits = word.strip_prefix('C').or_else(|| word.strip_prefix('G')).unwrap_or_default();
    (1..=2).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !matches!(word, "C0" | "C1")
}

#[test]
fn files_are_clean_text_with_a_newline_at_the_end() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.path != "LICENSE" && !file.path.starts_with("fuzz/seeds")) {
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.push(format!("{}: no newline at the end", file.path));
        }
        for (number, line) in file.text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) && !file.path.ends_with(".snap") {
                findings.push(format!("{}:{}: blanks at the end of the line", file.path, number + 1));
            }
        }
    }
    none(findings);
}

#[test]
fn scripts_parse_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let mut findings = Vec::new();
    let scripts: Vec<_> = files().into_iter().filter(|file| file.text.starts_with("#!")).collect();
    assert!(scripts.iter().any(|file| file.path == ".ci/run"), ".ci/run is a script");
    for file in scripts.iter().filter(|file| !file.text.starts_with("#![")) {
        let path = top().join(&file.path);
        let mode = path.metadata().expect("a file that was just read").permissions().mode();
        if mode & 0o111 == 0 {
            findings.push(format!("{}: begins with `#!` and is not executable", file.path));
        }
        if file.text.lines().next().is_some_and(|line| line.ends_with("bash")) {
            let check = std::process::Command::new("bash").arg("-n").arg(&path).output().expect("bash runs");
            if !check.status.success() {
                findings.push(format!("{}: {}", file.path, String::from_utf8_lossy(&check.stderr).trim()));
            }
            if !file.text.contains("set -euo pipefail") {
                findings.push(format!("{}: goes on after an error: no `set -euo pipefail`", file.path));
            }
        }
    }
    none(findings);
}
