//! What is wrong with a command line.

use clap::error::ErrorKind;
use thiserror::Error;

use crate::names::NameError;

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

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
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
        match Refusal::from(error) {
            Refusal::Usage(UsageError::Argument { text, hints }) => (text, hints),
            other => panic!("{other:?}"),
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
