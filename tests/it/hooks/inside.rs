//! Order, context and failures, in real containers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use podspawn::podfile::{Dotfiles, Hook, HookCommand, Hooks, Repo};
use podspawn::session::{Audience, Cancel, Exists, Reason, Silent, Skip};
use podspawn::spec::Setup;
use podspawn::state::SetupState;
use podspawn_runtimes::Engine;

use super::lab::{Memory, for_a_person, script, with};
use crate::harness::engines::EngineName;
use crate::lifecycle::real::{Place, tell};

macro_rules! hooks {
    ($( [$($engines:tt)+] fn $name:ident($place:ident) $body:block )+) => {$(
        mod $name {
            use super::*;
            async fn story($place: &Place) {
                // On the heap: a long story is too much for the stack of a test.
                Box::pin(async { $body }).await;
            }
            $crate::tests_on! { [$($engines)+] |engine| tell(engine, story) }
        }
    )+};
}

/// Serves `/srv/git/<name>` from inside the container itself, where every engine's containers find it.
const SERVE: &str = "set -e; export HOME=/root; mkdir -p /srv/git; cd /srv/git; for name in dot web; do \
    git init -q -b main $name; cd $name; git config user.email a@b; git config user.name a; \
    echo $name > file; echo 'echo installed > \"$HOME/installed\"' > install.sh; chmod +x install.sh; \
    git add .; git commit -qm one; git branch other; git checkout -q other; echo other > file; \
    git commit -qam two; git checkout -q main; cd ..; done; \
    git daemon --export-all --base-path=/srv/git --reuseaddr --detach --listen=127.0.0.1 2>/dev/null; \
    until git ls-remote git://127.0.0.1/web >/dev/null 2>&1; do sleep 0.05; done; echo serving";

