//! Rows about what sshd starts: the program that gives it keys, and the logins of container users against those of an
//! ordinary account of the same sshd.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::engines::output;
use crate::installation::{Engine, Installation};
use crate::measure::{Pairs, pairs, seconds};
use crate::project;
use crate::report::{Budget, Row};

type Measure = fn(&Installation, usize) -> Result<Row>;

/// Name, the engines on which it makes sense, how it is measured.
pub(crate) const ROWS: &[(&str, &[Engine], Measure)] = &[
    ("auth-keys for a user with 10 keys", &[Engine::Docker], auth_keys),
    ("ssh user@host true, running session", &[Engine::Docker, Engine::Podman], command),
    ("1 GB through ssh", &[Engine::Docker, Engine::Podman], gigabyte_through_ssh),
    ("1 GB through SFTP", &[Engine::Docker, Engine::Podman], gigabyte_through_sftp),
    ("ssh, new session of a project", &[Engine::Docker, Engine::Podman], project::new_session),
    ("1 GB through ssh, gVisor", &[Engine::Gvisor], gigabyte_on_gvisor),
    ("memory of an idle SSH session, 200 open", &[Engine::Docker, Engine::Podman], idle_sessions),
];

const GIGABYTE: u64 = 1 << 30;
/// Sessions that are open when memory is measured, and the users who share them.
const IDLE: usize = 200;
const IDLE_USERS: usize = 8;
/// Logins that are begun at once.
const AT_ONCE: usize = 10;

/// A process that goes with the value.
struct Running(Child);

impl Running {
    /// Returns once the command has written its first line.
    fn start(mut command: Command) -> Result<Self> {
        let mut running = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        running.wait_for_line().map_err(|error| format!("{command:?}: {error}"))?;
        Ok(running)
    }

