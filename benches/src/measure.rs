//! Taking times in pairs.

use std::time::Instant;

use crate::Result;

/// Times of both sides, in seconds.
#[derive(Default)]
pub(crate) struct Pairs {
    pub(crate) ours: Vec<f64>,
    pub(crate) theirs: Vec<f64>,
}

/// Measures both sides in turn, `count` times; who goes first alternates, so that neither side always inherits the
/// other's caches and load. One pair before that is not counted. Each side returns the seconds that count.
pub(crate) fn pairs(
    count: usize,
    mut ours: impl FnMut() -> Result<f64>,
    mut theirs: impl FnMut() -> Result<f64>,
) -> Result<Pairs> {
    ours()?;
    theirs()?;
    let mut pairs = Pairs::default();
    for round in 0..count {
        if round % 2 == 0 {
            pairs.ours.push(ours()?);
            pairs.theirs.push(theirs()?);
        } else {
            pairs.theirs.push(theirs()?);
            pairs.ours.push(ours()?);
        }
    }
    Ok(pairs)
}

/// Seconds that something took.
pub(crate) fn seconds<T>(action: impl FnOnce() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    action()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The median.
pub(crate) fn p50(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}
