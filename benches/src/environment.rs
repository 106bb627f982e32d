//! Rows about Podfiles: joining and making the environment of a directory, and resolving what a Podfile extends.

use std::fmt::Write;
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use crate::Result;
use crate::engines::{Facts, Place, output};
use crate::machine::{row, same_options};
use crate::measure::{pairs, seconds};
use crate::report::{Budget, Row};
use crate::terminal::seconds_to_prompt;

type Measure = fn(&Place, &Facts, usize) -> Result<Row>;

pub(crate) const ROWS: &[(&str, Measure)] = &[
    ("dev, joining", joining),
    ("dev, first session", first_session),
    ("resolving 10 levels of extends", ten_levels),
];

/// How deep the chain is.
const LEVELS: usize = 10;

/// The Podfile of the place's own directory, where every command of it runs; its image is built.
fn podfile(place: &Place, facts: &Facts) -> Result<()> {
    // An image is built in any case: the containers of both sides come from the same one.
    write(place, "podfile.yaml", &format!("base: {}\nmount: none\n", facts.get("IMAGE_DEBIAN")?))?;
    output(place.podspawn(&["prebuild", "--tag", &image(place)]))?;
    Ok(())
}

fn image(place: &Place) -> String {
    format!("podspawn-bench/{}:x", place.user)
}

fn write(place: &Place, name: &str, text: &str) -> Result<()> {
    let path = place.home().join(name);
    std::fs::write(&path, text)?;
    if let Some((uid, gid)) = place.account() {
        chown(&path, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// Both sides up to a prompt in a container that runs.
fn joining(place: &Place, facts: &Facts, count: usize) -> Result<Row> {
    podfile(place, facts)?;
    output(place.podspawn(&["dev", "--name", "bench", "--", "true"]))?;
    let container = format!("podspawn-{}-bench", place.user);
    let pairs = pairs(
        count,
        || seconds_to_prompt(place, &place.podspawn(&["dev", "--name", "bench"])),
        || seconds_to_prompt(place, &place.cli(&["exec", "--interactive", "--tty", &container, "bash"])),
    );
    output(place.podspawn(&["down", "--name", "bench"]))?;
    Ok(row("dev, joining", place, "exec -it", pairs?, Budget::RatioAtMost(0.3)))
}

/// The image is there and there are no services.
fn first_session(place: &Place, facts: &Facts, count: usize) -> Result<Row> {
    podfile(place, facts)?;
    let options = same_options(place);
    let name = format!("bench-{}", place.user);
    let image = image(place);
    let pairs = pairs(
        count,
        || {
            let taken = seconds(|| output(place.podspawn(&["dev", "--name", "first", "--", "true"])));
            output(place.podspawn(&["down", "--name", "first"]))?;
            taken
        },
        || {
            let taken = seconds(|| {
                output(place.cli(&["network", "create", &name]))?;
                let mut run = place.cli(&["run", "--detach", "--name", &name, "--network", &name]);
                run.args(&options).args([&image, "sleep", "infinity"]);
                output(run)?;
                output(place.cli(&["exec", &name, "true"]))
            });
            output(place.cli(&["kill", &name]))?;
            output(place.cli(&["rm", "--force", &name]))?;
            output(place.cli(&["network", "rm", &name]))?;
            taken
        },
    )?;
    let against = "network create + run -d + exec";
    Ok(row("dev, first session", place, against, pairs, Budget::RatioAtMost(1.15)))
}

/// As a process from start to end, checked and printed.
fn ten_levels(place: &Place, facts: &Facts, count: usize) -> Result<Row> {
    write(place, "level0.yaml", &format!("base: {}\npackages: [git, curl]\n", facts.get("IMAGE_DEBIAN")?))?;
    for level in 1..LEVELS {
        let mut text = format!("extends: ./level{}.yaml\n", level - 1);
        writeln!(text, "packages: [extra{level}]\nenv: {{LEVEL_{level}: reached}}")?;
        write(place, &format!("level{level}.yaml"), &text)?;
    }
    let top = format!("level{}.yaml", LEVELS - 1);
    // Both cost a millisecond or two: many of them are still quick.
    let pairs = pairs(
        count.max(50),
        || seconds(|| output(place.podspawn(&["podfile", "check", &top]))),
        || {
            let mut command = Command::new("/bin/true");
            command.stdin(Stdio::null());
            place.as_account(&mut command);
            seconds(|| output(command))
        },
    )?;
    Ok(row("resolving 10 levels of extends", place, "/bin/true", pairs, Budget::RatioAtMost(5.0)))
}
