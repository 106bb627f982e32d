//! Every wrong value names its place, its key, what was expected, and the nearest valid name.

use super::Place;

fn says(text: &str, expected: &str) {
    assert_eq!(
        Place::local().file(text).error(),
        format!("~/.podspawn/config.yaml{expected}"),
        "for {text:?}"
    );
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest_one() {
    says("sesion:\n  mode: persistent\n", ":1: unknown key `sesion`; did you mean `session`?");
    says(
        "# mine\ndefaults:\n  image: debian:12\n  memroy: 1g\n",
        ":4: unknown key `defaults.memroy`; did you mean `defaults.memory`?",
    );
    says(
        "session:\n  lifetime: 8h\n",
        ":2: unknown key `session.lifetime`; did you mean `session.max_lifetime`?",
    );
    says(
        "security: {no_new_privs: true}\n",
        ":1: unknown key `security.no_new_privs`; did you mean `security.no_new_privileges`?",
    );
    says("local:\n  imagee: x\n", ":2: unknown key `local.imagee`; did you mean `local.image`?");
    says("locale:\n  image: x\n", ":1: unknown key `locale`; did you mean `local`?");
    says("log:\n  zzz: 1\n", ":2: unknown key `log.zzz` (known here: file, audit_log)");
    says(
        "\"a\\e[2Jb\": 1\n",
        ":1: unknown key `a\\u{1b}[2Jb` (known here: profile, runtime, accounts, github_url, projects_file, auth, server, defaults, session, state, log, security, resources, packages, projects, local, servers)",
    );
}

#[test]
fn sections_of_local_commands_are_unknown_to_a_server() {
    assert_eq!(
        Place::server("local:\n  image: debian:12\n").error(),
        "~/.podspawn/config.yaml:1: unknown key `local`; this section belongs into ~/.podspawn/config.yaml"
    );
}

#[test]
fn a_value_of_the_wrong_type_says_what_was_expected_and_found() {
    says(
        "defaults:\n  image: 5\n",
        ":2: `defaults.image`: expected an image reference, such as `ubuntu:24.04`, found the number 5",
    );
    says(
        "defaults:\n  image: [a]\n",
        ":2: `defaults.image`: expected an image reference, such as `ubuntu:24.04`, found a list",
    );
    says(
        "defaults:\n  cpus: two\n",
        ":2: `defaults.cpus`: expected a number of CPUs, such as `2` or `0.5` (0 for no limit), found the text \"two\"",
    );
    says("defaults: 5\n", ":1: `defaults`: expected keys below it, found the number 5");
    says(
        "security:\n  no_new_privileges: yes\n",
        ":2: `security.no_new_privileges`: expected `true` or `false`, found the text \"yes\"",
    );
    says(
        "security:\n  cap_add: NET_RAW\n",
        ":2: `security.cap_add`: expected a list, each item the name of a capability, such as `NET_RAW`, found the text \"NET_RAW\"",
    );
    says(
        "security:\n  pids_limit: many\n",
        ":2: `security.pids_limit`: expected a whole number (0 for no limit), found the text \"many\"",
    );
    says(
        "security:\n  tmpfs: /tmp\n",
        ":2: `security.tmpfs`: expected paths with mount options, such as `/tmp: size=256m`, found the text \"/tmp\"",
    );
    says("local: 5\n", ":1: `local`: expected keys below it, found a number");
    says(
        "state:\n  db_path: state.db\n",
        ":2: `state.db_path`: expected an absolute path, found \"state.db\"",
    );
}

#[test]
fn durations_and_amounts_need_their_units() {
    says(
        "session:\n  grace_period: 60\n",
        ":2: `session.grace_period`: \"60\" lacks a unit: expected a duration with a unit, such as `60s` or `1h30m` (units: ns us ms s m h)",
    );
    says(
        "session:\n\n  max_lifetime: 1d\n",
        ":3: `session.max_lifetime`: \"1d\" has the unknown unit `d`: expected one of ns us ms s m h",
    );
    says(
        "defaults:\n  memory: -1\n",
        ":2: `defaults.memory`: \"-1\" is negative: expected an amount of memory, such as `2g` or `512m`",
    );
    says(
        "defaults:\n  memory: -2g\n",
        ":2: `defaults.memory`: \"-2g\" is negative: expected an amount of memory, such as `2g` or `512m`",
    );
    says(
        "defaults:\n  memory: 2GiB\n",
        ":2: `defaults.memory`: \"2GiB\" has the unknown suffix `GiB`: expected k, m, g or none (bytes)",
    );
    says(
        "defaults:\n  cpus: -1\n",
        ":2: `defaults.cpus`: -1 is negative: expected a number of CPUs, such as `2` or `0.5` (0 for no limit)",
    );
    says(
        "security:\n  pids_limit: -1\n",
        ":2: `security.pids_limit`: -1 is negative: expected a whole number (0 for no limit)",
    );
}

#[test]
fn an_unknown_word_is_answered_with_the_nearest_valid_one() {
    says(
        "session:\n  mode: persistant\n",
        ":2: `session.mode`: \"persistant\" is not a mode (grace-period, destroy-on-disconnect, persistent); did you mean `persistent`?",
    );
    says(
        "local:\n  mode: ephemeral\n",
        ":2: `local.mode`: \"ephemeral\" is not a mode (grace-period, destroy-on-disconnect, persistent)",
    );
    says(
        "profile: gvisor\n",
        ":1: `profile`: \"gvisor\" is not a profile (docker-host, rootless-podman, hardened-gvisor, local); did you mean `hardened-gvisor`?",
    );
    says(
        "runtime: dokcer\n",
        ":1: `runtime`: \"dokcer\" is not a runtime (docker, podman, gvisor); did you mean `docker`?",
    );
    says(
        "security:\n  cap_add:\n    - CHOWN\n    - SYS_ADMN\n",
        ":4: `security.cap_add.1`: \"SYS_ADMN\" is not a capability that Linux knows; did you mean `SYS_ADMIN`?",
    );
    says(
        "security:\n  seccomp_profile: stirct\n",
        ":2: `security.seccomp_profile`: \"stirct\" is not a seccomp profile (default, strict, /path/to/profile.json); did you mean `strict`?",
    );
    says(
        "security:\n  tmpfs:\n    /tmp: sise=1m\n",
        ":3: `security.tmpfs./tmp`: \"sise=1m\" is not a mount option of a tmpfs; did you mean `size`?",
    );
    says(
        "security:\n  runtime: ../runsc\n",
        ":2: `security.runtime`: expected the name of an OCI runtime, such as `runsc`, found \"../runsc\"",
    );
    says(
        "defaults:\n  image: Ubuntu\n",
        ":2: `defaults.image`: invalid image reference \"Ubuntu\": its name must be in lower case; did you mean `ubuntu`?",
    );
    says(
        "servers:\n  mappings:\n    gpu: gpu.example.com\n",
        ":3: `servers.mappings.gpu`: expected a name that ends in `.pod`, such as `gpu.pod`, found \"gpu\"",
    );
}

#[test]
fn variables_and_flags_are_named_as_they_are_written() {
    let error = |variable: &str, value: &str| Place::local().env(variable, value).error();
    assert_eq!(
        error("PODSPAWN_SESSION__MODE", "forever"),
        "environment variable PODSPAWN_SESSION__MODE: `session.mode`: \"forever\" is not a mode (grace-period, \
         destroy-on-disconnect, persistent)"
    );
    assert_eq!(
        error("PODSPAWN_SESSION__MOD", "x"),
        "environment variable PODSPAWN_SESSION__MOD: unknown key `session.mod`; did you mean `PODSPAWN_SESSION__MODE`?"
    );
    assert_eq!(
        error("PODSPAWN_SESION__MODE", "x"),
        "environment variable PODSPAWN_SESION__MODE: unknown key `sesion`; did you mean `PODSPAWN_SESSION__…`?"
    );
    assert_eq!(
        Place::local().flag("--runtime", "runtime", "lxc").error(),
        "flag --runtime: `runtime`: \"lxc\" is not a runtime (docker, podman, gvisor)"
    );
}

#[test]
fn a_wrong_value_is_told_even_if_a_higher_layer_replaces_it() {
    let place =
        Place::local().file("session:\n  mode: forever\n").env("PODSPAWN_SESSION__MODE", "persistent");
    assert!(place.error().starts_with("~/.podspawn/config.yaml:2: `session.mode`"), "{}", place.error());
}
