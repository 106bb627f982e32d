//! git on this host, for repositories that no container has ever been able to write to.
//!
//! It runs with a made-up environment and nobody's configuration, without hooks, filters, submodules and other programs, and
//! under Landlock: it changes one directory, reads what every program reads, and uses the network. What a container can
//! write to is git's business inside a container ([`super::inside`]).

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::login::Login;
use crate::names::{BranchName, GitUrl, printable};
use crate::sandbox::{Force, Plan};
use crate::session::{Cancel, Report, Step};
use crate::spec::Owner;
use crate::system::Host;
use crate::system::process::{Pinned, tied};

/// Longest that one call may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Longest that looking for a repository's default branch may take.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// How long git may take to remove what it was making.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines of git's that an error repeats.
const LAST_LINES: usize = 6;
/// Longest output that is kept, in bytes.
const MOST_OUTPUT: u64 = 1 << 20;

/// Where git and its helpers are looked for.
const SEARCH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";
/// A home that has no configuration.
const NO_HOME: &str = "/nonexistent";
/// The branch of a repository that does not say.
const USUAL_BRANCH: &str = "main";

/// What nobody's configuration may change: no program but git's own is run for what a repository holds.
const SETTINGS: [&str; 16] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.askPass=",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "credential.helper=",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "protocol.git.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "maintenance.auto=false",
    "advice.detachedHead=false",
];

/// What git could not do.
#[derive(Debug, Error)]
pub enum GitError {
    /// There is no git on this host.
    #[error("`git` is not installed on this host")]
    Missing,
    /// It said no.
    #[error("{action}: {}", if said.is_empty() { status.to_string() } else { said.join("; ") })]
    Failed {
        /// What was to be done.
        action: String,
        /// Its last lines, neutralised.
        said: Vec<String>,
        /// How it ended.
        status: ExitStatus,
    },
    /// It did not come to an end.
    #[error("{action}: git did not come to an end within {} seconds", limit.as_secs())]
    Timeout {
        /// What was to be done.
        action: String,
        /// The limit.
        limit: Duration,
    },
    /// Somebody gave it up; what it was making is gone.
    #[error("cancelled")]
    Cancelled,
    /// It could not be started or watched.
    #[error("run git: {0}")]
    Io(#[from] io::Error),
    /// What it may do could not be restricted.
    #[error("run git: {0}")]
    Sandbox(String),
}

/// Runs git.
#[derive(Debug, Clone)]
pub struct Git {
    known_hosts: Vec<PathBuf>,
    agent: Option<PathBuf>,
    account: Option<Owner>,
    proxies: Vec<(&'static str, String)>,
}

/// One call.
struct Call<'a> {
    /// Working directory, the only one that may be changed.
    directory: &'a Path,
    /// Behind the settings.
    args: Vec<String>,
    /// Who git is for the repository, if the address says that.
    login: Option<Login>,
    /// What is to be done, for errors.
    action: String,
    limit: Duration,
}

/// What comes from the thread that watches over git.
enum News {
    Started(Pinned),
    Line(String),
    Ended(Result<(ExitStatus, String), GitError>),
}

impl Git {
    /// With the invoking user's agent and known hosts for ssh, and the proxies of the environment.
    pub fn new(host: &Host) -> Self {
        let ssh = host.home().map(|home| home.join(".ssh"));
        let known = |name: &str| ssh.as_ref().map(|ssh| ssh.join(name));
        let proxies = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];
        Self {
            known_hosts: ["known_hosts", "known_hosts2"].into_iter().filter_map(known).collect(),
            agent: host.path_var("SSH_AUTH_SOCK").map(Path::to_owned),
            account: None,
            proxies: proxies
                .into_iter()
                .filter_map(|name| Some((name, host.var(name)?.to_owned())))
                .collect(),
        }
    }

    /// As another account, which only root can do; without the invoking user's agent.
    #[must_use]
    pub fn working_as(mut self, account: Owner) -> Self {
        self.account = Some(account);
        self.agent = None;
        self
    }

