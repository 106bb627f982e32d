//! The command line as clap knows it: what every help text must hold, and what the documents must name.

use clap::{Arg, Command, CommandFactory};
use podspawn::cli::Cli;

use super::source::{files, none};

fn commands() -> Vec<Command> {
    let mut cli = Cli::command();
    cli.build();
    let commands: Vec<Command> =
        cli.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect();
    assert!(!commands.is_empty(), "the commands were not found");
    commands
}

/// Whether help shows what happens when the flag is not given.
fn shows_default(arg: &Arg) -> bool {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    !arg.get_default_values().is_empty() || help.contains("[default: ")
}

#[test]
fn every_command_has_a_purpose_in_one_line_and_an_example() {
    let mut findings = Vec::new();
    for command in commands() {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        if about.is_empty() || about.contains('\n') || about.ends_with('.') {
            findings.push(format!("{name}: the purpose is not one line without a full stop: {about:?}"));
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if !after.contains(&format!("Example:\n  podspawn {name}")) {
            findings.push(format!("{name}: the help has no example of `podspawn {name}`"));
        }
    }
    none(findings);
}

#[test]
fn every_flag_has_a_text_and_shows_its_default() {
    let mut findings = Vec::new();
    for command in commands() {
        for arg in command.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
        {
            let named = format!("{} {}", command.get_name(), arg.get_id());
            if arg.get_help().is_none_or(|help| help.to_string().is_empty()) {
                findings.push(format!("{named}: no text"));
            }
            if !arg.is_positional() && !shows_default(arg) {
                findings.push(format!("{named}: the help does not show the default"));
            }
        }
    }
    none(findings);
}

#[test]
fn the_readme_names_exactly_the_commands_that_exist() {
    let readme = files().into_iter().find(|file| file.path == "README.md").expect("README.md").text;
    let named: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `podspawn "))
        .filter_map(|rest| rest.split([' ', '`']).next())
        .collect();
    let mut existing: Vec<String> = commands().iter().map(|command| command.get_name().to_owned()).collect();
    let mut sorted: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    existing.sort();
    sorted.sort();
    assert_eq!(sorted, existing);
}
