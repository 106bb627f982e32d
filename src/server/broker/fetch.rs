//! Fetching what nobody has fetched yet: a project that an administrator wrote into the configuration by hand.
//!
//! git never works with the broker's rights. This very program, started as root, runs it as an account that owns nothing,
//! just as `update-project` does. A broker that has given up root's rights cannot do that, and says whom to ask.

use std::io;
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

use super::Broker;
use super::identity::Identity;
use super::tell::Refusal;
use crate::names::{ProjectName, SessionKey, printable};
use crate::server::projects;
use crate::session::{Cancel, Report, SessionError, Step};
use crate::system::process::{Pinned, tied};
use crate::system::readiness::watched;

/// Most of its complaint that the log repeats, in characters.
const SAID_MAX: usize = 2000;

/// How long a fetch that nobody waits for any more may take to end: longer than it gives git.
const PATIENCE: Duration = Duration::from_secs(15);

impl Broker {
    /// Sees to it that the repository of a session's project is there. Blocks.
    pub(super) fn fetch_missing(
        &self,
        identity: &Identity,
        key: &SessionKey,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), Refusal> {
        let name = key.name.as_ref().and_then(|name| name.as_str().parse::<ProjectName>().ok());
        let Some(name) = name.filter(|_| self.is_root) else { return Ok(()) };
        let layers = self.installation.load()?;
        let is_missing = projects::registered(&layers)?.get(&name).is_some()
            && !projects::clone_of(&layers.config, &name).is_dir();
        if !is_missing {
            return Ok(());
        }
        let text = format!("Fetching the repository of {name}...");
        report.step(Step::Now(&text));
        let mut command = Command::new(&self.program);
        if let Some(file) = self.installation.config_flag() {
            command.arg("--config").arg(file);
        }
        command.args(["fetch-project", name.as_str()]);
        // Whoever waits for the same one waits for its lock.
        let reason = match run(&self.handle, &mut command, cancel) {
            Ok(None) => return Err(SessionError::Cancelled.into()),
            Ok(Some((status, _))) if status.success() => {
                report.step(Step::Now(&format!("{text} done")));
                return Ok(());
            }
            Ok(Some((_, said))) => {
                printable(String::from_utf8_lossy(&said).trim()).chars().take(SAID_MAX).collect()
            }
            Err(error) => error.to_string(),
        };
        tracing::error!(user = %identity.user, project = %name, "its repository cannot be fetched: {reason}");
        Err(Refusal::new(format!("the repository of the project `{name}` cannot be fetched")).hint(format!(
            "ask the administrator of this host: `sudo podspawn update-project {name}` says why"
        )))
    }
}

/// Runs a program to its end; its status and its complaint. None once nobody wants it any more: then it has ended too. Blocks.
fn run(handle: &Handle, command: &mut Command, cancel: &Cancel) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = tied(command).spawn()?;
    // Open to its end: it may still have something to say when it is given up.
    let stderr = child.stderr.take();
    let said = handle.block_on(async {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(None),
            said = end_of(&child, stderr.as_ref()) => said.map(Some),
        }
    });
    if !matches!(said, Ok(Some(_))) {
        give_up(&child);
    }
    let status = child.wait()?;
    Ok(said?.map(|said| (status, said)))
}

/// Waits for a child's end; what it wrote to standard error.
async fn end_of(child: &Child, stderr: Option<&ChildStderr>) -> io::Result<Vec<u8>> {
    let pinned = Pinned::any(Pid::from_child(child).as_raw_pid()).map_err(io::Error::other)?;
    let end = watched(pinned.into(), Interest::READABLE)?;
    let mut said = Vec::new();
    if let Some(stderr) = stderr {
        pipe::Receiver::from_owned_fd(stderr.as_fd().try_clone_to_owned()?)?.read_to_end(&mut said).await?;
    }
    end.readable().await.map(|_| said)
}

/// Ends a child and the rest of the group that it leads, kindly first: it ends git and removes what that was making.
fn give_up(child: &Child) {
    // Not waited for yet: the pid is still this child's, and the group's.
    let pid = Pid::from_child(child);
    // It may have ended by itself.
    let _ = kill_process_group(pid, Signal::TERM);
    if let Ok(pinned) = Pinned::any(pid.as_raw_pid()) {
        pinned.ends_within(PATIENCE);
    }
    let _ = kill_process_group(pid, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_nobody_waits_for_any_more_is_ended_with_its_group() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shell = |script: &str, cancel: &Cancel| {
            run(runtime.handle(), Command::new("sh").args(["-c", script]), cancel).unwrap()
        };
        let (status, said) = shell("echo why >&2; exit 3", &Cancel::never()).unwrap();
        assert_eq!((status.code(), &said[..]), (Some(3), &b"why\n"[..]));

        let dir = tempfile::tempdir().unwrap();
        let (told, undone) = (dir.path().join("told"), dir.path().join("undone"));
        // It undoes what it did, and leaves a process behind that does not listen.
        let script = format!(
            "trap ': >{undone}; exit' TERM; mkfifo {told}
             sh -c 'trap \"\" TERM; echo $$ >{told}; exec sleep 1000' & wait",
            undone = undone.display(),
            told = told.display(),
        );
        let (handle, cancel) = Cancel::new();
        let asking = std::thread::spawn(move || {
            let mut pid = String::new();
            while pid.is_empty() {
                pid = std::fs::read_to_string(&told).unwrap_or_default();
                std::thread::yield_now();
            }
            let left = Pinned::any(pid.trim().parse().unwrap()).unwrap();
            handle.cancel();
            left
        });
        assert!(shell(&script, &cancel).is_none());
        assert!(undone.exists());
        assert!(asking.join().unwrap().ends_within(PATIENCE));
    }
}
