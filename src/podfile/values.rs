//! What single values of a Podfile must look like. Errors are fragments that quote the value and say what is allowed.

use std::fmt::Display;
use std::str::FromStr;

use super::model::VolumeUse;
use crate::config::nearest;
use crate::names::{NameError, misleads, quoted};

/// Paths inside that belong to the kernel or to podspawn.
const TAKEN: [&str; 4] = ["/proc", "/sys", "/dev", "/.podspawn"];

/// A name by its own grammar, with the name that would do.
pub(super) fn name<T: FromStr<Err = NameError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: NameError| match &error.suggestion {
        Some(near) => format!("{error}; did you mean `{near}`?"),
        None => error.to_string(),
    })
}

/// A value that is one of `words`.
pub(super) fn word<T: Copy>(kind: &str, text: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let guess = nearest(text, &known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Err(format!("{} is not {kind} ({}){guess}", quoted(text), known.join(", ")))
}

/// An absolute path inside that nothing else needs, without `.`, `..` and slashes at the end.
pub(super) fn path_inside(text: &str) -> Result<String, String> {
    let wrong = |rule: &str| Err(format!("{} {rule}", quoted(text)));
    if text.contains(misleads) {
        return wrong("contains a control character");
    }
    if !text.starts_with('/') {
        return wrong("must be an absolute path, such as `/workspace/api`");
    }
    if text.len() > 1024 {
        return wrong("is longer than 1024 bytes");
    }
    let path = text.trim_end_matches('/');
    if path.is_empty() {
        return wrong("is the root of the container: name a directory below it");
    }
    if path[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("must be a plain path: no `.`, no `..`, no `//`");
    }
    let below =
        |dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // What begins like podspawn's own directory is podspawn's: `/run/podspawn`, `/run/podspawn-guest`.
    if let Some(taken) = TAKEN.into_iter().find(|dir| below(dir)) {
        return Err(format!("{} lies below {taken}, which a Podfile cannot use", quoted(text)));
    }
    let real_run = ["/run/podspawn", "/var/run/podspawn"];
    if let Some(taken) = real_run.into_iter().find(|dir| path.starts_with(dir)) {
        return Err(format!("{} lies below {taken}, which a Podfile cannot use", quoted(text)));
    }
    Ok(path.to_owned())
}

/// Directories inside that the container itself is made of, or that podspawn and the guest write to.
const SYSTEM: [&str; 11] =
    ["/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/usr", "/var", "/var/run"];

/// Where a project lies inside: not over the container's own system, which would be gone, and written into the project.
pub(super) fn place_of_project(text: &str) -> Result<String, String> {
    let path = path_inside(text)?;
    may_hold_project(&path).map(|()| path)
}

/// Whether a plain path inside may be the project's.
pub(super) fn may_hold_project(path: &str) -> Result<(), String> {
    match SYSTEM.contains(&path) {
        true => Err(format!("{} holds the container's own system: name a directory below it", quoted(path))),
        false => Ok(()),
    }
}

/// A login shell.
pub(super) fn shell(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
    if !text.starts_with('/') {
        return Err(format!("{} must be an absolute path, such as `/bin/bash`", quoted(text)));
    }
    let plain = text[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !plain || !text.chars().all(fits) || text.len() > 256 {
        return Err(format!("{} is no plain path of a shell, such as `/bin/bash`", quoted(text)));
    }
    Ok(text.to_owned())
}

/// Name of an environment variable.
pub(super) fn variable(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(fits)
        && name.len() <= 256
    {
        Ok(())
    } else {
        Err(format!(
            "{} is not the name of a variable: use letters, digits and `_`, no digit first",
            quoted(name)
        ))
    }
}

/// Value of an environment variable. It becomes part of an image, where a value is one line.
pub(super) fn variable_value(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() && *c != '\t') {
        None => Ok(()),
        Some('\n' | '\r') => {
            Err("the value of a variable must be one line: set longer texts in `on_create`".into())
        }
        Some(bad) => Err(format!("the value contains the control character {bad:?}")),
    }
}

/// A script or a command: text that a shell can be given.
pub(super) fn script(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        None => Ok(()),
        Some('\r') => Err("it contains carriage returns: save the file with Unix line ends".into()),
        Some(bad) => Err(format!("it contains the control character {bad:?}")),
    }
}

/// What `name:/path` says.
pub(super) enum Volume {
    /// A named volume.
    Named(VolumeUse),
    /// Nothing that can be mounted: a warning.
    Skipped(String),
}

/// A volume as a service lists it.
pub(super) fn volume(text: &str) -> Result<Volume, String> {
    let Some((source, target)) = text.split_once(':') else {
        return Ok(Volume::Skipped(format!("the volume {} is skipped: expected `name:/path`", quoted(text))));
    };
    if source.contains('/') || source.starts_with(['.', '~']) {
        return Err(format!(
            "{} names a path of the host, which a Podfile cannot use: name a volume, such as `data:{}`",
            quoted(text),
            if target.starts_with('/') {
                crate::names::printable(&target.chars().take(64).collect::<String>())
            } else {
                "/data".into()
            }
        ));
    }
    if target.contains(':') {
        return Err(format!(
            "{} has options, which named volumes do not take: expected `name:/path`",
            quoted(text)
        ));
    }
    Ok(Volume::Named(VolumeUse { name: name(source)?, target: path_inside(target)? }))
}

