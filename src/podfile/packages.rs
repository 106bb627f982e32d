//! Packages as Podfiles list them.

use crate::names::quoted;

/// Whether an entry, `name` or `name@version`, can be installed. The error is a whole message.
pub fn check_package(entry: &str) -> Result<(), String> {
    let (name, version) = match entry.char_indices().skip(1).find(|(_, c)| *c == '@') {
        Some((at, _)) => (&entry[..at], Some(&entry[at + 1..])),
        None => (entry, None),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | ':');
    if name.is_empty()
        || name.len() > 128
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.chars().all(fits)
    {
        return Err(format!("{} is not the name of a package", quoted(entry)));
    }
    if let Some(version) = version {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | ':' | '~');
        if version.is_empty() || version.len() > 128 || version.starts_with('-') || !version.chars().all(fits)
        {
            return Err(format!("{} has no usable version behind the `@`", quoted(entry)));
        }
    }
    Ok(())
}
