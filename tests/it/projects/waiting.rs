//! Commands that wait for another one of the same name: what they find afterwards is not what they knew before.

use std::fs::File;
use std::path::PathBuf;

use podspawn::state::Store;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::crash::{LIMIT, checkout, checkouts, register};
use super::remote::{Gate, Remote};
use crate::dev::yard::{directory, podfile};
use crate::harness::{Env, Terminal, json};

const WAITING: &str = "Waiting for another podspawn";

/// A name, held by nobody's command. Dropping it lets it go.
struct Held {
    _lock: File,
    path: PathBuf,
}

impl Held {
    fn of(env: &Env) -> Self {
        Self::named(env, &format!("{}.dev", env.user))
    }

    fn named(env: &Env, name: &str) -> Self {
        let path = env.home().join(format!(".podspawn/locks/{name}.name.lock"));
        let lock = File::options().read(true).write(true).open(&path).expect("some command has made it");
        flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody holds it");
        Self { _lock: lock, path }
    }

    /// From now on it is held only against those who wait for it already.
    fn let_others_pass(&self) {
        std::fs::rename(&self.path, self.path.with_extension("aside")).expect("rename");
    }
}

/// A command that waits for the name.
fn waiting(env: &Env, args: &[&str]) -> Terminal {
    let mut terminal = env.terminal(args);
    terminal.expect(WAITING);
    terminal
}

fn status(env: &Env, name: &str) -> Option<String> {
    let all = json::parse(&env.podspawn(["list", "--output", "json"]).run().ok());
    let row = all.as_array().expect("a list").iter().find(|row| row["name"] == name)?;
    Some(row["status"].as_str().expect("text").to_owned())
}

/// An environment with the machine `dev` of the project `api`, which does not run.
fn stopped(env: &Env) -> Remote {
    let remote = Remote::start();
    register(env, "api", &remote.url("api"));
    let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
    let _ = env.podspawn(["stop", "dev"]).run().ok();
    remote
}

on_engines! {
    [docker; soak: podman]
    fn a_machine_that_was_started_while_rm_waited_is_removed_only_by_force(env: Env) {
        let _remote = stopped(&env);
        let held = Held::of(&env);
        let removal = waiting(&env, &["rm", "dev"]);
        held.let_others_pass();
        let _ = env.podspawn(["create", "dev"]).run().ok();
        drop(held);
        let (ended, screen) = removal.wait();
        assert_eq!(ended, 1, "{screen}");
        assert!(screen.contains("the machine `dev` is running"), "{screen}");
        assert_eq!(status(&env, "dev").as_deref(), Some("running"));
        assert_eq!(checkouts(&env), ["dev"]);

        // It is the machine that was meant, however often it was started.
        let held = Held::of(&env);
        let removal = waiting(&env, &["rm", "dev", "--force"]);
        held.let_others_pass();
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        let _ = env.podspawn(["create", "dev"]).run().ok();
        drop(held);
        let (ended, screen) = removal.wait();
        assert_eq!(ended, 0, "{screen}");
        assert_eq!((status(&env, "dev"), env.objects()), (None, Vec::new()));
        assert_eq!(checkouts(&env), Vec::<String>::new());
    }
}

on_engines! {
    [docker; soak: podman]
    fn a_machine_that_was_made_while_rm_waited_is_not_the_one_that_was_meant(env: Env) {
        let _remote = stopped(&env);
        let held = Held::of(&env);
        let removal = waiting(&env, &["rm", "dev", "--force"]);
        held.let_others_pass();
        let _ = env.podspawn(["rm", "dev"]).run().ok();
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        drop(held);
        let (ended, screen) = removal.wait();
        assert_eq!(ended, 1, "{screen}");
        assert!(screen.contains("there is no machine `dev`"), "{screen}");
        assert_eq!(status(&env, "dev").as_deref(), Some("running"));
        assert_eq!(checkouts(&env), ["dev"]);
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
    }
}

on_engines! {
    [docker; soak: podman]
    fn a_machine_without_a_checkout_is_made_when_its_name_is_free(env: Env) {
        let _remote = stopped(&env);
        let _ = env.podspawn(["rm", "dev"]).run().ok();
        let held = Held::of(&env);
        let plain = waiting(&env, &["create", "dev"]);
        held.let_others_pass();
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        drop(held);
        let (ended, screen) = plain.wait();
        assert_eq!(ended, 0, "{screen}");
        assert!(screen.contains("dev is running already"), "{screen}");
        // Forced, since it runs; a machine of its own image it never was.
        let run = env.podspawn(["rm", "dev", "--force"]).run().ok();
        assert_eq!(run.stderr, "✓ Removed workspace dev\n");
    }
}

