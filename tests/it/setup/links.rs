//! What the account that the broker works as puts in its own directories does not become its own by way of root's commands.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use podspawn::system::accounts::user_by_name;

use super::lab::Lab;
use crate::projects::remote::Remote;

/// A server whose broker works as `daemon`, and a directory of root's that `daemon` wants, with a file in it.
fn lab() -> Lab {
    let lab = Lab::new("UsePAM yes\n");
    lab.write_config("  account: daemon\n");
    let _ = lab.setup(&[]).run().ok();
    fs::create_dir(lab.path("goal")).expect("mkdir");
    fs::set_permissions(lab.path("goal"), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::write(lab.path("goal/file"), "text").expect("write");
    lab
}

fn facts(path: &Path) -> (u32, u32) {
    let facts = fs::metadata(path).expect("a file");
    (facts.uid(), facts.mode() & 0o7777)
}

#[test]
fn a_second_set_up_gives_away_nothing_at_the_end_of_a_link() {
    let lab = lab();
    let daemon = user_by_name("daemon").expect("a look-up").expect("an account").uid;
    for name in ["state/locks", "state/homes"] {
        let place = lab.path(name);
        fs::rename(&place, lab.path("moved")).expect("rename");
        symlink(lab.path("goal"), &place).expect("link");
        let run = lab.setup(&[]).run().status(1);
        let said = format!("`{}` is a symbolic link where a directory belongs", place.display());
        assert!(run.stderr.contains(&said), "{}", run.stderr);
        assert_eq!(facts(&lab.path("goal")), (0, 0o755), "{name}");
        fs::remove_file(&place).expect("remove");
        fs::rename(lab.path("moved"), &place).expect("rename");
    }
    // Neither a database that is one of root's files, nor one that is to become one.
    fs::remove_file(lab.path("state/state.db")).expect("remove");
    symlink(lab.path("goal/made"), lab.path("state/state.db")).expect("link");
    let spoil = || {
        fs::set_permissions(lab.path("state/homes"), fs::Permissions::from_mode(0o755)).expect("chmod");
    };
    spoil();
    let _ = lab.setup(&[]).run().ok();
    assert!(!lab.path("goal/made").exists());
    assert_eq!(facts(&lab.path("state/homes")), (daemon, 0o700));
    fs::hard_link(lab.path("goal/file"), lab.path("state/file")).expect("link");
    spoil();
    let run = lab.setup(&[]).run().status(1);
    assert!(run.stderr.contains("\"file\" goes by another name elsewhere"), "{}", run.stderr);
    assert_eq!(facts(&lab.path("goal/file")).0, 0);
    fs::remove_file(lab.path("state/file")).expect("remove");
    let _ = lab.setup(&[]).run().ok();
}

#[test]
fn a_new_project_gives_away_nothing_at_the_end_of_a_link() {
    let (lab, remote) = (lab(), Remote::start());
    let here = lab.path("");
    let config = lab.read("etc/config.yaml");
    fs::write(
        lab.path("etc/config.yaml"),
        format!("{config}projects_file: {}etc/projects.yaml\n", here.display()),
    )
    .expect("write");
    symlink(lab.path("goal"), lab.path("state/projects")).expect("link");
    let (config, program) = (lab.path("etc/config.yaml"), lab.path("podspawn"));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let url = remote.url("api");
    let args = ["--config", &text(&config), "add-project", "api", "--repo", &url];
    // What one link more would have root remove.
    fs::create_dir(lab.path("goal/api")).expect("mkdir");
    let run = lab.program(&text(&program), &args).run();
    assert_ne!(run.status, 0);
    let said = format!("`{}state/projects` is a symbolic link where a directory belongs", here.display());
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    assert_eq!(facts(&lab.path("goal")), (0, 0o755));
    assert!(lab.path("goal/api").is_dir());
    let left = fs::read_dir(lab.path("state-fetch")).expect("list").flatten();
    assert!(left.into_iter().all(|entry| entry.path().is_file()), "only locks");
}
