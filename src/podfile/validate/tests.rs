use std::path::Path;
use std::sync::Arc;

use super::super::parse::parse;
use super::*;

fn check(text: &str) -> Result<Valid, PodfileError> {
    let path = Path::new("p.yaml");
    let top = Place { file: Arc::new(path.to_owned()), line: None, key: String::new() };
    validate(parse(path, text)?, &top)
}

#[track_caller]
fn says(text: &str, expected: &str) {
    match check(text) {
        Ok(valid) => panic!("accepted: {text:?}: {:?}", valid.podfile),
        Err(error) => assert_eq!(error.to_string(), format!("p.yaml{expected}"), "for {text:?}"),
    }
}

#[test]
fn a_whole_podfile_becomes_what_it_says() {
    let text = "base: ubuntu:24.04\nname: api\nbranch: dev\npackages: [nodejs@22, git, git]\nshell: /bin/zsh\nenv: {A: b, P: '/home/${PODSPAWN_USER}'}\n\
        dotfiles: {repo: github.com/a/dotfiles, install: ./install.sh}\nrepos: [{url: github.com/a/b, path: /srv/b/}]\n\
        services:\n  - name: db\n    image: postgres:16\n    ports: [5432, 5432]\n    env: {PORT: 5432}\n    volumes: [data:/var/lib/postgresql/data, broken]\n\
        ports: {expose: [3000], strategy: expose}\nresources: {cpus: 0.5, memory: 1.5g}\non_create: make\nextra_commands: [\"a\\nb\"]\nmount: copy\nmode: persistent\nworkspace: /work\n";
    let Valid { podfile, origins, warnings } = check(text).unwrap();
    assert_eq!(podfile.packages, ["nodejs@22", "git"]);
    assert_eq!(podfile.repos[0].url.as_str(), "https://github.com/a/b");
    assert_eq!(podfile.repos[0].path.as_deref(), Some("/srv/b"));
    assert_eq!(podfile.services[0].ports, [5432]);
    assert_eq!(podfile.services[0].env["PORT"], "5432");
    assert_eq!(podfile.services[0].volumes.len(), 1);
    assert_eq!(podfile.resources, Resources { cpus: Some(0.5), memory: Some(3 << 29) });
    assert_eq!(
        (podfile.mount, podfile.mode, podfile.ports.strategy),
        (MountWay::Copy, Some(Mode::Persistent), PortStrategy::Expose)
    );
    assert_eq!(
        podfile.hooks.create,
        [Hook { name: "on_create".into(), command: HookCommand::Script("make".into()), dir: None }]
    );
    assert_eq!(podfile.hooks.start, []);
    assert_eq!(
        warnings,
        ["p.yaml:14: `services.0.volumes.1`: the volume \"broken\" is skipped: expected `name:/path`"]
    );
    for (key, line) in [
        ("base", 1),
        ("env.P", 6),
        ("services", 9),
        ("services.db", 10),
        ("packages.git", 4),
        ("ports", 15),
        ("resources.cpus", 16),
        ("hooks", 17),
        ("workspace", 21),
    ] {
        assert_eq!(origins[key].to_string(), format!("p.yaml:{line}"), "{key}");
    }
}

#[test]
fn without_a_base_there_is_nothing_to_build_on() {
    says(
        "packages: [git]\n",
        ": `base`: a base image is required: write `base: ubuntu:24.04`, or `extends` something that has one",
    );
}

