//! Whether this host can run machines: one check after the other, none stopping the next.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::LocalError;
use crate::check::{Check, Outcome};
use crate::config::{Deployment, EngineChoice, Layers};
use crate::engine::{LazyEngine, label};
use crate::state::Store;
use crate::system::accounts::user_by_name;
use crate::system::files::free_bytes;
use crate::system::{Host, guest_program};
use podspawn_runtimes::{Chosen, DiscoveryError, Endpoint, Engine, EngineError, Facts, Gap, Runtime, Tried};
use rustix::fs::Access;

/// Longest wait for the engine's answer in one check.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const GB: u64 = 1 << 30;

/// The socket of the engine in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSocket {
    /// The engine as people write it.
    pub engine: &'static str,
    /// The socket; none where the engine is spoken to otherwise.
    pub path: Option<PathBuf>,
}

/// Who is to run what, and by which configuration.
#[derive(Debug)]
pub struct Subject<'a> {
    /// As whom the engine is looked for.
    pub host: &'a Host,
    /// Who asks.
    pub uid: u32,
    /// Configuration in force.
    pub layers: &'a Layers,
    /// Engine in use; none for the one that is found.
    pub engine: Option<EngineChoice>,
}

impl Subject<'_> {
    fn is_server(&self) -> bool {
        self.layers.deployment == Deployment::Server
    }

    /// What is a failure to root may be none: others see less.
    fn as_seen(&self, check: Check) -> Check {
        if !self.is_server() || self.uid == 0 || check.outcome != Outcome::Fail {
            return check;
        }
        let detail = format!("{} (as far as you can see it)", check.detail);
        Check::warn(check.name, detail, "sudo podspawn doctor")
    }
}

/// Runs all checks. On a server it is for `after_engine` to look at the engine's socket, and at what belongs to a server.
pub fn examine(
    subject: &Subject<'_>,
    tell: &dyn Fn(Check),
    after_engine: &dyn Fn(Option<&EngineSocket>),
) -> Result<(), LocalError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LocalError::Runtime)?;
    runtime.block_on(checks(subject, tell, after_engine));
    Ok(())
}

async fn checks(subject: &Subject<'_>, tell: &dyn Fn(Check), after_engine: &dyn Fn(Option<&EngineSocket>)) {
    let Subject { host, layers, .. } = subject;
    let lazy = LazyEngine::new(host, subject.engine);
    let connected = match lazy.choose() {
        Err(error) => {
            let hints = error.hints().join("; or ");
            let fix = match (subject.is_server(), subject.engine) {
                (true, Some(choice)) => {
                    let name = if choice == EngineChoice::Podman { "Podman" } else { "Docker" };
                    format!("{}; or, where there is none, {hints}", start(subject, name))
                }
                _ => hints,
            };
            let failed = Check::fail("engine choice", error.to_string(), fix);
            tell(subject.as_seen(failed));
            if !subject.is_server() {
                denied(&error).into_iter().for_each(tell);
            }
            after_engine(None);
            None
        }
        Ok(chosen) => {
            let name = label(chosen.kind);
            let mut detail = format!("{name} at {}, because {}", chosen.endpoint, chosen.reason);
            for other in chosen.tried.iter().filter(|tried| tried.is_denied()) {
                detail += &format!("; {} is not accessible for you", other.place);
            }
            tell(Check::pass("engine choice", detail).shown());
            let connected = tokio::time::timeout(ANSWER_LIMIT, lazy.connected()).await;
            tell(subject.as_seen(daemon(name, &chosen, &connected, start(subject, name))));
            if !subject.is_server() {
                tell(socket(name, &chosen));
            }
            let path = match &chosen.endpoint {
                Endpoint::Unix(path) => Some(path.clone()),
                Endpoint::Tcp(_) => None,
            };
            after_engine(Some(&EngineSocket { engine: name, path }));
            match connected {
                Ok(Ok((_, engine))) => Some(engine),
                _ => None,
            }
        }
    };
    let state = &layers.config.state;
    let state_dir = state.db_path.parent().unwrap_or(Path::new("/")).to_owned();
    // On a server it is the broker's: what is missing is not made for it by whoever looks.
    let make = if subject.is_server() { there } else { make };
    tell(of_broker(subject, state_directory(&state_dir, make), &state_dir));
    if !subject.is_server() {
        tell(state_database(&state.db_path));
    }
    tell(of_broker(subject, lock_directory(&state.lock_dir, make), &state.lock_dir));
    tell(disk_space(&state_dir, connected.map(Engine::facts), layers.deployment));
    if let Some(engine) = connected {
        let image = layers.config.defaults.image.as_str();
        let fix = fetch(subject, label(engine.facts().kind), image);
        tell(default_image(engine, image, &fix).await);
        if engine.facts().lacks(Gap::BuildMounts) {
            tell(builds(&engine.facts().version));
        }
        tell(direct_attach(engine.facts()));
    }
    tell(guest());
}

