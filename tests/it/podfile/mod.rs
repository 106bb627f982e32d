//! Podfiles as a person writes them, rightly, wrongly and with bad intent; no engine is needed.

mod check;
mod hostile;
mod schema;
mod web;

use crate::harness::{Env, Run};

/// Runs `podspawn podfile check` in a directory that has these files.
fn check(env: &Env, files: &[(&str, &str)]) -> Run {
    write(env, files);
    env.podspawn(["podfile", "check", "repo"]).run()
}

/// Writes files below `~/repo`.
fn write(env: &Env, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = env.home().join("repo").join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
        std::fs::write(path, text).expect("a file");
    }
}
