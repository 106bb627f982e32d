//! Values that have a unit: spans of time and amounts of memory.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A span of time as people write it: decimal numbers with units `ns us ms s m h`, joined (`1h30m`). A unit is mandatory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(Duration);

/// An amount of memory in bytes; 0 means no limit. Written as a number (decimals allowed) with an optional suffix `k`, `m`
/// or `g` in either case, in powers of 1024; without one it counts bytes. Empty text is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Longest span that is accepted: far enough for everybody, near enough that no point of time overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const TIME_UNITS: [(&str, u128); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl TimeSpan {
    /// What a text must look like.
    pub const EXPECTED: &'static str = "a duration with a unit, such as `60s` or `1h30m`";

    /// A whole number of seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library's type.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for TimeSpan {
    fn from(span: Duration) -> Self {
        Self(span)
    }
}

impl ByteSize {
    /// What a text must look like.
    pub const EXPECTED: &'static str = "an amount of memory, such as `2g` or `512m`";

    /// A number of bytes; 0 for no limit.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes; none for no limit.
    pub fn limit(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

/// A decimal number without sign or exponent at the beginning of `text`: its digits without the point, how many of them
/// stand behind the point, and the rest.
fn leading_decimal(text: &str) -> Option<(u128, u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    // More digits than these make no difference to any result.
    let fraction = &fraction[..fraction.len().min(12)];
    let digits = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
    let digits = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u128::MAX) };
    Some((digits, u32::try_from(fraction.len()).ok()?, rest))
}

/// `digits / 10^scale * factor`, rounded down; none if it is too large for anything.
fn scaled(digits: u128, scale: u32, factor: u128) -> Option<u128> {
    Some(digits.checked_mul(factor)? / 10u128.pow(scale))
}

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = crate::names::quoted(text);
        let expected = Self::EXPECTED;
        if text.starts_with('-') {
            return Err(format!("{shown} is negative: expected {expected}"));
        }
        let mut rest = text;
        let mut total: u128 = 0;
        if rest.is_empty() {
            return Err(format!("expected {expected}, found an empty text"));
        }
        while !rest.is_empty() {
            let Some((digits, scale, after)) = leading_decimal(rest) else {
                return Err(format!("expected {expected}, found {shown}"));
            };
            let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
            let (unit, next) = after.split_at(end);
            if unit.is_empty() {
                return Err(format!("{shown} lacks a unit: expected {expected} (units: ns us ms s m h)"));
            }
            let Some((_, nanos)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
                let unit = unit.escape_debug();
                return Err(format!("{shown} has the unknown unit `{unit}`: expected one of ns us ms s m h"));
            };
            total =
                scaled(digits, scale, *nanos).and_then(|part| total.checked_add(part)).unwrap_or(u128::MAX);
            rest = next;
        }
        if total > LONGEST.as_nanos() {
            return Err(format!("{shown} is too long: at most {} h", LONGEST.as_secs() / 3600));
        }
        let (seconds, nanos) = (total / 1_000_000_000, total % 1_000_000_000);
        Ok(Self(Duration::new(u64::try_from(seconds).unwrap_or(u64::MAX), u32::try_from(nanos).unwrap_or(0))))
    }
}

impl fmt::Display for TimeSpan {
    /// As short as it reads back exactly: `1h30m`, `60s` as `1m`, `1.5s` as `1s500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, nanos) in TIME_UNITS.iter().rev() {
            if rest >= *nanos {
                write!(f, "{}{unit}", rest / nanos)?;
                rest %= nanos;
            }
        }
        Ok(())
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = crate::names::quoted(text);
        let expected = Self::EXPECTED;
        if text.is_empty() {
            return Ok(Self(0));
        }
        if text.starts_with('-') {
            return Err(format!("{shown} is negative: expected {expected}"));
        }
        let Some((digits, scale, suffix)) = leading_decimal(text) else {
            return Err(format!("expected {expected}, found {shown}"));
        };
        let factor: u128 = match suffix {
            "" => 1,
            "k" | "K" => 1 << 10,
            "m" | "M" => 1 << 20,
            "g" | "G" => 1 << 30,
            _ => {
                let suffix = suffix.escape_debug();
                return Err(format!(
                    "{shown} has the unknown suffix `{suffix}`: expected k, m, g or none (bytes)"
                ));
            }
        };
        let bytes = scaled(digits, scale, factor).and_then(|bytes| u64::try_from(bytes).ok());
        // Engines take signed numbers.
        match bytes.filter(|bytes| i64::try_from(*bytes).is_ok()) {
            Some(0) if digits > 0 => Err(format!("{shown} is less than one byte: expected {expected}")),
            Some(bytes) => Ok(Self(bytes)),
            None => Err(format!("{shown} is more memory than any machine has")),
        }
    }
}

