//! What is known of an engine once it has answered, and what it declares it cannot do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};
use crate::types::{ContainerSpec, Seccomp};

/// Which engine is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Docker with its default OCI runtime.
    Docker,
    /// Podman through the API service of a user (or of root).
    Podman,
    /// Docker with gVisor's `runsc`.
    Gvisor,
}

impl EngineKind {
    /// The name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
            Self::Gvisor => "gVisor",
        }
    }

    /// Why an engine of this kind has `gap`, in one fragment.
    pub(crate) fn gap_reason(self, gap: Gap) -> &'static str {
        match (self, gap) {
            (Self::Gvisor, Gap::PidsLimit) => "the count includes the sandbox's own threads",
            (Self::Gvisor, Gap::Seccomp) => {
                "`runsc` loads seccomp filters only where it is registered with `--oci-seccomp`"
            }
            (Self::Gvisor, Gap::CopyIn) => {
                "a running sandbox does not see files that are put in from outside"
            }
            (_, Gap::BuildMounts) => "before 5.3.2 it follows links out of the build, to files of its host",
            (Self::Gvisor, Gap::JoinNetwork) => "the sandbox has a network of its own",
            _ => "a rootless engine has no such cgroup controller here",
        }
    }
}

/// Something that an engine cannot do; declared, so that nobody has to find out by failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// CPU limits are ignored (rootless on cgroup v1).
    CpuLimit,
    /// Memory limits are ignored (rootless on cgroup v1).
    MemoryLimit,
    /// The pids limit is ignored (rootless on cgroup v1), or counts the sandbox's own threads (gVisor).
    PidsLimit,
    /// No seccomp filter is in force inside (gVisor that is not told to load them).
    #[serde(alias = "seccomp-visible")]
    Seccomp,
    /// Copying into a running container is unreliable (gVisor).
    CopyIn,
    /// `RUN --mount` of a Dockerfile is not kept inside the build (Podman before 5.3.2).
    BuildMounts,
    /// A process of this host that enters a container's network does not get anywhere from there (gVisor with a network
    /// of its own).
    JoinNetwork,
}

/// What is known of an engine after it answered once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Which engine.
    pub kind: EngineKind,
    /// The engine's version, as it says.
    pub version: String,
    /// API version, as it says.
    pub api_version: String,
    /// Socket path or URL that is spoken to.
    pub endpoint: String,
    /// The engine runs without root's rights on its host.
    pub rootless: bool,
    /// 1 or 2; hybrid counts as 1.
    pub cgroup_version: u8,
    /// The engine runs on this host and its containers are ordinary processes here.
    pub local: bool,
    /// OCI runtimes that the engine knows, by name.
    pub runtimes: Vec<String>,
    /// Where the engine keeps its data, if the engine is local and says where.
    pub data_root: Option<PathBuf>,
    /// What this engine cannot do.
    pub gaps: Vec<Gap>,
}

impl Facts {
    /// Whether a descriptor of this host can be handed to a container's first process: a Linux engine on this host
    /// without a sandboxed kernel. Whether this user may look into the container is probed by the caller.
    pub fn direct_attach(&self) -> bool {
        self.local && self.kind != EngineKind::Gvisor
    }

    /// Takes out of `spec` the limits that this engine declares it cannot enforce, and says so in one line each.
    /// [`crate::Engine::create_container`] refuses a spec that still has them.
    pub fn fit(&self, spec: &mut ContainerSpec) -> Vec<String> {
        let mut lines = Vec::new();
        let mut without = |gap, asked: bool, what: &str| {
            let drop = asked && self.lacks(gap);
            if drop {
                lines.push(format!("{what} limit is not enforced: {}", self.kind.gap_reason(gap)));
            }
            drop
        };
        if without(Gap::CpuLimit, spec.cpus.is_some(), "cpu") {
            spec.cpus = None;
        }
        if without(Gap::MemoryLimit, spec.memory.is_some(), "memory") {
            spec.memory = None;
        }
        // Under gVisor the limit is kept: the sandbox's own kernel counts, and the engine's limit is raised for its threads.
        let pids = spec.pids_limit.is_some() && self.kind != EngineKind::Gvisor;
        if without(Gap::PidsLimit, pids, "pids") {
            spec.pids_limit = None;
        }
        lines
    }

    /// Whether ids inside can be shifted so that files of the engine's own account belong to the session's user.
    pub fn maps_owner(&self) -> bool {
        self.rootless && self.kind == EngineKind::Podman
    }

    /// The declared error if `spec` asks for a limit that this engine cannot enforce.
    pub(crate) fn refuse_gaps(&self, spec: &ContainerSpec) -> Result<()> {
        let refuse = |gap, what: &str| EngineError::Unsupported {
            action: format!("limit {what} of container `{}`", spec.name),
            engine: self.kind.name(),
            reason: self.kind.gap_reason(gap),
        };
        if spec.cpus.is_some() && self.lacks(Gap::CpuLimit) {
            return Err(refuse(Gap::CpuLimit, "cpus"));
        }
        if spec.memory.is_some() && self.lacks(Gap::MemoryLimit) {
            return Err(refuse(Gap::MemoryLimit, "memory"));
        }
        if spec.map_owner.is_some() && !self.maps_owner() {
            return Err(EngineError::Unsupported {
                action: format!("shift the ids of container `{}`", spec.name),
                engine: self.kind.name(),
                reason: "only a rootless Podman can",
            });
        }
        // Who asks for a filter of their own counts on it; the engine's usual one is a matter of course.
        if matches!(spec.seccomp, Seccomp::Profile(_)) && self.lacks(Gap::Seccomp) {
            return Err(EngineError::Unsupported {
                action: format!("put the seccomp profile on container `{}`", spec.name),
                engine: self.kind.name(),
                reason: self.kind.gap_reason(Gap::Seccomp),
            });
        }
        let pids = spec.pids_limit.is_some() && self.kind != EngineKind::Gvisor;
        if pids && self.lacks(Gap::PidsLimit) {
            return Err(refuse(Gap::PidsLimit, "pids"));
        }
        Ok(())
    }

    /// Whether `gap` is declared.
    pub fn lacks(&self, gap: Gap) -> bool {
        self.gaps.contains(&gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_would_not_be_in_force_is_refused() {
        let mut facts = Facts {
            kind: EngineKind::Gvisor,
            version: String::new(),
            api_version: String::new(),
            endpoint: String::new(),
            rootless: false,
            cgroup_version: 2,
            local: true,
            runtimes: Vec::new(),
            data_root: None,
            gaps: vec![Gap::Seccomp],
        };
        let spec = |seccomp| ContainerSpec { seccomp, ..ContainerSpec::default() };
        let refused = facts.refuse_gaps(&spec(Seccomp::Profile("{}".into())));
        assert!(matches!(refused, Err(EngineError::Unsupported { .. })), "{refused:?}");
        assert!(facts.refuse_gaps(&spec(Seccomp::Default)).is_ok());
        facts.gaps.clear();
        assert!(facts.refuse_gaps(&spec(Seccomp::Profile("{}".into()))).is_ok());
    }
}
