//! Podfiles that are built in, by the names that `extends` knows.

/// Bases: what other Podfiles start from.
pub const BASES: [(&str, &str); 3] = [
    ("ubuntu-dev", include_str!("bases/ubuntu-dev.yaml")),
    ("minimal", include_str!("bases/minimal.yaml")),
    ("data-science", include_str!("bases/data-science.yaml")),
];

/// Tables of built-in Podfiles, first one first.
const TABLES: [&[(&str, &str)]; 1] = [&BASES];

/// The text of a built-in Podfile.
pub(super) fn built_in(name: &str) -> Option<&'static str> {
    TABLES.into_iter().flatten().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of all of them.
pub(super) fn names() -> Vec<&'static str> {
    TABLES.into_iter().flatten().map(|(name, _)| *name).collect()
}
