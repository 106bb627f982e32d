//! The environment of the processes that the guest starts. Pure.
//!
//! Later layers win: the image's (and engine's), who the process is, what the container's making asked for, what this one
//! process asked for, and what only the guest can know (terminal, agent).

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

/// `PATH` where neither image nor engine names one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What describes the first process itself and is none of its children's.
const OF_THE_FIRST_PROCESS: [&str; 9] =
    ["HOME", "USER", "LOGNAME", "SHELL", "TERM", "PWD", "OLDPWD", "SHLVL", "_"];

/// Variables in order of their first setting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment(Vec<(Vec<u8>, Vec<u8>)>);

impl Environment {
    /// What the image and the engine gave, from the variables of the first process.
    pub fn of_image(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let name = name.into_vec();
            if !OF_THE_FIRST_PROCESS.iter().any(|own| own.as_bytes() == name) {
                environment.put(name, value.into_vec());
            }
        }
        if environment.get("PATH").is_none_or(str::is_empty) {
            environment.set("PATH", DEFAULT_PATH);
        }
        environment
    }

    /// Sets one variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.put(name.as_bytes().to_vec(), value.as_bytes().to_vec());
    }

    /// Takes one away.
    pub fn unset(&mut self, name: &str) {
        self.0.retain(|(other, _)| other != name.as_bytes());
    }

    /// Sets several; false if one of them cannot be a variable.
    #[must_use]
    pub fn set_all(&mut self, variables: &[(String, String)]) -> bool {
        for (name, value) in variables {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return false;
            }
            self.set(name, value);
        }
        true
    }

    /// A variable's value, if it is text.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(other, _)| other == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    /// As `execve` wants it.
    pub fn to_strings(&self) -> Vec<CString> {
        // A variable with a zero byte cannot come from a real environment and is refused by `set_all`.
        self.0
            .iter()
            .filter_map(|(name, value)| CString::new([name, &b"="[..], value].concat()).ok())
            .collect()
    }

    fn put(&mut self, name: Vec<u8>, value: Vec<u8>) {
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

/// A prompt that says where one is, in the language of a shell whose program file has this name.
pub fn prompt(shell: &str, user: &str, host: &str, root: bool) -> Option<String> {
    match shell {
        "bash" | "busybox" | "ash" => Some(r"\u@\h:\w\$ ".into()),
        "zsh" => Some("%n@%m:%~%# ".into()),
        "fish" | "csh" | "tcsh" => None,
        // Plain shells expand variables and nothing else.
        _ => Some(format!("{user}@{host}:$PWD{} ", if root { '#' } else { '$' })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(variables: &[(&str, &str)]) -> Environment {
        Environment::of_image(variables.iter().map(|(n, v)| (n.into(), v.into())))
    }

    #[test]
    fn what_describes_the_first_process_is_not_inherited() {
        let environment = image(&[("HOME", "/root"), ("LANG", "C.UTF-8"), ("PATH", "/x"), ("TERM", "dumb")]);
        assert_eq!(environment.get("HOME"), None);
        assert_eq!(environment.get("TERM"), None);
        assert_eq!(environment.get("LANG"), Some("C.UTF-8"));
        assert_eq!(environment.get("PATH"), Some("/x"));
    }

    #[test]
    fn there_is_always_a_path() {
        assert_eq!(image(&[]).get("PATH"), Some(DEFAULT_PATH));
        assert_eq!(image(&[("PATH", "")]).get("PATH"), Some(DEFAULT_PATH));
    }

    #[test]
    fn a_later_setting_wins_and_a_variable_is_there_once() {
        let mut environment = image(&[("A", "1")]);
        assert!(environment.set_all(&[("A".into(), "2".into()), ("B".into(), "x=y".into())]));
        environment.unset("PATH");
        assert_eq!(environment.to_strings(), [c"A=2".to_owned(), c"B=x=y".to_owned()]);
    }

    #[test]
    fn what_cannot_be_a_variable_is_refused() {
        for (name, value) in [("", "x"), ("a=b", "x"), ("a\0", "x"), ("a", "x\0y")] {
            assert!(!image(&[]).set_all(&[(name.into(), value.into())]));
        }
    }
}
