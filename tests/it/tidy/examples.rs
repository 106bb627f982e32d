//! What people copy must work: examples and profiles are read as the program reads them.

use std::collections::{BTreeMap, BTreeSet};

use podspawn::config::{self, DEFAULTS, Deployment, Flag, Layers, ProfileName, Sources};
use podspawn::podfile::{self, Fetch, Places};

use super::source::{File, files, none, top};

fn load(deployment: Deployment, file: &File) -> Result<Layers, String> {
    let sources = Sources {
        deployment,
        local_root: "/home/somebody/.podspawn".into(),
        home: Some("/home/somebody".into()),
        file: Some(top().join(&file.path)),
        env: BTreeMap::new(),
        flags: Vec::new(),
    };
    config::load(&sources).map_err(|error| error.to_string())
}

#[test]
fn every_example_configuration_is_valid_and_changes_something() {
    let examples: Vec<File> = files()
        .into_iter()
        .filter(|file| file.path.starts_with("examples/") && file.path.ends_with("config.yaml"))
        .collect();
    assert!(!examples.is_empty(), "no example was found");
    let mut findings = Vec::new();
    for file in &examples {
        match load(Deployment::Local, file) {
            Err(error) => findings.push(error),
            Ok(layers) => {
                let empty = File { path: "config.example.yaml".into(), text: String::new() };
                let plain = load(Deployment::Local, &empty).expect("the example of every key loads").config;
                if layers.config == plain {
                    findings.push(format!("{}: everything in it is the default", file.path));
                }
            }
        }
    }
    none(findings);
}

fn is_podfile(path: &str) -> bool {
    path.starts_with("examples/podfiles/") && path.ends_with(".yaml")
}

/// The web of a test that needs none.
struct NoWeb;

impl Fetch for NoWeb {
    fn get(&self, url: &str) -> Result<String, String> {
        Err(format!("no example needs {url}"))
    }
}

#[test]
fn every_example_podfile_is_valid_and_tells_editors_its_schema() {
    let places = Places { cache: "/nonexistent/cache".into(), github: "https://github.com".into() };
    let examples: Vec<File> = files().into_iter().filter(|file| is_podfile(&file.path)).collect();
    assert!(examples.len() >= 3, "no example was found");
    let mut findings = Vec::new();
    for file in &examples {
        match podfile::load(&top().join(&file.path), &places, &NoWeb) {
            Err(error) => findings.push(error.to_string()),
            Ok(loaded) => findings.extend(loaded.warnings),
        }
        if !file.text.starts_with("# yaml-language-server: $schema=../../docs/schema/podfile.json\n") {
            findings.push(format!("{}: the first line does not name the schema", file.path));
        }
    }
    none(findings);
}

#[test]
fn every_file_among_the_examples_is_one_that_a_test_reads() {
    none(
        files()
            .iter()
            .filter(|file| file.path.starts_with("examples/") && !file.path.ends_with("/config.yaml"))
            .filter(|file| !is_podfile(&file.path))
            .map(|file| format!("{}: no test parses it", file.path))
            .collect(),
    );
}

#[test]
fn every_profile_file_can_be_chosen_and_every_choice_has_its_file() {
    let on_disk: BTreeSet<String> = files()
        .iter()
        .filter_map(|file| file.path.strip_prefix("profiles/")?.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    let chosen: BTreeSet<String> = ProfileName::all().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(on_disk, chosen);
    for name in ProfileName::all() {
        let layers = config::load(&Sources {
            deployment: Deployment::Server,
            local_root: "/home/somebody/.podspawn".into(),
            home: None,
            file: None,
            env: BTreeMap::new(),
            flags: vec![Flag { name: "--profile", key: "profile", value: name.as_str().to_owned() }],
        });
        assert_eq!(layers.expect("a profile that loads").config.profile, Some(name));
    }
}

/// `make run` looks for this image before it builds one.
#[test]
fn the_setup_knows_the_default_image() {
    let script = files().into_iter().find(|file| file.path == "scripts/run.sh").expect("scripts/run.sh");
    let line = script.text.lines().find(|line| line.starts_with("DEFAULT_IMAGE=")).expect("the image");
    let image = line.split(['=', ' ']).nth(1).expect("a value");
    assert!(DEFAULTS.contains(&format!("image: {image}\n")), "{image} is not the default image");
}
