//! A resolved spec as rows of key, value and origin: what `podspawn spec` prints.

use std::fmt::Write;
use std::time::Duration;

use super::resolve::Resolved;
use super::session_spec::{
    Account, Environment, HostMount, Kind, Limits, Resources, Security, SessionSpec, Setup,
};
use crate::config::{ByteSize, Origin, TimeSpan};

/// One value of a spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The value for people.
    pub text: String,
    /// The value for programs: durations in seconds, memory in bytes, null for no limit.
    pub value: serde_json::Value,
    /// Where it came from.
    pub origin: Origin,
}

/// Every value, in the order in which people look for them.
pub fn rows(resolved: &Resolved) -> Vec<Row> {
    let Resolved { spec, engine, origins } = resolved;
    // Taken apart without `..`: a new field that nobody shows does not compile.
    let SessionSpec {
        key,
        kind,
        hostname,
        image,
        account: Account { name, uid, gid, home, shell },
        resources: Resources { cpus, memory, pids_limit },
        security: Security { cap_drop, cap_add, no_new_privileges, readonly_rootfs, tmpfs, runtime, seccomp },
        mode,
        grace_period,
        max_lifetime,
        env,
        mounts,
        environment: Environment { recipe, volumes, copy, start_dir, ports, services, setup },
        persistent_home,
        limits: Limits { max_per_user, max_containers },
        guarded_network,
    } = spec;
    let mut rows = Rows { rows: Vec::new(), origins };
    rows.add("owner", key.user.as_str());
    rows.add("name", key.project());
    rows.add("container", key.container_name());
    rows.with_text("kind", kind_word(*kind), kind);
    rows.with_text("engine", engine.map_or("the first that answers", |engine| engine.as_str()), engine);
    rows.add("image", image.as_str());
    rows.add("hostname", hostname);
    rows.add("account.name", name);
    rows.add("account.uid", uid);
    rows.add("account.gid", gid);
    rows.add("account.home", home);
    rows.add("account.shell", shell);
    rows.with_text("mode", mode.as_str(), mode);
    rows.with_text("grace_period", span(*grace_period), grace_period.as_secs_f64());
    rows.with_text("max_lifetime", span(*max_lifetime), max_lifetime.as_secs_f64());
    rows.with_text("resources.cpus", limit(*cpus), cpus);
    rows.with_text("resources.memory", limit(memory.map(ByteSize::from_bytes)), memory);
    rows.with_text("resources.pids_limit", limit(*pids_limit), pids_limit);
    rows.with_text("limits.max_per_user", limit(*max_per_user), max_per_user);
    rows.with_text("limits.max_containers", limit(*max_containers), max_containers);
    rows.with_text("security.cap_drop", list(cap_drop), cap_drop);
    rows.with_text("security.cap_add", list(cap_add), cap_add);
    rows.add("security.no_new_privileges", no_new_privileges);
    rows.add("security.readonly_rootfs", readonly_rootfs);
    rows.with_text(
        "security.tmpfs",
        list(tmpfs.iter().map(|(path, options)| format!("{path}:{options}"))),
        tmpfs,
    );
    rows.with_text("security.runtime", runtime.as_deref().unwrap_or("the engine's default"), runtime);
    rows.with_text("security.seccomp_profile", seccomp.to_string(), seccomp);
    rows.add("guarded_network", guarded_network);
    for (name, value) in env {
        rows.add(&format!("env.{name}"), value);
    }
    rows.with_text("mounts", list(mounts.iter().map(mount)), mounts);
    if let Some(recipe) = recipe {
        rows.with_text("recipe", list(&recipe.packages), recipe);
        rows.with_text("start_dir", start_dir.as_deref().unwrap_or("the home"), start_dir);
        rows.with_text("volumes", list(volumes.iter().map(|v| format!("{}:{}", v.name, v.target))), volumes);
        let copied = copy.as_ref().map(|copy| format!("{}:{}", copy.source.display(), copy.target));
        rows.with_text("copy", copied.as_deref().unwrap_or("none"), copy);
        rows.with_text("ports", list(ports.iter().map(|p| format!("{}:{}", p.host, p.container))), ports);
        rows.with_text(
            "services",
            list(services.iter().map(|s| format!("{} ({})", s.name, s.image))),
            services,
        );
    }
    let Setup { dotfiles, repos, hooks } = setup;
    if let Some(dotfiles) = dotfiles {
        rows.with_text("dotfiles", dotfiles.repo.as_str(), dotfiles);
    }
    if recipe.is_some() {
        rows.with_text("repos", list(repos.iter().map(|repo| repo.url.as_str())), repos);
        let all = hooks.create.iter().chain(&hooks.boot).chain(&hooks.start);
        rows.with_text("hooks", list(all.map(|hook| hook.name.as_str())), hooks);
    }
    let home = persistent_home.as_ref().map(|path| path.display().to_string());
    rows.with_text("persistent_home", home.as_deref().unwrap_or("none"), &home);
    rows.rows
}

struct Rows<'a> {
    rows: Vec<Row>,
    origins: &'a std::collections::BTreeMap<String, Origin>,
}

impl Rows<'_> {
    fn add(&mut self, key: &str, value: impl serde::Serialize + ToString) {
        self.with_text(key, value.to_string(), value);
    }

    fn with_text(&mut self, key: &str, text: impl Into<String>, value: impl serde::Serialize) {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        // Numbers, texts, lists and maps with text keys: none of them can fail.
        let value = serde_json::to_value(value).unwrap_or(serde_json::Value::Null);
        self.rows.push(Row { key: key.to_owned(), text: text.into(), value, origin });
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Machine => "machine",
        Kind::Throwaway => "throwaway",
        Kind::Session => "session",
    }
}

fn limit(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "no limit".to_owned(), |value| value.to_string())
}

fn list(items: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::new();
    for item in items {
        let separator = if text.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{}", item.as_ref());
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

fn mount(mount: &HostMount) -> String {
    let read_only = if mount.read_only { ":ro" } else { "" };
    format!("{}:{}{read_only}", mount.source.display(), mount.target)
}

fn span(span: Duration) -> String {
    TimeSpan::from(span).to_string()
}
