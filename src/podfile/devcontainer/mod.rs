//! From a devcontainer.json to a [`Podfile`], with a warning for everything in it that has no effect.
//!
//! The file is as untrusted as a Podfile: what would widen what a container may do or see of the host is named and left out,
//! nothing of it runs on the host, and the host's environment is not read for it. Reads the file system only to resolve the
//! paths of a Dockerfile and its context, which must lie in the repository. Calls `names` and `config` (sizes, nearest words).

mod base;
mod hooks;
mod json;
mod keys;
mod mounts;
mod origins;
mod variables;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use base::Source;
use json::{Json, Node};
use keys::{FOR_EDITORS, KNOWN, UNSUPPORTED};
use variables::{InContainer, Variables, id_of, is_name};

use super::model::{MountWay, Podfile, PortStrategy, Ports, Resources, is_dynamic};
use super::parse::{MAX_ENV, MAX_PORTS, MAX_VALUE};
use super::{PodfileError, Repository};
use crate::config::{Origin, nearest};
use crate::names::{UserName, printable, quoted};

/// Most entries of one list or object.
const MAX_ITEMS: usize = 1000;
/// Most warnings; the rest is counted.
const MAX_WARNINGS: usize = 100;

/// Converts the text of a devcontainer.json. `path` is the file, `repository` the directory that holds the project. The second
/// part of the result are warnings, in the order of the file.
pub fn devcontainer(
    text: &str,
    path: &Path,
    repository: &Path,
) -> Result<(Podfile, Vec<String>), PodfileError> {
    let project = Repository { directory: repository, name: None };
    convert(text, path, repository, project).map(|converted| (converted.podfile, converted.warnings))
}

/// What a devcontainer.json comes to.
pub(super) struct Converted {
    pub(super) podfile: Podfile,
    /// In the order of the file.
    pub(super) warnings: Vec<String>,
    /// Where each value stands, by the Podfile's keys.
    pub(super) origins: BTreeMap<String, Origin>,
}

/// As [`devcontainer`], with the places of values. `repository` is what paths may not leave; its variables tell of `project`.
pub(super) fn convert(
    text: &str,
    path: &Path,
    repository: &Path,
    project: Repository<'_>,
) -> Result<Converted, PodfileError> {
    let file = printable(&path.display().to_string());
    let root = json::parse(text).map_err(|malformed| {
        let place = malformed.line.map_or(file.clone(), |line| format!("{file}:{line}"));
        PodfileError::Malformed { place, reason: malformed.reason }
    })?;
    let Json::Object(entries) = root.value else {
        let reason = format!("expected `{{` and `}}`, found {}", root.value.name());
        return Err(PodfileError::Malformed { place: format!("{file}:{}", root.line), reason });
    };
    let mut reader = Reader { file, path, repository, variables: of_project(project), warnings: Vec::new() };
    let entries: BTreeMap<String, Node> = entries.into_iter().collect();
    let origins = origins::of(path, &entries);
    let podfile = reader.podfile(entries)?;
    reader.warnings.sort_by_key(|(line, _)| *line);
    let more = reader.warnings.len().saturating_sub(MAX_WARNINGS);
    let mut warnings: Vec<String> =
        reader.warnings.into_iter().take(MAX_WARNINGS).map(|(_, text)| text).collect();
    if more > 0 {
        warnings.push(format!("{}: {more} more of the kind", reader.file));
    }
    Ok(Converted { podfile, warnings, origins })
}

fn of_project(Repository { directory, name }: Repository<'_>) -> Variables {
    let (local_folder, basename) = match name {
        // Whoever works in a copy or a checkout has no use for where podspawn keeps it, and it is another one each time.
        Some(name) => (default_folder(name), name.to_owned()),
        None => {
            let real = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
            let basename = real.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
            (real.display().to_string(), basename)
        }
    };
    let container_folder = default_folder(&basename);
    Variables { id: id_of(&local_folder), local_folder, basename, container_folder, ..Variables::default() }
}

/// Where a project lies inside if nothing says otherwise.
fn default_folder(basename: &str) -> String {
    mounts::inside(&format!("/workspace/{basename}")).unwrap_or_else(|_| "/workspace/project".into())
}

