//! The merged layer → one [`Podfile`] in which every value is valid, with the place that each came from.

use std::collections::{BTreeMap, BTreeSet};

use super::error::PodfileError;
use super::fields::{MODES, MOUNTS, STRATEGIES};
use super::layer::{At, Layer, List, Place, RawDotfiles, RawRepo, RawService, Script};
use super::model::{
    Base, Dotfiles, Hook, HookCommand, Hooks, MountWay, Podfile, PortStrategy, Ports, Repo, Resources,
    Service, VolumeUse,
};
use super::packages::{self, Package};
use super::parse;
use super::values::{self, Volume};
use crate::config::{ByteSize, Mode, Origin};
use crate::names::{ServiceName, quoted};

/// A Podfile, where its values came from, and what its writer should know.
#[derive(Debug)]
pub(super) struct Valid {
    pub(super) podfile: Podfile,
    pub(super) origins: BTreeMap<String, Origin>,
    pub(super) warnings: Vec<String>,
}

/// Checks what came of merging. `top` is the place of the whole file.
pub(super) fn validate(layer: Layer, top: &Place) -> Result<Valid, PodfileError> {
    let mut checking = Checking { origins: BTreeMap::new(), warnings: Vec::new() };
    let podfile = checking.podfile(layer, top)?;
    Ok(Valid { podfile, origins: checking.origins, warnings: checking.warnings })
}

struct Checking {
    origins: BTreeMap<String, Origin>,
    warnings: Vec<String>,
}

/// The value at a place by a check of [`values`].
fn checked<T>(at: &At<String>, check: impl Fn(&str) -> Result<T, String>) -> Result<T, PodfileError> {
    check(&at.value).map_err(|reason| at.place.wrong(reason))
}

impl Checking {
    fn podfile(&mut self, layer: Layer, top: &Place) -> Result<Podfile, PodfileError> {
        let Layer {
            base,
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
        } = layer;
        let base = base.ok_or_else(|| {
            let place = Place { key: "base".into(), ..top.clone() };
            place.wrong(
                "a base image is required: write `base: ubuntu:24.04`, or `extends` something that has one",
            )
        })?;
        let (expose_place, ports_place) =
            (expose.place.clone(), strategy.as_ref().map(|at| at.place.clone()));
        self.note("ports", ports_place.or(expose_place).as_ref());
        let hooks = [&on_start, &on_create].into_iter().find_map(|script| script.parts.last());
        self.note("hooks", hooks.map(|part| &part.place));
        let words = |words: [&'static str; 3], values: [MountWay; 3]| -> Vec<_> {
            words.into_iter().zip(values).collect()
        };
        let mounts = words(MOUNTS, [MountWay::Bind, MountWay::Copy, MountWay::None]);
        let strategies: Vec<_> = STRATEGIES
            .into_iter()
            .zip([PortStrategy::Auto, PortStrategy::Manual, PortStrategy::Expose])
            .collect();
        let modes: Vec<_> = MODES.into_iter().zip(Mode::all()).collect();
        Ok(Podfile {
            base: Base::Image(self.take("base", &base, values::name)?),
            name: self.optional("name", name, values::title)?,
            branch: self.optional("branch", branch, values::name)?,
            packages: self.packages(packages)?,
            shell: self.optional("shell", shell, values::shell)?,
            env: self.env(env.entries)?,
            dotfiles: self.dotfiles(dotfiles)?,
            repos: self.repos(repos)?,
            services: self.services(services)?,
            ports: Ports {
                expose: {
                    at_most(&expose, parse::MAX_PORTS)?;
                    expose.items.iter().map(|port| port.value).collect()
                },
                strategy: match &strategy {
                    None => PortStrategy::default(),
                    Some(at) => checked(at, |text| values::word("a strategy for ports", text, &strategies))?,
                },
            },
            resources: Resources {
                cpus: match cpus {
                    None => None,
                    Some(At { value, place }) => {
                        self.note("resources.cpus", Some(&place));
                        Some(values::cpus(value).map_err(|reason| place.wrong(reason))?)
                    }
                },
                memory: match memory {
                    None => None,
                    Some(at) => self.take("resources.memory", &at, str::parse::<ByteSize>)?.limit(),
                },
            },
            hooks: Hooks {
                create: self.hook("on_create", &on_create)?,
                boot: Vec::new(),
                start: self.hook("on_start", &on_start)?,
            },
            extra_commands: self.commands(extra_commands)?,
            mount: self
                .optional("mount", mount, |text| values::word("a way of mounting", text, &mounts))?
                .unwrap_or_default(),
            mode: self.optional("mode", mode, |text| values::word("a mode", text, &modes))?,
            workspace: self.optional("workspace", workspace, values::place_of_project)?,
            start_dir: None,
            volumes: Vec::new(),
            user: None,
        })
    }

