//! Names of volumes as Podfiles write them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::NameError;

/// A volume as its Podfile calls it: letters, digits, `_`, `.` and `-`, at most 64, the first a letter or digit. Never a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeName(String);

impl VolumeName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |rule: &str| Err(NameError::new("volume name", text, rule));
        if text.contains('/') || text.starts_with(['.', '~']) {
            return wrong("paths of the host are not allowed: name a volume");
        }
        if text.is_empty() || text.len() > 64 {
            return wrong("it must have 1 to 64 characters");
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !text.chars().all(fits) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return wrong("use letters, digits, `_`, `.` and `-`, a letter or digit first");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for VolumeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_never_a_path() {
        for good in ["pgdata", "a.b-c_d", "0x"] {
            assert_eq!(good.parse::<VolumeName>().expect(good).as_str(), good);
        }
        for bad in ["", "/etc", "./x", "../x", "~", "a/b", "-a", "a b", "a:b", "$(id)", &"a".repeat(65)] {
            assert!(bad.parse::<VolumeName>().is_err(), "{bad}");
        }
    }
}
