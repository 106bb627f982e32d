use proptest::prelude::*;

use super::super::fields::Kind;
use super::*;

fn layer(text: &str) -> Layer {
    parse(Path::new("podfile.yaml"), text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[track_caller]
fn says(text: &str, expected: &str) {
    match parse(Path::new("podfile.yaml"), text) {
        Ok(layer) => panic!("accepted: {text:?}: {layer:?}"),
        Err(error) => assert_eq!(error.to_string(), format!("podfile.yaml{expected}"), "for {text:?}"),
    }
}

/// A value that fits a field.
fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Words(_) => "x",
        Kind::Memory => "2g",
        Kind::Cpus => "0.5",
        Kind::Ports => "[80]",
        Kind::Texts => "[x]",
        Kind::Env => "{A: b}",
        Kind::Fields(_) => "{}",
        Kind::Items(_) => "[]",
    }
}

#[test]
fn every_field_of_the_table_is_read() {
    for field in FIELDS {
        let empty = Layer::default();
        match field.kind {
            Kind::Fields(inner) | Kind::Items(inner) => {
                for below in inner {
                    // With what an item cannot do without.
                    let needed = inner.iter().take(1).filter(|first| first.name != below.name);
                    let entry: Vec<String> = std::iter::once(below)
                        .chain(needed)
                        .map(|field| format!("{}: {}", field.name, example(field.kind)))
                        .collect();
                    let text = match field.kind {
                        Kind::Items(_) => format!("{}: [{{{}}}]", field.name, entry.join(", ")),
                        _ => format!("{}: {{{}}}", field.name, entry.join(", ")),
                    };
                    assert_ne!(layer(&text), empty, "{text}");
                }
            }
            kind => assert_ne!(layer(&format!("{}: {}", field.name, example(kind))), empty, "{}", field.name),
        }
    }
}

#[test]
fn values_know_their_lines_and_numbers_stay_as_written() {
    let layer = layer(
        "base: ubuntu:24.04\nenv:\n  A: 1.10\n  B: 0755\n  C: true\n  D: ''\nresources: {memory: 1073741824}\n",
    );
    let shown: Vec<_> = layer
        .env
        .entries
        .iter()
        .map(|(name, at)| (name.as_str(), at.value.as_deref(), at.place.line, at.place.key.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("A", Some("1.10"), Some(3), "env.A"),
            ("B", Some("0755"), Some(4), "env.B"),
            ("C", Some("true"), Some(5), "env.C"),
            ("D", Some(""), Some(6), "env.D"),
        ]
    );
    assert_eq!(layer.memory.map(|at| at.value).as_deref(), Some("1073741824"));
}

#[test]
fn what_is_empty_is_not_set() {
    let text = "base: x\nname: ''\npackages:\nshell: ''\nenv: {}\ndotfiles: {}\nresources: {cpus: 0, memory: ''}\non_create: ''\nmount: ''\nmode: ~\nports: {expose: [], strategy: ''}\n";
    let layer = layer(text);
    assert!(layer.name.is_none() && layer.shell.is_none() && layer.cpus.is_none() && layer.memory.is_none());
    assert!(layer.mount.is_none() && layer.mode.is_none() && layer.strategy.is_none());
    assert_eq!(layer.packages, List::default());
    assert!(layer.on_create.parts.is_empty());
}

#[test]
fn a_key_that_does_not_exist_is_answered_with_the_nearest_one() {
    says("base: x\npakages: [git]\n", ":2: unknown key `pakages`; did you mean `packages`?");
    says(
        "base: x\nservices:\n  - name: a\n    imgae: b\n",
        ":4: unknown key `services.0.imgae`; did you mean `services.0.image`?",
    );
    says("dotfiles: {url: x}\n", ":1: unknown key `dotfiles.url` (known here: repo, install)");
    says("resources:\n  cpu:\n", ":2: unknown key `resources.cpu`; did you mean `resources.cpus`?");
    says(
        "privileged:\n",
        ":1: unknown key `privileged` (known here: base, extends, name, branch, packages, shell, env, dotfiles, repos, services, ports, resources, on_create, on_start, extra_commands, mount, mode, workspace)",
    );
    says(
        "\"a\\e[2Jb\": 1\n",
        ":1: unknown key `a\\u{1b}[2Jb` (known here: base, extends, name, branch, packages, shell, env, dotfiles, repos, services, ports, resources, on_create, on_start, extra_commands, mount, mode, workspace)",
    );
}

#[test]
fn a_bang_discards_the_base_and_nothing_else_has_one() {
    assert!(layer("extends: x\npackages!: [git]\n").packages.reset);
    let bare = layer("extends: x\npackages!:\nenv!:\non_start!:\nservices!: []\n");
    assert!(bare.packages.reset && bare.env.reset && bare.on_start.reset && bare.services.reset);
    assert!(!bare.repos.reset && !bare.on_create.reset);
    says(
        "extends: x\nshell!: /bin/sh\n",
        ":2: `shell!`: a `!` that discards what the base says is possible for packages, env, services, repos, extra_commands, on_create, on_start only",
    );
    says(
        "extends: x\nenv: {A: b}\nenv!: {A: b}\n",
        ":3: `env!`: `env` and `env!` cannot stand in the same file: keep one of them",
    );
    says(
        "extends: x\nenv:\nenv!: {A: b}\n",
        ":3: `env!`: `env` and `env!` cannot stand in the same file: keep one of them",
    );
    says("extends: x\npakages!: []\n", ":2: unknown key `pakages!`; did you mean `packages`?");
}

