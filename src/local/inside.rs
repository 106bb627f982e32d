//! Work on a machine's checkout that only a container may do: whatever a container could write to is hostile to git on this
//! host, and files that root inside made are not the invoking user's to remove.
//!
//! The container is a throwaway machine under the machine's own name: nobody else gets that name meanwhile, and one that is
//! left behind goes as every abandoned throwaway machine does.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use podspawn_runtimes::EngineError;
use podspawn_wire::{Exit, Program, RunAs, Start};

use super::attach::Streams;
use super::context::Context;
use super::machine::{Machine, MachineError};
use super::project_error::ProjectError;
use crate::names::{MachineName, SessionKey, printable};
use crate::session::attach::Heard;
use crate::session::setup::Runs;
use crate::session::{Exists, Report, Session, SessionError, Step};
use crate::spec::{HostMount, Kind, MountRequest, ProjectRequest, Request};
use crate::state::Workspace;

/// Most output that is kept, in bytes.
const MOST_OUTPUT: u64 = 64 << 10;
/// Longest that looking for a checkout's commit may take, and most of the answer that is kept, in bytes.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const MOST_HEAD: usize = 4096;
/// Lines that an error repeats.
const LAST_LINES: usize = 6;

/// Fetches a branch and checks it out. Statuses from 90 on say which step failed.
const SWITCH: &str = r#"
target=$1 branch=$2
cd "$target" || exit 90
command -v git >/dev/null 2>&1 || exit 91
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="$target"
changes=$(git status --porcelain) || exit 92
if [ -n "$changes" ]; then printf '%s\n' "$changes"; exit 93; fi
limit=; if command -v timeout >/dev/null 2>&1; then limit="timeout 600"; fi
$limit git fetch --no-recurse-submodules -- origin "+refs/heads/$branch:refs/remotes/origin/$branch" || exit 94
git remote set-branches --add origin "$branch" || exit 95
git checkout --no-recurse-submodules -B "$branch" "refs/remotes/origin/$branch" -- || exit 95
git branch --quiet --set-upstream-to="origin/$branch" "$branch" || exit 95
"#;

/// Removes everything below a directory.
const EMPTY: &str = r#"cd "$1" && rm -rf -- ..?* .[!.]* *"#;

/// Tells whose the checkout is.
const OWNED: &str = r#"test -O "$1""#;

/// What came of a program inside.
#[derive(Debug)]
struct Outcome {
    status: u8,
    out: String,
    err: String,
}

impl Outcome {
    /// Its last lines, neutralised.
    fn said(&self) -> Vec<String> {
        let lines: Vec<&str> = self.err.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.len().saturating_sub(LAST_LINES);
        lines[last..].iter().map(|line| printable(line.trim()).chars().take(400).collect()).collect()
    }
}

impl Context {
    /// Checks another branch out in the checkout of a machine that does not run.
    pub(super) fn switch_inside(
        &self,
        workspace: &Workspace,
        branch: &str,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        let name = workspace.name.to_string();
        let (image, outcome) = self.helped(workspace, report, |context, session| {
            // Who owns the checkout does it, so that its files stay theirs.
            let owned = context.capture(session, RunAs::User, &script(OWNED, &[&workspace.target]))?;
            let run_as = if owned.status == 0 { RunAs::User } else { RunAs::Root };
            context.capture(session, run_as, &script(SWITCH, &[&workspace.target, branch]))
        })?;
        let failed = |action: String| Err(ProjectError::Inside { action, said: outcome.said() });
        match outcome.status {
            0 => Ok(()),
            91 => Err(ProjectError::NoGit(image)),
            92 => failed(format!("look for changes in the checkout of `{name}`")),
            93 => {
                let changes = outcome.out.lines().take(5).map(|line| printable(line.trim())).collect();
                Err(ProjectError::Dirty { name, changes })
            }
            94 => failed(format!("fetch the branch `{branch}`")),
            _ => failed(format!("check out the branch `{branch}`")),
        }
    }

