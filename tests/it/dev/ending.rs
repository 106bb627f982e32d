//! `down`, and what is left of sessions that did not come to be.

use std::time::Duration;

use rustix::process::Signal;

use super::yard::{directory, forget_images, make_backends, podfile, tag};
use crate::harness::engines::fact;

const LIMIT: Duration = Duration::from_secs(200);

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_session_is_removed_also_when_its_podfile_is_broken_or_renamed(env: Env) {
        let app = directory(&env, "app", &podfile("name: first\n"));
        let dev = || env.podspawn(["dev", "--", "true"]).at(&app).limit(LIMIT).run().ok();
        let _ = dev();
        let name = podspawn::local::session_name(Some("first"), &app).to_string();
        for further in ["name: second\n", "oops: 1\n"] {
            let app = directory(&env, "app", &podfile(further));
            let run = env.podspawn(["down"]).at(&app).run().status(1);
            assert!(run.stderr.ends_with(&format!("hint: podspawn down --name {name}\n")), "{}", run.stderr);
        }
        let run = env.podspawn(["down", "--name", &name]).at(&app).run().ok();
        assert_eq!(run.stderr, format!("Stopped {name}\n"));
        assert_eq!(env.objects(), Vec::<String>::new());
        forget_images(&env, &name);
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn volumes_go_with_their_session_whatever_the_podfile_says_by_now(env: Env) {
        make_backends(env.engine.expect("an engine"));
        let service = format!("services: [{{name: cache, image: '{}', volumes: ['data:/data', 'a.b:/b']}}]\n", tag("redis"));
        let app = directory(&env, "app", &podfile(&service));
        let _ = env.podspawn(["dev", "--name", "kept", "--", "true"]).at(&app).limit(LIMIT).run().ok();
        let app = directory(&env, "app", &podfile(""));
        let run = env.podspawn(["down", "--clean", "--name", "kept"]).at(&app).run().ok();
        assert_eq!(run.stderr, "Stopped kept\nRemoved volume a.b\nRemoved volume data\n");
        assert_eq!(env.objects(), Vec::<String>::new());
        forget_images(&env, "kept");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_session_that_does_not_come_to_be_takes_its_new_volumes_along_and_no_others(env: Env) {
        make_backends(env.engine.expect("an engine"));
        let service = |volumes: &str, further: &str| {
            let cache = format!("{{name: cache, image: '{}', volumes: {volumes}}}", tag("redis"));
            podfile(&format!("services: [{cache}{further}]\n"))
        };
        let dev = |files: &[(&str, String)]| {
            let app = directory(&env, "app", files);
            env.podspawn(["dev", "--name", "half", "--", "true"]).at(&app).limit(LIMIT).run()
        };
        // Its first process ends before any port is open.
        let side = format!(", {{name: side, image: '{}', ports: [5432]}}", fact("IMAGE_DEBIAN"));
        let failing = service("['old:/old', 'new:/new']", &side);
        let run = dev(&failing).status(1);
        assert!(run.stderr.contains("the service `side`"), "{}", run.stderr);
        assert_eq!(env.objects(), Vec::<String>::new());

        let _ = dev(&service("['old:/old']", "")).ok();
        let app = directory(&env, "app", &failing);
        let _ = env.podspawn(["down", "--name", "half"]).at(&app).run().ok();
        assert_eq!(env.objects().len(), 1, "{:?}", env.objects());
        let _ = dev(&failing).status(1);
        assert_eq!(env.objects().len(), 1, "what was there before stays: {:?}", env.objects());
        let run = env.podspawn(["down", "--clean", "--name", "half"]).at(&app).run().ok();
        assert_eq!(run.stderr, "Removed volume old\n");
        forget_images(&env, "half");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_hook_that_fails_where_nobody_watches_is_one_line_on_standard_error(env: Env) {
        let app = directory(&env, "app", &podfile("on_create: echo so far; echo no luck >&2; exit 3\n"));
        let run = env.podspawn(["dev", "--name", "quiet", "--", "echo", "out"]).at(&app).limit(LIMIT).run().ok();
        assert_eq!(run.out(), "out\n", "never standard output");
        let line = run.stderr.lines().filter(|line| line.starts_with("WARN ")).collect::<Vec<_>>();
        assert_eq!(line.len(), 1, "{}", run.stderr);
        assert!(line[0].starts_with("WARN on_create failed with status 3 "), "{}", line[0]);
        assert!(line[0].contains(" hook=on_create status=3 output=\"so far / no luck\""), "{}", line[0]);

        // With a log it stands there alone.
        let log = env.home().join("log");
        let flags = ["--log-file", log.to_str().expect("a path"), "dev", "--fresh", "--name", "quiet", "--", "true"];
        let run = env.podspawn(flags).at(&app).limit(LIMIT).run().ok();
        assert!(!run.stderr.contains("WARN"), "{}", run.stderr);
        let text = std::fs::read_to_string(&log).expect("a log");
        assert_eq!(text.matches("WARN on_create failed with status 3 ").count(), 1, "{text}");
        let _ = env.podspawn(["down", "--name", "quiet"]).at(&app).run().ok();
        forget_images(&env, "quiet");
    }
}

on_engines! {
    [docker]
    fn the_moving_line_names_what_runs_and_is_gone_after_ctrl_c(env: Env) {
        let long = "x".repeat(200);
        let text = format!("extra_commands:\n  - 'printf half; sleep 1; echo done-{long}; sleep 60'\non_start: sleep 2; echo hello\n");
        let app = directory(&env, "app", &podfile(&text));
        let mut person = env.podspawn(["dev", "--name", "moving"]).at(&app).terminal(24, 80);
        person.expect("halfdone-xxx");
        person.send("\x03");
        let (status, screen) = person.wait();
        assert_eq!(status, 130, "{screen}");
        let last = screen.rsplit("\x1b[2K").next().expect("what was drawn last");
        assert!(last.contains("Error:") && last.contains("interrupted") && !last.contains("xxx"), "{screen:?}");
        assert!(!screen.contains(&"x".repeat(80)), "no line is longer than the terminal is wide: {screen:?}");

        let app = directory(&env, "app", &podfile("on_start: sleep 2; echo hello\n"));
        let mut person = env.podspawn(["dev", "--name", "moving"]).at(&app).terminal(24, 80);
        person.expect("Running on_start: sleep 2");
        person.expect("hello");
        person.expect(&format!("{}@", env.user));
        person.line("exit");
        assert_eq!(person.wait().0, 0);
        let mut person = env.podspawn(["dev", "--name", "moving"]).at(&app).terminal(24, 80);
        person.expect("Re-attaching to moving");
        person.expect("Running on_start: sleep 2");
        person.expect("hello");
        person.expect(&format!("{}@", env.user));
        person.line("exit");
        assert_eq!(person.wait().0, 0);
        let _ = env.podspawn(["down", "--name", "moving"]).at(&app).run().ok();
        forget_images(&env, "moving");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_setup_that_was_cut_off_is_for_the_next_dev_and_for_nobody_else(env: Env) {
        let text = "on_create: |\n  cd /workspace/app\n  echo at-$((40 + 2))\n  until test -e go; do sleep 0.1; done\n  echo made > ~/made\n";
        let app = directory(&env, "app", &podfile(text));
        let dev = || {
            let mut person = env.podspawn(["dev", "--name", "cut", "--", "sh", "-c", "cat ~/made"]).at(&app).terminal(24, 80);
            person.expect_within("at-42", LIMIT);
            person
        };
        let look = || env.podspawn(["exec", "cut", "--", "sh", "-c", "cat ~/made || echo none"]).limit(LIMIT);
        let first = dev();
        first.signal(Signal::KILL);
        let _ = first.wait();
        for _ in 0..2 {
            let run = look().run().ok();
            assert_eq!(run.out(), "none\n");
            let line = "warning: the setup of `cut` has not come to its end: `podspawn dev --name cut` in its directory does it\n";
            assert!(run.stderr.starts_with(line), "{}", run.stderr);
        }
        let run = env.podspawn(["shell", "cut"]).stdin("cat ~/made || echo none").run().ok();
        assert!(run.out() == "none\n" && run.stderr.contains("has not come to its end"), "{}", run.stderr);

        // Whoever comes while it is under way waits for it.
        let mut second = dev();
        let waiting = look().start();
        let mut person = env.podspawn(["shell", "cut"]).terminal(24, 80);
        person.expect("Waiting for another connection that sets this machine up");
        std::fs::write(app.join("go"), "").expect("write");
        second.expect("made");
        assert_eq!(second.wait().0, 0);
        let run = waiting.wait(LIMIT).ok();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("made\n", ""));
        person.expect(&format!("{}@", env.user));
        person.line("exit");
        assert_eq!(person.wait().0, 0);
        let _ = env.podspawn(["down", "--name", "cut"]).at(&app).run().ok();
        forget_images(&env, "cut");
    }
}
