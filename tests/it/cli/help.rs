//! `--help`: a purpose, the defaults, an example that works.

use crate::harness::engines::fact;
use crate::harness::{EngineName, Env};

/// Commands that change a server.
const SERVER_COMMANDS: [&str; 5] = ["add-user", "broker", "list-users", "remove-user", "server-setup"];

/// Commands that need a repository.
const PROJECT_COMMANDS: [&str; 7] =
    ["add-project", "dev", "down", "prebuild", "remove-project", "switch-branch", "update-project"];

/// Words behind which clap lists the commands.
fn commands(env: &Env) -> Vec<String> {
    let help = env.podspawn(["--help"]).run().ok().out();
    let listed =
        help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("commands");
    let names = listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    names.filter(|name| name != "help").collect()
}

/// The lines below `Example:`.
fn examples(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("Example:\n") else { return Vec::new() };
    rest.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_purpose_of_one_line_and_an_example() {
    let env = Env::without_engine();
    let commands = commands(&env);
    assert!(commands.len() >= 13, "{commands:?}");
    for command in commands {
        let help = env.podspawn([&command, "--help"]).run().ok().out();
        let mut lines = help.lines();
        let purpose = lines.next().unwrap_or_default();
        assert!(purpose.len() > 10 && !purpose.ends_with('.'), "{command}: {purpose:?}");
        assert_eq!(lines.next(), Some(""), "{command}: the purpose is one line");
        assert!(!examples(&help).is_empty(), "{command} has no example");
    }
}

#[test]
fn every_flag_names_its_default() {
    let env = Env::without_engine();
    for command in commands(&env) {
        let help = env.podspawn([&command, "--help"]).run().ok().out();
        let options =
            help.split("Options:\n").nth(1).expect("options").split("\n\nExample").next().expect("options");
        // A flag's text may go on in the next lines.
        for flag in options.split("\n  -").flat_map(|part| part.split("\n      --")) {
            if flag.contains("help") || flag.trim().is_empty() {
                continue;
            }
            assert!(flag.contains("[default: "), "{command}: {flag}");
        }
    }
}

on_engines! {
    [docker; soak: podman]
    fn every_example_works_as_it_stands(env: Env) {
        let mut all: Vec<(String, String)> = Vec::new();
        for command in commands(&env) {
            let help = env.podspawn([&command, "--help"]).run().ok().out();
            all.extend(examples(&help).into_iter().map(|example| (command.clone(), example)));
        }
        // What is made first, what removes last.
        let order = ["create", "stop", "rm"];
        all.sort_by_key(|(command, _)| order.iter().position(|name| name == command).unwrap_or(0));
        // An example names one of the tree's files.
        let podfiles = env.home().join("examples/podfiles");
        std::fs::create_dir_all(&podfiles).expect("mkdir");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/podfiles/node-api.yaml");
        std::fs::copy(source, podfiles.join("node-api.yaml")).expect("copy an example");
        for (command, example) in all {
            // Those of a server, and those of a repository, need one: their own stories run them.
            if SERVER_COMMANDS.contains(&command.as_str()) || PROJECT_COMMANDS.contains(&command.as_str()) {
                continue;
            }
            if matches!(command.as_str(), "exec" | "logs" | "shell" | "stop" | "rm") {
                let _ = env.podspawn(["create", "dev"]).run().ok();
            }
            // The image that people know cannot be had without the network.
            let line = example.replace("ubuntu:24.04", fact("IMAGE_SUDO"));
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[0], "podspawn", "{example}");
            let _ = env.podspawn(&words[1..]).run().ok();
        }
        let _ = env.podspawn(["rm", "--force", "dev"]).run();
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

#[test]
fn help_is_data_and_so_is_the_version() {
    let env = Env::on(EngineName::Docker);
    let run = env.podspawn(["--version"]).run().ok();
    assert_eq!(run.out(), env.podspawn(["version"]).run().ok().out());
    assert_eq!(
        env.podspawn(["help", "create"]).run().ok().out(),
        env.podspawn(["create", "--help"]).run().ok().out()
    );
    assert_eq!(env.podspawn::<&str>([]).run().status(1).out(), "");
}