    /// Removes what is in a checkout, as root of a container.
    pub(super) fn empty_inside(
        &self,
        workspace: &Workspace,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        let (_, outcome) = self.helped(workspace, report, |context, session| {
            context.capture(session, RunAs::Root, &script(EMPTY, &[&workspace.target]))
        })?;
        emptied(&workspace.name, &outcome)
    }

    /// Removes what is in a checkout that a throwaway machine left, as root of another one of its name. Nobody knows what that
    /// was made of: any image with a shell will do.
    pub(super) fn empty_abandoned(
        &self,
        name: &MachineName,
        path: &Path,
        report: &mut dyn Report,
    ) -> Result<(), ProjectError> {
        const TARGET: &str = "/workspace/abandoned";
        let key = SessionKey::machine(self.owner().clone(), name.clone());
        let mount = HostMount { source: path.to_owned(), target: TARGET.into(), read_only: false };
        let mounts = vec![MountRequest { mount, owner: None }];
        let request = Request { mounts, ..self.settings.request(key, Kind::Throwaway) };
        let helper = self.helper(&request, report)?;
        let (_, outcome) = self.work_in(helper, |context, session| {
            context.capture(session, RunAs::Root, &script(EMPTY, &[TARGET]))
        })?;
        emptied(name, &outcome)
    }

    /// The commit that is checked out in a machine that runs; none if its image has no git or that cannot say.
    pub(super) fn head_inside(&self, session: &Session, target: &str) -> Option<String> {
        let git =
            ["git", "-c", &format!("safe.directory={target}"), "-C", target, "rev-parse", "--verify", "HEAD"]
                .map(str::to_owned);
        let start = Start {
            program: Program::Argv(git.into()),
            run_as: RunAs::User,
            cwd: Some("/".into()),
            env: Vec::new(),
            streams: podspawn_wire::Streams::Pipes,
            agent: false,
            x11: None,
        };
        let asked = async {
            let mut process = self.core.guests.run(&self.core.engines, &session.record, start).await.ok()?;
            let mut out = Vec::new();
            loop {
                match process.next().await.ok()? {
                    Heard::Output(bytes) if out.len() < MOST_HEAD => out.extend(bytes),
                    Heard::Output(_) => {}
                    Heard::Ended(end) => return (end == Exit::Code(0)).then_some(out),
                }
            }
        };
        // What is called git there may be anything: it never holds the command up.
        let said = self.block_on(async { tokio::time::timeout(HEAD_LIMIT, asked).await });
        let said = String::from_utf8_lossy(&said.ok()?.ok()??).into_owned();
        let head = said.lines().last()?.trim();
        let is_commit = (40..=64).contains(&head.len()) && head.bytes().all(|b| b.is_ascii_hexdigit());
        is_commit.then(|| head.to_owned())
    }

    /// Does work in a throwaway machine that has the checkout; with it comes the image that was used. What is in the checkout
    /// may be what is to be got rid of: where no machine can be made of it, one of the default image does the work.
    fn helped(
        &self,
        workspace: &Workspace,
        report: &mut dyn Report,
        work: impl FnOnce(&Self, &Session) -> Result<Outcome, ProjectError>,
    ) -> Result<(String, Outcome), ProjectError> {
        let request = self.workspace_request(Kind::Throwaway, workspace);
        let is_default = request.as_ref().is_ok_and(|request| request.project.is_none());
        let helper = request.and_then(|request| {
            let project = request.project.map(bare);
            self.helper(&Request { project, start_dir: None, ..request }, report)
        });
        let helper = match helper {
            Err(error) if !is_default && is_of_its_making(&error) => {
                let text =
                    format!("no machine can be made of the checkout, the default image is used: {error}");
                report.step(Step::Warning(&text));
                let key = SessionKey::machine(workspace.user.clone(), workspace.name.clone());
                let mounts = vec![self.checkout_mount(workspace)];
                self.helper(&Request { mounts, ..self.settings.request(key, Kind::Throwaway) }, report)?
            }
            helper => helper?,
        };
        self.work_in(helper, work)
    }

