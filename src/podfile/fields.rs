//! Every field of a Podfile: its name, what stands there, and its meaning. Parser, schema and reference follow this table.

use crate::config::nearest;

/// A field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// What stands there.
    pub(super) kind: Kind,
    /// What it means, in one line.
    pub(super) about: &'static str,
}

/// What stands behind a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// An amount of memory.
    Memory,
    /// A number of CPUs.
    Cpus,
    /// A list of ports.
    Ports,
    /// A list of texts.
    Texts,
    /// Names with texts.
    Env,
    /// Further fields.
    Fields(&'static [Field]),
    /// A list of further fields, or of texts that remove an item.
    Items(&'static [Field]),
}

const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, about }
}

pub(super) const MOUNTS: [&str; 3] = ["bind", "copy", "none"];
pub(super) const STRATEGIES: [&str; 3] = ["auto", "manual", "expose"];
pub(super) const MODES: [&str; 3] = ["grace-period", "destroy-on-disconnect", "persistent"];

/// Fields that may carry a `!`, which discards what the base says.
pub(super) const BANGS: [&str; 7] =
    ["packages", "env", "services", "repos", "extra_commands", "on_create", "on_start"];

pub(super) const FIELDS: &[Field] = &[
    field("base", Kind::Text, "Image that the environment is built on, such as ubuntu:24.04."),
    field(
        "extends",
        Kind::Text,
        "Podfile to start from: a file, the name of a base, or github.com/<org>/<repo>/<path>.",
    ),
    field("name", Kind::Text, "Beginning of the names of `dev` sessions. Default: the directory's name."),
    field("branch", Kind::Text, "Branch of machines of the project. Default: the repository's own."),
    field("packages", Kind::Texts, "Packages, name or name@version; \"!name\" takes one out of the base."),
    field("shell", Kind::Text, "Absolute path of the login shell."),
    field(
        "env",
        Kind::Env,
        "Environment. ${PODSPAWN_USER} and ${PODSPAWN_PROJECT} are filled in; an empty text removes a variable of the base.",
    ),
    field("dotfiles", Kind::Fields(DOTFILES), "The user's configuration files, cloned to ~/dotfiles."),
    field(
        "repos",
        Kind::Items(REPOS),
        "Repositories that are cloned inside; \"!url\" takes one out of the base.",
    ),
    field(
        "services",
        Kind::Items(SERVICES),
        "Containers beside the session's own; \"!name\" takes one out of the base.",
    ),
    field("ports", Kind::Fields(PORTS), "Ports of the session."),
    field("resources", Kind::Fields(RESOURCES), "Limits; the administrator's ceilings stand above them."),
    field("on_create", Kind::Text, "Script that runs once in each new container, as the session's user."),
    field("on_start", Kind::Text, "Script that runs for each connection, as the session's user."),
    field(
        "extra_commands",
        Kind::Texts,
        "Commands of the image's build, run by root; \"!command\" takes one out of the base.",
    ),
    field("mount", Kind::Words(&MOUNTS), "How `dev` brings the directory in. Default: bind."),
    field(
        "mode",
        Kind::Words(&MODES),
        "What happens when the last connection ends. Default: the configured mode.",
    ),
    field("workspace", Kind::Text, "Absolute path of the checkout inside. Default: /workspace/<name>."),
];

pub(super) const DOTFILES: &[Field] = &[
    field("repo", Kind::Text, "Address of the repository."),
    field("install", Kind::Text, "Command that is run there."),
];

pub(super) const REPOS: &[Field] = &[
    field("url", Kind::Text, "Address of the repository."),
    field("path", Kind::Text, "Absolute path inside. Default: git's choice below the home."),
    field("branch", Kind::Text, "Branch. Default: the repository's own."),
];

pub(super) const SERVICES: &[Field] = &[
    field("name", Kind::Text, "Its name, also its host name on the session's network."),
    field("image", Kind::Text, "Its image."),
    field("ports", Kind::Ports, "TCP ports that it listens on: waited for, never published."),
    field("env", Kind::Env, "Its environment."),
    field("volumes", Kind::Texts, "Named volumes, as name:/path."),
];

pub(super) const PORTS: &[Field] = &[
    field("expose", Kind::Ports, "TCP ports inside."),
    field("strategy", Kind::Words(&STRATEGIES), "What `dev` does with them. Default: auto."),
];

pub(super) const RESOURCES: &[Field] = &[
    field("cpus", Kind::Cpus, "CPUs, such as 2 or 0.5."),
    field("memory", Kind::Memory, "Memory, such as 4g or 512m."),
];

/// What to say of a name that is not in `fields`: the nearest one, or all. `above` is what stands before it, with its dot.
pub(super) fn guess(name: &str, above: &str, fields: &[Field]) -> String {
    let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
    match nearest(name.trim_end_matches('!'), &known) {
        Some(near) => format!("; did you mean `{above}{near}`?"),
        None => format!(" (known here: {})", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn the_modes_are_those_of_the_configuration() {
        assert!(Mode::all().map(Mode::as_str).eq(MODES));
    }

    #[test]
    fn every_field_with_a_bang_exists() {
        assert!(BANGS.iter().all(|name| FIELDS.iter().any(|field| field.name == *name)));
    }
}
