//! Processes without a terminal: bytes, ends, statuses, environment, signals.

use podspawn_wire::{Exit, Program};

use crate::client::{Session, sh, start, ways};
use crate::support::{ALL, Machine, Plan};

fn everywhere(check: impl Fn(&Machine, crate::client::Way) + Sync) {
    std::thread::scope(|scope| {
        for engine in ALL {
            let check = &check;
            scope.spawn(move || {
                let machine = Plan::new(engine, "IMAGE_DEBIAN").start();
                for way in ways(engine) {
                    println!("{engine:?} {way:?}");
                    check(&machine, *way);
                }
            });
        }
    });
}

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