/// A check of a directory that is the broker's on a server: whoever asks may not see into it, and `server-setup` makes it.
fn of_broker(subject: &Subject<'_>, check: Check, dir: &Path) -> Check {
    if !subject.is_server() || check.outcome != Outcome::Fail {
        return check;
    }
    if subject.uid != 0 {
        return Check::unseen(check.name, dir.display());
    }
    let fix = format!("podspawn server-setup; where that fails, look at `ls -ld {}`", dir.display());
    Check::fail(check.name, check.detail, fix)
}

/// Makes a directory, or only finds out whether it is there.
type Make = fn(&Path) -> io::Result<()>;

type Connected<'a> = Result<Result<&'a (Chosen, Runtime), EngineError>, tokio::time::error::Elapsed>;

/// What starts the engine. On a server it is the broker's, and a command can be named.
fn start(subject: &Subject<'_>, name: &str) -> String {
    let account = subject.layers.config.server.account.as_ref().map(|account| account.as_str());
    match (subject.is_server(), account, name) {
        (false, ..) => format!("start {name}, or choose another engine with `--runtime`"),
        (true, Some(account), "Podman") => {
            format!("systemctl --user --machine={account}@ start podman.socket")
        }
        (true, None, "Podman") => "systemctl start podman.socket".into(),
        (true, ..) => "systemctl start docker".into(),
    }
}

/// What brings an image here: the engine's own command. On a server it is the broker's engine that has to have it.
fn fetch(subject: &Subject<'_>, name: &str, image: &str) -> String {
    let server = subject.is_server();
    let account = subject.layers.config.server.account.as_ref().map(|account| account.as_str());
    let pull = match (account.filter(|_| server), name) {
        (Some(account), "Podman") => {
            let pull = format!("podman pull {image}");
            match user_by_name(account) {
                Ok(Some(account)) => account.with_its_engine(&pull),
                _ => format!("as `{account}`: {pull}"),
            }
        }
        (None, "Podman") => format!("podman pull {image}"),
        _ => format!("docker pull {image}"),
    };
    let key = if server { "defaults.image" } else { "local.image" };
    format!("{pull}; where its registry is out of reach, set `{key}` to an image that is here")
}

fn daemon(name: &str, chosen: &Chosen, connected: &Connected<'_>, fix: String) -> Check {
    let title = format!("{name} daemon");
    match connected {
        Ok(Ok((_, engine))) => {
            let facts = engine.facts();
            let rootless = if facts.rootless { ", rootless" } else { "" };
            Check::pass(title, format!("version {}, API {}{rootless}", facts.version, facts.api_version))
        }
        Ok(Err(error)) => Check::fail(title, error.to_string(), fix),
        Err(_) => {
            let seconds = ANSWER_LIMIT.as_secs();
            Check::fail(title, format!("no answer from {} within {seconds} s", chosen.endpoint), fix)
        }
    }
}

/// What helps who may not use an engine that is there.
const ACCESS: &str = "use rootless Podman, or ask whoever runs this host for access";

/// The engines that listen, but not for this user, where none could be chosen.
fn denied(error: &DiscoveryError) -> Vec<Check> {
    let DiscoveryError::NoEngine { tried, .. } = error else { return Vec::new() };
    let one = |tried: &Tried| {
        let (name, place) = tried.place.split_once(" at ").unwrap_or(("engine", &tried.place));
        Check::warn(format!("{name} socket"), format!("{place} is not accessible for you"), ACCESS)
    };
    tried.iter().filter(|tried| tried.is_denied()).map(one).collect()
}

fn socket(name: &str, chosen: &Chosen) -> Check {
    let title = format!("{name} socket");
    let path = match &chosen.endpoint {
        Endpoint::Unix(path) => path,
        Endpoint::Tcp(address) => return Check::pass(title, format!("none: {address} is spoken to")),
    };
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Check::fail(title, format!("{shown} is not a socket"), format!("start {name}"))
        }
        Ok(_) if rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_err() => {
            Check::warn(title, format!("{shown} is not accessible for you"), ACCESS)
        }
        Ok(_) => Check::pass(title, shown.to_string()),
        Err(error) => Check::fail(title, format!("{shown}: {error}"), format!("start {name}")),
    }
}

fn state_directory(dir: &Path, make: Make) -> Check {
    const NAME: &str = "state directory";
    let probed = make(dir).and_then(|()| {
        let probe = dir.join(format!(".probe-{}", std::process::id()));
        fs::write(&probe, "")?;
        fs::remove_file(&probe)
    });
    match probed {
        Ok(()) => Check::pass(NAME, dir.display().to_string()),
        Err(error) => Check::fail(
            NAME,
            format!("{}: {error}", dir.display()),
            format!("make it a directory that you may write to: `ls -ld {}`", dir.display()),
        ),
    }
}

