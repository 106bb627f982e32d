//! `doctor`

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use podspawn_runtimes::EngineKind;
use serde::Serialize;

use super::broker::program;
use crate::check::{Check, Outcome};
use crate::cli::{DoctorRequest, OutputArg};
use crate::command_error::{CommandError, chain};
use crate::config::{Deployment, EngineChoice, Layers, Reach};
use crate::exit::Exit;
use crate::local::{self, EngineSocket, Overrides, Subject};
use crate::server::Installation;
use crate::server::doctor::{self as hook, Server};
use crate::system::Host;
use crate::system::accounts::user_by_name;
use crate::ui::{Colour, Style, Ui, clean};

/// Longest that all checks together may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Checks this host.
pub(super) fn run(
    request: DoctorRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let DoctorRequest { verbose, output, sshd_config } = request;
    let checks = collect(overrides, host, sshd_config)?;
    let summary = Summary::of(&checks);
    match output {
        OutputArg::Json => ui.json(&Report { checks: &checks, summary: &summary })?,
        OutputArg::Text => ui.report(&render(&checks, &summary, verbose, ui.out_style))?,
    }
    Ok(if summary.failed == 0 { Exit::Success } else { Exit::Negative })
}

/// What the checks found in time. One that hangs, in a look-up of an account or a dead file system, keeps nobody.
fn collect(overrides: &Overrides, host: &Host, sshd_config: PathBuf) -> Result<Vec<Check>, CommandError> {
    let deadline = Instant::now() + LIMIT;
    let (told, checks) = mpsc::channel();
    let (overrides, host) = (overrides.clone(), host.clone());
    thread::spawn(move || {
        // Nobody listens any more where the time is over.
        let tell = |check| drop(told.send(Ok(check)));
        if let Err(error) = examine(&overrides, &host, sshd_config, &tell) {
            let _ = told.send(Err(error));
        }
    });
    let mut found: Vec<Check> = Vec::new();
    loop {
        match checks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(check)) => found.push(check),
            Ok(Err(error)) => return Err(error),
            Err(RecvTimeoutError::Disconnected) => return Ok(found),
            Err(RecvTimeoutError::Timeout) => {
                found.push(late(found.last()));
                return Ok(found);
            }
        }
    }
}

fn late(last: Option<&Check>) -> Check {
    let after = last.map_or_else(|| "none was done".into(), |last| format!("the last was `{}`", last.name));
    let detail = format!("not all checks were done within {} s: {after}", LIMIT.as_secs());
    Check::fail("time limit", detail, "see what the check after that one has to wait for")
}

fn examine(
    overrides: &Overrides,
    host: &Host,
    sshd_config: PathBuf,
    tell: &dyn Fn(Check),
) -> Result<(), CommandError> {
    if local::deployment(overrides, Reach::Either)? == Deployment::Server {
        return examine_server(overrides, host, sshd_config, tell);
    }
    let layers = local::load(host, overrides, Reach::Either)?;
    let engine = layers.config.engine();
    let subject = Subject { host, uid: host.uid(), layers: &layers, engine };
    Ok(local::examine(&subject, tell, &|_| {})?)
}

fn examine_server(
    overrides: &Overrides,
    host: &Host,
    sshd_config: PathBuf,
    tell: &dyn Fn(Check),
) -> Result<(), CommandError> {
    let installation = Installation::new(overrides.config.clone());
    // What the broker reads, which no environment has a say in.
    let layers = match installation.load() {
        Ok(layers) => layers,
        Err(error) => {
            tell(hook::broken_configuration(&error, chain(&error)));
            hook::without_configuration(&sshd_config, host.uid(), tell);
            return Ok(());
        }
    };
    let chosen = overrides.runtime.map(|kind| match kind {
        EngineKind::Docker => EngineChoice::Docker,
        EngineKind::Podman => EngineChoice::Podman,
        EngineKind::Gvisor => EngineChoice::Gvisor,
    });
    let engine = chosen.or_else(|| layers.config.engine());
    let brokers = as_broker(host, &layers);
    let subject = Subject { host: &brokers, uid: host.uid(), layers: &layers, engine };
    let program = program()?;
    let program = std::fs::canonicalize(&program).unwrap_or(program);
    let server = Server::new(installation, layers.config.clone(), sshd_config, program, host.uid());
    let after_engine = |socket: Option<&EngineSocket>| {
        let socket = socket.map(|socket| (socket.engine, socket.path.as_deref()));
        server.first(socket, tell);
    };
    local::examine(&subject, tell, &after_engine)?;
    server.rest(tell);
    Ok(())
}

/// What the broker is started with. Only root can take its place.
fn as_broker(host: &Host, layers: &Layers) -> Host {
    let name = layers.config.server.account.as_ref().map_or("root", |name| name.as_str());
    match user_by_name(name) {
        Ok(Some(account)) if host.uid() == 0 => {
            host.of_account(account.uid, account.gid, &account.name, Path::new(&account.home))
        }
        _ => host.clone(),
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    checks: &'a [Check],
    summary: &'a Summary,
}

#[derive(Debug, Serialize)]
struct Summary {
    passed: usize,
    warned: usize,
    failed: usize,
}

impl Summary {
    fn of(checks: &[Check]) -> Self {
        let with = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
        Self { passed: with(Outcome::Pass), warned: with(Outcome::Warn), failed: with(Outcome::Fail) }
    }
}

fn render(checks: &[Check], summary: &Summary, verbose: bool, style: Style) -> String {
    let mut text = String::new();
    for check in checks {
        let (mark, colour) = match check.outcome {
            Outcome::Pass => ("[pass]", Colour::Green),
            Outcome::Warn => ("[warn]", Colour::Yellow),
            Outcome::Fail => ("[FAIL]", Colour::Red),
        };
        text.push_str(&format!("  {} {}", style.paint(colour, mark), clean(&check.name)));
        if verbose || check.always_shown || check.outcome != Outcome::Pass {
            text.push_str(&format!(": {}", clean(&check.detail)));
        }
        text.push('\n');
        if let Some(fix) = &check.fix {
            text.push_str(&format!("         fix: {}\n", clean(fix)));
        }
    }
    let Summary { passed, warned, failed } = summary;
    text.push_str(&format!("\n{passed} passed, {warned} warned, {failed} failed\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, outcome: Outcome, fix: Option<&str>) -> Check {
        Check {
            name: name.into(),
            outcome,
            detail: "detail".into(),
            fix: fix.map(str::to_owned),
            always_shown: false,
        }
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_fix_and_what_is_right_only_by_name() {
        let checks = [
            check("Docker daemon", Outcome::Pass, None),
            check("default image", Outcome::Warn, Some("do this")),
            check("lock directory", Outcome::Fail, Some("do that")),
        ];
        let summary = Summary::of(&checks);
        assert_eq!(
            render(&checks, &summary, false, Style::new(false)),
            "  [pass] Docker daemon\n  [warn] default image: detail\n         fix: do this\n  \
             [FAIL] lock directory: detail\n         fix: do that\n\n1 passed, 1 warned, 1 failed\n"
        );
        assert!(
            render(&checks, &summary, true, Style::new(false)).contains("[pass] Docker daemon: detail\n")
        );
    }
}
