//! What is wrong with a command line.

use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use thiserror::Error;

use super::Cli;
use crate::names::{NameError, Target};

/// A command line that is refused before anything is done. Texts stand on their own.
#[derive(Debug, Error)]
pub enum UsageError {
    /// A name breaks its grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A flag's value or a combination of arguments makes no sense.
    #[error("{text}")]
    Argument {
        /// What is wrong.
        text: String,
        /// What to do instead.
        hints: Vec<String>,
    },
}

impl UsageError {
    /// An argument that makes no sense, and what to do instead.
    pub fn argument(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Argument { text: text.into(), hints: vec![hint.into()] }
    }
}

/// What came of a command line that names no command to run.
#[derive(Debug)]
pub enum Refusal {
    /// Help or version was asked for: this text is the answer.
    Answer(String),
    /// It makes no sense.
    Usage(UsageError),
}

impl Refusal {
    /// Why clap refused these words.
    pub fn new(error: &clap::Error, words: &[OsString]) -> Self {
        if let Some(error) = meant_as_name(error, words) {
            return Self::Usage(error.into());
        }
        let text = error.render().to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Answer(text),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Self::Usage(UsageError::argument(
                "no command was given",
                "`podspawn --help` lists the commands",
            )),
            _ => Self::Usage(retold(&text)),
        }
    }
}

/// What is wrong with a word that begins with `-` and is no known flag, where a name belongs: it says more than that there
/// is no flag of its first letter.
fn meant_as_name(error: &clap::Error, words: &[OsString]) -> Option<NameError> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument || flag.starts_with("--") {
        return None;
    }
    let program = Cli::command();
    let mut words = words.iter().skip(1).map_while(|word| word.to_str()).take_while(|word| *word != "--");
    let command = words.find_map(|word| program.find_subcommand(word))?;
    command.get_positionals().find(|place| matches!(place.get_id().as_str(), "name" | "target"))?;
    let word = words.find(|word| word.len() > flag.len() && word.starts_with(flag.as_str()))?;
    word.parse::<Target>().err()
}

/// clap's words in podspawn's form: one line, then hints.
fn retold(text: &str) -> UsageError {
    let mut paragraphs = text.split("\n\n");
    let joined = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let first = joined(paragraphs.next().unwrap_or_default());
    let mut hints = Vec::new();
    for paragraph in paragraphs {
        if let Some(usage) = paragraph.trim().strip_prefix("Usage:") {
            hints.push(format!("usage: {}", joined(usage)));
        }
        let tips = paragraph.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
        hints.extend(tips.map(str::to_owned));
    }
    UsageError::Argument { text: first.strip_prefix("error: ").unwrap_or(&first).to_owned(), hints }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn refused(args: &[&str]) -> (String, Vec<String>) {
        let error = Cli::try_parse_from(args).expect_err("refused");
        match Refusal::new(&error, &args.iter().map(Into::into).collect::<Vec<_>>()) {
            Refusal::Usage(UsageError::Argument { text, hints }) => (text, hints),
            Refusal::Usage(UsageError::Name(error)) => (error.to_string(), Vec::new()),
            other @ Refusal::Answer(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_that_begins_like_a_flag_is_refused_as_a_name() {
        for command in ["create", "run", "shell", "exec", "stop", "rm"] {
            let (text, _) = refused(&["podspawn", "--runtime", "docker", command, "-dev", "--", "true"]);
            assert_eq!(text, "-dev".parse::<Target>().unwrap_err().to_string(), "{command}");
        }
        for (args, flag) in [
            (&["create", "-x", "dev"][..], "-x"),
            (&["create", "--dev"], "--dev"),
            (&["rm", "-fx", "dev"], "-x"),
            (&["version", "-dev"], "-d"),
        ] {
            let args = [&["podspawn"], args].concat();
            assert_eq!(refused(&args).0, format!("unexpected argument '{flag}' found"));
        }
    }

    #[test]
    fn a_misspelt_flag_is_one_line_with_the_nearest_flag() {
        let (text, hints) = refused(&["podspawn", "version", "--log-fil", "x"]);
        assert_eq!(text, "unexpected argument '--log-fil' found");
        assert_eq!(hints[0], "a similar argument exists: '--log-file'");
        assert!(hints[1].starts_with("usage: podspawn version"), "{hints:?}");
    }

    #[test]
    fn no_command_at_all_points_to_the_help() {
        assert_eq!(refused(&["podspawn"]).0, "no command was given");
    }
}
