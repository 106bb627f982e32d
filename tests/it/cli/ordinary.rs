//! A person on a rootful Docker: not root, but in the group of the engine's socket.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::Duration;

use crate::dev::yard::forget_images;
use crate::harness::engines::fact;
use crate::harness::{EngineName, Env};

const LIMIT: Duration = Duration::from_secs(200);

fn env() -> Env {
    Env::as_an_ordinary_user(EngineName::Docker)
}

/// What is left of sessions in the home.
fn left(env: &Env) -> Vec<PathBuf> {
    let sessions = std::fs::read_dir(env.home().join(".podspawn/sessions"));
    sessions.into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect()
}

/// A directory of the user's own.
fn directory(env: &Env, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = env.home().join(name);
    std::fs::create_dir(&directory).expect("mkdir");
    for (file, text) in files {
        std::fs::write(directory.join(file), text).expect("write");
    }
    for path in files.iter().map(|(file, _)| directory.join(file)).chain([directory.clone()]) {
        chown(path, Some(1234), Some(1234)).expect("chown");
    }
    directory
}

#[test]
fn an_ordinary_user_of_docker_runs_makes_and_removes_machines() {
    let env = env();
    let mut terminal = env.terminal(["run", "scratch"]);
    terminal.expect(&format!("{}@scratch", env.user));
    terminal.line("echo user-$(id -u)").expect("user-1000");
    terminal.line("exit 3");
    assert_eq!(terminal.wait().0, 3);
    assert_eq!((env.objects(), left(&env)), (vec![], vec![]));

    let _ = env.podspawn(["create", "web"]).run().ok();
    assert_eq!(env.podspawn(["exec", "web", "--", "sudo", "id", "-u"]).run().ok().out(), "0\n");
    let mut terminal = env.terminal(["shell", "web"]);
    terminal.expect(&format!("{}@web", env.user));
    terminal.line("exit");
    assert_eq!(terminal.wait().0, 0);
    assert!(env.podspawn(["list"]).run().ok().out().contains("web "));
    let _ = env.podspawn(["rm", "web", "--force"]).run().ok();
    assert_eq!((env.objects(), left(&env)), (vec![], vec![]));
}

#[test]
fn what_root_inside_puts_beside_the_guests_socket_keeps_no_machine() {
    let env = env();
    let _ = env.podspawn(["create", "web"]).run().ok();
    let script = "cd /run/podspawn && mkdir -m 0700 full && touch full/file && ln -s / full/link && mkdir -m 01777 sticky && \
                  touch sticky/file && chmod 0700 . && chown 0:0 . && i=0 && \
                  while [ $i -lt 1500 ]; do mkdir d && cd -P d && i=$((i+1)) || exit; done";
    let _ = env.podspawn(["exec", "web", "--", "sudo", "sh", "-c", script]).run().ok();
    let run = env.podspawn(["stop", "web"]).run().ok();
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!((env.objects(), left(&env)), (vec![], vec![]));
    // The name is free.
    let _ = env.podspawn(["create", "web"]).run().ok();
    let _ = env.podspawn(["stop", "web"]).run().ok();
}

#[test]
fn a_directory_of_an_ordinary_user_stays_theirs_and_the_images_account_keeps_its_home() {
    let env = env();
    let image = fact("IMAGE_UID1000");
    let config = format!(
        r#"{{"image": "{image}", "remoteUser": "resident", "remoteEnv": {{"PATH": "/opt/own:${{containerEnv:PATH}}"}}}}"#
    );
    let app = directory(&env, "app", &[(".devcontainer.json", &config)]);
    let script =
        "id -un; id -u; touch made ~/made ~/.profile && stat -c %u made ~/made ~/.profile; echo $PATH";
    let run =
        env.podspawn(["dev", "--name", "app", "--", "sh", "-c", script]).at(&app).limit(LIMIT).run().ok();
    let out = run.out();
    let (rest, path) = out.trim_end().rsplit_once('\n').expect("lines");
    assert_eq!(rest, "resident\n1234\n1234\n1234\n1234", "{out}");
    assert!(path.starts_with("/opt/own:"), "{path}");
    // A login shell, whose profile has a path of its own.
    let mut terminal = env.podspawn(["dev", "--name", "app"]).at(&app).terminal(24, 200);
    terminal.expect("$ ");
    terminal.line("echo path-$PATH").expect(&format!("path-{path}"));
    terminal.line("exit");
    terminal.wait();
    let _ = env.podspawn(["down", "--name", "app"]).at(&app).run().ok();
    forget_images(&env, "app");
    assert_eq!(left(&env), Vec::<PathBuf>::new());
}