fn state_database(path: &Path) -> Check {
    const NAME: &str = "state database";
    match Store::open(path) {
        Ok(_) => Check::pass(NAME, path.display().to_string()),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            format!("look at {}; without it podspawn forgets which machines are its own", path.display()),
        ),
    }
}

fn lock_directory(dir: &Path, make: Make) -> Check {
    const NAME: &str = "lock directory";
    match make(dir).and_then(|()| fs::metadata(dir)) {
        Ok(metadata) if metadata.is_dir() => Check::pass(NAME, dir.display().to_string()),
        Ok(_) => Check::fail(NAME, format!("{} is not a directory", dir.display()), "move it out of the way"),
        Err(error) => Check::fail(
            NAME,
            format!("{}: {error}", dir.display()),
            format!("make it a directory that you may write to: `ls -ld {}`", dir.display()),
        ),
    }
}

/// Directories of podspawn's own are made when they are first needed, by this check too.
fn make(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Directories of a server are made by `server-setup`.
fn there(dir: &Path) -> io::Result<()> {
    fs::metadata(dir).map(drop)
}

fn disk_space(state: &Path, facts: Option<&Facts>, deployment: Deployment) -> Check {
    const NAME: &str = "disk space";
    let mut places = vec![state.to_owned()];
    places.extend(facts.and_then(|facts| facts.data_root.clone()));
    let fallback = match deployment {
        Deployment::Local => state.to_owned(),
        Deployment::Server => PathBuf::from("/"),
    };
    let measured = places.iter().filter_map(|place| Some((free_bytes(place).ok()?, place.clone())));
    let least = measured.min_by_key(|(free, _)| *free);
    let Some((free, place)) = least.or_else(|| Some((free_bytes(&fallback).ok()?, fallback))) else {
        return Check::warn(NAME, "cannot be measured", "df -h");
    };
    judge_space(NAME, free, &place)
}

fn judge_space(name: &str, free: u64, place: &Path) -> Check {
    let detail = format!("{:.1} GB free at {}", free as f64 / GB as f64, place.display());
    let fix = format!(
        "make room at {}: `docker system df` or `podman system df` shows what images take",
        place.display()
    );
    match free {
        free if free >= 5 * GB => Check::pass(name, detail),
        free if free >= GB => Check::warn(name, detail, fix),
        _ => Check::fail(name, detail, fix),
    }
}

async fn default_image(engine: &Runtime, image: &str, fix: &str) -> Check {
    const NAME: &str = "default image";
    match tokio::time::timeout(ANSWER_LIMIT, engine.image(image)).await {
        Ok(Ok(Some(info))) => Check::pass(NAME, format!("{image} is {}", info.id)),
        Ok(Ok(None)) => {
            Check::warn(NAME, format!("{image} not cached; first connection will pull it (slow)"), fix)
        }
        Ok(Err(error)) => Check::warn(NAME, error.to_string(), fix),
        Err(_) => {
            let detail = format!("no answer within {} s", ANSWER_LIMIT.as_secs());
            Check::warn(NAME, detail, fix)
        }
    }
}

/// Of an engine whose builder does not keep `RUN --mount` to the build.
fn builds(version: &str) -> Check {
    let detail = format!(
        "Dockerfiles and base images that use `RUN --mount` are refused: Podman {version} lets it reach files of this host"
    );
    Check::pass("image builds", detail)
}

fn direct_attach(facts: &Facts) -> Check {
    const NAME: &str = "direct attach";
    if facts.direct_attach() {
        return Check::pass(NAME, "possible: commands go straight into a machine");
    }
    let why =
        if facts.local { "gVisor's kernel is not this host's" } else { "the engine is not on this host" };
    Check::warn(
        NAME,
        format!("not possible: {why}; commands go through the engine"),
        "nothing is broken; for faster commands use Docker or rootless Podman of this host",
    )
}

fn guest() -> Check {
    Check::pass("guest program", format!("{} KB, built in", guest_program().len() / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_judged_by_five_and_by_one_gigabyte() {
        let outcome = |free| judge_space("disk space", free, Path::new("/x")).outcome;
        assert_eq!(outcome(5 * GB), Outcome::Pass);
        assert_eq!(outcome(5 * GB - 1), Outcome::Warn);
        assert_eq!(outcome(GB), Outcome::Warn);
        assert_eq!(outcome(GB - 1), Outcome::Fail);
    }

    #[test]
    fn what_did_not_pass_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for check in [state_directory(&file, make), lock_directory(&file, make), state_database(dir.path())] {
            assert_eq!(check.outcome, Outcome::Fail, "{check:?}");
            assert!(check.fix.is_some(), "{check:?}");
        }
    }

    #[test]
    fn missing_directories_are_made_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let locks = dir.path().join("state/locks");
        assert_eq!(lock_directory(&locks, make).outcome, Outcome::Pass);
        assert_eq!(std::fs::metadata(&locks).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
