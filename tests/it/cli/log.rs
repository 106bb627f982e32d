//! `--log-file`

use crate::harness::{EngineName, Env};

#[test]
fn the_log_goes_to_the_file_that_was_named() {
    let env = Env::on(EngineName::Docker);
    let file = env.directory().join("podspawn.log");
    let name = file.to_str().expect("a path");
    let run = env.podspawn(["--log-file", name, "run", "scratch"]).run().ok();
    assert_eq!(run.stderr, "");
    let text = std::fs::read_to_string(&file).expect("a log");
    assert!(text.lines().any(|line| line.starts_with("INFO session destroyed ")), "{text}");
    assert!(text.contains(&format!("container={}", env.container("scratch"))), "{text}");
    let run = env.podspawn(["--log-file", name, "cleanup"]).run().ok();
    assert_eq!(run.stderr, "");
}

#[test]
fn a_log_that_cannot_be_opened_is_a_warning() {
    let env = Env::without_engine();
    let run = env.podspawn(["--log-file", "/nonexistent/x.log", "list"]).run().ok();
    assert_eq!(run.out(), "No machines.\n");
    assert!(
        run.stderr.starts_with("warning: the log file `/nonexistent/x.log` cannot be opened: "),
        "{}",
        run.stderr
    );
}
