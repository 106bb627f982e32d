//! What a child makes of its base. Pure; merging is associative, so that a chain of layers has one meaning.

use super::layer::{At, Env, Layer, List, RawRepo, RawService, Script};

/// An item of a list that has an identity.
pub(super) trait Item: Sized {
    /// What it is compared by.
    fn key(&self) -> String;
    /// What stands where `base` stood.
    fn over(self, base: Self) -> Self;
}

impl Item for At<String> {
    fn key(&self) -> String {
        self.value.clone()
    }

    fn over(self, base: Self) -> Self {
        base
    }
}

impl Item for At<u16> {
    fn key(&self) -> String {
        self.value.to_string()
    }

    fn over(self, base: Self) -> Self {
        base
    }
}

impl Item for RawService {
    fn key(&self) -> String {
        self.name.value.clone()
    }

    fn over(self, _base: Self) -> Self {
        self
    }
}

impl Item for RawRepo {
    fn key(&self) -> String {
        self.key.clone()
    }

    fn over(self, base: Self) -> Self {
        Self { path: self.path.or(base.path), branch: self.branch.or(base.branch), ..self }
    }
}

impl<T: Item> List<T> {
    /// Adds an item, or lays it over the one with the same key.
    pub(super) fn put(&mut self, item: T) {
        let key = item.key();
        match self.items.iter().position(|other| other.key() == key) {
            None => self.items.push(item),
            Some(at) => {
                let base = self.items.remove(at);
                self.items.insert(at, item.over(base));
            }
        }
    }

    fn over(self, base: Self) -> Self {
        let place = self.place.or(base.place.clone());
        if self.reset {
            return Self { place, ..self };
        }
        let mut merged = base;
        merged.items.retain(|item| !self.removed.contains_key(&item.key()));
        if !merged.reset {
            merged.removed.extend(self.removed);
        }
        for item in self.items {
            merged.put(item);
        }
        Self { place, ..merged }
    }
}

impl Env {
    fn over(self, base: Self) -> Self {
        if self.reset {
            return self;
        }
        let mut merged = base;
        for (name, entry) in self.entries {
            if entry.value.is_none() && merged.reset {
                merged.entries.remove(&name);
            } else {
                merged.entries.insert(name, entry);
            }
        }
        merged
    }
}

impl Script {
    fn over(self, base: Self) -> Self {
        if self.reset {
            return self;
        }
        let mut merged = base;
        merged.parts.extend(self.parts);
        merged
    }
}

/// The child's layer over its base's, which is complete or itself a child's.
pub(super) fn merge(base: Layer, child: Layer) -> Layer {
    let Layer {
        base: image,
        extends: _,
        name,
        branch,
        packages,
        shell,
        env,
        dotfiles,
        repos,
        services,
        expose,
        strategy,
        cpus,
        memory,
        on_create,
        on_start,
        extra_commands,
        mount,
        mode,
        workspace,
    } = child;
    Layer {
        base: image.or(base.base),
        extends: None,
        // A name belongs to its own file.
        name,
        branch: branch.or(base.branch),
        packages: packages.over(base.packages),
        shell: shell.or(base.shell),
        env: env.over(base.env),
        dotfiles: dotfiles.or(base.dotfiles),
        repos: repos.over(base.repos),
        services: services.over(base.services),
        expose: expose.over(base.expose),
        strategy: strategy.or(base.strategy),
        cpus: cpus.or(base.cpus),
        memory: memory.or(base.memory),
        on_create: on_create.over(base.on_create),
        on_start: on_start.over(base.on_start),
        extra_commands: extra_commands.over(base.extra_commands),
        mount: mount.or(base.mount),
        mode: mode.or(base.mode),
        workspace: workspace.or(base.workspace),
    }
}

/// What `child` removes although its base, complete, does not have it: one line for each.
pub(super) fn idle_removals(base: &Layer, child: &Layer) -> Vec<String> {
    fn of<T: Item>(base: &List<T>, child: &List<T>) -> Vec<String> {
        let idle = child.removed.iter().filter(|(key, _)| !base.items.iter().any(|item| item.key() == **key));
        idle.map(|(key, place)| {
            format!(
                "{}: {} is not in what it extends",
                place.shown(),
                crate::names::quoted(&format!("!{key}"))
            )
        })
        .collect()
    }
    [
        of(&base.packages, &child.packages),
        of(&base.extra_commands, &child.extra_commands),
        of(&base.repos, &child.repos),
        of(&base.services, &child.services),
    ]
    .concat()
}

#[cfg(test)]
mod tests;
