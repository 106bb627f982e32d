//! What is run for each part of a setup, and how it is called. Pure.

use crate::names::{BranchName, GitUrl, printable};
use crate::spec::HookCommand;

/// The shell of hooks, by its path: an image's `PATH` may be anything.
const SH: &str = "/bin/sh";

/// Most characters of a command that are shown.
const SHOWN: usize = 60;

/// Something is there already; what was to be cloned is not.
pub(super) const CLONED_ALREADY: u8 = 10;
/// An empty directory is there: it may be a mount, which nothing can be moved onto.
pub(super) const EMPTY_DIRECTORY: u8 = 11;

/// Looks at the place of a clone (`$1`) and clears the one that it is made in (`$2`, beside it in `$3`).
const LOOK: &str = r#"
if [ -e "$1/.git" ]; then exit 10; fi
if [ -d "$1" ]; then
    if [ -n "$(ls -A -- "$1")" ]; then echo "$1 exists and is not empty" >&2; exit 1; fi
    exit 11
fi
if [ -e "$1" ] || [ -L "$1" ]; then echo "$1 exists and is not a directory" >&2; exit 1; fi
mkdir -p -- "$3" && rm -rf -- "$2"
"#;

/// A repository's way into the container: made beside its place and then moved there, so that what is in its place is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clone<'a> {
    url: &'a GitUrl,
    branch: Option<&'a BranchName>,
    place: String,
    part: String,
    parent: String,
}

impl<'a> Clone<'a> {
    /// To an absolute path; if there is none, to a directory of the repository's name in the home.
    pub(super) fn new(url: &'a GitUrl, branch: Option<&'a BranchName>, path: Option<&str>) -> Self {
        match path {
            Some(path) => Self::to(url, branch, path.trim_end_matches('/').to_owned()),
            None => Self::to(url, branch, format!("./{}", url.directory())),
        }
    }

    /// To a directory of that name in the home.
    pub(super) fn in_home(url: &'a GitUrl, name: &str) -> Self {
        Self::to(url, None, format!("./{name}"))
    }

    fn to(url: &'a GitUrl, branch: Option<&'a BranchName>, place: String) -> Self {
        let (parent, name) = place.rsplit_once('/').unwrap_or((".", &place));
        let part = format!("{parent}/.{name}.podspawn-part");
        let parent = if parent.is_empty() { "/".to_owned() } else { parent.to_owned() };
        Self { url, branch, part, parent, place }
    }

    /// Looks whether there is anything to do: [`CLONED_ALREADY`], [`EMPTY_DIRECTORY`], or 0.
    pub(super) fn look(&self) -> Vec<String> {
        [SH, "-c", LOOK, "sh", &self.place, &self.part, &self.parent].map(String::from).into()
    }

    /// Clones to the place itself.
    pub(super) fn here(&self) -> Vec<String> {
        self.git(&self.place)
    }

    /// Clones beside the place.
    pub(super) fn beside(&self) -> Vec<String> {
        self.git(&self.part)
    }

    /// Moves it to its place.
    pub(super) fn settle(&self) -> Vec<String> {
        ["mv", "--", &self.part, &self.place].map(String::from).into()
    }

    fn git(&self, place: &str) -> Vec<String> {
        let mut argv = vec!["git".to_owned(), "clone".into(), "--single-branch".into()];
        if let Some(branch) = self.branch {
            argv.extend(["--branch".into(), branch.as_str().into()]);
        }
        argv.extend(["--".into(), self.url.as_str().into(), place.into()]);
        argv
    }
}

/// The install command of dotfiles, in their directory.
pub(super) fn install(script: &str) -> Vec<String> {
    [SH, "-c", "cd \"$HOME/dotfiles\" && exec /bin/sh -c \"$1\"", "sh", script].map(String::from).into()
}

/// One process of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its name among those that run at the same time; empty where it is alone.
    pub(super) name: String,
    pub(super) argv: Vec<String>,
}

/// The processes of a hook, all at the same time.
pub(super) fn processes(command: &HookCommand) -> Vec<Process> {
    let mut processes = Vec::new();
    collect(command, "", &mut processes);
    processes
}

fn collect(command: &HookCommand, name: &str, processes: &mut Vec<Process>) {
    let mut add = |argv| processes.push(Process { name: name.to_owned(), argv });
    match command {
        command if command.is_empty() => {}
        HookCommand::Script(text) => add([SH, "-c", text].map(String::from).into()),
        HookCommand::Argv(argv) => add(argv.clone()),
        HookCommand::Parallel(commands) => {
            for (part, command) in commands {
                let part = printable(part);
                let name = if name.is_empty() { part } else { format!("{name}/{part}") };
                collect(command, &name, processes);
            }
        }
    }
}

