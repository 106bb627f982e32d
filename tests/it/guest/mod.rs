//! Life inside a machine, as its user lives it through `podspawn exec` and `podspawn shell`: both ways of attaching, every
//! engine, every kind of image.

mod crowd;
mod images;
mod seccomp;
mod sftp;
mod streams;
mod sudo;
mod terminals;

use crate::harness::{Env, Run, Terminal};

/// Makes the one machine of a story.
fn create(env: &Env) {
    create_from(env, &env.image);
}

fn create_from(env: &Env, image: &str) {
    let _ = env.podspawn(["create", "m", "--image", image]).run().ok();
}

/// Runs a script in it, without terminal and input.
fn inside(env: &Env, script: &str) -> Run {
    env.podspawn(["exec", "m", "--", "sh", "-c", script]).run()
}

/// A shell in it on a terminal, for lines to be typed. A key is to be pressed only while one single process has the terminal
/// (`exec` in scripts): between `vfork` and the start of a program some shells neither stop nor end.
///
/// The shell is at its prompt `P$ ` and does not repeat what is typed.
fn shell(env: &Env) -> Terminal {
    let mut terminal = env.terminal(["shell", "m"]);
    terminal.expect("@m");
    // The prompt is written in two pieces, so that only it matches; line editors that mark what is pasted are asked not to.
    terminal.line("stty -echo; bind 'set enable-bracketed-paste off' 2>/dev/null; PS1='P''$ '");
    terminal.expect("P$ ");
    terminal
}

/// Types a line into a shell made by [`shell`] and returns what it shows up to the next prompt.
fn answer(terminal: &mut Terminal, line: &str) -> String {
    terminal.line(line);
    terminal.expect("P$ ")
}
