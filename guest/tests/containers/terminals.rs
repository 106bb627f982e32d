//! Processes on a terminal of the container.

use podspawn_wire::{Exit, Program, RunAs, Start, Streams, ToGuest, Window};

use crate::client::{Session, Way, on_terminal, sh, ways};
use crate::everywhere;
use crate::support::{Engine, Machine, Plan};

fn bash() -> Program {
    Program::Argv(vec!["bash".into(), "--norc".into(), "-i".into()])
}

fn line(text: &str) -> Program {
    Program::CommandLine(text.into())
}

#[test]
fn a_terminal_is_made_inside_and_has_the_size_asked_for() {
    everywhere(|machine, way| {
        for (rows, cols) in [(1, 1), (500, 200), (24, 80)] {
            let ran = machine.run(way, on_terminal(line("tty; stty size; echo $TERM"), rows, cols));
            let lines: Vec<&str> = ran.out.lines().collect();
            assert!(lines[0].starts_with("/dev/pts/"), "{}", ran.out);
            assert_eq!(lines[1..], [&*format!("{rows} {cols}"), "xterm-256color"]);
        }
    });
}

#[test]
fn all_output_of_a_terminal_comes_before_the_exit() {
    everywhere(|machine, way| {
        let ran = machine.run(way, on_terminal(line("seq 1 60000; exit 7"), 24, 80));
        assert_eq!(ran.exit, Exit::Code(7));
        let expected: String = (1..=60_000).map(|number| format!("{number}\r\n")).collect();
        assert!(ran.out == expected, "{} of {} bytes", ran.out.len(), expected.len());
    });
}

#[test]
fn the_shortest_process_is_told_from_its_start_to_its_end() {
    everywhere(|machine, way| {
        for status in 1..=20 {
            let start =
                on_terminal(Program::Argv(vec!["sh".into(), "-c".into(), format!("exit {status}")]), 24, 80);
            assert_eq!(machine.run(way, start).exit, Exit::Code(status));
        }
    });
}

#[test]
fn keys_and_job_control_work() {
    everywhere(|machine, way| {
        let mut session = Session::open(machine, way);
        session.start(on_terminal(bash(), 24, 80));
        session.started();
        session.write(b"PS1='now> '\r");
        session.expect("now> ");
        session.expect("now> ");
        // Ctrl-C ends the program and not the shell.
        session.write(b"sh -c 'echo u''p; exec sleep 1000'\r");
        session.expect("up\r\n");
        session.write(b"\x03");
        session.expect("now> ");
        // A space more: what is typed while the shell gets its terminal back may lose its first key.
        session.write(b" echo status $?\r");
        session.expect("status 130");
        // Ctrl-Z stops it, fg goes on with it.
        session.write(b"sh -c 'echo u''p; while read x; do echo got-$x; done'\r");
        session.expect("up\r\n");
        session.write(b"first\r");
        session.expect("got-first");
        session.write(b"\x1a");
        session.expect("Stopped");
        session.write(b"fg\r");
        session.expect("while read");
        // A line feed ends a line in every mode: the shell may not have given the terminal over yet.
        session.write(b"second\n");
        session.expect("got-second");
        session.write(b"\x03");
        session.expect("now> ");
        session.write(b"exit 3\r");
        assert_eq!(session.finish_started(), Exit::Code(3));
    });
}

#[test]
fn a_resize_reaches_the_program() {
    everywhere(|machine, way| {
        let mut session = Session::open(machine, way);
        session.start(on_terminal(
            line("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done"),
            24,
            80,
        ));
        session.started();
        session.expect("ready");
        session.send(ToGuest::Resize(Window { rows: 33, cols: 111 }));
        session.expect("33 111");
        assert_eq!(session.finish_started(), Exit::Code(0));
    });
}

#[test]
fn the_end_of_input_is_typed_as_a_person_would() {
    everywhere(|machine, way| {
        if machine.engine == Engine::Gvisor {
            // Its terminals know no end-of-file character while they read lines.
            return;
        }
        let mut session = Session::open(machine, way);
        session.start(on_terminal(line("wc -c"), 24, 80));
        session.started();
        session.write(b"12345\r");
        session.end_input();
        session.expect("6\r\n");
        assert_eq!(session.finish_started(), Exit::Code(0));
    });
}