    fn wait_for_line(&mut self) -> Result<()> {
        let stdout = self.0.stdout.as_mut().ok_or("no standard output")?;
        if BufReader::new(stdout).read_line(&mut String::new())? == 0 {
            return Err(format!("it ended without a word: {}", self.0.wait()?).into());
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that says that it runs, and stays.
const STAY: &str = "echo here; exec sleep 100000";

fn auth_keys(on: &Installation, count: usize) -> Result<Row> {
    let user = on.user("keys", 10)?;
    let key = std::fs::read_to_string(on.path("ssh/key.pub"))?;
    let key: Vec<&str> = key.split(' ').take(2).collect();
    let config = on.config_file();
    // as sshd calls it: the user and the key that is offered
    let ours = || {
        let mut command = Command::new(on.program());
        command.args(["auth-keys".as_ref(), "--config".as_ref(), config.as_os_str()]);
        command.arg(&user).args(&key).env_clear().stdin(Stdio::null());
        command
    };
    if output(ours())?.lines().count() != 1 {
        return Err("auth-keys does not know the key".into());
    }
    let theirs = || {
        let mut command = Command::new("/bin/true");
        command.env_clear().stdin(Stdio::null());
        command
    };
    let pairs = pairs(count * 10, || seconds(|| output(ours())), || seconds(|| output(theirs())))?;
    Ok(Row {
        engine: "-",
        ..row("auth-keys for a user with 10 keys", on, "/bin/true", pairs, Budget::RatioAtMost(4.0))
    })
}

fn command(on: &Installation, count: usize) -> Result<Row> {
    let (user, other) = (on.user("cmd", 1)?, on.ordinary()?);
    let _open = Running::start(on.ssh(&user, STAY))?;
    let pairs = pairs(
        count,
        || seconds(|| output(on.ssh(&user, "true"))),
        || seconds(|| output(on.ssh(&other, "true"))),
    )?;
    let budget = Budget::RatioAtMost(1.25);
    Ok(row("ssh user@host true, running session", on, "ordinary account", pairs, budget))
}

/// Sends a gigabyte to a command.
fn send(mut command: Command, from: &Path) -> Result<()> {
    command.stdin(File::open(from)?);
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {}", output.status, said.trim()).into());
    }
    Ok(())
}

/// A file of a gigabyte without any blocks: reading it costs no disk.
fn source(on: &Installation) -> Result<std::path::PathBuf> {
    let path = on.path("gigabyte");
    File::create(&path)?.set_len(GIGABYTE)?;
    Ok(path)
}

const SINK: &str = "cat >/dev/null";

fn gigabyte_through_ssh(on: &Installation, count: usize) -> Result<Row> {
    let (user, other, from) = (on.user("out", 1)?, on.ordinary()?, source(on)?);
    let _open = Running::start(on.ssh(&user, STAY))?;
    let pairs = pairs(
        count,
        || seconds(|| send(on.ssh(&user, SINK), &from)),
        || seconds(|| send(on.ssh(&other, SINK), &from)),
    )?;
    Ok(row("1 GB through ssh", on, "ordinary account", pairs, Budget::FasterAtLeast(0.9)))
}

fn gigabyte_through_sftp(on: &Installation, count: usize) -> Result<Row> {
    let (user, other, from) = (on.user("sftp", 1)?, on.ordinary()?, source(on)?);
    let _open = Running::start(on.ssh(&user, STAY))?;
    let batch = on.path("batch");
    // into nothing: the disk is not what is measured
    writeln!(File::create(&batch)?, "put {} /dev/null", from.display())?;
    let put = |user: &str| {
        let mut sftp = on.client("sftp");
        sftp.arg("-q").arg("-b").arg(&batch).arg(format!("{user}@127.0.0.1"));
        sftp
    };
    let pairs = pairs(count, || seconds(|| output(put(&user))), || seconds(|| output(put(&other))))?;
    Ok(row("1 GB through SFTP", on, "ordinary account", pairs, Budget::FasterAtLeast(0.9)))
}

/// Both sides through the same sshd, so that both pay for the encryption.
fn gigabyte_on_gvisor(on: &Installation, count: usize) -> Result<Row> {
    let (user, from) = (on.user("gv", 1)?, source(on)?);
    let other = on.administrator()?;
    let _open = Running::start(on.ssh(&user, STAY))?;
    let container = on.container(&user)?;
    let pairs = pairs(
        count,
        || seconds(|| send(on.ssh(&user, SINK), &from)),
        || {
            seconds(|| {
                send(on.ssh(other, &format!("{} exec -i {container} sh -c '{SINK}'", on.cli())), &from)
            })
        },
    )?;
    Ok(row("1 GB through ssh, gVisor", on, "ssh, exec -i", pairs, Budget::FasterAtLeast(0.8)))
}

/// The stubs and the broker, everything of ours that runs on the host for sessions: sshd's own processes are there for
/// every login. Users share containers, connections share nothing.
fn idle_sessions(on: &Installation, _count: usize) -> Result<Row> {
    let users =
        (0..IDLE_USERS).map(|number| on.user(&format!("i{number}"), 1)).collect::<Result<Vec<_>>>()?;
    // the first of each user makes the container
    let mut open = users.iter().map(|user| Running::start(on.ssh(user, STAY))).collect::<Result<Vec<_>>>()?;
    while open.len() < IDLE {
        let next = (open.len()..IDLE).take(AT_ONCE).map(|number| -> Result<Running> {
            let mut ssh = on.ssh(&users[number % IDLE_USERS], STAY);
            Ok(Running(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
        });
        let mut begun = next.collect::<Result<Vec<_>>>()?;
        begun.iter_mut().try_for_each(Running::wait_for_line)?;
        open.append(&mut begun);
    }
    let memory = pss_of(&on.program())?;
    if memory.processes <= IDLE {
        return Err(format!("{} processes of podspawn serve {IDLE} sessions", memory.processes).into());
    }
    let megabytes = memory.bytes as f64 / IDLE as f64 / 1_000_000.0;
    Ok(Row {
        unit: "MB",
        ..row(
            "memory of an idle SSH session, 200 open",
            on,
            "-",
            Pairs { ours: vec![megabytes], theirs: Vec::new() },
            Budget::AmountAtMost(2.0),
        )
    })
}

struct Memory {
    processes: usize,
    bytes: u64,
}

/// What all processes of a program have in memory; what several share counts as much as each has a share in it.
fn pss_of(program: &Path) -> Result<Memory> {
    let mut memory = Memory { processes: 0, bytes: 0 };
    for entry in std::fs::read_dir("/proc")? {
        let process = entry?.path();
        if std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program) {
            let Ok(rollup) = std::fs::read_to_string(process.join("smaps_rollup")) else { continue };
            let kilobytes =
                rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
            memory.bytes += kilobytes.ok_or("no Pss")?.parse::<u64>()? * 1024;
            memory.processes += 1;
        }
    }
    Ok(memory)
}

pub(crate) fn row(name: &str, on: &Installation, against: &'static str, pairs: Pairs, budget: Budget) -> Row {
    Row { name: name.into(), engine: on.engine.label(), against, unit: "s", pairs, budget }
}
