//! Which variables of whoever connects go along into the container: the language, and nothing that a program obeys.

/// Variables that are passed on, besides those that begin with `LC_`.
const PASSED_ON: [&str; 1] = ["LANG"];

/// Longest value that is passed on, in bytes.
const LONGEST_VALUE: usize = 256;

/// Whether a variable is passed on.
pub fn passes(name: &str, value: &str) -> bool {
    let known = PASSED_ON.contains(&name)
        || name.strip_prefix("LC_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        });
    known
        && name.len() <= 32
        && value.len() <= LONGEST_VALUE
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@' | b':'))
}

/// Those of these variables that are passed on.
pub fn passed_on<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let passed = variables.filter(|(name, value)| passes(name, value));
    passed.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sets_its_language_and_nothing_else() {
        for (name, value) in [("LANG", "C.UTF-8"), ("LC_ALL", "de_DE@euro"), ("LC_TIME", "")] {
            assert!(passes(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("LD_PRELOAD", "x"),
            ("PATH", "x"),
            ("LC_", "x"),
            ("LC_a", "x"),
            ("LANG", "a\nb"),
            ("LANG", "$(x)"),
            ("LANG", "/etc/x"),
        ] {
            assert!(!passes(name, value), "{name}={value}");
        }
    }
}