on_engines! {
    [docker; soak: podman]
    fn a_throwaway_machine_and_a_session_wait_for_a_name_that_is_being_taken(env: Env) {
        let remote = Remote::start();
        let gate = Gate::start();
        register(&env, "slow", &gate.url());
        let app = directory(&env, "app", &podfile(""));
        let making = env.podspawn(["create", "dev", "--project", "slow", "--branch", "main"]).start();
        let asked = gate.asked();
        let run = waiting(&env, &["run", "dev"]);
        let dev = env.podspawn(["dev", "--name", "dev", "--", "true"]).at(&app).run().status(1);
        assert!(dev.stderr.contains("the name `dev` belongs to a machine"), "its row is there: {}", dev.stderr);
        gate.open(asked, &remote);
        let _ = making.wait(LIMIT).ok();
        let (ended, screen) = run.wait();
        assert_eq!(ended, 1, "{screen}");
        assert!(screen.contains("the name `dev` is in use"), "{screen}");
        assert_eq!(status(&env, "dev").as_deref(), Some("running"));
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
    }
}

on_engines! {
    [docker]
    fn a_checkout_is_not_given_to_a_machine_that_was_made_without_it(env: Env) {
        let remote = stopped(&env);
        let _ = env.podspawn(["rm", "dev"]).run().ok();
        let store = Store::open(&env.home().join(".podspawn/state.db")).unwrap();
        let (user, name) = (env.user.parse().unwrap(), "dev".parse().unwrap());
        for throwaway in [false, true] {
            let gate = Gate::start();
            let project = if throwaway { "slow" } else { "slower" };
            register(&env, project, &gate.url());
            let making = env.podspawn(["create", "dev", "--project", project, "--branch", "main"]).start();
            let asked = gate.asked();
            // As a podspawn would that knows nothing of the checkout and of the name's lock.
            let row = store.workspace(&user, &name).unwrap().expect("a row");
            store.delete_workspace(&row.id).unwrap();
            let path = env.home().join(format!(".podspawn/locks/{}.dev.name.lock", env.user));
            std::fs::rename(&path, path.with_extension("aside")).unwrap();
            let other = if throwaway {
                let mut other = env.terminal(["run", "dev"]);
                other.expect(&format!("{}@dev", env.user));
                Some(other)
            } else {
                let _ = env.podspawn(["create", "dev"]).run().ok();
                None
            };
            assert!(store.insert_workspace(&row).unwrap());
            gate.open(asked, &remote);
            let run = making.wait(LIMIT).status(1);
            let why = if throwaway { "is a throwaway machine in use" } else { "the name `dev` is in use" };
            assert!(run.stderr.contains(why), "{}", run.stderr);
            assert_eq!(checkouts(&env), Vec::<String>::new());
            assert_eq!(store.workspace(&user, &name).unwrap(), None);
            // The other machine is what it was.
            assert_eq!(status(&env, "dev").as_deref(), Some("running"));
            match other {
                Some(mut other) => {
                    other.line("exit");
                    let _ = other.wait();
                }
                None => drop(env.podspawn(["rm", "dev", "--force"]).run().ok()),
            }
        }
    }
}

on_engines! {
    [docker]
    fn who_waits_for_a_name_heeds_ctrl_c_and_its_like(env: Env) {
        let _remote = stopped(&env);
        let _ = env.podspawn(["update-project", "api"]).run().ok();
        let registry = || std::fs::read_to_string(env.home().join(".podspawn/projects.yaml")).unwrap();
        let before = registry();
        let commands: [&[&str]; 9] = [
            &["create", "dev"],
            &["create", "dev", "--project", "api"],
            &["shell", "dev"],
            &["switch-branch", "dev", "feature"],
            &["rm", "dev"],
            &["run", "dev", "--project", "api"],
            &["add-project", "api", "--repo", "https://example.invalid/api"],
            &["update-project", "api"],
            &["remove-project", "api"],
        ];
        let signals = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];
        let held = (Held::of(&env), Held::named(&env, "project.api"));
        for (args, (signal, status)) in commands.iter().zip(signals.iter().cycle()) {
            let terminal = waiting(&env, args);
            terminal.signal(*signal);
            let (ended, screen) = terminal.wait();
            assert_eq!(ended, *status, "{args:?}: {screen}");
            assert!(screen.contains("interrupted"), "{args:?}: {screen}");
        }
        drop(held);
        assert_eq!(registry(), before);
        assert_eq!(checkouts(&env), ["dev"]);
        assert_eq!(std::fs::read_to_string(checkout(&env, "dev").join("where")).unwrap(), "main\n");
        assert_eq!(status(&env, "dev").as_deref(), Some("stopped"));
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
