use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::layers::{defaults, merge, profile};
use super::*;

#[test]
fn the_example_file_says_exactly_what_the_defaults_are() {
    let config: Config = merge([&defaults().unwrap()]).extract().unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn every_profile_is_a_valid_layer_that_chooses_no_profile() {
    let defaults = defaults().unwrap();
    for name in ProfileName::all() {
        let layer = profile(name).unwrap();
        if let Err(error) = check::alone(&defaults, &layer, Deployment::Server) {
            panic!("{name}: {error}");
        }
        let config: Config = merge([&defaults, &layer]).extract().unwrap();
        assert_eq!(config.profile, None, "{name}");
    }
}

fn sources(deployment: Deployment, env: BTreeMap<String, String>) -> Sources {
    Sources {
        deployment,
        local_root: "/home/ann/.podspawn".into(),
        home: Some("/home/ann".into()),
        file: None,
        env,
        flags: Vec::new(),
    }
}

fn load_file(deployment: Deployment, text: &str) -> Result<Layers, ConfigError> {
    load_text(&sources(deployment, BTreeMap::new()), Some((Path::new("config.yaml"), text)))
}

#[test]
fn a_source_of_packages_can_be_named_in_every_layer() {
    let env =
        BTreeMap::from([("PODSPAWN_PACKAGES__SOURCES__GO".to_owned(), "http://10.0.0.1/go/".to_owned())]);
    let text = "packages:\n  sources:\n    rust: https://mirror.example/rust\n";
    let file = Some((Path::new("config.yaml"), text));
    let layers = load_text(&sources(Deployment::Local, env), file).unwrap();
    let found = &layers.config.packages.sources;
    assert_eq!(
        (found.go.as_str(), found.rust.as_str()),
        ("http://10.0.0.1/go", "https://mirror.example/rust")
    );
    assert_eq!(found.nodejs, PackageSources::default().nodejs);

    let env = BTreeMap::from([("PODSPAWN_PACKAGES__SOURCES__GOO".to_owned(), "http://x".to_owned())]);
    let error = load_text(&sources(Deployment::Local, env), None).unwrap_err().to_string();
    assert!(error.contains("did you mean `PODSPAWN_PACKAGES__SOURCES__GO`?"), "{error}");
    let text = "packages:\n  sources:\n    go: mirror.example\n";
    let error = load_file(Deployment::Server, text).unwrap_err().to_string();
    assert!(error.contains("config.yaml:3") && error.contains("`packages.sources.go`"), "{error}");
}

/// Whatever is loaded, the answer is a configuration or one short line that a terminal can show.
fn answers_well(result: &Result<Layers, ConfigError>) -> Result<(), TestCaseError> {
    if let Err(error) = result {
        let text = error.to_string();
        prop_assert!(!text.contains(char::is_control), "{:?}", text);
        prop_assert!(text.chars().count() < 1000, "{}", text);
    }
    Ok(())
}

/// Keys that exist, keys that nearly exist, and others.
fn key() -> impl Strategy<Value = String> {
    let known = "auth|server|key_dir|forwarding|run_dir|first_uid|accounts|github_url|packages|sources|go|profile|runtime|defaults|session|state|log|security|resources|local|servers|image|shell|cpus|memory|\
                 grace_period|max_lifetime|mode|db_path|file|cap_add|tmpfs|pids_limit|seccomp_profile|mappings|default";
    prop_oneof![
        4 => proptest::sample::select(known.split('|').map(str::to_owned).collect::<Vec<_>>()),
        1 => "[a-z_]{1,12}",
        1 => any::<String>(),
    ]
}

/// JSON is YAML: any tree of keys and values as one document.
fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e6..1e6f64).prop_map(Into::into),
        "[0-9.]{1,4}[a-z]{0,2}|default|strict|persistent|docker|/bin/sh|ubuntu:24.04".prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let tree = leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(key(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map(key(), tree, 0..6).prop_map(|map| serde_json::json!(map).to_string())
}

/// The quick way answers as the whole one does.
fn is_equal(text: &str) -> Result<(), TestCaseError> {
    let sources = Sources { home: Some("/root".into()), ..sources(Deployment::Server, BTreeMap::new()) };
    let whole = load_text(&sources, Some((Path::new("config.yaml"), text)));
    let quick = quick::load_server_text(Path::new("config.yaml"), text);
    prop_assert_eq!(
        quick.map_err(|error| error.to_string()),
        whole.map(|layers| layers.config).map_err(|error| error.to_string())
    );
    Ok(())
}

#[test]
fn the_quick_way_reads_what_the_whole_way_reads() {
    let mut texts = vec![
        DEFAULTS.to_owned(),
        String::new(),
        "# nothing\n".into(),
        "auth:\n  key_dir: /k\nserver:\n  forwarding: running\n  account: engine\nlog:\n  file: /l\n".into(),
        "auth:\n  key_dir:\nserver:\n".into(),
        "auth: [".into(),
        "auth:\n  key_dirs: /k\n".into(),
        "defaults:\n  cpus: many\n".into(),
        "local:\n  image: debian:12\n".into(),
        "security:\n  tmpfs:\n    /a: size=1m\n  cap_add: [ALL]\n  seccomp_profile: ~/p\n".into(),
    ];
    for name in ProfileName::all() {
        texts.push(format!("profile: {name}\nsession:\n  mode: persistent\nresources:\n  max_cpus: 1\n"));
    }
    for text in texts {
        if let Err(error) = is_equal(&text) {
            panic!("{text}\n{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_a_configuration_or_one_clear_line(text in any::<String>()) {
        answers_well(&load_file(Deployment::Local, &text))?;
    }

    #[test]
    fn any_tree_of_values_is_a_configuration_or_one_clear_line(text in document()) {
        answers_well(&load_file(Deployment::Local, &text))?;
        answers_well(&load_file(Deployment::Server, &text))?;
        is_equal(&text)?;
    }

    #[test]
    fn any_environment_is_a_configuration_or_one_clear_line(
        section in "[A-Z_]{0,10}|SESSION|DEFAULTS|SECURITY|LOCAL|SERVERS",
        name in "[A-Z_]{0,10}|MODE|IMAGE|TMPFS|CPUS",
        value in any::<String>(),
    ) {
        let env = BTreeMap::from([(format!("PODSPAWN_{section}__{name}"), value)]);
        answers_well(&load_text(&sources(Deployment::Local, env), None))?;
    }

    #[test]
    fn a_variable_wins_over_the_file_and_nothing_else_changes(file in 1u32..5000, variable in 1u32..5000) {
        let env = BTreeMap::from([("PODSPAWN_DEFAULTS__MEMORY".to_owned(), format!("{variable}m"))]);
        let text = format!("defaults:\n  memory: {file}m\n  cpus: {file}\n");
        let layers = load_text(&sources(Deployment::Local, env), Some((Path::new("config.yaml"), &text))).unwrap();
        prop_assert_eq!(layers.config.defaults.memory.limit(), Some(u64::from(variable) << 20));
        prop_assert_eq!(layers.config.defaults.cpus.limit(), Some(f64::from(file)));
        prop_assert_eq!(layers.origin("defaults.cpus").to_string(), "config.yaml:3");
        let untouched = load_text(&sources(Deployment::Local, BTreeMap::new()), None).unwrap().config;
        prop_assert_eq!(layers.config.session, untouched.session);
        prop_assert_eq!(layers.config.security, untouched.security);
    }
}