impl fmt::Display for ByteSize {
    /// With the largest suffix that says it exactly; `0` for no limit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, shift) in [("g", 30), ("m", 20), ("k", 10)] {
            if self.0 > 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(text: &str) -> u128 {
        text.parse::<TimeSpan>().unwrap_or_else(|e| panic!("{text}: {e}")).get().as_nanos()
    }

    fn bytes(text: &str) -> u64 {
        text.parse::<ByteSize>().unwrap_or_else(|e| panic!("{text}: {e}")).0
    }

    #[test]
    fn durations_are_numbers_with_units() {
        assert_eq!(nanos("60s"), 60_000_000_000);
        assert_eq!(nanos("1h30m"), 5_400_000_000_000);
        assert_eq!(nanos("1.5h"), 5_400_000_000_000);
        assert_eq!(nanos(".5s"), 500_000_000);
        assert_eq!(nanos("1ms1us1ns"), 1_001_001);
        assert_eq!(nanos("0s"), 0);
        assert_eq!(nanos("007s"), 7_000_000_000);
    }

    #[test]
    fn a_wrong_duration_says_what_is_wrong() {
        for (text, message) in [
            (
                "60",
                r#""60" lacks a unit: expected a duration with a unit, such as `60s` or `1h30m` (units: ns us ms s m h)"#,
            ),
            (
                "1h30",
                r#""1h30" lacks a unit: expected a duration with a unit, such as `60s` or `1h30m` (units: ns us ms s m h)"#,
            ),
            ("", "expected a duration with a unit, such as `60s` or `1h30m`, found an empty text"),
            ("soon", r#"expected a duration with a unit, such as `60s` or `1h30m`, found "soon""#),
            ("-5s", r#""-5s" is negative: expected a duration with a unit, such as `60s` or `1h30m`"#),
            (
                "3 days",
                r#""3 days" lacks a unit: expected a duration with a unit, such as `60s` or `1h30m` (units: ns us ms s m h)"#,
            ),
            ("3d", r#""3d" has the unknown unit `d`: expected one of ns us ms s m h"#),
            ("1..5s", r#"expected a duration with a unit, such as `60s` or `1h30m`, found "1..5s""#),
            ("9999999h", r#""9999999h" is too long: at most 87600 h"#),
        ] {
            assert_eq!(text.parse::<TimeSpan>(), Err(message.to_owned()));
        }
    }

    #[test]
    fn memory_counts_in_powers_of_1024() {
        assert_eq!(bytes("2g"), 2 << 30);
        assert_eq!(bytes("1.5G"), 3 << 29);
        assert_eq!(bytes("512M"), 512 << 20);
        assert_eq!(bytes("64k"), 64 << 10);
        assert_eq!(bytes("1000"), 1000);
        assert_eq!(bytes("0"), 0);
        assert_eq!(bytes(""), 0);
        assert_eq!(ByteSize::from_bytes(0).limit(), None);
    }

    #[test]
    fn a_wrong_amount_of_memory_says_what_is_wrong() {
        for (text, message) in [
            ("-1g", r#""-1g" is negative: expected an amount of memory, such as `2g` or `512m`"#),
            ("lots", r#"expected an amount of memory, such as `2g` or `512m`, found "lots""#),
            ("2gb", r#""2gb" has the unknown suffix `gb`: expected k, m, g or none (bytes)"#),
            ("2 g", r#""2 g" has the unknown suffix ` g`: expected k, m, g or none (bytes)"#),
            ("1t", r#""1t" has the unknown suffix `t`: expected k, m, g or none (bytes)"#),
            ("99999999999g", r#""99999999999g" is more memory than any machine has"#),
            (
                "0.0001",
                r#""0.0001" is less than one byte: expected an amount of memory, such as `2g` or `512m`"#,
            ),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(message.to_owned()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_shown_reads_back_as_the_same_value(span in 0..=LONGEST.as_nanos(), size in 0..=i64::MAX as u64) {
            let span = TimeSpan(Duration::from_nanos(u64::try_from(span).unwrap()));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            let size = ByteSize(size);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>(), near in "[0-9.]{0,40}[a-zA-Z]{0,3}") {
            for text in [text, near] {
                let _ = text.parse::<TimeSpan>();
                let _ = text.parse::<ByteSize>();
            }
        }
    }
}
