//! Real containers, both ways: one list of cases, and what a hostile container can and cannot reach.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use podspawn::session::attach::{AttachError, GuestError};
use podspawn::state::AttachWay;
use podspawn_runtimes::Mount;
use podspawn_wire::{Exit, FailureKind, GUEST_DIR, Program, RunAs};

use super::machine::{Machine, Way};
use super::stand_in::{PATIENCE, attach_with, input};
use super::streams::{every_kind, pattern, terminal};
use crate::harness::{EngineName, soak};

type Case = fn(&Machine, Way);

/// Every case passes on every way. What they show: bytes, ends, exits, signals, environment, windows.
const CASES: [(&str, Case); 16] = [
    ("output and errors apart", output_and_errors_apart),
    ("exit statuses", exit_statuses),
    ("failures to start", failures_to_start),
    ("half-close", half_close),
    ("no input", no_input),
    ("bytes through cat", bytes_through_cat),
    ("a reader that goes away", a_reader_that_goes_away),
    ("input that nobody reads", input_that_nobody_reads),
    ("/dev/stderr and /dev/stdout", reopened_streams),
    ("who and where", who_and_where),
    ("a background process keeps nobody", a_background_process_keeps_nobody),
    ("nohup survives", nohup_survives),
    ("killing", killing),
    ("windows", windows),
    ("a terminal", a_terminal),
    ("many at once", many_at_once),
];

fn all_cases(engine: EngineName, way: Way) {
    let machine = Machine::on(engine);
    for (name, case) in CASES {
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&machine, way)));
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked");
            panic!("case `{name}` on {engine:?}, {way:?}, after {:?}: {text}", begun.elapsed());
        }
    }
}

#[test]
fn every_case_passes_directly_on_docker() {
    all_cases(EngineName::Docker, Way::Direct);
}

#[test]
fn every_case_passes_directly_on_docker26() {
    all_cases(EngineName::Docker26, Way::Direct);
}

#[test]
fn every_case_passes_directly_on_podman() {
    all_cases(EngineName::Podman, Way::Direct);
}

#[test]
fn every_case_passes_through_the_engine_on_docker() {
    all_cases(EngineName::Docker, Way::Engine);
}

#[test]
#[ignore = "a longer proof: make soak"]
fn every_case_passes_through_the_engine_on_docker26() {
    all_cases(EngineName::Docker26, Way::Engine);
}

#[test]
fn every_case_passes_through_the_engine_on_podman() {
    all_cases(EngineName::Podman, Way::Engine);
}

#[test]
fn every_case_passes_through_the_engine_on_gvisor() {
    all_cases(EngineName::Gvisor, Way::Engine);
}

#[test]
fn every_case_passes_over_a_handed_connection_on_docker() {
    all_cases(EngineName::Docker, Way::Relay);
}

#[test]
fn every_case_passes_over_a_handed_connection_on_podman() {
    all_cases(EngineName::Podman, Way::Relay);
}