    /// Clones one branch (the default one if none is named) into an empty directory.
    pub async fn clone(
        &self,
        url: &GitUrl,
        branch: Option<&BranchName>,
        directory: &Path,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), GitError> {
        report.step(Step::Now(&format!("Cloning {}", shown(url))));
        let mut args =
            words(&["clone", "--progress", "--single-branch", "--no-recurse-submodules", "--template="]);
        args.extend(branch.map(|branch| format!("--branch={branch}")));
        let login = Login::of(url.as_str());
        args.extend(["--".to_owned(), without(url, login.as_ref()), ".".to_owned()]);
        let action = format!("clone {}", shown(url));
        let call = Call { directory, args, login: login.clone(), action, limit: LIMIT };
        self.run(call, report, cancel).await?;
        match login {
            // Another account's clones are made anew each time, and root writes nothing where that account can.
            Some(login) if self.account.is_none() => Ok(login.keep(directory)?),
            _ => Ok(()),
        }
    }

    /// Fetches a branch into a clone and checks it out; what was there is overwritten.
    pub async fn switch(
        &self,
        directory: &Path,
        branch: &BranchName,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), GitError> {
        report.step(Step::Now(&format!("Fetching branch {branch}")));
        let refs = format!("+refs/heads/{branch}:refs/remotes/origin/{branch}");
        let fetch = ["fetch", "--progress", "--no-recurse-submodules", "--", "origin", &refs];
        let add = ["remote", "set-branches", "--add", "origin", branch.as_str()];
        let upstream = format!("refs/remotes/origin/{branch}");
        let checkout = ["checkout", "--force", "-B", branch.as_str(), upstream.as_str(), "--"];
        let origin = format!("--set-upstream-to=origin/{branch}");
        let track = ["branch", "--quiet", &origin, branch.as_str()];
        let login = self.login_of(directory, report, cancel).await?;
        for args in [&fetch[..], &add, &checkout, &track] {
            let action = format!("check out the branch `{branch}`");
            let call = Call { directory, args: words(args), login: login.clone(), action, limit: LIMIT };
            self.run(call, report, cancel).await?;
        }
        Ok(())
    }

    /// Brings a clone that only podspawn works in to what its remote has now.
    pub async fn update(
        &self,
        directory: &Path,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), GitError> {
        report.step(Step::Now("Fetching the repository"));
        let fetch = ["fetch", "--progress", "--prune", "--no-recurse-submodules", "--", "origin"];
        let login = self.login_of(directory, report, cancel).await?;
        for args in [&fetch[..], &["reset", "--hard", "@{upstream}", "--"], &["clean", "-ffdx"]] {
            let action = "update the clone".to_owned();
            let call = Call { directory, args: words(args), login: login.clone(), action, limit: LIMIT };
            self.run(call, report, cancel).await?;
        }
        Ok(())
    }

