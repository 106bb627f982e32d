//! The guest in real containers, on every engine, spoken to by a small client of the wire.

#![allow(unreachable_pub, missing_docs)] // one binary of its own, whose helpers are shared by its modules
#![allow(clippy::print_stdout)] // what the harness shows with a failed test

mod client;
mod machines;
mod processes;
mod strangers;
mod support;
mod terminals;

use client::{Way, ways};
use support::{ALL, Machine, Plan};

/// One check on every engine and by every way that it has, engines at the same time.
fn everywhere(check: impl Fn(&Machine, Way) + Sync) {
    std::thread::scope(|scope| {
        for engine in ALL {
            let check = &check;
            let named = std::thread::Builder::new().name(format!("{engine:?}"));
            let run = move || {
                let machine = Plan::new(engine, "IMAGE_DEBIAN").start();
                for way in ways(engine) {
                    println!("{engine:?} {way:?}");
                    check(&machine, *way);
                }
            };
            named.spawn_scoped(scope, run).unwrap();
        }
    });
}
