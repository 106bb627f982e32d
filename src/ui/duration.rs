//! Spans of time as people read them.

use std::time::Duration;

/// An age in a table: `45s` below a minute, `10m` below an hour, then `2h` or `2h30m`.
pub fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    }
}

/// A pause in full, as in `1m0s`, `1h30m0s`, `1.5s`, `20ms`.
pub fn interval(span: Duration) -> String {
    let (hours, minutes) = (span.as_secs() / 3600, span.as_secs() / 60 % 60);
    let seconds = Duration::new(span.as_secs() % 60, span.subsec_nanos()).as_secs_f64();
    match (hours, minutes) {
        (0, 0) if span < Duration::from_secs(1) => format!("{}ms", span.as_secs_f64() * 1000.0),
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_or_two_parts() {
        let shown = |s| age(Duration::from_secs(s));
        assert_eq!(
            [shown(0), shown(59), shown(60), shown(3599), shown(3600), shown(9000), shown(360_000)],
            ["0s", "59s", "1m", "59m", "1h", "2h30m", "100h"]
        );
    }

    #[test]
    fn intervals_name_every_part() {
        let shown = |ms| interval(Duration::from_millis(ms));
        assert_eq!(
            [shown(20), shown(1500), shown(60_000), shown(5_400_000)],
            ["20ms", "1.5s", "1m0s", "1h30m0s"]
        );
    }
}
