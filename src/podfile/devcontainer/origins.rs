//! Where the values of a Podfile stand in the devcontainer.json that they come from.

use std::collections::BTreeMap;
use std::path::Path;

use super::json::{Json, Node};
use crate::config::Origin;

/// Keys of the file, and those of the Podfile that they decide. A later one wins over those before it.
const DECIDES: [(&str, &[&str]); 18] = [
    ("name", &["name"]),
    ("image", &["base"]),
    ("dockerFile", &["base"]),
    ("build", &["base"]),
    ("workspaceMount", &["mount", "workspace"]),
    ("workspaceFolder", &["workspace", "start_dir"]),
    ("appPort", &["ports"]),
    ("forwardPorts", &["ports"]),
    ("containerUser", &["user"]),
    ("remoteUser", &["user"]),
    ("mounts", &["volumes"]),
    ("onCreateCommand", &["hooks", "onCreateCommand"]),
    ("updateContentCommand", &["hooks", "updateContentCommand"]),
    ("postCreateCommand", &["hooks", "postCreateCommand"]),
    ("postStartCommand", &["hooks", "postStartCommand"]),
    ("postAttachCommand", &["hooks", "postAttachCommand"]),
    ("containerEnv", &["env"]),
    ("remoteEnv", &["env"]),
];

/// The place of each value, by the Podfile's keys.
pub(super) fn of(path: &Path, entries: &BTreeMap<String, Node>) -> BTreeMap<String, Origin> {
    let mut origins = BTreeMap::new();
    let mut put = |key: String, node: &Node, written: String| {
        let line = u64::try_from(node.line).ok();
        origins.insert(key, Origin::File { path: path.to_owned(), line, key: written });
    };
    for (written, keys) in DECIDES {
        let Some(node) = entries.get(written).filter(|node| node.value != Json::Null) else { continue };
        for key in keys {
            put((*key).to_owned(), node, written.to_owned());
        }
        if let (["env"], Json::Object(variables)) = (keys, &node.value) {
            for (name, node) in variables {
                put(format!("env.{name}"), node, format!("{written}.{name}"));
            }
        }
    }
    origins
}
