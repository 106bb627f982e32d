//! Measures the promises about speed on this machine: `podspawn` against the engine's own program, both as processes, in
//! interleaved pairs. Prints a table and writes JSON. `scripts/bench.sh` sets up what it needs.
//!
//! May call the `podspawn` library only to fill a store with sessions; everything measured is the released program.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

mod engines;
mod environment;
mod installation;
mod logins;
mod machine;
mod many;
mod measure;
mod project;
mod proxy;
mod report;
mod terminal;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engines::{Facts, Place};
use installation::{Engine, Installation};
use report::{Failure, Report, Row};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const USAGE: &str = "usage: podspawn-bench [--pairs N] [--only TEXT] [--json FILE]
       podspawn-bench --clean

Each row is measured N times (default 30) on both sides, alternating. `--only` takes rows whose name or engine contains TEXT.
A row that cannot be measured does not stop the others. `--clean` only removes what runs that were killed have left.";

struct Options {
    pairs: usize,
    only: Option<String>,
    json: Option<PathBuf>,
    clean: bool,
}

fn main() -> ExitCode {
    match options().and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options { pairs: 30, only: None, json: None, clean: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--pairs" => options.pairs = value()?.parse().map_err(|_| USAGE)?,
            "--only" => options.only = Some(value()?),
            "--json" => options.json = Some(value()?.into()),
            "--clean" => options.clean = true,
            _ => return Err(USAGE.into()),
        }
    }
    if options.pairs == 0 {
        return Err(USAGE.into());
    }
    Ok(options)
}

/// Measures what is wanted; false if something of it could not be measured.
fn run(options: Options) -> Result<bool> {
    installation::sweep()?;
    if options.clean {
        return Ok(true);
    }
    let facts = Facts::read()?;
    let program = std::env::current_exe()?.with_file_name("podspawn");
    let wanted = |name: &str, engine: &str| {
        options.only.as_ref().is_none_or(|only| name.contains(only) || engine.contains(only))
    };
    let mut out = Out { json: options.json.as_deref(), report: Report::default(), versions: Vec::new() };
    for place in [Place::docker(&facts, &program)?, Place::podman(&facts, &program)?] {
        out.versions.push((place.engine, place.engine_version()?));
        for (name, measure) in machine::ROWS.iter().chain(environment::ROWS) {
            if wanted(name, place.engine) {
                out.row(name, place.engine, || Ok(vec![measure(&place, &facts, options.pairs)?]))?;
            }
        }
    }
    for engine in Engine::ALL {
        let label = engine.label();
        for (name, _, measure) in
            logins::ROWS.iter().filter(|(name, on, _)| on.contains(&engine) && wanted(name, label))
        {
            out.row(name, label, || {
                let on = Installation::set_up(engine, &facts, &program)?;
                let row = measure(&on, options.pairs).map_err(|error| format!("{error}\n{}", on.log()))?;
                Ok(vec![row])
            })?;
        }
    }
    for (name, measure) in many::ROWS {
        if wanted(name, "store") {
            out.row(name, "-", || measure(&facts, &program, options.pairs))?;
        }
    }
    report::print(&out.report);
    if let Some(path) = &options.json {
        println!("\nwritten to {}", path.display());
    }
    Ok(out.report.failures.is_empty())
}

/// What has come out so far.
struct Out<'a> {
    json: Option<&'a Path>,
    report: Report,
    versions: Vec<(&'static str, String)>,
}

impl Out<'_> {
    /// Measures; what fails is reported, and the file is written anew each time: nothing is lost by what comes after.
    fn row(
        &mut self,
        name: &str,
        engine: &'static str,
        measure: impl FnOnce() -> Result<Vec<Row>>,
    ) -> Result<()> {
        eprintln!("bench: {name}, {engine}");
        match measure() {
            Ok(rows) => self.report.rows.extend(rows),
            Err(error) => {
                eprintln!("bench: failed: {error}");
                self.report.failures.push(Failure { name: name.into(), engine, error: error.to_string() });
            }
        }
        self.json.map_or(Ok(()), |path| report::write_json(path, &self.report, &self.versions))
    }
}