    fn helper(&self, request: &Request, report: &mut dyn Report) -> Result<Machine<'_>, ProjectError> {
        let spec = self.settings.resolve_request(request)?.spec;
        Ok(self.acquire(&spec, Exists::Refuse, report)?)
    }

    fn work_in(
        &self,
        helper: Machine<'_>,
        work: impl FnOnce(&Self, &Session) -> Result<Outcome, ProjectError>,
    ) -> Result<(String, Outcome), ProjectError> {
        let image = helper.session.record.image.clone();
        let outcome = work(self, &helper.session);
        let left = helper.leave();
        let outcome = outcome?;
        let _ = left?;
        Ok((image, outcome))
    }

    /// Runs a program without input and keeps what it writes.
    fn capture(&self, session: &Session, run_as: RunAs, argv: &[String]) -> Result<Outcome, ProjectError> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let made = pipe().and_then(|out| Ok((out, pipe()?)));
        let ((out, to_out), (err, to_err)) =
            made.map_err(|error| ProjectError::files("make a pipe for", "git")(error.into()))?;
        let (out, err) = (collect(out), collect(err));
        let streams =
            Streams { terminal: false, stdin: None, stdout: to_out.as_fd(), stderr: to_err.as_fd() };
        let ended = self.enter_as(session, Program::Argv(argv.to_vec()), run_as, "/", streams);
        drop((to_out, to_err));
        let text = |from: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&from.join().unwrap_or_default()).into_owned()
        };
        let (out, err) = (text(out), text(err));
        Ok(Outcome { status: ended?.status(), out, err })
    }
}

/// Whether a machine could not be made because of what it was to be made of.
fn is_of_its_making(error: &ProjectError) -> bool {
    match error {
        ProjectError::Environment(_) | ProjectError::Resolve(_) => true,
        ProjectError::Machine(MachineError::Session(SessionError::Engine(error))) => matches!(
            error,
            EngineError::NotFound { .. }
                | EngineError::Pull { .. }
                | EngineError::Build { .. }
                | EngineError::Engine { .. }
        ),
        ProjectError::Machine(MachineError::Session(error)) => matches!(
            error,
            SessionError::Build { .. }
                | SessionError::Ended { .. }
                | SessionError::Guest { .. }
                | SessionError::Impossible(_)
        ),
        _ => false,
    }
}

/// What became of removing the files of a checkout.
fn emptied(name: &MachineName, outcome: &Outcome) -> Result<(), ProjectError> {
    match outcome.status {
        0 => Ok(()),
        _ => {
            let action = format!("remove the files of `{name}`");
            Err(ProjectError::Inside { action, said: outcome.said() })
        }
    }
}

fn script(text: &str, args: &[&str]) -> Vec<String> {
    let fixed = ["/bin/sh", "-c", text, "podspawn"];
    fixed.iter().chain(args).map(|word| (*word).to_owned()).collect()
}

fn collect(from: OwnedFd) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut from = std::fs::File::from(from);
        // What was read before an error is all that there is; the rest is read so that nobody is stopped by a full pipe.
        let _ = from.by_ref().take(MOST_OUTPUT).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        bytes
    })
}

/// The project's image and account, without anything that starts by itself.
fn bare(mut project: ProjectRequest) -> ProjectRequest {
    let podfile = &mut project.podfile;
    podfile.dotfiles = None;
    podfile.repos.clear();
    podfile.services.clear();
    podfile.volumes.clear();
    podfile.hooks = crate::podfile::Hooks::default();
    ProjectRequest { copy: None, start_dir: None, ports: Vec::new(), ..project }
}
