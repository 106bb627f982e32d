//! Running the parts of a setup, and saying what became of them.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use podspawn_wire::{Exit, FailureKind, Program, RunAs, Start, Streams};

use super::super::attach::{AttachError, Heard};
use super::super::core::{Core, EngineSource};
use super::super::error::SessionError;
use super::inside::{Inside, Runs};
use super::news::{Audience, News};
use super::plan::{self, CLONED_ALREADY, Clone, EMPTY_DIRECTORY};
use super::text::{Lines, Tail};
use crate::names::printable;
use crate::spec::{Dotfiles, Hook, Repo};
use crate::state::SessionRecord;
use crate::system::process::Pinned;
use crate::system::signals::Signal;

/// A container whose connections break off is dead within this time, or lives.
const DYING: Duration = Duration::from_millis(500);

/// Before the lines of what runs once.
const INDENT: &str = "    ";

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Exit(Exit),
    /// The container's user asked for something that cannot be started.
    Refused(FailureKind, String),
    /// The person had enough of it.
    Skipped,
    TooLong(Duration),
    /// The way to it broke, and the container is still there.
    Broken(String),
}

impl End {
    const FINE: Self = Self::Exit(Exit::Code(0));

    /// Behind the name of what failed.
    fn words(&self) -> String {
        match self {
            Self::Exit(Exit::Code(code)) => format!("failed with status {code}"),
            Self::Exit(Exit::Signal(signal)) => format!("was ended by signal {signal}"),
            Self::Refused(_, text) => format!("could not be started: {}", printable(text)),
            Self::Skipped => "was interrupted".into(),
            Self::TooLong(limit) => format!("took longer than {} s and was ended", limit.as_secs()),
            Self::Broken(text) => format!("was cut off: {}", printable(text)),
        }
    }

    /// As the log has it.
    fn status(&self) -> String {
        match self {
            Self::Exit(exit) => exit.status().to_string(),
            Self::Refused(FailureKind::NotFound, _) => "127".into(),
            Self::Refused(FailureKind::NotExecutable, _) => "126".into(),
            Self::Refused(..) | Self::Broken(_) => "unknown".into(),
            Self::Skipped => "interrupted".into(),
            Self::TooLong(_) => "timeout".into(),
        }
    }
}

/// How the lines of a process are shown.
#[derive(Debug, Clone, Copy)]
struct Manner<'a> {
    /// Before each line.
    prefix: &'a str,
    /// A blank line stands before the first, if anything was told before.
    apart: bool,
    /// Where the process begins; none for the home.
    dir: Option<&'a str>,
}

/// Runs things in one session's container for one audience.
pub(super) struct Runner<'a, 'b, S, G> {
    core: &'a Core<S, G>,
    record: &'a SessionRecord,
    /// Several processes at once share it; nothing waits while it is borrowed.
    audience: RefCell<&'a mut Audience<'b>>,
    limit: Option<Duration>,
}

impl<'a, 'b, S: EngineSource, G: Runs> Runner<'a, 'b, S, G> {
    /// `limit` is for each process.
    pub(super) fn new(
        core: &'a Core<S, G>,
        record: &'a SessionRecord,
        audience: &'a mut Audience<'b>,
        limit: Option<Duration>,
    ) -> Self {
        Self { core, record, audience: RefCell::new(audience), limit }
    }

    /// Clones and installs the user's configuration files.
    pub(super) async fn dotfiles(&self, dotfiles: &Dotfiles) -> Result<(), SessionError> {
        let address = plan::address(&dotfiles.repo);
        let clone = Clone::in_home(&dotfiles.repo, "dotfiles");
        if !self.clone(&clone, &format!("Cloning dotfiles from {address}"), "dotfiles").await? {
            return Ok(());
        }
        let Some(script) = dotfiles.install.as_deref().filter(|script| !script.trim().is_empty()) else {
            return Ok(());
        };
        let title = format!("Installing dotfiles: {}", plan::shorten(script));
        self.tell(News::Begun(&title));
        let mut tail = Tail::default();
        let end = self.run(plan::install(script), &mut tail, INDENT_ONLY).await?;
        let hint = "everything else is as it should be; correct it in the repository";
        self.over(&title, "the install command of the dotfiles", &end, &tail, hint);
        Ok(())
    }

