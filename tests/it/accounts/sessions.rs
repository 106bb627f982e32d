//! Removing a user who has sessions.

use std::os::unix::fs::PermissionsExt;

use super::lab::{KEY, Lab};
use crate::harness::{EngineName, Env};

#[test]
fn sessions_stand_in_the_way_until_they_are_destroyed_too() {
    let lab = Lab::new("auto");
    let mut env = Env::on(EngineName::Docker);
    // A machine in the installation's own store, under the user's name, stands for a session.
    let user = env.user.clone();
    env.write_config(&format!(
        "state:\n  db_path: {0}/state.db\n  lock_dir: {0}/locks\nlocal:\n  image: {1}\n",
        lab.path("state").display(),
        env.image
    ));
    let _ = lab.podspawn(&["add-user", &user, "--key", KEY]).run().ok();
    let _ = env.podspawn(["create", "work"]).run().ok();
    env.set("USER", "root");
    let config = lab.path("config.yaml").display().to_string();
    let remove = |more: &[&str]| {
        env.podspawn(["--config", &config, "remove-user", &user].into_iter().chain(more.iter().copied()))
            .run()
    };
    let run = remove(&[]).status(1);
    assert!(
        run.stderr.contains(&format!("Error: `{user}` has 1 active session(s)\nhint: ")),
        "{}",
        run.stderr
    );
    assert!(lab.account(&user).is_some() && lab.keys(&user).len() == 1);
    assert_eq!(env.objects().len(), 2);

    let run = remove(&["--force"]).ok();
    assert!(
        run.stderr.contains(&format!("removed user {user} (1 session(s) destroyed)\n")),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr
            .contains(&format!("INFO destroying session user={user} container={}", env.container("work"))),
        "{}",
        run.stderr
    );
    assert_eq!(env.objects(), Vec::<String>::new());
    assert_eq!(lab.account(&user), None);
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn a_broker_that_a_command_starts_reads_the_file_that_the_command_was_given() {
    let lab = Lab::new("auto");
    let sarah = lab.user("sarah");
    let _ = lab.podspawn(&["add-user", &sarah, "--key", KEY]).run().ok();
    std::fs::remove_dir_all(lab.path("run")).unwrap();
    let list = lab.env.podspawn(["--config", "config.yaml", "list"]).at(&lab.path("")).run().ok();
    assert_eq!(list.out(), "No active sessions.\n");
    // What it makes is what `server-setup` makes.
    let mode = |name: &str| std::fs::metadata(lab.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("run"), mode("run/homes")), (0o755, 0o711));
    let said = lab.podspawn(&["stop", &format!("{sarah}@Backend")]).run().status(1).stderr;
    assert!(said.starts_with("Error: invalid project name \"Backend\": "), "{said}");
    assert!(said.ends_with("\nhint: did you mean `backend`?\n"), "{said}");
}
