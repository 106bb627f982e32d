//! Where the project, its directory of work and its volumes lie inside.

use super::Reader;
use super::json::{Json, Node};
use super::variables::InContainer;
use crate::names::{VolumeName, misleads, quoted};
use crate::podfile::parse::MAX_VOLUMES;
use crate::podfile::values::may_hold_project;
use crate::podfile::{MountWay, PodfileError, VolumeUse};

/// Directories inside that are the kernel's or podspawn's.
const RESERVED: &[&str] = &["/proc", "/sys", "/dev", "/.podspawn", "/run/podspawn"];

/// Where the project lies and where shells start.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) mount: MountWay,
    pub(super) workspace: Option<String>,
    pub(super) start_dir: Option<String>,
}

/// An absolute path inside where something may be put, without doubled slashes and without one at its end.
pub(super) fn inside(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("expected an absolute path, found {}", quoted(text)));
    }
    if text.len() > 4096 || text.contains(|c: char| misleads(c) || c == ':') {
        return Err(format!("the path {} is too long, or contains `:` or control characters", quoted(text)));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(format!("`..` is not allowed in the path {}", quoted(text)));
    }
    let path = format!("/{}", parts.join("/"));
    let within = |path: &str, above: &str| {
        path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if parts.is_empty() || RESERVED.iter().any(|taken| within(&path, taken) || within(taken, &path)) {
        return Err(format!("nothing can be put at {}: the kernel or podspawn needs it", quoted(&path)));
    }
    Ok(path)
}

/// A mount, in either form, with its variables as they are written.
#[derive(Debug, Default)]
struct Mount {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
}

impl Mount {
    fn put(&mut self, key: &str, value: &str) -> Result<(), String> {
        let field = match key {
            "type" => &mut self.kind,
            "source" | "src" => &mut self.source,
            "target" | "destination" | "dst" => &mut self.target,
            "readonly" | "ro" => {
                self.read_only = !matches!(value, "false" | "0");
                return Ok(());
            }
            // What only makes an engine faster, or lets a volume of another program be used.
            "consistency" | "external" | "volume-nocopy" | "bind-propagation" => return Ok(()),
            _ => {
                let known = "type, source, target, readonly, consistency";
                return Err(format!("{} is not known in a mount ({known})", quoted(key)));
            }
        };
        *field = Some(value.trim().to_owned());
        Ok(())
    }

    /// `key=value,key=value`.
    fn from_text(text: &str) -> Result<Self, String> {
        let mut mount = Self::default();
        for field in text.split(',').filter(|field| !field.trim().is_empty()) {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            mount.put(key.trim(), value)?;
        }
        Ok(mount)
    }

    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("volume")
    }
}

