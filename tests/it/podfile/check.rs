//! `podspawn podfile check` on files that are right, or nearly.

use serde_json::{Value, json};

use super::{check, write};
use crate::harness::Env;

/// A Node.js API with its database, with every field that its kind of project has.
const API: &str = "base: ubuntu:24.04

packages:
  - nodejs@22
  - git
  - curl
  - ripgrep

shell: /bin/bash

env:
  DATABASE_URL: \"postgres://postgres:devpass@postgres:5432/testdb\"
  NODE_ENV: development

services:
  - name: postgres
    image: postgres:16
    ports: [5432]
    env:
      POSTGRES_PASSWORD: devpass
      POSTGRES_DB: testdb

on_create: |
  cd /workspace/api && npm install

on_start: |
  echo \"API dev environment ready\"
  echo \"Run: cd /workspace/api && npm test\"
";

/// Hooks, dotfiles, repositories, commands and an environment with what podspawn fills in.
const PERSONAL: &str = "base: debian:12
env:
  EDITOR: vim                                    # static
  WORKSPACE: /home/${PODSPAWN_USER}/projects      # filled in
dotfiles:
  repo: https://github.com/youruser/dotfiles.git
  install: |
    ln -sf ~/dotfiles/.bashrc ~/.bashrc
    ln -sf ~/dotfiles/.vimrc ~/.vimrc
repos:
  - url: https://github.com/yourorg/backend.git
    path: /workspace/backend
    branch: main
  - url: https://github.com/yourorg/frontend.git
    path: /workspace/frontend
extra_commands:
  - curl -fsSL https://deb.example.com/setup.sh | bash -
  - apt-get install -y libssl-dev libffi-dev
  - ldconfig
on_create: |
  cd /workspace/backend && pip install -r requirements.txt
";

fn json(env: &Env, files: &[(&str, &str)]) -> Value {
    write(env, files);
    let run = env.podspawn(["podfile", "check", "repo", "--output", "json"]).run().ok();
    serde_json::from_str(&run.out()).expect("JSON")
}

