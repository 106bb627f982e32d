//! Processes without a terminal: bytes, ends, statuses, environment, signals.

use std::time::{Duration, Instant};

use podspawn_wire::{Exit, FailureKind, Program, RunAs, STREAM_WINDOW, Start, ToGuest, WIDE_WINDOW};

use crate::client::{Session, Way, on_terminal, sh, start, ways};
use crate::everywhere;
use crate::support::{Engine, Machine, Plan};

#[test]
fn output_error_and_status_come_back_apart() {
    everywhere(|machine, way| {
        let ran = machine.run(way, sh("echo out; echo err >&2; exit 42"));
        assert_eq!((ran.exit, &*ran.out, &*ran.err), (Exit::Code(42), "out\n", "err\n"));
        let killed = machine.run(way, sh("kill -TERM $$"));
        assert_eq!(killed.exit, Exit::Signal(15));
    });
}

#[test]
fn bytes_go_both_ways_unchanged_and_the_end_of_input_is_seen() {
    everywhere(|machine, way| {
        let data: Vec<u8> = (0..8_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut session = Session::open(machine, way);
        session.start(start(Program::Argv(vec!["cat".into()])));
        session.started();
        // What comes back is read by a thread meanwhile.
        session.write(&data);
        session.end_input();
        assert_eq!(session.exited(), Exit::Code(0));
        session.pull_until(|session| session.out.len() == data.len());
        assert!(session.out == data);
    });
}

#[test]
fn a_wider_window_is_given_once_and_a_reader_that_stops_holds_no_message_up() {
    everywhere(|machine, way| {
        if matches!(way, Way::Direct) {
            // Windows are the relay's.
            return;
        }
        let mut session = Session::open(machine, way);
        session.start(sh("trap 'go=1' USR1; echo ready; until [ $go ]; do sleep 0.05; done; wc -c"));
        session.started();
        session.expect("ready\n");
        assert_eq!(session.room(), STREAM_WINDOW as usize);
        session.ask_for_room();
        session.ask_for_room();
        session.pull_until(|session| session.room() == WIDE_WINDOW as usize);
        // All of it at once, and nobody reads.
        let much = vec![b'x'; WIDE_WINDOW as usize];
        session.write(&much);
        session.send(ToGuest::Signal(10));
        // More than one window, so that a second grant beyond it would have been noticed.
        session.write(&much);
        session.end_input();
        assert_eq!(session.exited(), Exit::Code(0));
        assert_eq!(String::from_utf8_lossy(&session.out).trim(), (2 * much.len()).to_string());
    });
}

#[test]
fn what_cannot_be_started_is_refused_with_its_kind() {
    everywhere(|machine, way| {
        let refused = |request: Start| {
            let mut session = Session::open(machine, way);
            session.start(request);
            session.failed()
        };
        let argv = |name: &str| start(Program::Argv(vec![name.into()]));
        let missing = refused(argv("no-such-program"));
        assert_eq!((missing.kind, &*missing.text), (FailureKind::NotFound, "no-such-program: not found"));
        assert_eq!(refused(argv("/no/such")).kind, FailureKind::NotFound);
        assert_eq!(refused(argv("/etc/passwd")).kind, FailureKind::NotExecutable);
        assert_eq!(
            refused(Start { cwd: Some("/no/such".into()), ..sh("true") }).kind,
            FailureKind::WorkingDirectory
        );
        assert_eq!(
            refused(Start { cwd: Some("/root".into()), ..sh("true") }).kind,
            FailureKind::WorkingDirectory
        );
        assert_eq!(refused(start(Program::Argv(vec![]))).kind, FailureKind::Request);
        assert_eq!(
            refused(Start { env: vec![("a=b".into(), "c".into())], ..sh("true") }).kind,
            FailureKind::Request
        );
    });
}

#[test]
fn the_environment_is_the_users() {
    everywhere(|machine, way| {
        let request =
            Start { env: vec![("LANG".into(), "C.UTF-8".into())], ..sh("env | sort; pwd; umask; id") };
        let ran = machine.run(way, request);
        for wanted in [
            "HOME=/home/sarah",
            "USER=sarah",
            "LOGNAME=sarah",
            "SHELL=/bin/bash",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "FROM_CONFIG=yes",
            "LANG=C.UTF-8",
            "/home/sarah",
            "0022",
            "uid=1000(sarah) gid=1000(sarah) groups=1000(sarah)",
        ] {
            assert!(ran.out.lines().any(|line| line == wanted), "{wanted} is missing in\n{}", ran.out);
        }
        assert!(!ran.out.contains("TERM="), "{}", ran.out);
    });
}

#[test]
fn a_process_holds_three_descriptors_and_no_signal_is_blocked_or_ignored() {
    everywhere(|machine, way| {
        // The shell opens the directory itself as its fourth.
        let ran = machine.run(way, sh("cd /proc/self/fd && echo *"));
        assert_eq!(ran.out, "0 1 2 3\n");
        if machine.engine == Engine::Gvisor {
            return;
        }
        let ran =
            machine.run(way, sh("grep -E '^(SigBlk|SigIgn|CapEff|CapAmb|NoNewPrivs)' /proc/self/status"));
        let values: Vec<&str> = ran.out.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        let nothing = "0000000000000000";
        assert_eq!(values, [nothing, nothing, nothing, nothing, "1"], "{}", ran.out);
    });
}

#[test]
fn a_shell_falls_into_place_and_a_login_shell_says_so() {
    let machine = Machine::debian();
    let mut session = Session::open(&machine, Way::Direct);
    session.start(on_terminal(Program::Shell { login: true }, 24, 80));
    session.started();
    session.expect("sarah@box");
    session.write(b"shopt -q login_shell && echo is login; exit\r");
    session.expect("is login\r\n");
    assert_eq!(session.finish_started(), Exit::Code(0));
    // Without a terminal the shell reads its commands from standard input.
    let mut session = Session::open(&machine, Way::Direct);
    session.start(start(Program::Shell { login: false }));
    session.write(b"echo $0; exit 5\n");
    session.end_input();
    let ran = session.finish();
    assert_eq!((ran.exit, &*ran.out), (Exit::Code(5), "bash\n"));
}

#[test]
fn what_stays_in_the_background_does_not_hold_up_the_end() {
    everywhere(|machine, way| {
        let begun = Instant::now();
        let mut session = Session::open(machine, way);
        session.start(sh("echo before; sleep 120 & exit 9"));
        session.started();
        assert_eq!(session.exited(), Exit::Code(9));
        session.expect("before\n");
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert_ne!(machine.sh("pgrep -fx 'sleep 120' || echo gone"), "gone", "nothing else may be signalled");
        machine.sh("pkill -fx 'sleep 120'");
    });
}

#[test]
fn a_client_that_goes_first_hangs_up_the_group_and_ends_the_main_process() {
    everywhere(|machine, way| {
        let mut session = Session::open(machine, way);
        // Errors are thrown away: writing to a client that has gone would end the shell before its trap.
        session
            .start(sh("exec 2>/dev/null; sleep 71717 & trap 'echo hup > /tmp/hup' HUP; echo up; while :; do sleep 0.1; done"));
        session.started();
        session.expect("up");
        session.vanish();
        machine.sh("for i in $(seq 300); do [ -e /tmp/hup ] && break; sleep 0.1; done; rm /tmp/hup");
        assert_eq!(machine.sh("pgrep -fx 'sleep 71717' || echo gone"), "gone");
        // The main process has not ended by itself: after ten seconds it is killed.
        machine.sh(
            "for i in $(seq 300); do pgrep -f 'echo [h]up' >/dev/null || exit 0; sleep 0.1; done; exit 1",
        );
    });
}

#[test]
fn a_signal_goes_to_the_group() {
    everywhere(|machine, way| {
        let mut session = Session::open(machine, way);
        session.start(sh("trap 'echo got; exit 4' USR1; echo up; while :; do sleep 0.1; done"));
        session.started();
        session.expect("up");
        session.send(ToGuest::Signal(libc::SIGUSR1));
        assert_eq!(session.finish_started(), Exit::Code(4));
    });
}

#[test]
fn the_user_can_be_signalled_without_the_capability_to_kill() {
    let machine = Plan::new(Engine::Docker, "IMAGE_DEBIAN").without("--cap-add=KILL").start();
    for way in ways(machine.engine) {
        let mut session = Session::open(&machine, *way);
        session.start(sh("echo up; exec sleep 1000"));
        session.started();
        session.expect("up");
        session.send(ToGuest::Signal(libc::SIGTERM));
        assert_eq!(session.finish_started(), Exit::Signal(15));
    }
}

#[test]
fn a_hundred_sessions_run_at_once() {
    for engine in [Engine::Docker, Engine::Podman] {
        let machine = Plan::new(engine, "IMAGE_DEBIAN").start();
        let sessions: Vec<Session> = (0..100)
            .map(|number| {
                let mut session = Session::open(&machine, Way::Direct);
                let mut request = match number % 2 {
                    0 => start(Program::Argv(vec!["cat".into()])),
                    _ => on_terminal(Program::Argv(vec!["cat".into()]), 24, 80),
                };
                request.agent = number % 3 == 0;
                session.start(request);
                session.started();
                session.write(format!("number {number}\n").as_bytes());
                session
            })
            .collect();
        assert_eq!(machine.sh("pgrep -cx cat"), "100");
        for (number, mut session) in sessions.into_iter().enumerate() {
            session.expect(&format!("number {number}"));
            session.end_input();
            assert_eq!(session.finish_started(), Exit::Code(0));
        }
        assert_eq!(machine.root("ls /run/podspawn-user"), "profile\nsudo.sock");
    }
}

#[test]
fn root_and_sftp_and_zombies() {
    let machine = Machine::debian();
    let ran = machine.run(Way::Direct, Start { run_as: RunAs::Root, ..sh("id -u; echo $HOME; id -G") });
    assert_eq!(ran.out, "0\n/root\n0\n");
    // The image has no SFTP server: the guest's own answers with version 3.
    let mut session = Session::open(&machine, Way::Direct);
    session.start(start(Program::Sftp));
    session.started();
    session.write(&[0, 0, 0, 5, 1, 0, 0, 0, 3]);
    session.pull_until(|session| session.out.len() >= 9);
    assert_eq!(session.out[4..9], [2, 0, 0, 0, 3]);
    session.end_input();
    assert_eq!(session.finish_started(), Exit::Code(0));
    // Orphans are reaped: nothing stays defunct.
    machine.sh("for i in 1 2 3 4 5; do (sleep 0.1 &) ; done; sleep 0.5");
    assert_eq!(machine.sh("ps -eo stat= | grep -c Z || true"), "0");
}
