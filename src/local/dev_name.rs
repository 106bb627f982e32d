//! Names of `dev` sessions: pure.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::names::MachineName;

/// Longest prefix, in characters.
const PREFIX_MAX: usize = 30;

/// The name of the session of a directory: what its Podfile is called, or the directory, and the beginning of the SHA-256
/// of its absolute path, so that two directories of one name have two sessions.
pub fn session_name(called: Option<&str>, directory: &Path) -> MachineName {
    let base = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let lower = called.map_or(base, str::to_owned).to_lowercase();
    let fits = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    let cut: String = lower.chars().filter(fits).take(PREFIX_MAX).collect();
    let prefix = match cut.trim_matches('-') {
        "" => "dev".to_owned(),
        text if text.starts_with(|c: char| c.is_ascii_digit()) => format!("d{text}"),
        text => text.to_owned(),
    };
    let name = format!("{prefix}{}", ending(directory));
    name.parse().unwrap_or_else(|error| unreachable!("the prefix has only what names may have: {error}"))
}

/// How the name of every session of a directory ends that was not given one.
pub(super) fn ending(directory: &Path) -> String {
    let hash = Sha256::digest(directory.as_os_str().as_encoded_bytes());
    format!("-{:02x}{:02x}", hash[0], hash[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(called: Option<&str>, directory: &str) -> String {
        session_name(called, Path::new(directory)).as_str().to_owned()
    }

    #[test]
    fn a_name_tells_the_directory_and_its_path() {
        // printf %s /home/ann/src/api | sha256sum
        assert_eq!(name(None, "/home/ann/src/api"), "api-4027");
        assert!(name(Some("Web Shop"), "/home/ann/src/api").starts_with("webshop-"));
        assert!(name(None, "/srv/--Über_app--").starts_with("berapp-"));
        assert!(name(None, "/").starts_with("dev-"));
        assert!(name(None, "/srv/2048").starts_with("d2048-"), "names begin with a letter");
        assert_ne!(name(None, "/a/api"), name(None, "/b/api"));
    }

    proptest! {
        #[test]
        fn every_directory_and_every_podfile_gives_a_valid_name(called in proptest::option::of(".{0,60}"), path in "/.{0,80}") {
            let name = name(called.as_deref(), &path);
            prop_assert!(name.parse::<MachineName>().is_ok(), "{name}");
            prop_assert!(name.len() <= PREFIX_MAX + 6);
        }
    }
}