#[test]
fn a_project_with_a_database_is_shown_with_the_line_of_each_value() {
    let env = Env::without_engine();
    let run = check(&env, &[("podfile.yaml", API)]).ok();
    assert_eq!(run.stderr, "");
    let file = env.home().join("repo/podfile.yaml").display().to_string();
    let out = run.out();
    let row = |key: &str| {
        let line = out.lines().find(|line| line.starts_with(&format!("{key} "))).expect(key);
        line.split("  ")
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(row("base"), ["base", "ubuntu:24.04", &format!("{file}:1")]);
    assert_eq!(row("packages"), ["packages", "nodejs@22", &format!("{file}:4")]);
    assert_eq!(row("shell"), ["shell", "/bin/bash", &format!("{file}:9")]);
    assert_eq!(row("env.NODE_ENV"), ["env.NODE_ENV", "development", &format!("{file}:13")]);
    assert_eq!(row("services.postgres"), ["services.postgres", "postgres:16", &format!("{file}:16")]);
    assert_eq!(row("on_create"), ["on_create", "cd /workspace/api && npm install", &format!("{file}:23")]);
    assert_eq!(row("mount"), ["mount", "bind", "default"]);
}

#[test]
fn programs_get_the_merged_values() {
    let env = Env::without_engine();
    let value = json(&env, &[(".podspawn/podfile.yaml", PERSONAL)]);
    let podfile = &value["podfile"];
    assert_eq!(podfile["base"], json!({ "image": "debian:12" }));
    assert_eq!(podfile["dotfiles"]["repo"], "https://github.com/youruser/dotfiles.git");
    assert_eq!(
        podfile["repos"][0],
        json!({ "url": "https://github.com/yourorg/backend.git", "path": "/workspace/backend", "branch": "main" })
    );
    assert_eq!(podfile["repos"][1]["branch"], Value::Null, "the repository's own branch, not a guess");
    assert_eq!(podfile["extra_commands"].as_array().map(Vec::len), Some(3));
    assert_eq!(podfile["env"]["WORKSPACE"], "/home/${PODSPAWN_USER}/projects");
    assert_eq!(podfile["mode"], Value::Null, "the configured mode, not a default of the file");
    let file = env.home().join("repo/.podspawn/podfile.yaml").display().to_string();
    assert_eq!(
        value["sources"]["env.EDITOR"],
        json!({ "kind": "file", "file": file, "line": 3, "key": "env.EDITOR" })
    );
    assert_eq!(value["warnings"], json!([]));
}

#[test]
fn a_child_changes_what_it_extends() {
    let env = Env::without_engine();
    let base = "base: debian:12\nshell: /bin/zsh\npackages: [git, vim]\nenv: {A: a, B: b}\nservices: [{name: db, image: postgres:16}, {name: cache, image: redis:7}]\non_create: one\n";
    let child = "extends: ../shared/base.yaml\npackages: [jq, '!vim']\nenv: {A: ''}\nservices: ['!cache']\non_create: two\n";
    let value = json(&env, &[("shared/base.yaml", base), (".podspawn/podfile.yaml", child)]);
    let podfile = &value["podfile"];
    assert_eq!(podfile["packages"], json!(["git", "jq"]));
    assert_eq!(podfile["shell"], "/bin/zsh");
    assert_eq!(podfile["env"], json!({ "B": "b" }));
    assert_eq!(podfile["services"].as_array().map(Vec::len), Some(1));
    assert_eq!(podfile["hooks"]["create"][0]["command"], json!({ "script": "one\ntwo" }));
    assert_eq!(
        value["sources"]["shell"]["file"],
        env.home().join("repo/shared/base.yaml").display().to_string()
    );
}

#[test]
fn what_is_nearly_right_is_answered_with_what_is_meant() {
    let env = Env::without_engine();
    for (text, line, told) in [
        ("base: x\npakages: [git]\n", ":2", "unknown key `pakages`; did you mean `packages`?"),
        (
            "base: x\nmode: persistant\n",
            ":2",
            "`mode`: \"persistant\" is not a mode (grace-period, destroy-on-disconnect, persistent); did you mean `persistent`?",
        ),
        (
            "packages: [git]\n",
            "",
            "`base`: a base image is required: write `base: ubuntu:24.04`, or `extends` something that has one",
        ),
        (
            "extends: ubunut-dev\n",
            ":1",
            "`extends: ubunut-dev`: there is no base or template of that name; did you mean `ubuntu-dev`?",
        ),
        ("base: x\nservices: [{name: db}]\n", ":2", "`services.0`: the service \"db\" has no `image`"),
        (
            "base: x\nworkspace: src\n",
            ":2",
            "`workspace`: \"src\" must be an absolute path, such as `/workspace/api`",
        ),
    ] {
        let run = check(&env, &[("podfile.yaml", text)]).status(1);
        let file = env.home().join("repo/podfile.yaml");
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert_eq!(lines[0], format!("Error: {}{line}: {told}", file.display()));
        assert!(lines.len() == 2 && lines[1].starts_with("hint: "), "{}", run.stderr);
        assert_eq!(run.out(), "");
    }
}

#[test]
fn what_no_image_can_be_built_of_is_refused_with_its_line() {
    let env = Env::without_engine();
    let run =
        check(&env, &[("podfile.yaml", "base: x\npackages: [git, nodejs@20,\n  nodejs@22]\n")]).status(1);
    let expected = "podfile.yaml:3: `packages.2`: `nodejs@20` and `nodejs@22` cannot both be installed: list one of them\n";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    let long = format!("base: x\nextra_commands:\n  - echo {}\n", "'\"'".repeat(20_000));
    let run = check(&env, &[("podfile.yaml", &long)]).status(1);
    assert!(run.stderr.contains("is too long"), "{}", run.stderr);
}

#[test]
fn a_named_file_belongs_to_the_project_around_it() {
    let env = Env::without_engine();
    let app = env.home().join("app");
    std::fs::create_dir_all(app.join("ci")).expect("mkdir");
    std::fs::write(app.join("base.yaml"), "base: x\n").expect("write");
    std::fs::write(app.join("ci/dev.yaml"), "extends: ../base.yaml\n").expect("write");
    std::fs::write(app.join("ci/podfile.yaml"), "extends: ../base.yaml\n").expect("write");
    let check = |file: &str| env.podspawn(["podfile", "check", file]).at(&app).run();
    assert!(check("ci/dev.yaml").ok().out().contains("base.yaml:1"));
    let run = check("ci/podfile.yaml").status(1);
    assert!(run.stderr.contains("leads out of the repository"), "{}", run.stderr);
}

#[test]
fn a_volume_that_is_none_is_skipped_with_a_warning() {
    let env = Env::without_engine();
    let run =
        check(&env, &[("podfile.yaml", "base: x\nservices: [{name: db, image: x, volumes: [data]}]\n")]).ok();
    assert!(
        run.stderr.starts_with("warning: ") && run.stderr.contains("the volume \"data\" is skipped"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_directory_without_a_podfile_says_where_it_was_looked_for() {
    let env = Env::without_engine();
    std::fs::create_dir(env.home().join("repo")).expect("mkdir");
    let run = env.podspawn(["podfile", "check", "repo"]).run().status(1);
    assert_eq!(
        run.stderr,
        format!(
            "Error: there is no Podfile in {}\nhint: it is looked for as .podspawn/podfile.yaml, podfile.yaml, \
             .devcontainer/devcontainer.json, .devcontainer.json\n",
            env.home().join("repo").display()
        )
    );
    // The working directory is looked at where no path is given.
    assert!(env.podspawn(["podfile", "check"]).run().status(1).stderr.contains("there is no Podfile in"));
    let named = env.podspawn(["podfile", "check", "repo/none.yaml"]).run().status(1);
    assert!(named.stderr.contains("none.yaml`: there is no such file"), "{}", named.stderr);
}