#[test]
fn every_case_passes_over_a_handed_connection_on_gvisor() {
    all_cases(EngineName::Gvisor, Way::Relay);
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn output_and_errors_apart(machine: &Machine, way: Way) {
    let attached = machine.sh(way, "echo out; echo err >&2; exit 3");
    assert_eq!(attached.outcome.unwrap(), Exit::Code(3));
    assert_eq!((text(&attached.stdout), text(&attached.stderr)), ("out\n", "err\n"));
}

fn exit_statuses(machine: &Machine, way: Way) {
    for (line, exit) in [
        ("true", Exit::Code(0)),
        ("exit 42", Exit::Code(42)),
        ("exit 255", Exit::Code(255)),
        ("kill -9 $$", Exit::Signal(9)),
        ("kill -TERM $$", Exit::Signal(15)),
    ] {
        assert_eq!(machine.sh(way, line).outcome.unwrap(), exit, "{line}");
    }
}

fn failures_to_start(machine: &Machine, way: Way) {
    let start = |program: &[&str], cwd: Option<&str>| {
        let program = Program::Argv(program.iter().map(|&word| word.into()).collect());
        let attached = attach_with(None, |request| {
            request.program = program;
            request.cwd = cwd.map(str::to_owned);
            machine.attach(way, request)
        });
        match attached.outcome {
            Err(AttachError::Refused { kind, .. }) => kind,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(start(&["no-such-program"], None), FailureKind::NotFound);
    assert_eq!(start(&["/no/such/program"], None), FailureKind::NotFound);
    assert_eq!(start(&["/etc/passwd"], None), FailureKind::NotExecutable);
    assert_eq!(start(&["true"], Some("/no/such/directory")), FailureKind::WorkingDirectory);
}

fn half_close(machine: &Machine, way: Way) {
    // `tac` can say something only after the end of its input.
    let attached = machine.run(way, "tac", Some(input(b"1\n2\n3\n")), |_| {});
    assert_eq!(attached.outcome.unwrap(), Exit::Code(0));
    assert_eq!(text(&attached.stdout), "3\n2\n1\n");
}

fn no_input(machine: &Machine, way: Way) {
    let attached = machine.sh(way, "wc -c");
    assert_eq!(text(&attached.stdout).trim(), "0");
}

fn bytes_through_cat(machine: &Machine, way: Way) {
    let bytes = pattern(16_000_003);
    let attached = machine.run(way, "cat; echo done >&2", Some(input(&bytes)), |_| {});
    assert_eq!(attached.outcome.unwrap(), Exit::Code(0));
    assert!(attached.stdout == bytes, "{} of {} bytes", attached.stdout.len(), bytes.len());
    assert_eq!(text(&attached.stderr), "done\n");
}

fn a_reader_that_goes_away(machine: &Machine, way: Way) {
    let (reader, writer) = std::io::pipe().unwrap();
    let head = std::thread::spawn(move || {
        let mut line = [0; 2];
        (&reader).read_exact(&mut line).unwrap();
        line
    });
    let errors = File::open("/dev/null").unwrap();
    let exit = machine.attach_to(way, "exec yes", None::<OwnedFd>, &writer, &errors, None);
    assert_eq!(exit.unwrap(), Exit::Signal(13));
    assert_eq!(head.join().unwrap(), *b"y\n");
}

fn input_that_nobody_reads(machine: &Machine, way: Way) {
    let attached = machine.run(way, "echo not interested", Some(input(&pattern(4_000_000))), |_| {});
    assert_eq!(attached.outcome.unwrap(), Exit::Code(0));
    assert_eq!(text(&attached.stdout), "not interested\n");
}

fn reopened_streams(machine: &Machine, way: Way) {
    let attached = machine.sh(way, "id -u; echo e > /dev/stderr && echo o > /dev/stdout && echo fine");
    assert_eq!((text(&attached.stdout), text(&attached.stderr)), ("1000\no\nfine\n", "e\n"));
    // Root inside may as well, with one stream only.
    let attached = machine.root(way, "echo o > /proc/self/fd/1");
    assert_eq!(text(&attached.stdout), "o\n");
}

fn who_and_where(machine: &Machine, way: Way) {
    let attached =
        machine.run(way, "id -un; pwd; echo $HOME $GREETING; ulimit -c >/dev/null", None, |request| {
            request.env = vec![("GREETING".into(), "hello".into())];
        });
    assert_eq!(text(&attached.stdout), "tester\n/home/tester\n/home/tester hello\n");
    let attached = machine.run(way, "id -u; pwd", None, |request| {
        request.run_as = RunAs::Root;
        request.cwd = Some("/etc".into());
    });
    assert_eq!(text(&attached.stdout), "0\n/etc\n");
}

fn a_background_process_keeps_nobody(machine: &Machine, way: Way) {
    let attached = machine.sh(way, "sleep 300 & echo $!");
    assert!(attached.took < PATIENCE, "took {:?}", attached.took);
    let pid = text(&attached.stdout).trim().to_owned();
    // It goes on, and is the user's to kill.
    assert_eq!(machine.sh(way, &format!("kill {pid}")).outcome.unwrap(), Exit::Code(0));
}

fn nohup_survives(machine: &Machine, way: Way) {
    let line = "nohup sh -c 'while :; do echo alive; sleep 1; done' >>/tmp/nohup.log 2>&1 & echo $!";
    let attached = machine.sh(way, line);
    assert_eq!(attached.outcome.unwrap(), Exit::Code(0));
    let pid = text(&attached.stdout).trim().to_owned();
    // Truncated, and written again by the server that nobody is connected to any more.
    let line = format!(": > /tmp/nohup.log; tail -f --pid={pid} /tmp/nohup.log | head -n1; kill {pid}");
    let attached = machine.sh(way, &line);
    assert_eq!(text(&attached.stdout), "alive\n", "{}", text(&attached.stderr));
}

fn killing(machine: &Machine, way: Way) {
    let attached = machine.sh(way, "sleep 300 & kill $!; wait $!; echo $?");
    assert_eq!(text(&attached.stdout), "143\n");
}

fn windows(machine: &Machine, way: Way) {
    for (rows, cols) in [(1, 1), (200, 500), (24, 80)] {
        let (slave, master) = terminal();
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size).unwrap();
        let screen = std::thread::spawn(move || screen(master));
        let exit = machine.attach_to(way, "stty size", Some(&slave), &slave, &slave, Some("vt100"));
        assert_eq!(exit.unwrap(), Exit::Code(0));
        drop(slave);
        assert_eq!(screen.join().unwrap().trim(), format!("{rows} {cols}"));
    }
}

/// Everything that a terminal shows until the program's side is closed.
fn screen(master: OwnedFd) -> String {
    let mut shown = Vec::new();
    let mut piece = [0; 4096];
    // A terminal's end is an error, not an end.
    while let Ok(got @ 1..) = rustix::io::read(&master, &mut piece) {
        shown.extend_from_slice(&piece[..got]);
    }
    String::from_utf8(shown).expect("text")
}

fn a_terminal(machine: &Machine, way: Way) {
    let (slave, master) = terminal();
    let mut keys = File::from(master.try_clone().unwrap());
    let screen = std::thread::spawn(move || {
        let mut shown = String::new();
        let mut piece = [0; 4096];
        let mut interrupted = false;
        while let Ok(got @ 1..) = rustix::io::read(&master, &mut piece) {
            shown.push_str(std::str::from_utf8(&piece[..got]).unwrap());
            // Ctrl-C when the program inside is known to sleep.
            if shown.contains("sleeping") && !interrupted {
                interrupted = true;
                keys.write_all(b"\x03").unwrap();
            }
        }
        shown
    });
    let line = "tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo $TERM; trap 'kill $!; echo caught; exit 9' INT; \
        echo sleeping; sleep 60 & wait";
    let exit = machine.attach_to(way, line, Some(&slave), &slave, &slave, Some("vt100"));
    assert_eq!(exit.unwrap(), Exit::Code(9));
    drop(slave);
    let shown = screen.join().unwrap();
    assert!(shown.starts_with("/dev/pts/") && shown.contains("vt100\r\nsleeping\r\n"), "{shown:?}");
    assert!(shown.ends_with("caught\r\n"), "{shown:?}");
}

fn many_at_once(machine: &Machine, way: Way) {
    let count = 100;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..count)
            .map(|number| scope.spawn(move || machine.sh(way, &format!("cat; echo {number}"))))
            .collect();
        for (number, one) in all.into_iter().enumerate() {
            let attached = one.join().unwrap();
            assert_eq!(attached.outcome.unwrap(), Exit::Code(0));
            assert_eq!(text(&attached.stdout), format!("{number}\n"));
        }
    });
}