    /// Clones a repository.
    pub(super) async fn repo(&self, repo: &Repo) -> Result<(), SessionError> {
        let Repo { url, path, branch } = repo;
        let title = format!("Cloning {}", plan::address(url));
        let clone = Clone::new(url, branch.as_ref(), path.as_deref());
        self.clone(&clone, &title, &plan::address(url)).await.map(drop)
    }

    /// Runs a hook with what it says; false if it failed.
    pub(super) async fn hook(&self, hook: &Hook) -> Result<bool, SessionError> {
        let title = format!("Running {}: {}", printable(&hook.name), plan::summary(&hook.command));
        self.tell(News::Begun(&title));
        let hint = "everything else works, and it runs again in a new container";
        self.processes(hook, Some(&title), INDENT_ONLY, hint).await
    }

    /// Runs a hook of a connection: what it says is for the person who comes, and nothing stands around it.
    pub(super) async fn greeting(&self, hook: &Hook) -> Result<(), SessionError> {
        let title = format!("Running {}: {}", printable(&hook.name), plan::summary(&hook.command));
        // Not `tell`: a blank line stands only behind what stays to be seen.
        self.audience.borrow_mut().tell(News::Runs(&title));
        let manner = Manner { prefix: "", apart: true, dir: None };
        self.processes(hook, None, manner, "it runs again with the next connection").await.map(drop)
    }

    /// All processes of a hook, at the same time. Each one that failed is named.
    async fn processes(
        &self,
        hook: &Hook,
        title: Option<&str>,
        manner: Manner<'_>,
        hint: &str,
    ) -> Result<bool, SessionError> {
        let name = &printable(&hook.name);
        let running = plan::processes(&hook.command).into_iter().map(|process| async move {
            let alone = process.name.is_empty();
            let prefix =
                if alone { manner.prefix.into() } else { format!("{}[{}] ", manner.prefix, process.name) };
            let mut tail = Tail::default();
            let end = self
                .run(process.argv, &mut tail, Manner { prefix: &prefix, dir: hook.dir.as_deref(), ..manner })
                .await?;
            let subject = if alone { name.clone() } else { format!("{name} [{}]", process.name) };
            Ok((subject, end, tail))
        });
        let mut failed = false;
        // All of them are waited for, also when one cannot go on.
        let ended: Vec<Result<_, SessionError>> = join_all(running).await;
        for ended in ended {
            let (subject, end, tail) = ended?;
            if end != End::FINE {
                failed = true;
                self.failed(&subject, &end, &tail, hint);
            }
        }
        if let Some(title) = title.filter(|_| !failed) {
            self.tell(News::Done(title));
        }
        Ok(!failed)
    }

    /// Brings a repository to its place; false if that failed.
    async fn clone(&self, clone: &Clone<'_>, title: &str, what: &str) -> Result<bool, SessionError> {
        self.tell(News::Begun(title));
        let mut tail = Tail::default();
        let subject = format!("cloning {what}");
        let look = self.run(clone.look(), &mut tail, INDENT_ONLY).await?;
        let end = match look {
            End::Exit(Exit::Code(CLONED_ALREADY)) => End::FINE,
            End::Exit(Exit::Code(EMPTY_DIRECTORY)) => self.run(clone.here(), &mut tail, INDENT_ONLY).await?,
            End::FINE => match self.run(clone.beside(), &mut tail, INDENT_ONLY).await? {
                End::FINE => self.run(clone.settle(), &mut tail, INDENT_ONLY).await?,
                failed => failed,
            },
            other => {
                let hint = "name another `path`, such as one below /workspace";
                self.over(title, &subject, &other, &tail, hint);
                return Ok(false);
            }
        };
        let hint = match &end {
            End::Refused(FailureKind::NotFound, _) => "the image has no git: add `git` to `packages`",
            _ => "check the address, and whether it needs credentials that are not inside",
        };
        Ok(self.over(title, &subject, &end, &tail, hint))
    }

    /// Says how something ended; true if well.
    fn over(&self, title: &str, subject: &str, end: &End, tail: &Tail, hint: &str) -> bool {
        let fine = *end == End::FINE;
        if fine {
            self.tell(News::Done(title));
        } else {
            self.failed(subject, end, tail, hint);
        }
        fine
    }

