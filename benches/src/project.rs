//! The row about a team's projects: the first login to one, with its files and a companion service.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::engines::output;
use crate::installation::Installation;
use crate::logins::row;
use crate::machine::options;
use crate::measure::{pairs, seconds};
use crate::report::{Budget, Row};

const PROJECT: &str = "bench";

/// The project's image is there, and its service is ready as soon as it runs.
pub(crate) fn new_session(on: &Installation, count: usize) -> Result<Row> {
    let (user, administrator) = (on.user("prj", 1)?, on.administrator()?);
    let still = on.image_that_stays()?;
    let clone = register(on, &still)?;
    let session = || {
        let mut ssh = on.client("ssh");
        ssh.args(["-o", &format!("SetEnv=PODSPAWN_PROJECT={PROJECT}")]);
        ssh.arg(format!("{user}@127.0.0.1")).arg("true");
        ssh
    };
    let stop = || {
        let mut stop = Command::new(on.program());
        stop.arg("--config").arg(on.config_file()).args(["stop", &format!("{user}@{PROJECT}")]);
        output(stop).map(drop)
    };
    output(session())?;
    let image =
        on.engine(&["inspect", "--format", "{{.Config.Image}}", &on.container_named(&user, PROJECT)?])?;
    stop()?;

    let name = format!("bench-{user}");
    let options = options(on.engine.label(), &clone, &user).join(" ");
    let (cli, files) = (on.cli(), clone.display());
    let raw = format!(
        "set -e; exec >/dev/null; {cli} network create {name}; {cli} run -d --name {name}-side --network {name} \
         {options} {still}; {cli} run -d --name {name} --network {name} {options} {image} sleep infinity; {cli} cp \
         {files} {name}:/workspace; {cli} exec {name} true"
    );
    let side = format!("{name}-side");
    // All of it, whatever there is.
    let undo = || on.engine(&["rm", "--force", &name, &side]).and(on.engine(&["network", "rm", &name]));
    let pairs = pairs(
        count,
        || {
            let taken = seconds(|| output(session()));
            stop()?;
            taken
        },
        || {
            let taken = seconds(|| output(on.ssh(administrator, &raw)));
            let undone = undo();
            let taken = taken?;
            undone.map(|_| taken)
        },
    )?;
    let against = "ssh, network create + 2 run -d + cp + exec";
    Ok(row("ssh, new session of a project", on, against, pairs, Budget::RatioAtMost(1.2)))
}

/// As `add-project` does, without a server to fetch from; gives the clone.
fn register(on: &Installation, service: &str) -> Result<std::path::PathBuf> {
    let registry = format!("projects:\n  {PROJECT}:\n    repo: https://git.example/{PROJECT}\n");
    fs::write(on.config_file(), fs::read_to_string(on.config_file())? + &registry)?;
    let clone = on.path("state/projects").join(PROJECT);
    fs::create_dir_all(&clone)?;
    let mut init = Command::new("git");
    init.args(["init", "--quiet", "--initial-branch=main"]).arg(&clone);
    output(init)?;
    let podfile = format!("base: {}\nservices:\n  - name: side\n    image: {service}\n", on.base_image());
    fs::write(clone.join("podfile.yaml"), podfile)?;
    give(on, on.path("state/projects").as_path())?;
    Ok(clone)
}

/// Everything of the state is its owner's.
fn give(on: &Installation, path: &Path) -> Result<()> {
    let owner = fs::metadata(on.path("state"))?;
    chown(path, Some(owner.uid()), Some(owner.gid()))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(on, &entry?.path())?;
        }
    }
    Ok(())
}