#[test]
fn a_signal_goes_to_the_foreground() {
    everywhere(|machine, way| {
        let mut session = Session::open(machine, way);
        session.start(on_terminal(bash(), 24, 80));
        session.started();
        session.write(b"PS1='now> '; sh -c 'echo up; exec sleep 1000'\r");
        session.expect("up\r\n");
        session.send(ToGuest::Signal(libc::SIGTERM));
        session.expect("Terminated");
        session.write(b"exit 0\r");
        assert_eq!(session.finish_started(), Exit::Code(0));
    });
}

#[test]
fn standard_streams_can_be_opened_again_by_name() {
    everywhere(|machine, way| {
        let command = "echo out > /dev/stdout; echo err > /dev/stderr; echo in | cat /dev/stdin";
        let ran = machine.run(way, sh(command));
        assert_eq!((&*ran.out, &*ran.err), ("out\nin\n", "err\n"));
        let on = machine.run(way, on_terminal(line("echo one > /dev/stderr"), 24, 80));
        assert_eq!(on.out, "one\r\n");
        if machine.engine != Engine::Gvisor {
            // There `/dev/tty` cannot be opened by anybody.
            let on = machine.run(way, on_terminal(line("echo two > /dev/tty"), 24, 80));
            assert_eq!(on.out, "two\r\n");
        }
    });
}

#[test]
fn a_hang_up_ends_background_jobs_but_not_what_ignores_it() {
    everywhere(|machine, way| {
        let mut session = Session::open(machine, way);
        session.start(on_terminal(bash(), 24, 80));
        session.started();
        session.write(b"sleep 54321 & nohup sleep 65432 >/dev/null 2>&1 & echo jobs $((1+1)) are up\r");
        session.expect("jobs 2 are up");
        // Up means that `nohup` has become the command that it was to run.
        machine.sh(
            "for i in $(seq 300); do pgrep -fx 'sleep 65432' >/dev/null && exit; sleep 0.1; done; exit 1",
        );
        session.vanish();
        // Waits inside for the one to go, with a limit; the other must still be there.
        machine.sh("for i in $(seq 300); do pgrep -fx 'sleep 54321' >/dev/null || break; sleep 0.1; done");
        assert_eq!(machine.sh("pgrep -fx 'sleep 54321' || echo gone"), "gone");
        assert_ne!(machine.sh("pgrep -fx 'sleep 65432' || echo gone"), "gone");
        machine.sh("pkill -fx 'sleep 65432'");
    });
}

#[test]
fn a_background_writer_does_not_hold_up_the_end() {
    let machine = Machine::debian();
    for way in ways(machine.engine) {
        let mut session = Session::open(&machine, *way);
        session.start(on_terminal(
            line("trap '' HUP; (while :; do echo noise; done) & exec sleep 0.2"),
            24,
            80,
        ));
        assert_eq!(session.finish().exit, Exit::Code(0));
        machine.sh("pkill -f '[e]cho noise'; true");
    }
}

#[test]
fn a_terminal_that_the_image_does_not_know_is_told_as_one_that_it_does() {
    let term = |machine: &Machine, term: &str| {
        let window = Window { rows: 24, cols: 80 };
        let streams = Streams::Terminal { term: term.into(), window };
        let ran = machine.run(Way::Direct, Start { streams, ..on_terminal(line("echo $TERM"), 24, 80) });
        ran.out.trim_end().to_owned()
    };
    let machine = Machine::debian();
    assert_eq!(term(&machine, "vt100"), "vt100");
    assert_eq!(term(&machine, "no-such-terminal"), "xterm-256color");
    assert_eq!(term(&machine, "../../etc/passwd"), "xterm-256color");
    // The user's own description counts.
    machine.sh("mkdir -p ~/.terminfo/n && touch ~/.terminfo/n/no-such-terminal");
    assert_eq!(term(&machine, "no-such-terminal"), "no-such-terminal");
    machine.sh("rm -r ~/.terminfo");
    machine.root("rm /lib/terminfo/x/xterm-256color");
    assert_eq!(term(&machine, "no-such-terminal"), "xterm");
    // An image without any description keeps what the client said.
    let bare = Plan::new(Engine::Docker, "IMAGE_BUSYBOX").start();
    assert_eq!(term(&bare, "no-such-terminal"), "no-such-terminal");
    assert_eq!(term(&bare, ""), "dumb");
}

#[test]
fn root_has_a_terminal_too() {
    let machine = Machine::debian();
    let start = on_terminal(line("id -u; tty; echo $HOME $USER > /dev/stderr"), 24, 80);
    let ran = machine.run(Way::Direct, Start { run_as: RunAs::Root, ..start });
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "0");
    assert_eq!(lines[2], "/root root");
}
