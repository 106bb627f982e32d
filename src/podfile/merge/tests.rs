use std::path::Path;

use proptest::prelude::*;

use super::super::parse::parse;
use super::*;

fn layer(text: &str) -> Layer {
    parse(Path::new("p"), text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn both(base: &str, child: &str) -> Layer {
    merge(layer(base), layer(&format!("extends: x\n{child}")))
}

fn values(list: &List<At<String>>) -> Vec<&str> {
    list.items.iter().map(|item| item.value.as_str()).collect()
}

#[test]
fn packages_and_commands_are_added_once_and_taken_out() {
    let merged = both(
        "packages: [git, vim, curl]\nextra_commands: [a, b]\n",
        "packages: [jq, '!vim', git]\nextra_commands: ['!a', c, b]\n",
    );
    assert_eq!(values(&merged.packages), ["git", "curl", "jq"]);
    assert_eq!(values(&merged.extra_commands), ["b", "c"]);
    assert_eq!(values(&both("packages: [git]\n", "packages!: [jq]\n").packages), ["jq"]);
    assert_eq!(values(&both("packages: [nodejs@20]\n", "packages: ['!nodejs']\n").packages), ["nodejs@20"]);
}

#[test]
fn the_child_decides_where_it_says_something() {
    let base = "base: a\nname: n\nshell: /bin/zsh\nbranch: b\nmount: copy\nmode: persistent\nworkspace: /w\nports: {strategy: manual, expose: [1, 2]}\nresources: {cpus: 2, memory: 1g}\ndotfiles: {repo: r, install: i}\n";
    let merged = both(
        base,
        "shell: ''\nports: {expose: [2, 3]}\nresources: {cpus: 0, memory: 2g}\ndotfiles: {repo: q}\n",
    );
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    assert_eq!(text(&merged.base), "a");
    assert_eq!(merged.name, None, "a name belongs to its own file");
    assert_eq!(text(&merged.shell), "/bin/zsh", "no default of the child hides it");
    assert_eq!(
        (text(&merged.mount), text(&merged.mode), text(&merged.workspace)),
        ("copy".into(), "persistent".into(), "/w".into())
    );
    assert_eq!(text(&merged.strategy), "manual");
    assert_eq!(merged.expose.items.iter().map(|port| port.value).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((merged.cpus.map(|at| at.value), text(&merged.memory)), (Some(2.0), "2g".into()));
    assert_eq!(merged.dotfiles.and_then(|at| at.value.install), None, "dotfiles are replaced as a whole");
    assert_eq!(merged.extends, None);
}

#[test]
fn an_empty_value_takes_a_variable_away() {
    let merged = both("env: {A: a, B: b, C: ''}\n", "env: {A: '', B: c}\n");
    let env: Vec<_> =
        merged.env.entries.iter().map(|(name, at)| (name.as_str(), at.value.as_deref())).collect();
    assert_eq!(env, [("A", None), ("B", Some("c")), ("C", Some(""))]);
    let merged = both("env: {A: a, B: b}\n", "env!: {B: ''}\n");
    assert_eq!(merged.env.entries.len(), 1);
}

#[test]
fn services_are_replaced_whole_and_in_their_place() {
    let base =
        "services: [{name: db, image: a, ports: [1]}, {name: cache, image: b}, {name: mail, image: c}]\n";
    let merged = both(base, "services: ['!mail', {name: new, image: d}, {name: db, image: e}]\n");
    let shown: Vec<_> = merged
        .services
        .items
        .iter()
        .map(|s| (s.name.value.as_str(), s.image.as_ref().unwrap().value.as_str(), s.ports.len()))
        .collect();
    assert_eq!(shown, [("db", "e", 0), ("cache", "b", 0), ("new", "d", 0)]);
}

#[test]
fn repositories_are_one_however_their_address_is_written() {
    let base = "repos: [{url: github.com/a/b, path: /p, branch: x}, {url: https://h.example/c}]\n";
    let merged = both(base, "repos: [{url: https://github.com/a/b, branch: y}, '!h.example/c']\n");
    let [repo] = merged.repos.items.as_slice() else { panic!("{:?}", merged.repos.items) };
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    assert_eq!((text(&repo.path), text(&repo.branch)), (Some("/p".into()), Some("y".into())));
}

#[test]
fn hooks_are_joined_unless_one_discards_the_other() {
    let parts = |script: &Script| script.parts.iter().map(|part| part.value.clone()).collect::<Vec<_>>();
    let merged = both("on_create: a\non_start: a\n", "on_create: b\non_start!: b\n");
    assert_eq!(
        (parts(&merged.on_create), parts(&merged.on_start)),
        (vec!["a".into(), "b".into()], vec!["b".to_owned()])
    );
    assert_eq!(parts(&both("on_create: a\n", "on_create!:\n").on_create), Vec::<String>::new());
}

#[test]
fn what_a_removal_does_not_find_is_told() {
    let (base, child) = (layer("packages: [git]\n"), layer("extends: x\npackages: ['!git', '!gti']\n"));
    assert_eq!(idle_removals(&base, &child), ["p:2: \"!gti\" is not in what it extends"]);
}

/// Layers over few names, so that they meet.
fn any_layer() -> impl Strategy<Value = Layer> {
    let names = || proptest::collection::vec("!?[a-c]", 0..5);
    let service = prop_oneof!["'![a-c]'", "\\{name: [a-c], image: [x-z]\\}"];
    let repo = prop_oneof![
        "'!h\\.x/[a-c]'",
        "\\{url: h\\.x/[a-c], path: /[p-q]\\}",
        "\\{url: h\\.x/[a-c], branch: [x-y]\\}"
    ];
    let env = proptest::collection::btree_map("[A-C]", "[x-y]?", 0..3);
    let distinct = |items: Vec<String>| {
        let mut seen = std::collections::BTreeSet::new();
        items
            .into_iter()
            .filter(|item| item.starts_with('\'') || seen.insert(item.chars().nth(7)))
            .collect::<Vec<_>>()
    };
    (
        (names(), names(), any::<[bool; 7]>(), env),
        (proptest::collection::vec(service, 0..4).prop_map(distinct), proptest::collection::vec(repo, 0..4)),
        (proptest::option::of("[a-c]"), proptest::option::of("[a-c]"), proptest::collection::vec(1u16..4, 0..3)),
    )
        .prop_map(|((packages, commands, bang, env), (services, repos), (shell, hook, ports))| {
            let b = |at: usize| if bang[at] && bang[6] { "!" } else { "" };
            let list = |items: Vec<String>| items.iter().map(|item| format!("'{item}'")).collect::<Vec<_>>().join(", ");
            let env = env.iter().map(|(name, value)| format!("{name}: '{value}'")).collect::<Vec<_>>().join(", ");
            let mut text = format!(
                "extends: x\npackages{}: [{}]\nextra_commands{}: [{}]\nenv{}: {{{env}}}\nservices{}: [{}]\nrepos{}: [{}]\nports: {{expose: {ports:?}}}\n",
                b(0), list(packages), b(1), list(commands), b(2), b(3), services.join(", "), b(4), repos.join(", "),
            );
            text.extend(shell.map(|shell| format!("shell: {shell}\n")));
            text.extend(hook.map(|hook| format!("on_create{}: {hook}\n", b(5))));
            layer(&text)
        })
}

/// A layer that is complete: nothing lies below it.
fn concrete(mut layer: Layer) -> Layer {
    layer.packages.removed.clear();
    layer.extra_commands.removed.clear();
    layer.services.removed.clear();
    layer.repos.removed.clear();
    layer.env.entries.retain(|_, at| at.value.is_some());
    layer
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_associative(a in any_layer(), b in any_layer(), c in any_layer()) {
        let left = merge(merge(a.clone(), b.clone()), c.clone());
        let right = merge(a, merge(b, c));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn nothing_over_a_layer_is_that_layer(a in any_layer()) {
        // All but what belongs to its own file.
        let whole = Layer { name: None, extends: None, ..a.clone() };
        prop_assert_eq!(merge(a, Layer::default()), whole);
    }

    #[test]
    fn the_same_child_twice_changes_nothing_more(base in any_layer(), mut child in any_layer()) {
        // What is taken out and put back goes to the end each time, and hooks are told twice.
        child.packages.removed.clear();
        child.extra_commands.removed.clear();
        child.services.removed.clear();
        child.repos.removed.clear();
        child.on_create.parts.clear();
        let once = merge(concrete(base), child.clone());
        prop_assert_eq!(merge(once.clone(), child), once);
    }

    #[test]
    fn removing_never_adds(base in any_layer(), child in any_layer()) {
        let base = concrete(base);
        let mut only = Layer::default();
        only.packages.removed = child.packages.removed;
        only.services.removed = child.services.removed;
        only.repos.removed = child.repos.removed;
        only.env.entries = child.env.entries.into_iter().filter(|(_, at)| at.value.is_none()).collect();
        let merged = merge(base.clone(), only.clone());
        for item in &merged.packages.items {
            prop_assert!(base.packages.items.contains(item) && !only.packages.removed.contains_key(&item.value));
        }
        for item in &merged.services.items {
            prop_assert!(base.services.items.contains(item) && !only.services.removed.contains_key(&item.name.value));
        }
        prop_assert!(merged.repos.items.iter().all(|item| base.repos.items.contains(item)));
        for (name, at) in merged.env.entries.iter().filter(|(_, at)| at.value.is_some()) {
            prop_assert_eq!(Some(at), base.env.entries.get(name));
        }
    }
}
