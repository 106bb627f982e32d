//! `podspawn version`

use crate::harness::Env;

#[test]
fn the_version_names_release_and_commit() {
    let env = Env::without_engine();
    let out = env.podspawn(["version"]).run().ok().out();
    let rest = out.strip_prefix("podspawn v0.1.0 (").expect("name and version");
    let commit = rest.strip_suffix(")\n").expect("a commit in parentheses");
    // git takes more digits where seven name several commits.
    let is_short = (7..=10).contains(&commit.len()) && commit.chars().all(|c| c.is_ascii_hexdigit());
    assert!(commit == "none" || is_short, "{out}");
}

#[test]
fn an_unknown_command_is_refused_in_one_line_with_a_hint() {
    let env = Env::without_engine();
    let run = env.podspawn(["versoin"]).run().status(1);
    assert_eq!(run.out(), "");
    let mut lines = run.stderr.lines();
    assert_eq!(lines.next(), Some("Error: unrecognized subcommand 'versoin'"));
    assert!(lines.next().expect("a hint").contains("'version'"), "{}", run.stderr);
}
