//! Rows about one machine on a real engine.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::engines::{Facts, Place, output};
use crate::measure::{pairs, seconds};
use crate::report::{Budget, Row};
use crate::terminal::seconds_to_prompt;

type Measure = fn(&Place, &Facts, usize) -> Result<Row>;

pub(crate) const ROWS: &[(&str, Measure)] = &[
    ("command in a running session", command_in_a_running_session),
    ("first session", first_session),
    ("run to the first prompt", run_to_the_first_prompt),
    ("run to the first prompt, a network each", run_with_a_network_to_the_first_prompt),
    ("1 GB in and out through exec -i", one_gigabyte),
];

const GIGABYTE: u64 = 1 << 30;

/// A machine that goes with the value.
struct Machine<'a> {
    place: &'a Place,
    name: &'static str,
}

impl<'a> Machine<'a> {
    fn create(place: &'a Place, image: &str, name: &'static str) -> Result<Self> {
        output(place.podspawn(&["create", name, "--image", image]))?;
        Ok(Self { place, name })
    }

    /// Name of its container.
    fn container(&self) -> String {
        format!("podspawn-{}-{}", self.place.user, self.name)
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if let Err(error) = output(self.place.podspawn(&["stop", self.name])) {
            eprintln!("bench: {error}");
        }
    }
}

fn command_in_a_running_session(place: &Place, facts: &Facts, count: usize) -> Result<Row> {
    let machine = Machine::create(place, facts.get("IMAGE_DEBIAN")?, "bench")?;
    let container = machine.container();
    let pairs = pairs(
        count,
        || seconds(|| output(place.podspawn(&["exec", machine.name, "--", "true"]))),
        || seconds(|| output(place.cli(&["exec", &container, "true"]))),
    )?;
    Ok(row("command in a running session", place, "exec", pairs, Budget::RatioAtMost(0.15)))
}

/// What podspawn asks of the engine for a machine with default settings, as flags of the engine's program.
pub(crate) fn same_options(place: &Place) -> Vec<String> {
    options(place.engine, &place.home(), &place.user)
}

/// The same on an engine of this label, with a directory that is mounted and somebody whose it is.
pub(crate) fn options(engine: &str, mounted: &Path, owner: &str) -> Vec<String> {
    let mut options: Vec<String> =
        ["--hostname", "bench", "--user", "0", "--workdir", "/", "--cap-drop", "ALL"]
            .map(str::to_owned)
            .to_vec();
    for capability in ["CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "KILL"] {
        options.extend(["--cap-add".into(), capability.into()]);
    }
    options.extend(["--security-opt".into(), "no-new-privileges".into()]);
    options.extend(["--tmpfs".into(), "/run/podspawn:size=64k,mode=0700".into()]);
    options.extend(["--tmpfs".into(), "/run/podspawn-user:size=64k,mode=0711".into()]);
    options.extend(["--volume".into(), format!("{}:/mnt:ro", mounted.display())]);
    options.extend(["--label".into(), format!("podspawn-bench={owner}")]);
    // rootless Podman on the first generation of cgroups refuses these from its own program
    if engine == "Docker" {
        for (flag, value) in [("--pids-limit", "256"), ("--memory", "2g"), ("--cpus", "2")] {
            options.extend([flag.into(), value.into()]);
        }
    }
    options
}

fn first_session(place: &Place, facts: &Facts, count: usize) -> Result<Row> {
    let image = facts.get("IMAGE_DEBIAN")?;
    let options = same_options(place);
    let name = format!("bench-{}", place.user);
    let pairs = pairs(
        count,
        || {
            let taken = seconds(|| output(place.podspawn(&["create", "first", "--image", image])));
            output(place.podspawn(&["stop", "first"]))?;
            taken
        },
        || {
            let taken = seconds(|| {
                output(place.cli(&["network", "create", &name]))?;
                let mut run = place.cli(&["run", "--detach", "--name", &name, "--network", &name]);
                run.args(&options).args([image, "sleep", "infinity"]);
                output(run)
            });
            output(place.cli(&["kill", &name]))?;
            output(place.cli(&["rm", "--force", &name]))?;
            output(place.cli(&["network", "rm", &name]))?;
            taken
        },
    )?;
    Ok(row("first session", place, "network create + run -d", pairs, Budget::RatioAtMost(1.15)))
}

fn run_to_the_first_prompt(place: &Place, facts: &Facts, count: usize) -> Result<Row> {
    let image = facts.get("IMAGE_DEBIAN")?;
    let options = same_options(place);
    let pairs = pairs(
        count,
        || seconds_to_prompt(place, &place.podspawn(&["run", "first", "--image", image])),
        || {
            let mut run = place.cli(&["run", "--rm", "--interactive", "--tty"]);
            run.args(&options).args([image, "bash"]);
            seconds_to_prompt(place, &run)
        },
    )?;
    Ok(row("run to the first prompt", place, "run --rm -it", pairs, Budget::RatioAtMost(1.15)))
}

/// The same, where the other side makes a network of its own as a machine has.
fn run_with_a_network_to_the_first_prompt(place: &Place, facts: &Facts, count: usize) -> Result<Row> {
    let image = facts.get("IMAGE_DEBIAN")?;
    let options = same_options(place);
    let name = format!("bench-{}", place.user);
    let pairs = pairs(
        count,
        || seconds_to_prompt(place, &place.podspawn(&["run", "first", "--image", image])),
        || {
            let network = seconds(|| output(place.cli(&["network", "create", &name])))?;
            let mut run = place.cli(&["run", "--rm", "--interactive", "--tty", "--network", &name]);
            run.args(&options).args([image, "bash"]);
            let prompt = seconds_to_prompt(place, &run);
            output(place.cli(&["network", "rm", &name]))?;
            Ok(network + prompt?)
        },
    )?;
    let budget = Budget::RatioAtMost(1.15);
    Ok(row("run to the first prompt, a network each", place, "network create + run --rm -it", pairs, budget))
}

fn one_gigabyte(place: &Place, facts: &Facts, count: usize) -> Result<Row> {
    let machine = Machine::create(place, facts.get("IMAGE_DEBIAN")?, "bench")?;
    let container = machine.container();
    let pairs = pairs(
        count,
        || seconds(|| through(place.podspawn(&["exec", "-i", machine.name, "--", "cat"]))),
        || seconds(|| through(place.cli(&["exec", "-i", &container, "cat"]))),
    )?;
    Ok(row("1 GB in and out through exec -i", place, "exec -i", pairs, Budget::FasterAtLeast(3.0)))
}

/// Sends a gigabyte to a command and takes it back.
fn through(mut command: Command) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let mut stdout = child.stdout.take().ok_or("no standard output")?;
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        let block = vec![0x5a; 256 * 1024];
        for _ in 0..GIGABYTE / block.len() as u64 {
            stdin.write_all(&block)?;
        }
        Ok(())
    });
    let mut buffer = vec![0; 256 * 1024];
    let mut received = 0u64;
    loop {
        match stdout.read(&mut buffer)? {
            0 => break,
            length => received += length as u64,
        }
    }
    writer.join().map_err(|_| "the writer panicked")??;
    let status = child.wait()?;
    if !status.success() || received != GIGABYTE {
        return Err(format!("{command:?}: {status}, {received} bytes came back").into());
    }
    Ok(())
}

pub(crate) fn row(
    name: &str,
    place: &Place,
    against: &'static str,
    pairs: crate::measure::Pairs,
    budget: Budget,
) -> Row {
    Row { name: name.into(), engine: place.engine, against, unit: "s", pairs, budget }
}
