//! The table for people and the JSON for programs.

use std::path::Path;

use serde_json::{Value, json};

use crate::Result;
use crate::measure::{Pairs, p50};

/// What was promised about a row.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    /// Our time over theirs, at most.
    RatioAtMost(f64),
    /// Their time over ours, at least.
    FasterAtLeast(f64),
    /// Our time in seconds, at most.
    SecondsAtMost(f64),
    /// Our amount in the row's unit, at most.
    AmountAtMost(f64),
}

/// A promise that could not be measured.
pub(crate) struct Failure {
    pub(crate) name: String,
    pub(crate) engine: &'static str,
    pub(crate) error: String,
}

/// Everything that came out.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) failures: Vec<Failure>,
}

/// One measured promise.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) engine: &'static str,
    /// What the other side is.
    pub(crate) against: &'static str,
    /// `s` for times; another word where something is counted.
    pub(crate) unit: &'static str,
    pub(crate) pairs: Pairs,
    pub(crate) budget: Budget,
}

impl Row {
    fn ours(&self) -> f64 {
        p50(&self.pairs.ours)
    }

    fn theirs(&self) -> Option<f64> {
        (!self.pairs.theirs.is_empty()).then(|| p50(&self.pairs.theirs))
    }

    /// The number that the budget is about.
    fn figure(&self) -> f64 {
        match (self.budget, self.theirs()) {
            (Budget::FasterAtLeast(_), Some(theirs)) => theirs / self.ours(),
            (Budget::RatioAtMost(_), Some(theirs)) => self.ours() / theirs,
            _ => self.ours(),
        }
    }

    fn met(&self) -> bool {
        match self.budget {
            Budget::RatioAtMost(limit) | Budget::SecondsAtMost(limit) | Budget::AmountAtMost(limit) => {
                self.figure() <= limit
            }
            Budget::FasterAtLeast(limit) => self.figure() >= limit,
        }
    }

    fn amount(&self, value: f64) -> String {
        match self.unit {
            "s" if value < 10.0 => format!("{:.1} ms", value * 1000.0),
            "s" => format!("{value:.1} s"),
            "MB" => format!("{value:.2} MB"),
            unit => format!("{value:.0} {unit}"),
        }
    }

    fn texts(&self) -> [String; 7] {
        let (figure, budget) = match self.budget {
            Budget::RatioAtMost(limit) => (format!("{:.3} x", self.figure()), format!("<= {limit} x")),
            Budget::FasterAtLeast(limit) => {
                (format!("{:.2} times as fast", self.figure()), format!(">= {limit} times"))
            }
            Budget::SecondsAtMost(limit) => {
                (self.amount(self.figure()), format!("<= {:.0} ms", limit * 1000.0))
            }
            Budget::AmountAtMost(limit) => (self.amount(self.figure()), format!("<= {limit} {}", self.unit)),
        };
        [
            self.name.clone(),
            self.engine.to_owned(),
            self.amount(self.ours()),
            self.theirs()
                .map_or_else(|| "-".into(), |theirs| format!("{} ({})", self.amount(theirs), self.against)),
            figure,
            budget,
            if self.met() { "met" } else { "MISSED" }.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let (kind, limit) = match self.budget {
            Budget::RatioAtMost(limit) => ("ratio_at_most", limit),
            Budget::FasterAtLeast(limit) => ("times_as_fast_at_least", limit),
            Budget::SecondsAtMost(limit) => ("seconds_at_most", limit),
            Budget::AmountAtMost(limit) => ("amount_at_most", limit),
        };
        json!({
            "what": self.name, "engine": self.engine, "against": self.against, "unit": self.unit,
            "pairs": self.pairs.ours.len(), "ours_p50": self.ours(), "theirs_p50": self.theirs(),
            "figure": self.figure(), "budget": { "kind": kind, "limit": limit }, "met": self.met(),
            "ours": self.pairs.ours, "theirs": self.pairs.theirs,
        })
    }
}

const HEAD: [&str; 7] = ["WHAT", "ENGINE", "PODSPAWN", "AGAINST", "FIGURE", "BUDGET", ""];

impl Failure {
    fn texts(&self) -> [String; 7] {
        let none = || "-".to_owned();
        [self.name.clone(), self.engine.to_owned(), none(), none(), none(), none(), "FAILED".to_owned()]
    }

    fn json(&self) -> Value {
        json!({ "what": self.name, "engine": self.engine, "error": self.error })
    }
}

/// The table, on standard output; then why rows failed.
pub(crate) fn print(report: &Report) {
    let lines: Vec<[String; 7]> = std::iter::once(HEAD.map(str::to_owned))
        .chain(report.rows.iter().map(Row::texts))
        .chain(report.failures.iter().map(Failure::texts))
        .collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0))
        .collect();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
    for Failure { name, engine, error } in &report.failures {
        println!("\nfailed: {name}, {engine}: {error}");
    }
}

/// Everything, with each single measurement.
pub(crate) fn write_json(path: &Path, report: &Report, engines: &[(&str, String)]) -> Result<()> {
    let versions: serde_json::Map<String, Value> =
        engines.iter().map(|(name, version)| ((*name).to_owned(), json!(version))).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let document = json!({
        "host": { "cores": cores, "kernel": kernel.trim(), "engines": versions, "load": load.trim() },
        "rows": report.rows.iter().map(Row::json).collect::<Vec<_>>(),
        "missed": report.rows.iter().filter(|row| !row.met()).map(|row| &row.name).collect::<Vec<_>>(),
        "failed": report.failures.iter().map(Failure::json).collect::<Vec<_>>(),
    });
    std::fs::write(path, format!("{document:#}\n"))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(())
}