hooks! {
    [docker, podman; soak: gvisor]
    fn everything_happens_in_order_as_the_user_and_once(place) {
        let setup = Setup {
            dotfiles: Some(Dotfiles {
                repo: "git://127.0.0.1/dot".parse().expect("an address"),
                install: Some("./install.sh; pwd >> ~/order".into()),
            }),
            repos: vec![
                Repo {
                    url: "git://127.0.0.1/web".parse().expect("an address"),
                    path: Some("/workspace/deep/web".into()),
                    branch: Some("other".parse().expect("a branch")),
                },
                Repo { url: "git://127.0.0.1/none".parse().expect("an address"), path: None, branch: None },
                Repo { url: "git://127.0.0.1/web".parse().expect("an address"), path: None, branch: None },
            ],
            hooks: Hooks {
                create: vec![script("on_create", "cat /workspace/deep/web/file >> order; echo made; exit 0")],
                boot: vec![script("postStartCommand", "echo boot >> ~/order")],
                start: vec![script(
                    "on_start",
                    "echo start >> order; echo $HOME $USER $SHELL $FROM_PODFILE; pwd; id -u; sudo -n id -u; wc -c",
                )],
            },
        };
        let mut spec = with(place, &setup);
        spec.env.insert("FROM_PODFILE".into(), "a b".into());
        let mut first = place.acquire(&spec).await;
        assert_eq!(first.record.setup, SetupState::Pending);
        assert_eq!(place.inside(&first, SERVE).await, "serving");
        let told = for_a_person(place, &mut first, &setup).await.expect("set up");
        assert_eq!(first.record.setup, SetupState::Done);
        let home = format!("/home/{}", place.user);
        let order = format!("cat {home}/order {home}/installed {home}/dotfiles/file {home}/web/file");
        assert_eq!(
            place.inside(&first, &order).await,
            format!("{home}/dotfiles\nother\nboot\nstart\ninstalled\ndot\nweb"),
            "{told:#?}"
        );
        // Not `stat`: an old sandbox has no such system call.
        let owners = "find /workspace /workspace/deep /workspace/deep/web/file -maxdepth 0 -uid 1000";
        assert_eq!(place.inside(&first, owners).await, "/workspace\n/workspace/deep\n/workspace/deep/web/file");
        assert_eq!(place.inside(&first, "cd /workspace/deep/web && git -c safe.directory='*' branch -r").await,
            "origin/other");
        assert_eq!(place.inside(&first, &format!("find {home} /workspace/deep -maxdepth 1 -name '*podspawn*' | wc -l")).await, "0");
        // The last thing that it wrote is what a new shell stands below.
        let greeting = ["", &format!("{home} {} /bin/bash a b", place.user), &home, "1000", "0", "0"];
        assert_eq!(told[told.len() - 6..], greeting, "{told:#?}");
        let run = "Running on_create: cat /workspace/deep/web/file >> order; echo made; exit 0";
        assert!(told.contains(&format!("begun {run}")) && told.contains(&format!("done {run}")), "{told:#?}");
        assert!(told.contains(&"    made".to_owned()), "{told:#?}");
        let failed = "warning: cloning git://127.0.0.1/none failed with status 128; ";
        assert!(told.iter().any(|line| line.starts_with(failed)), "{told:#?}");

        let mut again = place.core.try_join(&spec.key).expect("join").expect("it runs");
        assert!(!place.core.needs_setup(&again.record, &setup));
        let told = for_a_person(place, &mut again, &setup).await.expect("set up");
        assert_eq!(told, greeting[1..]);
        let lines = place.inside(&again, &format!("tail -n +3 {home}/order")).await;
        assert_eq!(lines, "boot\nstart\nstart");

        // What is done at each start is done at the next one, and what is done once is not.
        let container = again.record.container_id.clone();
        place.core.engines.stop_container(&container, Duration::from_secs(5)).await.expect("stop");
        drop((first, again));
        let joined = place.core.join(&spec.key, &mut Silent, &Cancel::never()).await.expect("join");
        let mut joined = joined.expect("it is back");
        for_a_person(place, &mut joined, &setup).await.expect("set up");
        let lines = place.inside(&joined, &format!("tail -n +3 {home}/order")).await;
        assert_eq!(lines, "boot\nstart\nstart\nboot\nstart");

        // A new container is set up anew.
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
        let mut new = place.acquire(&spec).await;
        assert_eq!(place.inside(&new, SERVE).await, "serving");
        for_a_person(place, &mut new, &setup).await.expect("set up");
        assert_eq!(place.inside(&new, &format!("cat {home}/installed")).await, "installed");
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    }

    [docker, podman; soak: gvisor]
    fn a_hook_that_fails_is_said_and_logged_and_keeps_nobody_out(place) {
        let setup = Setup {
            hooks: Hooks {
                create: vec![script("on_create", "printf 'colou\\033[31mred\\033]0;x\\007\\n'; exit 3")],
                start: vec![script("on_start", "kill -9 $$")],
                ..Hooks::default()
            },
            ..Setup::default()
        };
        let spec = with(place, &setup);
        let log = Log::default();
        let mut session = place.acquire(&spec).await;
        let told = {
            let _logging = log.start();
            for_a_person(place, &mut session, &setup).await.expect("a failing hook is no error")
        };
        assert_eq!(session.record.setup, SetupState::Failed);
        let stored = place.core.store.find(&spec.key).expect("find").expect("a row").setup;
        assert_eq!(stored, SetupState::Failed);
        assert_eq!(told[1..], [
            "    coloured",
            "warning: on_create failed with status 3; everything else works, and it runs again in a new container",
            "warning: on_start was ended by signal 9; it runs again with the next connection",
        ]);
        let text = log.text();
        let line = text.lines().find(|line| line.contains("on_create")).expect("a line in the log");
        for part in ["WARN", "hook=\"on_create\"", "status=\"3\"", "output=\"coloured\""] {
            assert!(line.contains(part), "{part}: {line}");
        }
        // Once for each container, failed or not.
        let again = place.core.try_join(&spec.key).expect("join").expect("it runs");
        assert!(!place.core.needs_setup(&again.record, &setup));
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    }

    [docker, podman; soak: gvisor]
    fn a_program_hears_nothing_whatever_happens(place) {
        let setup = Setup {
            dotfiles: Some(Dotfiles { repo: "git://127.0.0.1/none".parse().expect("an address"), install: None }),
            hooks: Hooks {
                create: vec![script("on_create", "echo out; echo err >&2; exit 1")],
                start: vec![script("on_start", "echo out; echo err >&2; exit 1")],
                ..Hooks::default()
            },
            ..Setup::default()
        };
        let spec = with(place, &setup);
        let mut session = place.acquire(&spec).await;
        let mut memory = Memory::default();
        let (cancel, skip) = (Cancel::never(), Skip::never());
        let mut audience = Audience::program(&mut memory, &cancel, &skip);
        place.core.prepare(&mut session, &setup, &mut audience).await.expect("set up");
        assert_eq!(session.record.setup, SetupState::Failed);
        assert_eq!(memory.lines(), Vec::<String>::new());
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    }

    [docker, podman; soak: gvisor]
    fn hooks_at_the_same_time_wait_for_each_other_and_each_is_named(place) {
        let argv = |argv: &[&str]| HookCommand::Argv(argv.iter().map(ToString::to_string).collect());
        // Each waits for the other's end of a pipe: one after the other they would never end.
        let all = HookCommand::Parallel(vec![
            ("one".into(), HookCommand::Script("mkfifo /tmp/p 2>/dev/null; echo x > /tmp/p; exit 4".into())),
            ("two".into(), HookCommand::Script("mkfifo /tmp/p 2>/dev/null; cat /tmp/p".into())),
            ("three".into(), argv(&["printf", "<%s>\n", "a  b", "*"])),
            ("four".into(), argv(&["/no/such/program"])),
        ]);
        let setup = Setup {
            hooks: Hooks {
                create: vec![Hook { name: "postCreateCommand".into(), command: all, dir: None }],
                ..Hooks::default()
            },
            ..Setup::default()
        };
        let spec = with(place, &setup);
        let mut session = place.acquire(&spec).await;
        let told = for_a_person(place, &mut session, &setup).await.expect("set up");
        for line in [
            "begun Running postCreateCommand: one, two, three, four",
            "    [two] x",
            "    [three] <a  b>",
            "    [three] <*>",
            "warning: postCreateCommand [one] failed with status 4; everything else works, and it runs again in a new container",
        ] {
            assert!(told.iter().any(|told| told == line), "{line}: {told:#?}");
        }
        let four = "warning: postCreateCommand [four] could not be started: /no/such/program: not found; ";
        assert!(told.iter().any(|told| told.starts_with(four)), "{told:#?}");
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    }
}

