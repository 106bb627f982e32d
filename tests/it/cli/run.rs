//! `podspawn run`

use crate::harness::{Env, Run};

#[track_caller]
fn nothing_is_left(env: &Env) {
    assert_eq!(env.objects(), Vec::<String>::new());
    assert_eq!(env.podspawn(["list"]).run().ok().out(), "No machines.\n");
}

on_engines! {
    [docker, docker26, podman, gvisor]
    fn a_person_gets_a_shell_in_a_machine_that_goes_with_it(env: Env) {
        let mut terminal = env.terminal(["run", "scratch"]);
        terminal.expect(&format!("{}@scratch", env.user));
        terminal.line("echo $((20+22)) $(tty) $TERM");
        terminal.expect("42 /dev/pts/");
        terminal.expect("xterm-256color");
        terminal.line("exit 3");
        terminal.expect("exit 3\r\n");
        let (status, screen) = terminal.wait();
        assert_eq!(status, 3);
        // A login shell says so itself, and ends what it had asked of the terminal for its prompt.
        let after = screen.rsplit("exit 3\r\n").next().expect("what came after");
        assert_eq!(after.replace("\x1b[?2004l\r", ""), "logout\r\n", "printed after exit");
        nothing_is_left(&env);
    }
}

on_engines! {
    [docker, podman, gvisor]
    fn without_a_terminal_the_shell_reads_its_commands_from_standard_input(env: Env) {
        let run: Run = env.podspawn(["run", "scratch"]).stdin("hostname; echo oops >&2; exit 7").run().status(7);
        assert_eq!(run.out(), "scratch\n");
        assert_eq!(run.stderr, "oops\n");
        nothing_is_left(&env);
    }
}

on_engines! {
    [docker, podman]
    fn a_command_can_be_run_instead_of_a_shell(env: Env) {
        let run = env.podspawn(["run", "scratch", "--", "sh", "-c", "echo \"$0 $1\"; exit 5", "a b", "c"]);
        let run = run.run().status(5);
        assert_eq!(run.out(), "a b c\n");
        nothing_is_left(&env);
    }
}

on_engines! {
    [docker, podman]
    fn a_name_in_use_is_refused_and_the_machine_stays(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let before = env.objects();
        let run = env.podspawn(["run", "dev"]).run().status(1);
        assert_eq!(run.stderr, "Error: the name `dev` is in use\nhint: podspawn shell dev\n");
        assert_eq!(env.objects(), before);
    }
}

on_engines! {
    [docker, podman]
    fn closing_the_terminal_ends_the_machine(env: Env) {
        let mut terminal = env.terminal(["run", "scratch"]);
        terminal.expect(&format!("{}@scratch", env.user));
        terminal.hang_up();
        let _ = terminal.wait();
        nothing_is_left(&env);
    }
}