impl Reader<'_> {
    fn mount(&self, key: &str, node: &Node) -> Result<Mount, PodfileError> {
        match &node.value {
            Json::Text(text) => Mount::from_text(text).map_err(|reason| self.wrong(node.line, key, reason)),
            Json::Object(entries) => {
                let mut mount = Mount::default();
                for (name, value) in entries {
                    let put = match &value.value {
                        Json::Text(text) => mount.put(name, text),
                        Json::Bool(value) => mount.put(name, if *value { "true" } else { "false" }),
                        Json::Null => Ok(()),
                        _ => return Err(self.expected(value, &format!("{key}.{name}"), "a text")),
                    };
                    put.map_err(|reason| self.wrong(value.line, key, reason))?;
                }
                Ok(mount)
            }
            _ => Err(self.expected(
                node,
                key,
                "a text such as `source=data,target=/data,type=volume`, or an object",
            )),
        }
    }

    /// `mounts`: volumes are kept, everything else is named.
    pub(super) fn mounts(&mut self, node: &Node) -> Result<Vec<VolumeUse>, PodfileError> {
        let mut volumes: Vec<VolumeUse> = Vec::new();
        for (index, item) in self.list(node, "mounts")?.iter().enumerate() {
            let key = format!("mounts[{index}]");
            let mount = self.mount(&key, item)?;
            let source = mount.source.clone().unwrap_or_default();
            match mount.kind() {
                "volume" => {}
                "bind" => {
                    let text = format!(
                        "the bind mount of {} is refused: no repository says what of the host is seen inside",
                        quoted(&source)
                    );
                    self.warn(item.line, &key, &text);
                    continue;
                }
                other => {
                    self.warn(
                        item.line,
                        &key,
                        &format!("mounts of type {} are not supported", quoted(other)),
                    );
                    continue;
                }
            }
            if source.is_empty() {
                self.warn(item.line, &key, "a volume without a name is not supported: name it with `source`");
                continue;
            }
            if mount.read_only {
                self.warn(item.line, &key, "the volume is not read-only: that is not supported");
            }
            let source = self.variables.expand(&source, InContainer::Unknown);
            let target =
                self.variables.expand(mount.target.as_deref().unwrap_or_default(), InContainer::Unknown);
            let name: VolumeName =
                source.parse().map_err(|error| self.wrong(item.line, &key, format!("{error}")))?;
            let target = inside(&target).map_err(|reason| self.wrong(item.line, &key, reason))?;
            if volumes.iter().any(|volume| volume.target == target) {
                let reason = format!("something is mounted at {} already", quoted(&target));
                return Err(self.wrong(item.line, &key, reason));
            }
            if volumes.len() == MAX_VOLUMES {
                let reason = format!("there are more than {MAX_VOLUMES} volumes");
                return Err(self.wrong(item.line, &key, reason));
            }
            volumes.push(VolumeUse { name, target });
        }
        Ok(volumes)
    }

    /// `workspaceMount` and `workspaceFolder`.
    pub(super) fn place_of_project(
        &mut self,
        mount: Option<&Node>,
        folder: Option<&Node>,
    ) -> Result<Place, PodfileError> {
        let mut place = Place::default();
        if let Some(node) = mount.filter(|node| node.value != Json::Null) {
            self.workspace_mount(node, &mut place)?;
        }
        let key = "workspaceFolder";
        let Some((line, text)) =
            folder.and_then(|node| self.optional_text(node, key).transpose()).transpose()?
        else {
            return Ok(place);
        };
        let text = self.variables.expand(&text, InContainer::Unknown);
        if text.is_empty() {
            return Ok(place);
        }
        let folder = inside(&text).map_err(|reason| self.wrong(line, key, reason))?;
        if place.workspace.is_none() && place.mount == MountWay::Bind {
            // Where it would be mounted without being told, if that is where the folder lies.
            let mut parts = folder.trim_start_matches('/').splitn(3, '/');
            match (parts.next(), parts.next()) {
                (Some("workspaces"), Some(project)) => {
                    place.workspace = Some(format!("/workspaces/{project}"));
                }
                (Some("workspaces"), None) => {
                    place.workspace = inside(&format!("/workspaces/{}", self.variables.basename)).ok();
                }
                (Some("workspace"), None) => place.workspace = Some(folder.clone()),
                _ => {
                    let text =
                        "says where shells start, not where the project lies: set `workspaceMount` too";
                    self.warn(line, key, text);
                }
            }
        }
        self.variables.container_folder.clone_from(&folder);
        place.start_dir = (place.workspace.as_ref() != Some(&folder)).then_some(folder);
        Ok(place)
    }

    fn workspace_mount(&mut self, node: &Node, place: &mut Place) -> Result<(), PodfileError> {
        let key = "workspaceMount";
        if node.value == Json::Text(String::new()) {
            place.mount = MountWay::None;
            return Ok(());
        }
        if !matches!(node.value, Json::Text(_)) {
            let expected = "a text such as `source=${localWorkspaceFolder},target=/work,type=bind`";
            return Err(self.expected(node, key, expected));
        }
        let mount = self.mount(key, node)?;
        let source = mount.source.as_deref().unwrap_or_default();
        if mount.kind() != "bind" || source.trim_end_matches('/') != "${localWorkspaceFolder}" {
            let text = format!(
                "{} of {} is not used: only `${{localWorkspaceFolder}}` itself is mounted, with `type=bind`",
                quoted(mount.kind()),
                quoted(source)
            );
            self.warn(node.line, key, &text);
            return Ok(());
        }
        if mount.read_only {
            self.warn(node.line, key, "the project is not read-only: that is not supported");
        }
        let target = self.variables.expand(mount.target.as_deref().unwrap_or_default(), InContainer::Unknown);
        let target = inside(&target).and_then(|path| may_hold_project(&path).map(|()| path));
        let target = target.map_err(|reason| self.wrong(node.line, key, reason))?;
        self.variables.container_folder.clone_from(&target);
        place.workspace = Some(target);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_put_over_what_the_kernel_or_podspawn_needs() {
        for (text, path) in
            [("/data", "/data"), ("//a//b/./", "/a/b"), ("/process", "/process"), ("/run/x", "/run/x")]
        {
            assert_eq!(inside(text).as_deref(), Ok(path));
        }
        for bad in [
            "",
            "a",
            "./a",
            "/",
            "//",
            "/.",
            "/proc",
            "/proc/1",
            "/sys/x",
            "/dev",
            "//dev/shm",
            "/./dev",
            "/.podspawn/guest",
            "/run/podspawn",
            "/run",
            "/a/../proc",
            "/..",
            "/a:b",
            "/a\nb",
            "/a\u{202e}b",
        ] {
            assert!(inside(bad).is_err(), "{bad:?}");
        }
    }
}