#[test]
fn every_refused_value_is_named_with_its_line_and_what_is_allowed() {
    let on = |line: &str, expected: &str| says(&format!("base: x\n{line}\n"), &format!(":2: {expected}"));
    says(
        "base: Ubuntu\n",
        ":1: `base`: invalid image reference \"Ubuntu\": its name must be in lower case; did you mean `ubuntu`?",
    );
    says(
        "base: \"ubuntu; rm -rf /\"\n",
        ":1: `base`: invalid image reference \"ubuntu; rm -rf /\": it contains white space",
    );
    says(
        "base: $(id)\n",
        ":1: `base`: invalid image reference \"$(id)\": '$' is not allowed in its name (use a-z, 0-9, `.`, `_` and `-`)",
    );
    on("shell: zsh", "`shell`: \"zsh\" must be an absolute path, such as `/bin/bash`");
    on("shell: /bin/sh -c id", "`shell`: \"/bin/sh -c id\" is no plain path of a shell, such as `/bin/bash`");
    on("workspace: api", "`workspace`: \"api\" must be an absolute path, such as `/workspace/api`");
    on("workspace: /proc/1/cwd", "`workspace`: \"/proc/1/cwd\" lies below /proc, which a Podfile cannot use");
    on(
        "resources: {memory: lots}",
        "`resources.memory`: expected an amount of memory, such as `2g` or `512m`, found \"lots\"",
    );
    on(
        "resources: {cpus: -1}",
        "`resources.cpus`: -1 is negative: expected a number of CPUs, such as `2` or `0.5`",
    );
    on("mount: bnid", "`mount`: \"bnid\" is not a way of mounting (bind, copy, none); did you mean `bind`?");
    on(
        "mode: ephemeral",
        "`mode`: \"ephemeral\" is not a mode (grace-period, destroy-on-disconnect, persistent)",
    );
    on(
        "ports: {strategy: all}",
        "`ports.strategy`: \"all\" is not a strategy for ports (auto, manual, expose)",
    );
    on(
        "name: a b",
        "`name`: \"a b\" cannot be the beginning of names: use at most 64 letters, digits, `.`, `_` and `-`, a letter or digit first",
    );
    on(
        "branch: --upload-pack=x",
        "`branch`: invalid branch name \"--upload-pack=x\": it must not begin with `-`: it would be read as an option",
    );
    on("packages: [git, '-y']", "`packages.1`: \"-y\" is not the name of a package");
    on("packages: ['git;id']", "`packages.0`: \"git;id\" is not the name of a package");
    on(
        "env: {\"A=B\": c}",
        "`env.A=B`: \"A=B\" is not the name of a variable: use letters, digits and `_`, no digit first",
    );
    on(
        "env: {A: \"b\\nRUN id\"}",
        "`env.A`: the value of a variable must be one line: set longer texts in `on_create`",
    );
    on("env: {A: \"b\\0c\"}", "`env.A`: the value contains the control character '\\0'");
    on("dotfiles: {install: x}", "`dotfiles`: it needs `repo`, the address of a repository");
    on(
        "dotfiles: {repo: /etc}",
        "`dotfiles.repo`: invalid repository address \"/etc\": paths of this host are not allowed: use https://, ssh:// or git://",
    );
    on(
        "repos: [{url: github.com/a/b, path: b}]",
        "`repos.0.path`: \"b\" must be an absolute path, such as `/workspace/api`",
    );
    on("services: [{name: db}]", "`services.0`: the service \"db\" has no `image`");
    on(
        "services: [{name: 'db;id', image: x}]",
        "`services.0.name`: invalid service name \"db;id\": ';' is not allowed (use a-z, 0-9, `_` and `-`)",
    );
    on(
        "services: [{name: localhost, image: x}]",
        "`services.0.name`: no service can be called `localhost`: programs would look for it in their own container",
    );
    on(
        "services: [{name: db, image: x, volumes: ['/etc:/host']}]",
        "`services.0.volumes.0`: \"/etc:/host\" names a path of the host, which a Podfile cannot use: name a volume, such as `data:/host`",
    );
    on(
        "services: [{name: db, image: x, volumes: ['a:/d', 'b:/d']}]",
        "`services.0.volumes.1`: two volumes have the path \"/d\"",
    );
    on(
        "services: [{name: db, image: x, env: {'A B': c}}]",
        "`services.0.env.A B`: \"A B\" is not the name of a variable: use letters, digits and `_`, no digit first",
    );
    on("on_create: \"a\\eb\"", "`on_create`: it contains the control character '\\u{1b}'");
    on(
        "on_start: \"a\\r\\nb\"",
        "`on_start`: it contains carriage returns: save the file with Unix line ends",
    );
    on("extra_commands: [' ']", "`extra_commands.0`: the command is empty");
}

#[test]
fn a_variable_that_podspawn_does_not_fill_in_is_told() {
    let valid = check("base: x\nenv: {A: '${PODSPAWN_PROJEKT}'}\n").unwrap();
    assert_eq!(
        valid.warnings,
        [
            "p.yaml:2: `env.A`: \"${PODSPAWN_PROJEKT}\" stays as it is: only ${PODSPAWN_USER} and ${PODSPAWN_PROJECT} are filled in"
        ]
    );
}
