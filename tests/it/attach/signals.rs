//! Signals to whoever attaches, and the terminal that is left behind.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::harness::{EngineName, Env, Terminal, system};

/// Runs a line of shell in a machine, without a terminal inside, its output on a terminal here.
fn exec(env: &Env, line: &str) -> Terminal {
    let _ = env.podspawn(["create", "dev"]).run().ok();
    env.terminal(["exec", "dev", "--", "sh", "-c", line])
}

on_engines! {
    [docker, podman, gvisor]
    fn a_signal_to_podspawn_reaches_the_process_inside(env: Env) {
        let line = "trap 'echo told to end; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
        let mut terminal = exec(&env, line);
        terminal.expect("ready");
        terminal.signal(Signal::TERM);
        terminal.expect("told to end");
        assert_eq!(terminal.wait().0, 7);
    }

    [docker, podman]
    fn ctrl_c_ends_a_process_that_has_no_terminal(env: Env) {
        let mut terminal = exec(&env, "echo ready; exec sleep 300");
        terminal.expect("ready");
        terminal.send("\x03");
        assert_eq!(terminal.wait().0, 130);
    }

    [docker]
    fn whoever_insists_need_not_wait_for_a_process_that_does_not_listen(env: Env) {
        let mut terminal = exec(&env, "trap 'echo no' INT; echo ready; while :; do sleep 0.1; done");
        terminal.expect("ready");
        let begun = Instant::now();
        for _ in 0..2 {
            terminal.send("\x03");
            terminal.expect("no");
        }
        terminal.send("\x03");
        assert_eq!(terminal.wait().0, 130);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    [docker, podman]
    fn a_hang_up_ends_the_session_and_what_runs_in_it(env: Env) {
        let mut terminal = exec(&env, "exec 2>/dev/null; trap 'echo hung up > /tmp/end; exit' HUP; echo ready; while :; do sleep 0.1; done");
        terminal.expect("ready");
        terminal.signal(Signal::HUP);
        assert_eq!(terminal.wait().0, 129);
        // The trap may run a little later: a reader of its own waits for what it writes.
        let line = "until [ -s /tmp/end ]; do sleep 0.1; done; cat /tmp/end";
        let run = env.podspawn(["exec", "dev", "--", "sh", "-c", line]).run().ok();
        assert_eq!(run.out(), "hung up\n");
    }
}

/// Enters a shell in a machine, ends it in some way, and holds that the terminal's settings are what they were. The end gets
/// the environment, the terminal and the pid of podspawn.
fn settings_stay(end: impl FnOnce(&Env, &mut Terminal, Pid)) -> String {
    let env = Env::on(EngineName::Docker);
    let _ = env.podspawn(["create", "dev"]).run().ok();
    let pid_file = env.home().join("pid");
    let line = format!(
        "echo before $(stty -g); sh -c 'echo $$ > {}; exec {} shell dev'; echo status $?; echo after $(stty -g) end",
        pid_file.display(),
        system::podspawn().display(),
    );
    let mut terminal = env.program("sh", ["-c", &line]).terminal(24, 80);
    // One process from its word to its end: a key that is pressed while the shell still makes it is nobody's.
    terminal.line("sh -c 'echo in$((1))side; exec cat'");
    terminal.expect("in1side");
    let pid = std::fs::read_to_string(pid_file).expect("read a pid").trim().parse().expect("a pid");
    end(&env, &mut terminal, Pid::from_raw(pid).expect("a pid"));
    let (_, shown) = terminal.wait();
    let setting = |word: &str| {
        let at = shown.rfind(word).unwrap_or_else(|| panic!("{word}: {shown:?}")) + word.len();
        shown[at..].split_whitespace().next().expect("a word").to_owned()
    };
    assert_eq!(setting("before "), setting("after "), "{shown:?}");
    setting("status ")
}

#[test]
fn a_shell_that_ends_leaves_the_terminal_as_it_was() {
    let status = settings_stay(|_, terminal, _| {
        // Ctrl-C ends `cat`, not podspawn.
        terminal.send("\x03").expect("$ ");
        terminal.line("exit 5");
    });
    assert_eq!(status, "5");
}

#[test]
fn a_machine_that_is_killed_leaves_the_terminal_as_it_was() {
    let status = settings_stay(|env, _, _| {
        EngineName::Docker.run(&["kill", &env.container("dev")]);
    });
    assert_eq!(status, "1");
}

#[test]
fn a_podspawn_that_is_told_to_end_leaves_the_terminal_as_it_was() {
    for (signal, status) in [(Signal::TERM, "143"), (Signal::INT, "130"), (Signal::HUP, "129")] {
        let seen =
            settings_stay(|_, _, pid| rustix::process::kill_process(pid, signal).expect("send a signal"));
        assert_eq!(seen, status);
    }
}

#[test]
fn nothing_is_printed_after_the_shells_own_last_word() {
    let env = Env::on(EngineName::Docker);
    let _ = env.podspawn(["create", "dev"]).run().ok();
    let mut terminal = env.terminal(["shell", "dev"]);
    terminal.line("echo in$((1))side; trap 'echo last' EXIT; exit 5");
    terminal.expect("in1side");
    let (status, shown) = terminal.wait();
    assert_eq!(status, 5);
    assert!(shown.ends_with("last\r\n"), "{shown:?}");
}