/// A command as people see it: its first line, cut.
pub(super) fn summary(command: &HookCommand) -> String {
    match command {
        HookCommand::Script(text) => shorten(without_cd(text)),
        HookCommand::Argv(argv) => shorten(&argv.join(" ")),
        HookCommand::Parallel(commands) => {
            shorten(&commands.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Without the change of directory in front: `cd /workspace/api && npm install` is about `npm install`.
fn without_cd(script: &str) -> &str {
    let rest = script.trim_start().strip_prefix("cd ").and_then(|rest| rest.split_once("&&"));
    match rest {
        Some((directory, rest)) if !directory.contains(['\n', ';', '|']) && !rest.trim().is_empty() => rest,
        _ => script,
    }
}

/// The first line that says something, cut.
pub(super) fn shorten(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut shown: String = printable(line).chars().take(SHOWN).collect();
    if shown.len() < printable(line).len() {
        shown.push('…');
    }
    shown
}

/// An address without whatever credentials stand in it.
pub(super) fn address(url: &GitUrl) -> String {
    let text = url.as_str();
    let Some((scheme, rest)) = text.split_once("://") else { return printable(text) };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match host.rsplit_once('@') {
        Some((user, host)) if scheme == "ssh" && !user.contains(':') => format!("{user}@{host}"),
        Some((_, host)) => host.to_owned(),
        None => host.to_owned(),
    };
    printable(&format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> GitUrl {
        text.parse().unwrap()
    }

    #[test]
    fn git_gets_an_argument_vector_with_a_single_branch() {
        let (url, branch) = (url("https://host/org/web.git"), "main".parse().unwrap());
        let clone = Clone::new(&url, Some(&branch), Some("/workspace/a b/"));
        let expected = [
            "git",
            "clone",
            "--single-branch",
            "--branch",
            "main",
            "--",
            "https://host/org/web.git",
            "/workspace/.a b.podspawn-part",
        ];
        assert_eq!(clone.beside(), expected);
        assert_eq!(clone.settle(), ["mv", "--", "/workspace/.a b.podspawn-part", "/workspace/a b"]);
        assert_eq!(clone.look()[4..], ["/workspace/a b", "/workspace/.a b.podspawn-part", "/workspace"]);
    }

    #[test]
    fn without_a_path_the_directory_is_called_as_git_would_call_it() {
        let url = url("git@host:org/web.git");
        let clone = Clone::new(&url, None, None);
        assert_eq!(clone.here().last().unwrap(), "./web");
        assert_eq!(clone.look()[5..], ["./.web.podspawn-part", "."]);
        let root = Clone::new(&url, None, Some("/web"));
        assert_eq!(root.look()[5..], ["/.web.podspawn-part", "/"]);
    }

    #[test]
    fn a_script_is_one_string_and_an_argument_vector_keeps_its_spaces() {
        let script = HookCommand::Script("a b\nc 'd'".into());
        assert_eq!(processes(&script)[0].argv, ["/bin/sh", "-c", "a b\nc 'd'"]);
        let argv = HookCommand::Argv(vec!["echo".into(), "a  b".into()]);
        assert_eq!(processes(&argv)[0].argv, ["echo", "a  b"]);
        let both = HookCommand::Parallel(vec![
            ("one".into(), script),
            ("two".into(), HookCommand::Parallel(vec![("x".into(), argv)])),
            ("none".into(), HookCommand::Script(" \n".into())),
        ]);
        let names: Vec<_> = processes(&both).into_iter().map(|process| process.name).collect();
        assert_eq!(names, ["one", "two/x"]);
    }

    #[test]
    fn a_command_is_shown_by_its_first_line_and_harmless() {
        assert_eq!(shorten("\n  npm install\nnpm test"), "npm install");
        assert_eq!(shorten("a\u{1b}[31m"), "a\\u{1b}[31m");
        assert_eq!(shorten(&"x".repeat(70)), format!("{}…", "x".repeat(60)));
    }

    #[test]
    fn credentials_in_an_address_are_never_shown() {
        for (given, shown) in [
            ("https://user:secret@host/a/b", "https://host/a/b"),
            ("https://token@host/a", "https://host/a"),
            ("ssh://git@host/a", "ssh://git@host/a"),
            ("git@host:a", "git@host:a"),
        ] {
            assert_eq!(address(&url(given)), shown);
        }
    }
}
