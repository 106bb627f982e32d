//! `docs/threat-model.md`: each test that it names exists, and each attempt of the suite of escapes is in it.

use std::collections::BTreeSet;
use std::path::Path;

use super::source::{File, files, none};

const PAGE: &str = "docs/threat-model.md";
const ESCAPES: &str = "tests/it/security/";

/// Where tests are whose name begins with a crate's; all others are in `tests/it`.
const CRATES: &[(&str, &[&str])] = &[
    ("podspawn", &["src"]),
    ("podspawn_wire", &["wire/src", "wire/tests"]),
    ("podspawn_guest", &["guest/src"]),
    ("podspawn_runtimes", &["runtimes/src", "runtimes/tests"]),
    ("pam_podspawn", &["pam/src"]),
];

/// The tests of a file: what is marked as one, and what the matrix of engines makes one of.
fn tests(file: &File) -> BTreeSet<&str> {
    let is_mark = |line: &str| {
        line == "#[test]"
            || line.starts_with("#[tokio::test")
            || (line.starts_with('[')
                && line.ends_with(']')
                && line[1..].trim_start_matches("; ").starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let mut marked = false;
    let mut found = BTreeSet::new();
    for line in file.text.lines().map(str::trim) {
        match line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
            Some(rest) if marked => {
                found.insert(rest.split(['(', '<']).next().unwrap_or_default());
            }
            _ => {}
        }
        marked = is_mark(line) || (marked && (line.starts_with("#[") || line.starts_with("//")));
    }
    found
}

/// Tests that a macro of their file makes, once for each way of it: `accounts::users::useradd::…`.
fn made_by_a_macro(file: &File, module: &str, name: &str) -> bool {
    file.text.contains(&format!("mod {module} {{ $(#[test]")) && file.text.contains(&format!("fn {name}("))
}

/// Whether a test of this name is in the source, in the module that the name says.
fn exists(all: &[File], name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let Some((function, path)) = parts.split_last() else { return false };
    let (tops, path) = match path.split_first().and_then(|(first, rest)| {
        CRATES.iter().find(|(name, _)| name == first).map(|(_, tops)| (*tops, rest))
    }) {
        Some(found) => found,
        None => (&["tests/it"][..], path),
    };
    let at = |parts: &[&str]| -> Vec<String> {
        let stem = parts.join("/");
        let ends = ["{}.rs", "{}/mod.rs", "{}_tests.rs"].map(|end| end.replace("{}", &stem));
        tops.iter().flat_map(|top| ends.iter().map(move |end| format!("{top}/{end}"))).collect()
    };
    let of = |paths: Vec<String>| all.iter().filter(move |file| paths.contains(&file.path));
    let mut places: Vec<&File> = of(at(path)).collect();
    // A module inside the file of the one above it.
    if let Some((module, above)) = path.split_last() {
        if *module == "tests" {
            places.extend(of(at(above)));
        } else if of(at(above)).any(|file| made_by_a_macro(file, module, function)) {
            return true;
        }
    }
    places.iter().any(|file| tests(file).contains(function))
}

/// Everything in backquotes in the last column of a table's rows.
fn named(page: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, line) in
        page.lines().enumerate().filter(|(_, line)| line.starts_with('|') && line.contains("::"))
    {
        let last = line.trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        found.extend(last.split('`').skip(1).step_by(2).map(|name| (at + 1, name)));
    }
    found
}

#[test]
fn every_line_of_the_threat_model_is_a_test() {
    let all = files();
    let page = &all.iter().find(|file| file.path == PAGE).expect("the page").text;
    let named = named(page);
    assert!(named.len() > 50, "the tables were not found");
    let mut findings = Vec::new();
    for (line, name) in &named {
        if !exists(&all, name) {
            findings.push(format!("{PAGE}:{line}: there is no test `{name}`"));
        }
    }
    // A row without a test is an attack of which nobody knows what becomes of it.
    let mut with_tests = false;
    for (at, line) in page.lines().enumerate() {
        match line {
            "| Attack | What stands against it | Test |" => with_tests = true,
            line if !line.starts_with('|') => with_tests = false,
            line if with_tests
                && !line.starts_with("|---")
                && !line.trim_end_matches('|').ends_with("` ") =>
            {
                findings.push(format!("{PAGE}:{}: the row names no test", at + 1));
            }
            _ => {}
        }
    }
    none(findings);
}

#[test]
fn every_escape_that_is_tried_is_in_the_threat_model() {
    let all = files();
    let page = &all.iter().find(|file| file.path == PAGE).expect("the page").text;
    let named: BTreeSet<&str> = named(page).into_iter().map(|(_, name)| name).collect();
    let mut count = 0;
    let mut findings = Vec::new();
    for file in all.iter().filter(|file| file.path.starts_with(ESCAPES)) {
        let module = Path::new(&file.path).file_stem().and_then(|stem| stem.to_str()).expect("a name");
        for test in tests(file) {
            count += 1;
            let name = format!("security::{module}::{test}");
            if !named.contains(name.as_str()) {
                findings.push(format!("{PAGE}: `{name}` is in no table"));
            }
        }
    }
    assert!(count > 20, "the suite was not found");
    none(findings);
}
