//! `security.tmpfs`: paths and mount options of file systems in memory.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::read::Key;
use super::words::nearest;
use crate::names::quoted;

/// Options that stand alone.
const PLAIN: [&str; 18] = [
    "rw",
    "ro",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];
/// Options with a value.
const VALUED: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
/// Where nothing may be mounted, with everything below: the kernel's file systems and podspawn's own.
const RESERVED: [&str; 6] = ["/proc", "/sys", "/dev", "/.podspawn", "/run/podspawn", "/run/podspawn-user"];

/// Reads the mapping and checks every entry.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    deserializer.deserialize_any(Entries)
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("paths with mount options, such as `/tmp: size=256m`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(path) = map.next_key_seed(Key(check_path))? {
            entries.insert(path, map.next_value_seed(Options)?);
        }
        Ok(entries)
    }
}

struct Options;

impl<'de> serde::de::DeserializeSeed<'de> for Options {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Options {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mount options, such as `size=256m` (`\"\"` for none)")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        check_options(text).map_err(E::custom)?;
        Ok(text.to_owned())
    }
}

fn check_path(path: &str) -> Result<(), String> {
    let error = |rule: &str| Err(format!("{} {rule}", quoted(path)));
    if !path.starts_with('/') || path.contains(char::is_control) || path.contains([':', ',']) {
        return error("is not an absolute path inside the container");
    }
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return error("must be written without empty parts, `.` and `..`, and cannot be `/`");
    }
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(root) = RESERVED.into_iter().find(|root| below(root)) {
        return Err(format!("nothing can be mounted at {}: `{root}` is reserved", quoted(path)));
    }
    Ok(())
}

fn check_options(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    for option in text.split(',') {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let digits =
            |s: &str, radix: u32| !s.is_empty() && s.len() < 16 && s.chars().all(|c| c.is_digit(radix));
        let fits = match (name, value) {
            (name, None) => PLAIN.contains(&name),
            ("size", Some(value)) => {
                digits(value, 10)
                    || value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).is_some_and(|n| digits(n, 10))
            }
            ("mode", Some(value)) => digits(value, 8),
            ("uid" | "gid", Some(value)) => digits(value, 10),
            ("nr_inodes" | "nr_blocks", Some(value)) => {
                digits(value, 10)
                    || value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).is_some_and(|n| digits(n, 10))
            }
            _ => false,
        };
        if fits {
            continue;
        }
        if VALUED.contains(&name) {
            return Err(format!(
                "the mount option {} needs a value such as `size=256m` or `mode=1777`",
                quoted(option)
            ));
        }
        let known: Vec<&str> = PLAIN.into_iter().chain(VALUED).collect();
        let guess = nearest(name, &known).map_or(String::new(), |word| format!("; did you mean `{word}`?"));
        return Err(format!("{} is not a mount option of a tmpfs{guess}", quoted(option)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_options_of_a_tmpfs_are_known_by_name() {
        for text in
            ["", "size=256m", "size=50%,mode=1777,noexec,nosuid", "uid=1000,gid=1000,nr_inodes=10k,ro"]
        {
            assert_eq!(check_options(text), Ok(()), "{text}");
        }
        for (text, message) in [
            ("sice=1m", r#""sice=1m" is not a mount option of a tmpfs; did you mean `size`?"#),
            ("size=lots", r#"the mount option "size=lots" needs a value such as `size=256m` or `mode=1777`"#),
            ("mode=999", r#"the mount option "mode=999" needs a value such as `size=256m` or `mode=1777`"#),
            ("size", r#"the mount option "size" needs a value such as `size=256m` or `mode=1777`"#),
            ("bind", r#""bind" is not a mount option of a tmpfs"#),
            ("ro,,rw", r#""" is not a mount option of a tmpfs"#),
        ] {
            assert_eq!(check_options(text), Err(message.to_owned()));
        }
    }

    #[test]
    fn a_tmpfs_cannot_hide_what_the_kernel_or_podspawn_needs() {
        for path in ["/tmp", "/run", "/var/cache/a b", "/run/podspawned", "/developer"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        for path in [
            "/",
            "tmp",
            "",
            "/a/../b",
            "/a//b",
            "/a/",
            "/a\nb",
            "/a:b",
            "/proc",
            "/dev/shm",
            "/.podspawn/guest",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
    }
}