    /// One line for the person, one for the log.
    fn failed(&self, subject: &str, end: &End, tail: &Tail, hint: &str) {
        let SessionRecord { key, container_name, .. } = self.record;
        let words = end.words();
        tracing::warn!(
            user = %key.user, project = key.project(), container = container_name,
            hook = subject, status = end.status(), output = tail.text(), "{subject} {words}"
        );
        self.tell(News::Failed(&format!("{subject} {words}; {hint}")));
    }

    fn tell(&self, news: News<'_>) {
        let mut audience = self.audience.borrow_mut();
        audience.told |= audience.person;
        audience.tell(news);
    }

    /// A line that a process wrote.
    fn said(&self, line: &str, tail: &mut Tail, manner: Manner<'_>) {
        tail.add(line);
        let mut audience = self.audience.borrow_mut();
        if manner.apart && std::mem::take(&mut audience.told) {
            audience.tell(News::Said(""));
        }
        audience.tell(News::Said(&format!("{}{line}", manner.prefix)));
    }

    /// Runs one process as the session's user in their home until it ends, or until it is given up.
    async fn run(&self, argv: Vec<String>, tail: &mut Tail, manner: Manner<'_>) -> Result<End, SessionError> {
        // On the heap: every caller's own future would hold it, several times over.
        Box::pin(self.see_through(argv, tail, manner)).await
    }

    async fn see_through(
        &self,
        argv: Vec<String>,
        tail: &mut Tail,
        manner: Manner<'_>,
    ) -> Result<End, SessionError> {
        let start = Start {
            program: Program::Argv(argv),
            run_as: RunAs::User,
            cwd: manner.dir.map(str::to_owned),
            // Whoever clones inside is asked nothing: nobody could answer.
            env: vec![("GIT_TERMINAL_PROMPT".into(), "0".into())],
            streams: Streams::Pipes,
            agent: false,
            x11: None,
        };
        let (cancel, mut skip) = {
            let audience = self.audience.borrow();
            (audience.cancel.clone(), audience.skip.clone())
        };
        skip.forget();
        let mut process = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SessionError::Cancelled),
            started = self.core.guests.run(&self.core.engines, self.record, start) => match started {
                Ok(process) => process,
                Err(error) => return self.broken(error),
            },
        };
        let limit = async {
            match self.limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let mut limit = std::pin::pin!(limit);
        let mut lines = Lines::default();
        let mut skipped = false;
        let end = loop {
            let heard = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    process.hang_up().await;
                    return Err(SessionError::Cancelled);
                }
                () = skip.asked() => {
                    if skipped || process.signal(Signal::Interrupt.number()).is_err() {
                        process.hang_up().await;
                        break End::Skipped;
                    }
                    skipped = true;
                    continue;
                }
                () = &mut limit => {
                    process.hang_up().await;
                    break End::TooLong(self.limit.unwrap_or_default());
                }
                heard = process.next() => heard,
            };
            match heard {
                Ok(Heard::Output(bytes)) => {
                    lines.push(&bytes).iter().for_each(|line| self.said(line, tail, manner));
                }
                Ok(Heard::Ended(exit)) if skipped && exit != Exit::Code(0) => break End::Skipped,
                Ok(Heard::Ended(exit)) => break End::Exit(exit),
                Err(error) => break self.broken(error)?,
            }
        };
        if let Some(line) = lines.rest() {
            self.said(&line, tail, manner);
        }
        Ok(end)
    }

    /// What it means that a process cannot be reached, or not any more: perhaps the session has been stopped.
    fn broken(&self, error: AttachError) -> Result<End, SessionError> {
        if let AttachError::Refused { kind, text } = error {
            return Ok(End::Refused(kind, text));
        }
        self.core.standing(self.record)?;
        if let Some(process) = &self.record.process {
            // A process that dies closes its descriptors a little before it counts as dead.
            let first = Pinned::recorded(process.pid, process.start_time, &process.boot_id);
            if first.is_ok_and(|first| !first.ends_within(DYING)) {
                return Ok(End::Broken(chain(&error)));
            }
            return Err(self.core.stopped(self.record));
        }
        match error {
            AttachError::Stopped => Err(self.core.stopped(self.record)),
            error => Ok(End::Broken(chain(&error))),
        }
    }
}

const INDENT_ONLY: Manner<'_> = Manner { prefix: INDENT, apart: false, dir: None };

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
