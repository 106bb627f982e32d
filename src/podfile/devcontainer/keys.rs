//! Every key that the specification knows: what has no effect here, and why.

use super::json::Json;

/// A key without an effect.
pub(super) struct Unsupported {
    pub(super) key: &'static str,
    /// What may stand behind it.
    pub(super) expected: &'static str,
    pub(super) why: &'static str,
}

impl Unsupported {
    /// Whether a value is of the kind that the key has.
    pub(super) fn fits(&self, value: &Json) -> bool {
        matches!(
            (self.expected, value),
            (_, Json::Null)
                | (LIST, Json::List(_))
                | (OBJECT, Json::Object(_))
                | (SWITCH, Json::Bool(_))
                | (TEXT, Json::Text(_))
                | (GPU, Json::Bool(_) | Json::Text(_) | Json::Object(_))
        )
    }
}

const LIST: &str = "a list";
const OBJECT: &str = "an object";
const SWITCH: &str = "`true` or `false`";
const TEXT: &str = "a text";
const GPU: &str = "`true`, `false`, a text or an object";

const fn no(key: &'static str, expected: &'static str, why: &'static str) -> Unsupported {
    Unsupported { key, expected, why }
}

/// Keys that are known and change nothing.
pub(super) const UNSUPPORTED: &[Unsupported] = &[
    no("features", OBJECT, "features are not supported: use an image or a Dockerfile that has them"),
    no("overrideFeatureInstallOrder", LIST, "features are not supported"),
    no("service", TEXT, "Compose is not supported"),
    no("runServices", LIST, "Compose is not supported"),
    no("privileged", SWITCH, "a repository cannot ask for privileges"),
    no("capAdd", LIST, "a repository cannot ask for capabilities"),
    no("securityOpt", LIST, "a repository cannot change security options"),
    no("runArgs", LIST, "a repository cannot pass options to the engine"),
    no("init", SWITCH, "makes no difference: there always is an init process"),
    no("hostRequirements", OBJECT, "is not looked at: limits are the configuration's"),
    no("gpu", GPU, "a repository cannot ask for devices"),
    no("secrets", OBJECT, "is not supported: nobody is asked for them"),
    no("overrideCommand", SWITCH, "makes no difference: the image's own command is not run"),
    no("shutdownAction", TEXT, "makes no difference: the session's mode decides"),
    no("userEnvProbe", TEXT, "makes no difference: shells are login shells"),
    no("updateRemoteUserUID", SWITCH, "makes no difference: the account inside has the right uid"),
    no("portsAttributes", OBJECT, "is not supported: see `forwardPorts`"),
    no("otherPortsAttributes", OBJECT, "is not supported: see `forwardPorts`"),
];

/// Keys for editors and for people.
pub(super) const FOR_EDITORS: &[&str] = &["$schema", "customizations", "extensions", "settings", "devPort"];

/// Every key, for a guess at what was meant.
pub(super) const KNOWN: &[&str] = &[
    "name",
    "image",
    "build",
    "dockerFile",
    "context",
    "dockerComposeFile",
    "containerEnv",
    "remoteEnv",
    "forwardPorts",
    "appPort",
    "workspaceFolder",
    "workspaceMount",
    "mounts",
    "remoteUser",
    "containerUser",
    "initializeCommand",
    "onCreateCommand",
    "updateContentCommand",
    "postCreateCommand",
    "postStartCommand",
    "postAttachCommand",
    "waitFor",
    "customizations",
    "features",
    "overrideFeatureInstallOrder",
    "service",
    "runServices",
    "privileged",
    "capAdd",
    "securityOpt",
    "runArgs",
    "init",
    "hostRequirements",
    "secrets",
    "overrideCommand",
    "shutdownAction",
    "userEnvProbe",
    "updateRemoteUserUID",
    "portsAttributes",
    "otherPortsAttributes",
];