    fn note(&mut self, key: &str, place: Option<&Place>) {
        self.origins.extend(place.map(|place| (key.to_owned(), place.origin())));
    }

    fn take<T>(
        &mut self,
        key: &str,
        at: &At<String>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, PodfileError> {
        self.note(key, Some(&at.place));
        checked(at, check)
    }

    fn optional<T>(
        &mut self,
        key: &str,
        at: Option<At<String>>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, PodfileError> {
        at.map(|at| self.take(key, &at, check)).transpose()
    }

    fn packages(&mut self, list: List<At<String>>) -> Result<Vec<String>, PodfileError> {
        at_most(&list, parse::MAX_PACKAGES)?;
        self.note("packages", list.place.as_ref());
        let mut runtimes: Vec<Package> = Vec::new();
        list.items
            .into_iter()
            .map(|at| {
                let package = checked(&at, packages::parse)?;
                if let Package::Runtime(..) = package {
                    let fits = |other| packages::fit_together(other, &package);
                    runtimes.iter().try_for_each(fits).map_err(|reason| at.place.wrong(reason))?;
                    if !runtimes.contains(&package) {
                        runtimes.push(package);
                    }
                }
                self.note(&format!("packages.{}", at.value), Some(&at.place));
                Ok(at.value)
            })
            .collect()
    }

    fn commands(&mut self, list: List<At<String>>) -> Result<Vec<String>, PodfileError> {
        at_most(&list, parse::MAX_COMMANDS)?;
        self.note("extra_commands", list.place.as_ref());
        list.items
            .into_iter()
            .map(|at| {
                checked(&at, values::script)?;
                if at.value.trim().is_empty() {
                    return Err(at.place.wrong("the command is empty"));
                }
                Ok(at.value)
            })
            .collect()
    }

    fn env(
        &mut self,
        entries: BTreeMap<String, At<Option<String>>>,
    ) -> Result<BTreeMap<String, String>, PodfileError> {
        let mut env = BTreeMap::new();
        for (name, At { value, place }) in entries {
            let Some(value) = value else { continue };
            self.variable(&name, &value, &place)?;
            self.note(&format!("env.{name}"), Some(&place));
            env.insert(name, value);
        }
        if env.len() > parse::MAX_ENV {
            let place =
                self.origins.iter().find(|(key, _)| key.starts_with("env.")).map(|(_, origin)| origin);
            return Err(PodfileError::Value {
                place: place.map_or(String::new(), ToString::to_string),
                key: "env".into(),
                reason: format!(
                    "with what it extends it has {} entries, at most {} are allowed",
                    env.len(),
                    parse::MAX_ENV
                ),
            });
        }
        Ok(env)
    }

    fn variable(&mut self, name: &str, value: &str, place: &Place) -> Result<(), PodfileError> {
        values::variable(name)
            .and_then(|()| values::variable_value(value))
            .map_err(|reason| place.wrong(reason))?;
        for unknown in values::unknown_variables(value) {
            self.warnings.push(format!(
                "{}: `{}`: {} stays as it is: only ${{PODSPAWN_USER}} and ${{PODSPAWN_PROJECT}} are filled in",
                place.shown(),
                place.key,
                quoted(unknown)
            ));
        }
        Ok(())
    }

    fn dotfiles(&mut self, raw: Option<At<RawDotfiles>>) -> Result<Option<Dotfiles>, PodfileError> {
        let Some(At { value: RawDotfiles { repo, install }, place }) = raw else { return Ok(None) };
        if repo.is_none() && install.is_none() {
            return Ok(None);
        }
        self.note("dotfiles", Some(&place));
        let repo = repo.ok_or_else(|| place.wrong("it needs `repo`, the address of a repository"))?;
        let repo = checked(&repo, values::name)?;
        if let Some(at) = &install {
            checked(at, values::script)?;
        }
        Ok(Some(Dotfiles { repo, install: install.map(|at| at.value) }))
    }

    fn repos(&mut self, list: List<RawRepo>) -> Result<Vec<Repo>, PodfileError> {
        at_most(&list, parse::MAX_REPOS)?;
        self.note("repos", list.place.as_ref());
        list.items
            .into_iter()
            .map(|RawRepo { url, key: _, path, branch }| {
                Ok(Repo {
                    url: checked(&url, values::name)?,
                    path: path.map(|at| checked(&at, values::path_inside)).transpose()?,
                    branch: branch.map(|at| checked(&at, values::name)).transpose()?,
                })
            })
            .collect()
    }

    fn services(&mut self, list: List<RawService>) -> Result<Vec<Service>, PodfileError> {
        at_most(&list, parse::MAX_SERVICES)?;
        self.note("services", list.place.as_ref());
        list.items.into_iter().map(|service| self.service(service)).collect()
    }

    fn service(&mut self, raw: RawService) -> Result<Service, PodfileError> {
        let RawService { name, image, ports, env, volumes, place } = raw;
        let image = image
            .ok_or_else(|| place.wrong(format!("the service {} has no `image`", quoted(&name.value))))?;
        let service: ServiceName = checked(&name, values::name)?;
        if service.as_str() == "localhost" {
            return Err(name.place.wrong(
                "no service can be called `localhost`: programs would look for it in their own container",
            ));
        }
        self.note(&format!("services.{service}"), Some(&place));
        for (name, At { value, place }) in &env {
            self.variable(name, value, place)?;
        }
        let length: usize = env.iter().map(|(name, at)| name.len() + at.value.len()).sum();
        if length > parse::MAX_ENV_BYTES {
            let most = parse::MAX_ENV_BYTES;
            let reason = format!("its `env` has {length} bytes, at most {most} are allowed");
            return Err(place.wrong(reason));
        }
        let mut distinct = BTreeSet::new();
        Ok(Service {
            name: service,
            image: checked(&image, values::name)?,
            ports: ports.into_iter().map(|port| port.value).filter(|port| distinct.insert(*port)).collect(),
            env: env.into_iter().map(|(name, at)| (name, at.value)).collect(),
            volumes: self.volumes(&volumes)?,
        })
    }

    fn volumes(&mut self, list: &[At<String>]) -> Result<Vec<VolumeUse>, PodfileError> {
        let mut volumes: Vec<VolumeUse> = Vec::new();
        for at in list {
            match checked(at, values::volume)? {
                Volume::Skipped(warning) => {
                    self.warnings.push(format!("{}: `{}`: {warning}", at.place.shown(), at.place.key));
                }
                Volume::Named(volume) if volumes.contains(&volume) => {}
                Volume::Named(volume) => {
                    if volumes.iter().any(|other| other.target == volume.target) {
                        return Err(at
                            .place
                            .wrong(format!("two volumes have the path {}", quoted(&volume.target))));
                    }
                    volumes.push(volume);
                }
            }
        }
        Ok(volumes)
    }

    /// The text of each layer, lowest first, a newline between two.
    fn hook(&mut self, name: &str, script: &Script) -> Result<Vec<Hook>, PodfileError> {
        for part in &script.parts {
            checked(part, values::script)?;
        }
        self.note(name, script.parts.last().map(|part| &part.place));
        let text = script.parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join("\n");
        if let Some(last) = script.parts.last().filter(|_| text.len() > parse::MAX_SCRIPT) {
            let (length, most) = (text.len(), parse::MAX_SCRIPT);
            return Err(last
                .place
                .wrong(format!("with what it extends it has {length} bytes, at most {most} are allowed")));
        }
        let command = HookCommand::Script(text);
        Ok((!command.is_empty())
            .then(|| Hook { name: name.to_owned(), command, dir: None })
            .into_iter()
            .collect())
    }
}

/// A list that is too long only together with what lies below it.
fn at_most<T>(list: &List<T>, most: usize) -> Result<(), PodfileError> {
    match &list.place {
        Some(place) if list.items.len() > most => Err(place.wrong(format!(
            "with what it extends it has {} items, at most {most} are allowed",
            list.items.len()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
