//! Measures the promises about speed on this machine: `podspawn` against the engine's own program, both as processes, in
//! interleaved pairs. Prints a table and writes JSON. `scripts/bench.sh` sets up what it needs.
//!
//! May call the `podspawn` library only to fill a store with sessions; everything measured is the released program.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

mod engines;
mod machine;
mod many;
mod measure;
mod proxy;
mod report;
mod terminal;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use engines::{Facts, Place};
use report::Row;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: podspawn-bench [--pairs N] [--only TEXT] [--json FILE]

Each row is measured N times (default 30) on both sides, alternating. `--only` takes rows whose name or engine contains TEXT.";

struct Options {
    pairs: usize,
    only: Option<String>,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match options().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options { pairs: 30, only: None, json: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--pairs" => options.pairs = value()?.parse().map_err(|_| USAGE)?,
            "--only" => options.only = Some(value()?),
            "--json" => options.json = Some(value()?.into()),
            _ => return Err(USAGE.into()),
        }
    }
    if options.pairs == 0 {
        return Err(USAGE.into());
    }
    Ok(options)
}

fn run(options: Options) -> Result<()> {
    let facts = Facts::read()?;
    let program = std::env::current_exe()?.with_file_name("podspawn");
    let wanted = |name: &str, engine: &str| {
        options.only.as_ref().is_none_or(|only| name.contains(only) || engine.contains(only))
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut versions = Vec::new();
    for place in [Place::docker(&facts, &program)?, Place::podman(&facts, &program)?] {
        versions.push((place.engine, place.engine_version()?));
        for (name, measure) in machine::ROWS {
            if wanted(name, place.engine) {
                eprintln!("bench: {name}, {}", place.engine);
                rows.push(measure(&place, &facts, options.pairs)?);
            }
        }
    }
    for (name, measure) in many::ROWS {
        if wanted(name, "store") {
            eprintln!("bench: {name}");
            rows.extend(measure(&facts, &program, options.pairs)?);
        }
    }
    report::print(&rows);
    if let Some(path) = &options.json {
        report::write_json(path, &rows, &versions)?;
        println!("\nwritten to {}", path.display());
    }
    Ok(())
}
