//! Random moments and choices from a seed that is printed, so that a run can be repeated.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use podspawn::system::Host;

use super::system::{random_hex, readable};

/// `PODSPAWN_SEED` repeats a run.
pub struct Moments(u64);

impl Moments {
    /// From the seed of the environment, or a new one.
    pub fn new() -> Self {
        let seed = Host::capture().var("PODSPAWN_SEED").and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from_str_radix(&random_hex(), 16).expect("hexadecimal"));
        // Shown even where the test succeeds: a soak's log tells which moments it tried.
        writeln!(std::io::stderr(), "PODSPAWN_SEED={seed}").expect("standard error");
        Self(seed)
    }

    /// A step of the generator that its inventors call splitmix64.
    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed >> 11
    }

    /// A moment before `limit`.
    pub fn next(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.step() as f64 / (1u64 << 53) as f64)
    }

    /// A number below `count`, which is not zero.
    pub fn below(&mut self, count: usize) -> usize {
        (self.step() % count as u64) as usize
    }
}

/// Lets time pass: the moment itself is what the test is about, so there is no event to wait for.
pub fn let_pass(time: Duration) {
    let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
    assert!(!readable(&[reader.as_fd()], Instant::now() + time));
}