#[test]
fn the_direct_way_is_found_where_it_is_open_and_the_engines_where_it_is_not() {
    assert_eq!(Machine::on(EngineName::Docker).found, AttachWay::Direct);
    assert_eq!(Machine::on(EngineName::Podman).found, AttachWay::Direct);
    assert_eq!(Machine::on(EngineName::Gvisor).found, AttachWay::Engine);
}

#[test]
fn a_socket_in_a_directory_of_the_hosts_leads_to_the_guest_too() {
    // As for a user who may not look into a container: the guest's socket lies in a directory of theirs.
    let place = super::stand_in::Place::new();
    let dir = place.file("");
    let mut machine = Machine::with(EngineName::Docker, |spec| {
        spec.mounts.retain(|mount| !matches!(mount, Mount::Tmpfs { target, .. } if target == GUEST_DIR));
        spec.mounts.push(Mount::Bind { source: dir.clone(), target: GUEST_DIR.into(), read_only: false });
        spec.entrypoint[2] = spec.entrypoint[2].replace(r#""socket_uid":null"#, r#""socket_uid":0"#);
    });
    machine.address.socket_dir = Some(dir.to_str().unwrap().to_owned());
    let attached = machine.sh(Way::Direct, "echo here");
    assert_eq!(text(&attached.stdout), "here\n", "{:?}", attached.outcome);
    // Whatever the container puts there, nothing of the host is reached by it.
    let line = "cd /run/podspawn && rm guest.sock && ln -s /var/run/docker.sock guest.sock";
    machine.root(Way::Direct, line).outcome.unwrap();
    let outcome = machine.sh(Way::Direct, "true").outcome;
    assert!(matches!(outcome, Err(AttachError::NotTheGuest(_) | AttachError::NoGuest(_))), "{outcome:?}");
}

#[test]
fn a_container_that_dies_while_it_is_awaited_is_an_error_with_its_last_words() {
    for engine in [EngineName::Docker, EngineName::Podman, EngineName::Gvisor] {
        let begun = Instant::now();
        let outcome = Machine::made(engine, |spec| {
            let line = "echo the last straw >&2; exec sleep 1";
            spec.entrypoint = vec!["/bin/sh".into(), "-c".into(), line.into()];
        });
        assert!(begun.elapsed() < Duration::from_secs(30));
        match outcome.map(|_| ()) {
            Err(GuestError::Died { log }) => assert!(log.contains("the last straw"), "{engine:?}: {log}"),
            other => panic!("{engine:?}: {other:?}"),
        }
    }
}

#[test]
fn a_guest_that_cannot_provision_says_why() {
    let error = Machine::made(EngineName::Docker, |spec| {
        let init = spec.entrypoint[2].replace("/home/tester", "relative");
        spec.entrypoint[2] = init;
    });
    match error.map(|_| ()) {
        Err(GuestError::Attach(AttachError::Refused { kind: FailureKind::Provision, text })) => {
            assert!(!text.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_that_is_killed_during_attach_ends_the_session_soon() {
    for (engine, way) in [
        (EngineName::Docker, Way::Direct),
        (EngineName::Docker, Way::Engine),
        (EngineName::Podman, Way::Direct),
        (EngineName::Podman, Way::Engine),
        (EngineName::Gvisor, Way::Engine),
    ] {
        let machine = Machine::on(engine);
        let (mut reader, writer) = std::io::pipe().unwrap();
        std::thread::scope(|scope| {
            let machine = &machine;
            let attached = scope.spawn(move || {
                let errors = File::open("/dev/null").unwrap();
                let line = "echo running; exec sleep 300";
                machine.attach_to(way, line, None::<OwnedFd>, &writer, &errors, None)
            });
            let mut line = [0; 8];
            reader.read_exact(&mut line).unwrap();
            let begun = Instant::now();
            machine.kill();
            let outcome = attached.join().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(15), "{engine:?} {way:?}: {:?}", begun.elapsed());
            assert!(
                matches!(outcome, Err(AttachError::Stopped | AttachError::Relay(_) | AttachError::Engine(_))),
                "{engine:?} {way:?}: {outcome:?}"
            );
        });
        // And nobody attaches any more.
        assert!(machine.sh(way, "true").outcome.is_err());
    }
}

#[test]
fn nothing_of_the_hosts_streams_is_visible_or_can_be_opened_inside() {
    for (engine, way) in [
        (EngineName::Docker, Way::Direct),
        (EngineName::Docker, Way::Engine),
        (EngineName::Podman, Way::Direct),
    ] {
        let machine = Machine::on(engine);
        let place = super::stand_in::Place::new();
        for (kind, fd, _others) in every_kind(&place) {
            if kind == "directory" {
                // Cannot be read at all; what crosses then is shown elsewhere.
                continue;
            }
            // As root: what any process inside could ever do.
            let line = "ls -l /proc/self/fd | sed -n 's/.* -> //p' > /tmp/seen";
            let request = |line: &str| {
                let fd = fd.as_fd();
                let request = podspawn::session::attach::AttachRequest {
                    program: Program::CommandLine(line.into()),
                    run_as: RunAs::Root,
                    ..super::stand_in::request(fd, fd)
                };
                machine.attach(way, &request)
            };
            request(line).unwrap_or_else(|error| panic!("{kind}: {error}"));
            let seen = machine.root(way, "cat /tmp/seen");
            for target in text(&seen.stdout).lines() {
                let own = target.starts_with("pipe:[") || target.starts_with("socket:[");
                // The directory that `ls` itself has open.
                assert!(own || target.starts_with("/proc/"), "{engine:?} {way:?} {kind}: {target}");
            }
        }
        // And a file of the host as input is data, not a file: its pages cannot be reached, its name is not known.
        std::fs::write(place.file("secret"), "of the host").unwrap();
        let file = File::open(place.file("secret")).unwrap();
        let attached = machine.run(
            way,
            "readlink /proc/self/fd/0; cat; echo overwritten > /proc/self/fd/0",
            Some(file.into()),
            |request| request.run_as = RunAs::Root,
        );
        let shown = text(&attached.stdout);
        assert!(shown.starts_with("pipe:[") && shown.contains("of the host"), "{shown}");
        assert_eq!(std::fs::read(place.file("secret")).unwrap(), b"of the host");
    }
}

#[test]
fn what_others_wrote_to_a_shared_output_cannot_be_read_from_inside() {
    // A build server's log: one pipe that many processes write to, and that nobody has read yet.
    for (engine, way) in [(EngineName::Docker, Way::Direct), (EngineName::Docker, Way::Engine)] {
        let machine = Machine::on(engine);
        let (mut reader, mut log) = std::io::pipe().unwrap();
        log.write_all(b"TOKEN=secret\n").unwrap();
        let errors = log.try_clone().unwrap();
        let line = "timeout 1 cat /proc/self/fd/1 > /tmp/stolen; timeout 1 cat /proc/self/fd/2 >> /tmp/stolen; \
            wc -c < /tmp/stolen";
        let request = podspawn::session::attach::AttachRequest {
            program: Program::CommandLine(line.into()),
            run_as: RunAs::Root,
            ..super::stand_in::request(log.as_fd(), errors.as_fd())
        };
        assert_eq!(machine.attach(way, &request).unwrap(), Exit::Code(0));
        drop((log, errors));
        let mut shown = String::new();
        reader.read_to_string(&mut shown).unwrap();
        assert_eq!(shown, "TOKEN=secret\n0\n");
    }
}

#[test]
fn a_process_has_three_descriptors_and_no_other() {
    let machine = Machine::on(EngineName::Docker);
    for way in [Way::Direct, Way::Engine] {
        // The shell's own: nothing else has been opened when it lists them.
        for run_as in [RunAs::User, RunAs::Root] {
            let attached = machine.run(way, "echo /proc/$$/fd/*", None, |request| request.run_as = run_as);
            let shown = text(&attached.stdout).trim().to_owned();
            let numbers: Vec<_> = shown.split(' ').filter_map(|path| path.rsplit('/').next()).collect();
            // The directory that is being listed is open meanwhile, as number 3.
            assert!(numbers == ["0", "1", "2", "3"] || numbers == ["0", "1", "2"], "{shown}");
            let attached =
                machine.run(way, "readlink /proc/$$/fd/3; true", None, |request| request.run_as = run_as);
            assert_eq!(text(&attached.stdout), "");
        }
    }
}

/// Replaces the guest's socket inside and attaches.
fn with_socket_replaced(line: &str) -> AttachError {
    let machine = Machine::on(EngineName::Docker);
    assert_eq!(machine.root(Way::Direct, line).outcome.unwrap(), Exit::Code(0), "{line}");
    let attached = machine.sh(Way::Direct, "true");
    assert!(attached.took < Duration::from_secs(6), "{line}: {:?}", attached.took);
    attached.outcome.expect_err(line)
}

#[test]
fn a_container_that_replaces_the_guests_socket_leads_nobody_anywhere() {
    let mut errors = Vec::new();
    for line in [
        "cd /run/podspawn && rm guest.sock && ln -s /var/run/docker.sock guest.sock",
        "cd /run/podspawn && rm guest.sock && ln -s ../../../../../../var/run/docker.sock guest.sock",
        "cd /run/podspawn && rm guest.sock && mkfifo guest.sock",
        "cd /run/podspawn && rm guest.sock && echo x > guest.sock",
        "rm /run/podspawn/guest.sock",
    ] {
        errors.push((line, with_socket_replaced(line)));
    }
    for (line, error) in errors {
        assert!(matches!(error, AttachError::NotTheGuest(_) | AttachError::NoGuest(_)), "{line}: {error:?}");
    }
}

#[test]
fn only_root_inside_and_the_host_may_speak_with_the_guest() {
    let machine = Machine::on(EngineName::Docker);
    let way = Way::Direct;
    let attached = machine.sh(way, "ls /run/podspawn; ls -ld /run/podspawn");
    assert!(text(&attached.stderr).contains("Permission denied"), "{}", text(&attached.stderr));
    assert!(text(&attached.stdout).starts_with("drwx------"), "{}", text(&attached.stdout));
    // Root opens the directory up, and still a user is not spoken to.
    machine.root(way, "chmod 777 /run/podspawn /run/podspawn/guest.sock");
    let attached = machine.sh(way, "timeout 5 /.podspawn/guest relay < /dev/null; echo $?");
    assert_ne!(text(&attached.stdout).trim(), "0");
}

#[test]
fn a_second_user_inside_is_not_given_root() {
    let machine = Machine::on(EngineName::Docker);
    let way = Way::Direct;
    let attached = machine.sh(way, "sudo -n id -u");
    assert_eq!(text(&attached.stdout), "0\n", "{}", text(&attached.stderr));
    let line = "setpriv --reuid=4242 --regid=4242 --clear-groups sudo -n id -u";
    let attached = machine.root(way, line);
    assert!(matches!(attached.outcome, Ok(Exit::Code(code)) if code != 0), "{:?}", attached.outcome);
    assert_eq!(text(&attached.stdout), "");
    // With the socket opened up by root, it is the caller's uid that counts.
    machine.root(way, "chmod -R a+rwx /run/podspawn-user");
    let attached = machine.root(way, line);
    assert!(matches!(attached.outcome, Ok(Exit::Code(code)) if code != 0), "{:?}", attached.outcome);
    assert_eq!(text(&attached.stdout), "");
}

#[test]
fn much_goes_both_ways_unchanged() {
    // A gigabyte in the long rounds.
    let pieces: u64 = if soak() { 1024 } else { 192 };
    for (engine, way) in [
        (EngineName::Docker, Way::Direct),
        (EngineName::Podman, Way::Direct),
        (EngineName::Docker, Way::Engine),
    ] {
        let machine = Machine::on(engine);
        let (source, mut feeder) = std::io::pipe().unwrap();
        let (mut arriving, sink) = std::io::pipe().unwrap();
        // The same megabyte, numbered: neither a loss nor a change of order goes unseen.
        let megabyte = |number: u64| {
            let mut piece = pattern(1 << 20);
            piece[..8].copy_from_slice(&number.to_ne_bytes());
            piece
        };
        let template = megabyte(0);
        let (mut going, coming) = (template.clone(), template);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..pieces {
                    going[..8].copy_from_slice(&number.to_ne_bytes());
                    feeder.write_all(&going).unwrap();
                }
            });
            let check = scope.spawn(move || {
                let mut expected = coming;
                let mut piece = vec![0; 1 << 20];
                for number in 0..pieces {
                    expected[..8].copy_from_slice(&number.to_ne_bytes());
                    arriving.read_exact(&mut piece).unwrap();
                    assert!(piece == expected, "megabyte {number}");
                }
                assert_eq!(arriving.read(&mut piece).unwrap(), 0, "and nothing more");
            });
            let errors = File::open("/dev/null").unwrap();
            let exit = machine.attach_to(way, "cat", Some(&source), &sink, &errors, None);
            assert_eq!(exit.unwrap(), Exit::Code(0), "{engine:?} {way:?}");
            drop(sink);
            check.join().unwrap();
        });
    }
}