#[test]
fn an_image_without_git_is_told_from_an_address_that_does_not_answer() {
    tell(EngineName::Docker, async |place| {
        let setup = Setup {
            dotfiles: Some(Dotfiles {
                repo: "git://127.0.0.1/dot".parse().expect("an address"),
                install: None,
            }),
            ..Setup::default()
        };
        let mut spec = with(place, &setup);
        spec.image = "podspawn-test/busybox:1".parse().expect("an image");
        let mut session = place.acquire(&spec).await;
        let told = for_a_person(place, &mut session, &setup).await.expect("set up");
        assert_eq!(
            told.last().expect("a line"),
            "warning: cloning dotfiles could not be started: git: not found; \
             the image has no git: add `git` to `packages`"
        );
        assert_eq!(session.record.setup, SetupState::Done);
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    });
}

#[test]
fn a_session_without_a_setup_is_joined_without_a_look_inside() {
    tell(EngineName::Docker, async |place| {
        let setup = Setup::default();
        let spec = with(place, &setup);
        let made =
            place.core.acquire(&spec, Exists::Join, &mut Silent, &Cancel::never()).await.expect("made");
        assert_eq!(made.session.record.setup, SetupState::Done);
        assert!(!place.core.needs_setup(&made.session.record, &setup));
        assert!(!place.core.dirs.locks.join("setup").exists(), "not even a lock is made");
        place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    });
}

/// What this thread logs.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panicked")).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