/// The conversion of one file.
struct Reader<'a> {
    /// The file's name, for messages.
    file: String,
    path: &'a Path,
    repository: &'a Path,
    variables: Variables,
    /// Line and text.
    warnings: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn podfile(&mut self, mut entries: BTreeMap<String, Node>) -> Result<Podfile, PodfileError> {
        let mut take = |key: &str| entries.remove(key);
        let source = Source {
            image: take("image"),
            build: take("build"),
            dockerfile: take("dockerFile"),
            context: take("context"),
            compose: take("dockerComposeFile"),
        };
        let (name, workspace_mount, workspace_folder) =
            (take("name"), take("workspaceMount"), take("workspaceFolder"));
        let (container_env, remote_env) = (take("containerEnv"), take("remoteEnv"));
        let (forward_ports, app_port) = (take("forwardPorts"), take("appPort"));
        let (remote_user, container_user) = (take("remoteUser"), take("containerUser"));
        let mounts = take("mounts");
        let mut commands = hooks::Commands {
            initialize: take("initializeCommand"),
            create: ["onCreateCommand", "updateContentCommand", "postCreateCommand"]
                .map(|key| (key, take(key))),
            boot: ("postStartCommand", take("postStartCommand")),
            start: ("postAttachCommand", take("postAttachCommand")),
            wait_for: take("waitFor"),
            folder: true,
        };
        self.without_effect(entries)?;

        let name = match name {
            Some(node) => self.optional_text(&node, "name")?.and_then(|(_, text)| short_name(&text)),
            None => None,
        };
        // First what other values may refer to: the directory inside, then the container's environment.
        let mut place = self.place_of_project(workspace_mount.as_ref(), workspace_folder.as_ref())?;
        let env = self.environment(container_env.as_ref(), remote_env.as_ref())?;
        let base = self.base(source)?;
        let expose = self.ports(forward_ports.as_ref(), app_port.as_ref())?;
        let user = self.user(remote_user.as_ref(), container_user.as_ref())?;
        let volumes = match mounts {
            Some(node) => self.mounts(&node)?,
            None => Vec::new(),
        };
        commands.folder = place.mount == MountWay::Bind || place.start_dir.is_some();
        let hooks = self.hooks(commands)?;
        if self.variables.asked_for_folder && place.workspace.is_none() && place.start_dir.is_none() {
            // What was said about it must be true.
            place.workspace = Some(self.variables.container_folder.clone());
        }
        if self.variables.too_much {
            let reason = "its variables expand to too much".to_owned();
            return Err(PodfileError::Malformed { place: self.file.clone(), reason });
        }
        self.about_variables();
        Ok(Podfile {
            name,
            base,
            branch: None,
            packages: Vec::new(),
            shell: None,
            env,
            dotfiles: None,
            repos: Vec::new(),
            services: Vec::new(),
            ports: Ports { expose, strategy: PortStrategy::default() },
            resources: Resources::default(),
            hooks,
            extra_commands: Vec::new(),
            mount: place.mount,
            mode: None,
            workspace: place.workspace,
            start_dir: place.start_dir,
            volumes,
            user,
        })
    }

    /// What is known and changes nothing, and what is not known.
    fn without_effect(&mut self, entries: BTreeMap<String, Node>) -> Result<(), PodfileError> {
        for (key, node) in entries {
            if let Some(unsupported) = UNSUPPORTED.iter().find(|unsupported| unsupported.key == key) {
                if !unsupported.fits(&node.value) {
                    return Err(self.expected(&node, &key, unsupported.expected));
                }
                if !node.value.is_nothing() {
                    self.warn(node.line, &key, unsupported.why);
                }
            } else if !FOR_EDITORS.contains(&key.as_str()) {
                self.unknown(node.line, "", &key, KNOWN);
            }
        }
        Ok(())
    }

    /// `containerEnv` and, over it, `remoteEnv`.
    fn environment(
        &mut self,
        container: Option<&Node>,
        remote: Option<&Node>,
    ) -> Result<BTreeMap<String, String>, PodfileError> {
        let mut env = BTreeMap::new();
        if let Some(node) = container {
            for (name, node) in self.object(node, "containerEnv")? {
                if let Some(value) = self.env_value("containerEnv", name, node)? {
                    env.insert(name.clone(), value);
                }
            }
        }
        self.variables.container_env.clone_from(&env);
        let first = container.or(remote).map_or(1, |node| node.line);
        if let Some(node) = remote {
            for (name, node) in self.object(node, "remoteEnv")? {
                match self.env_value("remoteEnv", name, node)? {
                    Some(value) => drop(env.insert(name.clone(), value)),
                    None if env.remove(name).is_some() => {}
                    None => {
                        let key = format!("remoteEnv.{name}");
                        self.warn(node.line, &key, "a variable of the image cannot be removed");
                    }
                }
            }
        }
        if env.len() > MAX_ENV {
            let reason = format!("there are {} variables, at most {MAX_ENV} are allowed", env.len());
            return Err(self.wrong(first, "containerEnv", reason));
        }
        Ok(env)
    }

    fn env_value(&mut self, map: &str, name: &str, node: &Node) -> Result<Option<String>, PodfileError> {
        if !is_name(name) {
            let reason = format!("{} is not the name of a variable", quoted(name));
            return Err(self.wrong(node.line, map, reason));
        }
        let key = format!("{map}.{name}");
        let Some((line, text)) = self.optional_text(node, &key)? else { return Ok(None) };
        let value = self.variables.expand(&text, InContainer::Variable);
        // What is set when the container is made is taken as it is.
        let value = if is_dynamic(&value) { variables::plain(&value) } else { value };
        if value.len() > MAX_VALUE && !self.variables.too_much {
            let reason = format!("it has {} bytes, at most {MAX_VALUE} are allowed", value.len());
            return Err(self.wrong(line, &key, reason));
        }
        if value.contains(char::is_control) {
            return Err(self.wrong(line, &key, "control characters are not allowed in a variable".into()));
        }
        if is_dynamic(&value) && text.contains("${containerEnv:") {
            let text = "`${containerEnv:…}` does not work beside `${PODSPAWN_…}`";
            return Err(self.wrong(line, &key, text.into()));
        }
        Ok(Some(value))
    }

    /// `forwardPorts` and `appPort`, each port once.
    fn ports(&mut self, forward: Option<&Node>, app: Option<&Node>) -> Result<Vec<u16>, PodfileError> {
        let mut ports = Vec::new();
        let mut add = |port: Option<u16>| {
            if let Some(port) = port.filter(|port| !ports.contains(port)) {
                ports.push(port);
            }
        };
        if let Some(node) = forward {
            for (index, item) in self.list(node, "forwardPorts")?.iter().enumerate() {
                add(self.forward_port(&format!("forwardPorts[{index}]"), item)?);
            }
        }
        match app {
            None => {}
            Some(node @ Node { value: Json::List(_), .. }) => {
                for (index, item) in self.list(node, "appPort")?.iter().enumerate() {
                    add(self.app_port(&format!("appPort[{index}]"), item)?);
                }
            }
            Some(item) => add(self.app_port("appPort", item)?),
        }
        if let Some(node) = forward.or(app).filter(|_| ports.len() > MAX_PORTS) {
            let reason = format!("there are {} ports, at most {MAX_PORTS} are allowed", ports.len());
            return Err(self.wrong(node.line, "forwardPorts", reason));
        }
        Ok(ports)
    }

    fn forward_port(&mut self, key: &str, node: &Node) -> Result<Option<u16>, PodfileError> {
        const EXPECTED: &str = "a port (1-65535) or a text such as `db:5432`";
        let text = match &node.value {
            Json::Number(text) => return self.port(key, node, text, EXPECTED).map(Some),
            Json::Text(text) => text,
            _ => return Err(self.expected(node, key, EXPECTED)),
        };
        match text.rsplit_once(':') {
            None | Some(("localhost" | "127.0.0.1", _)) => {
                let port = text.rsplit(':').next().unwrap_or_default();
                self.port(key, node, port, EXPECTED).map(Some)
            }
            Some((host, port)) => {
                self.port(key, node, port, EXPECTED)?;
                let text = format!(
                    "the port of {} is not forwarded: services of Compose are not supported",
                    quoted(host)
                );
                self.warn(node.line, key, &text);
                Ok(None)
            }
        }
    }

    fn app_port(&mut self, key: &str, node: &Node) -> Result<Option<u16>, PodfileError> {
        const EXPECTED: &str = "a port (1-65535), or a text such as `3000` or `8000:3000`";
        let text = match &node.value {
            Json::Null => return Ok(None),
            Json::Number(text) | Json::Text(text) => text,
            _ => return Err(self.expected(node, key, EXPECTED)),
        };
        let (outside, inside) =
            text.rsplit_once(':').map_or((None, text.as_str()), |(out, port)| (Some(out), port));
        let port = self.port(key, node, inside, EXPECTED)?;
        if outside.is_some_and(|outside| outside != inside) {
            let text =
                format!("port {port} is published under a number of podspawn's choice, on the loopback only");
            self.warn(node.line, key, &text);
        }
        Ok(Some(port))
    }

    fn port(&self, key: &str, node: &Node, text: &str, expected: &str) -> Result<u16, PodfileError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|port| digits && *port > 0)
            .ok_or_else(|| self.wrong(node.line, key, format!("expected {expected}, found {}", quoted(text))))
    }

    /// `remoteUser`, else `containerUser`.
    fn user(
        &mut self,
        remote: Option<&Node>,
        container: Option<&Node>,
    ) -> Result<Option<UserName>, PodfileError> {
        let remote = remote.map(|node| (node, "remoteUser"));
        for (node, key) in remote.into_iter().chain(container.map(|node| (node, "containerUser"))) {
            let Some((line, text)) = self.optional_text(node, key)? else { continue };
            let text = self.variables.expand(&text, InContainer::Unknown);
            let (name, group) =
                text.split_once(':').map_or((text.as_str(), None), |(name, group)| (name, Some(group)));
            if name.is_empty() {
                continue;
            }
            if matches!(name, "root" | "0") {
                self.warn(line, key, "sessions never run as root; `sudo` works inside");
                return Ok(None);
            }
            if name.bytes().all(|byte| byte.is_ascii_digit()) {
                self.warn(line, key, "a number is not used: name the account");
                return Ok(None);
            }
            if group.is_some() {
                self.warn(line, key, "the group is not used");
            }
            let name = name.parse().map_err(|error| self.wrong(line, key, format!("{error}")))?;
            return Ok(Some(name));
        }
        Ok(None)
    }

    /// One warning for all variables of the host, and one for those of the container that nobody knows.
    fn about_variables(&mut self) {
        let list = |names: &std::collections::BTreeSet<String>| {
            let more = if names.len() > 8 { ", …" } else { "" };
            names.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") + more
        };
        if !self.variables.of_host.is_empty() {
            let names = list(&self.variables.of_host);
            let text = format!(
                "{}: `${{localEnv:…}}` is its default or empty ({names}): the host's environment is not read",
                self.file
            );
            self.warnings.push((usize::MAX, text));
        }
        if !self.variables.unknown.is_empty() {
            let names = list(&self.variables.unknown);
            let text = format!(
                "{}: `${{containerEnv:…}}` is its default or empty here ({names}): `containerEnv` does not set it",
                self.file
            );
            self.warnings.push((usize::MAX, text));
        }
    }

    /// A text; none for `null`.
    fn optional_text(&self, node: &Node, key: &str) -> Result<Option<(usize, String)>, PodfileError> {
        match &node.value {
            Json::Null => Ok(None),
            Json::Text(text) => Ok(Some((node.line, text.clone()))),
            _ => Err(self.expected(node, key, "a text")),
        }
    }

    /// The items of a list; none for `null`.
    fn list<'n>(&self, node: &'n Node, key: &str) -> Result<&'n [Node], PodfileError> {
        match &node.value {
            Json::Null => Ok(&[]),
            Json::List(items) if items.len() > MAX_ITEMS => Err(self.too_many(node, key, items.len())),
            Json::List(items) => Ok(items),
            _ => Err(self.expected(node, key, "a list")),
        }
    }

    /// The entries of an object; none for `null`.
    fn object<'n>(&self, node: &'n Node, key: &str) -> Result<&'n [(String, Node)], PodfileError> {
        match &node.value {
            Json::Null => Ok(&[]),
            Json::Object(entries) if entries.len() > MAX_ITEMS => {
                Err(self.too_many(node, key, entries.len()))
            }
            Json::Object(entries) => Ok(entries),
            _ => Err(self.expected(node, key, "an object")),
        }
    }

    fn too_many(&self, node: &Node, key: &str, number: usize) -> PodfileError {
        self.wrong(node.line, key, format!("it has {number} entries, at most {MAX_ITEMS} are allowed"))
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.file)
    }

    fn wrong(&self, line: usize, key: &str, reason: String) -> PodfileError {
        PodfileError::Value { place: self.place(line), key: shown(key), reason }
    }

    fn expected(&self, node: &Node, key: &str, expected: &str) -> PodfileError {
        self.wrong(node.line, key, format!("expected {expected}, found {}", node.value.name()))
    }

    fn warn(&mut self, line: usize, key: &str, text: &str) {
        let text = format!("{}: `{}`: {text}", self.place(line), shown(key));
        self.warnings.push((line, text));
    }

    fn unknown(&mut self, line: usize, above: &str, key: &str, known: &[&str]) {
        let guess = nearest(key, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let text = format!("{}: unknown key `{above}{}`{guess}", self.place(line), shown(key));
        self.warnings.push((line, text));
    }
}

/// A key as it is shown: a file may call its keys what it likes.
fn shown(key: &str) -> String {
    match key.char_indices().nth(64) {
        Some((at, _)) => format!("{}…", printable(&key[..at])),
        None => printable(key),
    }
}

/// What is left of a name for people as the prefix of names of sessions.
fn short_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == 30 {
            break;
        }
    }
    let name = name.trim_matches(|c: char| c == '-').trim_start_matches(|c: char| !c.is_ascii_lowercase());
    (!name.is_empty()).then(|| name.to_owned())
}