/// `name` of a Podfile: the beginning of names.
pub(super) fn title(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        let rule = "use at most 64 letters, digits, `.`, `_` and `-`, a letter or digit first";
        Err(format!("{} cannot be the beginning of names: {rule}", quoted(text)))
    }
}

/// CPUs that an engine can be asked for.
pub(super) fn cpus(number: f64) -> Result<f64, String> {
    let wrong = |why: &dyn Display| {
        Err(format!("{number} is {why}: expected a number of CPUs, such as `2` or `0.5`"))
    };
    if number < 0.0 {
        wrong(&"negative")
    } else if number < 0.01 {
        wrong(&"too small")
    } else if number > 65536.0 {
        wrong(&"too large")
    } else {
        Ok(number)
    }
}

/// Variables of podspawn in a value that are not filled in.
pub(super) fn unknown_variables(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("${PODSPAWN_").filter_map(|(at, _)| {
        let end = text[at..].find('}')?;
        let whole = &text[at..=at + end];
        (!matches!(whole, "${PODSPAWN_USER}" | "${PODSPAWN_PROJECT}")).then_some(whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_inside_is_plain_and_nobody_elses() {
        assert_eq!(path_inside("/workspace/api/"), Ok("/workspace/api".into()));
        assert_eq!(path_inside("/process"), Ok("/process".into()));
        assert_eq!(path_inside("/run/postgresql"), Ok("/run/postgresql".into()));
        for (bad, told) in [
            ("api", r#""api" must be an absolute path, such as `/workspace/api`"#),
            ("~/api", r#""~/api" must be an absolute path, such as `/workspace/api`"#),
            ("/a/../b", r#""/a/../b" must be a plain path: no `.`, no `..`, no `//`"#),
            ("/a//b", r#""/a//b" must be a plain path: no `.`, no `..`, no `//`"#),
            ("//", r#""//" is the root of the container: name a directory below it"#),
            ("/proc", r#""/proc" lies below /proc, which a Podfile cannot use"#),
            ("/proc/1/root", r#""/proc/1/root" lies below /proc, which a Podfile cannot use"#),
            ("/sys/fs", r#""/sys/fs" lies below /sys, which a Podfile cannot use"#),
            ("/dev/shm", r#""/dev/shm" lies below /dev, which a Podfile cannot use"#),
            ("/.podspawn/x", r#""/.podspawn/x" lies below /.podspawn, which a Podfile cannot use"#),
            ("/run/podspawn-x", r#""/run/podspawn-x" lies below /run/podspawn, which a Podfile cannot use"#),
            ("/a\nb", "\"/a\\nb\" contains a control character"),
        ] {
            assert_eq!(path_inside(bad), Err(told.to_owned()));
        }
    }

    #[test]
    fn a_project_lies_not_over_the_system_of_its_container() {
        for good in ["/workspace/api", "/usr/src/app", "/var/www/html", "/etc/app", "/srv", "/app"] {
            assert_eq!(place_of_project(good), Ok(good.into()));
        }
        for bad in ["/etc", "/etc/", "/usr", "/bin", "/run", "/var", "/var/run", "/lib64"] {
            assert!(place_of_project(bad).unwrap_err().contains("the container's own system"), "{bad}");
        }
    }

    #[test]
    fn variables_of_the_environment_have_names_that_every_shell_takes() {
        for good in ["A", "_a1", "NODE_ENV"] {
            assert_eq!(variable(good), Ok(()));
        }
        for bad in ["", "1A", "A=B", "A B", "A\nB", "A-B", "Ä", &"A".repeat(257)] {
            assert!(variable(bad).is_err(), "{bad:?}");
        }
        assert_eq!(variable_value("a\tb $x \"y\""), Ok(()));
        for bad in ["a\nb", "a\rb", "a\0b", "\u{1b}[2J"] {
            assert!(variable_value(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_volume_is_a_name_and_a_path() {
        let named = |text: &str| match volume(text) {
            Ok(Volume::Named(volume)) => (volume.name.as_str().to_owned(), volume.target),
            Ok(Volume::Skipped(warning)) => panic!("{warning}"),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(
            named("pgdata:/var/lib/postgresql/data"),
            ("pgdata".into(), "/var/lib/postgresql/data".into())
        );
        for bad in [
            "/etc:/etc",
            "./x:/x",
            "../x:/x",
            "~:/x",
            "~/x:/x",
            "a/b:/x",
            ".:/x",
            "d:relative",
            "d:/proc",
            "d:/x:ro",
            ":/x",
            "$(id):/x",
            "d:/",
            "/var/run/docker.sock:/x",
        ] {
            assert!(volume(bad).is_err(), "{bad}");
        }
        assert!(matches!(volume("pgdata"), Ok(Volume::Skipped(_))));
    }

    #[test]
    fn variables_of_podspawn_that_do_not_exist_are_found() {
        let found: Vec<&str> =
            unknown_variables("${PODSPAWN_USER} ${PODSPAWN_USERS}${PODSPAWN_ $x ${PODSPAWN_}").collect();
        assert_eq!(found, ["${PODSPAWN_USERS}", "${PODSPAWN_ $x ${PODSPAWN_}", "${PODSPAWN_}"]);
    }
}