#[test]
fn removing_needs_something_to_remove_from() {
    for text in [
        "base: x\npackages: ['!git']\n",
        "base: x\nservices: ['!git']\n",
        "base: x\nextends: ''\nrepos: ['!git']\n",
    ] {
        let error = parse(Path::new("p"), text).expect_err(text).to_string();
        assert!(
            error
                .contains("\"!git\" removes something from what the file extends, and there is no `extends`"),
            "{error}"
        );
    }
    let layer = layer("extends: x\npackages: ['!git', jq]\nenv: {A: ''}\n");
    assert_eq!(layer.packages.removed.keys().collect::<Vec<_>>(), ["git"]);
    assert_eq!(layer.env.entries["A"].value, None, "an empty text takes the variable away");
    says(
        "extends: x\npackages:\n  - jq\n  - !git\n",
        ":4: `packages.1`: this item has no value: put an item that begins with `!` between quotes, or remove the line",
    );
}

#[test]
fn a_value_of_the_wrong_type_says_what_was_expected_and_found() {
    says("base: [a]\n", ":1: `base`: expected an image reference, such as `ubuntu:24.04`, found a list");
    says(
        "name: 5\n",
        ":1: `name`: expected a name, found the number 5; put it between quotes if it is meant as text",
    );
    says(
        "packages: git\n",
        ":1: `packages`: expected a list of packages, such as `[git, nodejs@22]`, found the text \"git\"",
    );
    says("packages:\n  - git: 1\n", ":2: `packages.0`: expected the name of a package, found keys below it");
    says(
        "env: [A=b]\n",
        ":1: `env`: expected names with values, such as `NODE_ENV: development`, found a list",
    );
    says("env:\n  A:\n", ":2: `env.A`: it has no value: write \"\" for an empty text");
    says("ports: [80]\n", ":1: `ports`: expected `expose` and `strategy` below it, found a list");
    for bad in ["0", "65536", "-1", "80.5", "1e3", "'80'", "80:80"] {
        let error = parse(Path::new("p"), &format!("ports: {{expose: [{bad}]}}")).expect_err(bad).to_string();
        assert!(
            error.contains("`ports.expose.0`: expected a port (a whole number, 1-65535), found"),
            "{error}"
        );
    }
    says(
        "resources: {cpus: lots}\n",
        ":1: `resources.cpus`: expected a number of CPUs, such as `2` or `0.5`, found the text \"lots\"",
    );
    says(
        "services: [postgres]\n",
        ":1: `services.0`: expected `name` and `image` of a service, or \"!name\", found the text \"postgres\"",
    );
    says("services: [{image: a}]\n", ":1: `services.0`: a service needs its `name`");
    says(
        "services: [{name: a, image: b}, {name: a, image: b}]\n",
        ":1: `services.1.name`: there are two services \"a\"",
    );
    says("repos: [{path: /a}]\n", ":1: `repos.0`: a repository needs its `url`");
    says("on_create: [a]\n", ":1: `on_create`: expected a script, found a list");
    says("- a\n", ":1: not a valid Podfile: expected `key: value` lines, found a list");
}

#[test]
fn more_than_anybody_needs_is_refused() {
    let packages: String = (0..10_000).map(|n| format!("  - p{n}\n")).collect();
    says(
        &format!("base: x\npackages:\n{packages}"),
        ":2: `packages`: it has 10000 items, at most 1000 are allowed",
    );
    let env: String = (0..201).map(|n| format!("  V{n}: x\n")).collect();
    says(&format!("env:\n{env}"), ":1: `env`: it has 201 entries, at most 200 are allowed");
    let services: String = (0..65).map(|n| format!("  - {{name: s{n}, image: x}}\n")).collect();
    says(&format!("services:\n{services}"), ":1: `services`: it has 65 items, at most 64 are allowed");
    says(
        &format!("on_create: {}\n", "x".repeat(MAX_SCRIPT + 1)),
        ":1: `on_create`: it has 61441 bytes, at most 61440 are allowed",
    );
    says(
        &format!("shell: {}\n", "x".repeat(5000)),
        ":1: `shell`: it has 5000 bytes, at most 4096 are allowed",
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_layer_or_one_short_line(
        key in proptest::sample::select(FIELDS.iter().map(|field| field.name).collect::<Vec<_>>()),
        bang in "!?",
        value in "[ -~\\n]{0,40}|\\PC{0,20}|\\[[a-z!', ]{0,20}\\]|\\{[a-z: ,'!]{0,20}\\}",
    ) {
        if let Err(error) = parse(Path::new("podfile.yaml"), &format!("{key}{bang}: {value}\n")) {
            let text = error.to_string();
            prop_assert!(!text.contains(char::is_control), "{:?}", text);
            prop_assert!(text.chars().count() < 1000, "{}", text);
        }
    }
}