    /// The login in the address of a clone's remote.
    async fn login_of(
        &self,
        directory: &Path,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<Option<Login>, GitError> {
        let args = words(&["config", "--default", "", "--get", "remote.origin.url"]);
        let action = "read the address of the repository".to_owned();
        let call = Call { directory, args, login: None, action, limit: LOOK_LIMIT };
        Ok(Login::of(self.run(call, report, cancel).await?.trim_end()))
    }

    /// The default branch of a repository; `main` if it cannot be asked.
    pub async fn default_branch(
        &self,
        url: &GitUrl,
        directory: &Path,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<BranchName, GitError> {
        let login = Login::of(url.as_str());
        let args = words(&["ls-remote", "--symref", "--", &without(url, login.as_ref()), "HEAD"]);
        let action = format!("ask {}", shown(url));
        let call = Call { directory, args, login, action, limit: LOOK_LIMIT };
        let said = match self.run(call, report, cancel).await {
            Ok(said) => said,
            Err(GitError::Failed { .. } | GitError::Timeout { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        let usual = || USUAL_BRANCH.parse().expect("a valid branch");
        Ok(symref(&said).unwrap_or_else(usual))
    }

    async fn run(
        &self,
        call: Call<'_>,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<String, GitError> {
        let Call { directory, args, login, action, limit } = call;
        let mut command = self.command(directory);
        if let Some(login) = login {
            login.tell(&mut command);
        }
        command.args(&args);
        let plan = Plan::git(directory.to_owned(), self.known_hosts.clone());
        let (sender, mut news) = unbounded_channel();
        // A thread of its own: a restriction is a thread's, and what it starts inherits it.
        let watching = sender.clone();
        std::thread::Builder::new().name("git".into()).spawn(move || {
            let ended = watch(command, &plan, &watching);
            // Nobody listens any more if it was given up.
            let _ = watching.send(News::Ended(ended));
        })?;
        drop(sender);
        let mut last = Vec::new();
        let mut process = None;
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(GitError::Cancelled),
            () = tokio::time::sleep(limit) => Err(GitError::Timeout { action: action.clone(), limit }),
            ended = follow(&mut news, &mut process, &mut last, report) => ended,
        };
        let (status, output) = match outcome {
            Ok(ended) => ended,
            Err(error) => {
                give_up(&mut news, process).await;
                return Err(error);
            }
        };
        if status.success() {
            return Ok(output);
        }
        Err(GitError::Failed { action, said: last, status })
    }

    fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new("git");
        command.current_dir(directory).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in [
            ("PATH", SEARCH),
            ("HOME", NO_HOME),
            ("XDG_CONFIG_HOME", NO_HOME),
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ALLOW_PROTOCOL", "https:ssh:git"),
            ("GIT_TEMPLATE_DIR", ""),
            ("GIT_NO_LAZY_FETCH", "1"),
            // Keys are the agent's: none is read here.
            ("GIT_SSH_COMMAND", "ssh -F none -o BatchMode=yes -o IdentitiesOnly=no -o IdentityFile=none"),
            ("GIT_SSH_VARIANT", "ssh"),
        ] {
            command.env(name, value);
        }
        if let Some(account) = self.account {
            // Other groups go with root's uid.
            command.uid(account.uid).gid(account.gid);
        }
        if let Some(agent) = &self.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        for (name, value) in &self.proxies {
            command.env(name, value);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
    }
}

/// Restricts this thread, starts git and stays with it to its end.
fn watch(
    mut command: Command,
    plan: &Plan,
    news: &UnboundedSender<News>,
) -> Result<(ExitStatus, String), GitError> {
    match plan.apply().map_err(|error| GitError::Sandbox(error.to_string()))? {
        Force::Full => {}
        // An old kernel: the environment and the settings hold.
        Force::Partial | Force::Nothing => {
            tracing::warn!("git runs with less confinement than podspawn asks for")
        }
    }
    let mut child: Child = match tied(&mut command).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(GitError::Missing),
        Err(error) => return Err(error.into()),
    };
    if let Some(pinned) = i32::try_from(child.id()).ok().and_then(|pid| Pinned::any(pid).ok()) {
        let _ = news.send(News::Started(pinned));
    }
    let stdout = child.stdout.take();
    let output = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            // What was read before an error is all that there is.
            let _ = stdout.take(MOST_OUTPUT).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    if let Some(stderr) = child.stderr.take() {
        lines(stderr, |line| drop(news.send(News::Line(line))));
    }
    let status = child.wait()?;
    Ok((status, output.join().unwrap_or_default()))
}

/// Every line, and every state of a line that is drawn again, neutralised.
fn lines(mut from: impl Read, mut each: impl FnMut(String)) {
    /// Longer ones are cut.
    const MOST: usize = 400;
    let mut line: Vec<u8> = Vec::new();
    let mut piece = [0; 4096];
    let mut end = |line: &mut Vec<u8>| {
        let text = printable(&without_passwords(String::from_utf8_lossy(line).trim()));
        line.clear();
        if !text.is_empty() {
            each(text);
        }
    };
    while let Ok(length) = from.read(&mut piece) {
        if length == 0 {
            break;
        }
        for byte in &piece[..length] {
            match byte {
                b'\r' | b'\n' => end(&mut line),
                byte if line.len() < MOST => line.push(*byte),
                _ => {}
            }
        }
    }
    end(&mut line);
}

/// Passes progress on until the end.
async fn follow(
    news: &mut UnboundedReceiver<News>,
    process: &mut Option<Pinned>,
    last: &mut Vec<String>,
    report: &mut dyn Report,
) -> Result<(ExitStatus, String), GitError> {
    while let Some(one) = news.recv().await {
        match one {
            News::Started(pinned) => *process = Some(pinned),
            News::Line(line) => {
                report.step(Step::Watch(&line));
                // Percentages say nothing once it has ended.
                if !line.contains('%') && !line.starts_with("Cloning into") {
                    last.push(line);
                    let surplus = last.len().saturating_sub(LAST_LINES);
                    last.drain(..surplus);
                }
            }
            News::Ended(ended) => return ended,
        }
    }
    Err(io::Error::from(io::ErrorKind::BrokenPipe).into())
}

/// Ends git and what it started, kindly first: it removes what it was making.
async fn give_up(news: &mut UnboundedReceiver<News>, mut process: Option<Pinned>) {
    let mut last = Vec::new();
    for kill in [false, true] {
        if let Some(process) = &process {
            // It may have ended by itself. Its helpers, which would wait for a silent server for ever, are in its group, whose
            // number nobody else has while git can be signalled.
            let (sent, signal) = match kill {
                true => (process.kill(), Signal::KILL),
                false => (process.terminate(), Signal::TERM),
            };
            if let (Ok(()), Some(group)) = (sent, Pid::from_raw(process.pid())) {
                let _ = kill_process_group(group, signal);
            }
        }
        let silent = &mut crate::session::Silent;
        let ending = follow(news, &mut process, &mut last, silent);
        if tokio::time::timeout(PATIENCE, ending).await.is_ok() {
            return;
        }
    }
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// The address that stands in git's arguments.
fn without(url: &GitUrl, login: Option<&Login>) -> String {
    login.map_or_else(|| url.to_string(), |login| login.without.clone())
}

/// The branch that `ls-remote --symref` says HEAD is.
fn symref(said: &str) -> Option<BranchName> {
    let line = said.lines().find_map(|line| line.strip_prefix("ref: refs/heads/"))?;
    line.split('\t').next()?.parse().ok()
}

/// The address without a password that may stand in it.
pub(super) fn shown(url: &GitUrl) -> String {
    printable(&without_passwords(url.as_str()))
}

/// A text without the passwords of the addresses in it.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let end =
            part.find(|c: char| matches!(c, '/' | '\'' | '"') || c.is_whitespace()).unwrap_or(part.len());
        // For ssh a name alone is a name; for the web it may be a token.
        let named = shown.ends_with("ssh://") || shown.ends_with("git://");
        match part[..end].rfind('@') {
            Some(at) if !named || part[..at].contains(':') => shown.push_str(&format!("…{}", &part[at..])),
            _ => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_branch_is_read_from_what_the_remote_says() {
        let said = "ref: refs/heads/trunk\tHEAD\n0123\tHEAD\n";
        assert_eq!(symref(said).unwrap().as_str(), "trunk");
        assert_eq!(symref("0123\tHEAD\n"), None);
        assert_eq!(symref("ref: refs/heads/--upload-pack=x\tHEAD\n"), None);
    }

    #[test]
    fn lines_are_neutral_and_short() {
        let mut seen = Vec::new();
        let long = "x".repeat(1000);
        lines(format!("a 1%\ra 2%\n\x1b[31mred\u{202e}\n\n{long}").as_bytes(), |line| seen.push(line));
        assert_eq!(&seen[..2], ["a 1%", "a 2%"]);
        assert_eq!(seen[2], "\\u{1b}[31mred\\u{202e}");
        assert_eq!(seen[3].len(), 400);
    }

    /// Does something with git, which speaks to a server that never answers, and returns the arguments of all processes
    /// that were told where that is.
    fn arguments(work: impl AsyncFnOnce(&Git, &Path, &str, &Cancel) -> Result<(), GitError>) -> Vec<String> {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = server.local_addr().unwrap().to_string();
        let dir = tempfile::tempdir().unwrap();
        let git = Git { known_hosts: Vec::new(), agent: None, account: None, proxies: Vec::new() };
        let asked = std::thread::spawn({
            let host = host.clone();
            move || {
                let (_connection, _) = server.accept().unwrap();
                let lines = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
                    let line = std::fs::read(entry.unwrap().path().join("cmdline")).ok()?;
                    Some(String::from_utf8_lossy(&line).into_owned())
                });
                lines.filter(|line| line.contains(&host)).collect()
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let failed = runtime.block_on(work(&git, dir.path(), &host, &Cancel::never())).unwrap_err();
        assert!(matches!(failed, GitError::Failed { .. }), "{failed}");
        // Whoever has not been asked until now is not waited for.
        let _ = std::net::TcpStream::connect(&host);
        asked.join().unwrap()
    }

    #[test]
    fn a_login_stands_in_no_arguments() {
        let silent = &mut crate::session::Silent;
        let cloning = arguments(async |git, dir, host, cancel| {
            let url = format!("https://me:very%20secret@{host}/a").parse().unwrap();
            git.clone(&url, None, dir, silent, cancel).await
        });
        let updating = arguments(async |git, dir, host, cancel| {
            let made = git.command(dir).args(["init", "-q"]).status().unwrap();
            assert!(made.success());
            let config = dir.join(".git/config");
            let remote = "[remote \"origin\"]\n\turl = x\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n";
            std::fs::write(&config, remote).unwrap();
            let login = Login::of(&format!("https://me:very%20\"secret\\#;@{host}/a")).unwrap();
            login.keep(dir).unwrap();
            assert_eq!(git.login_of(dir, silent, cancel).await.unwrap(), Some(login));
            git.update(dir, silent, cancel).await
        });
        for seen in [cloning, updating] {
            assert!(!seen.is_empty());
            assert!(!seen.iter().any(|line| line.contains("secret")), "{seen:?}");
        }
    }

    #[test]
    fn git_is_told_a_login_for_its_own_host_only() {
        let git = Git { known_hosts: Vec::new(), agent: None, account: None, proxies: Vec::new() };
        let asked = |host: &str| {
            let dir = tempfile::tempdir().unwrap();
            let question = dir.path().join("question");
            std::fs::write(&question, format!("protocol=https\nhost={host}\n\n")).unwrap();
            let mut command = git.command(dir.path());
            Login::of("https://t%6fken:$(id)%22'x@host.example:8443/a").unwrap().tell(&mut command);
            command.args(["credential", "fill"]).stdin(std::fs::File::open(question).unwrap());
            let output = command.output().unwrap();
            (output.status.success(), String::from_utf8(output.stdout).unwrap())
        };
        let (known, said) = asked("host.example:8443");
        assert!(known && said.contains("username=token\npassword=$(id)\"'x\n"), "{said}");
        for host in ["host.example", "other.example:8443", "sub.host.example:8443"] {
            assert!(!asked(host).0, "{host}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let url = |text: &str| shown(&text.parse().unwrap());
        assert_eq!(url("https://me:secret@host.example/a/b"), "https://…@host.example/a/b");
        assert_eq!(url("https://token@host.example/a/b"), "https://…@host.example/a/b");
        assert_eq!(url("ssh://git@host/a"), "ssh://git@host/a");
        assert_eq!(url("ssh://git:secret@host/a"), "ssh://…@host/a");
        assert_eq!(url("github.com/a/b"), "https://github.com/a/b");
        assert_eq!(
            without_passwords("fatal: 'https://me:pa@ss@host/a': no; https://host:8443/b@c"),
            "fatal: 'https://…@host/a': no; https://host:8443/b@c"
        );
    }
}
