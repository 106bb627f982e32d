//! What a Podfile says has its effect in a container.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::yard::{directory, forget_images, only_row, podfile};
use crate::harness::engines::fact;

const LIMIT: Duration = Duration::from_secs(200);

/// A port of this host that nobody has.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port()
}

/// A server that hangs up on everybody, and how often it was asked. Its thread ends with the test's process.
pub struct Rude {
    pub url: String,
    asked: Arc<AtomicUsize>,
}

impl Rude {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                drop(client);
            }
        });
        Self { url, asked }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

on_engines! {
    [docker; soak: podman]
    fn whoever_comes_back_asks_nobody_for_what_a_podfile_extends(env: Env) {
        let web = Rude::start();
        env.write_config(&format!("github_url: {}\n", web.url));
        let kept = env.home().join(".podspawn/cache/podfiles/github/org/repo/main/base.yaml");
        std::fs::create_dir_all(kept.parent().expect("a parent")).expect("mkdir");
        std::fs::write(&kept, format!("base: {}\non_start: echo started >>~/started\n", fact("IMAGE_SUDO"))).expect("write");
        let extending = "extends: github.com/org/repo/base.yaml\n".to_owned();
        let app = directory(&env, "app", &[("podfile.yaml", extending)]);
        let dev = || {
            let args = ["dev", "--name", "based", "--", "sh", "-c", "cat ~/started"];
            env.podspawn(args).at(&app).limit(LIMIT).run().ok()
        };
        let run = dev();
        assert!(web.asked() > 0 && run.stderr.contains("the copy in"), "{}", run.stderr);
        let before = web.asked();
        let run = dev();
        assert_eq!(run.out(), "started\nstarted\n");
        assert!(web.asked() == before && !run.stderr.contains("the copy in"), "{}", run.stderr);
        let _ = env.podspawn(["down", "--name", "based"]).at(&app).run().ok();
        forget_images(&env, "based");
    }

    [docker]
    fn resources_shell_mode_and_place_of_a_podfile_are_in_force_as_far_as_the_host_allows(env: Env) {
        env.write_config("resources:\n  max_cpus: 0.5\n  max_memory: 200m\n");
        let app = directory(&env, "app", &podfile(
            "resources: {cpus: 4, memory: 8g}\nshell: /bin/sh\nmode: destroy-on-disconnect\nworkspace: /code/here\n",
        ));
        let dev = |script: &str| {
            env.podspawn(["dev", "--name", "capped"]).at(&app).limit(LIMIT).stdin(script).run().ok()
        };
        let look = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max 2>/dev/null || \
                    cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us; \
                    pwd; getent passwd $(id -un) | cut -d: -f7; echo $SHELL; test -e podfile.yaml && echo mounted";
        let said = dev(look).out();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], (200 << 20).to_string(), "{said}");
        assert!(lines[1].starts_with("50000"), "{said}");
        assert_eq!(lines[2..], ["/code/here", "/bin/sh", "/bin/sh", "mounted"]);
        assert_eq!(env.objects(), Vec::<String>::new(), "it goes with its shell");

        let app = directory(&env, "app", &podfile("resources: {memory: 100m}\n"));
        let run = env.podspawn(["dev", "--name", "capped"]).at(&app).limit(LIMIT).stdin(look).run().ok();
        assert_eq!(run.out().lines().next(), Some((100 << 20).to_string().as_str()), "less may be asked for");
        let _ = env.podspawn(["down", "--name", "capped"]).at(&app).run().ok();
        forget_images(&env, "capped");
    }

    [docker; soak: podman, gvisor]
    fn ports_follow_their_strategy_and_stay_with_their_session(env: Env) {
        let (listed, further) = (free_port(), free_port());
        let ports = |strategy: &str| podfile(&format!("ports: {{expose: [{listed}], strategy: {strategy}}}\n"));
        let app = directory(&env, "app", &ports("manual"));
        let dev = |flags: &[&str]| {
            let args = [&["dev", "--name", "ported"], flags, &["--", "true"]].concat();
            env.podspawn(args).at(&app).limit(LIMIT).run().ok().stderr
        };
        let shown = |said: &str| said.lines().find(|line| line.starts_with("  ports: ")).map(str::to_owned);
        assert_eq!(
            shown(&dev(&[])).as_deref(),
            Some("  ports: none (strategy `manual`: name them with `--ports`)")
        );
        assert!(TcpListener::bind(("127.0.0.1", listed)).is_ok(), "nothing is published");
        let further = further.to_string();
        let said = dev(&["--fresh", "--ports", &further]);
        assert_eq!(shown(&said), Some(format!("  ports: localhost:{further} -> :{further}")));
        assert!(TcpListener::bind(("127.0.0.1", further.parse().expect("a port"))).is_err(), "the engine has it");

        let _ = directory(&env, "app", &ports("expose"));
        let said = dev(&["--fresh"]);
        assert_eq!(shown(&said), Some(format!("  ports: localhost:{listed} -> :{listed}")));
        // The session itself has taken the port: whoever comes back is not refused for that.
        let said = dev(&[]);
        assert!(said.contains("Re-attaching to ported") && !said.contains(&listed.to_string()), "{said}");
        let said = dev(&["--ports", &further]);
        assert!(said.contains(&format!("port {further} is not published")), "{said}");
        let _ = env.podspawn(["down", "--name", "ported"]).at(&app).run().ok();
        forget_images(&env, "ported");
    }

    [docker; soak: podman, gvisor]
    fn ones_own_dotfiles_come_before_the_podfiles_where_they_are_asked_for(env: Env) {
        env.write_config("local:\n  dotfiles:\n    repo: git://127.0.0.2:1/mine\n");
        let app = directory(&env, "app", &podfile("dotfiles: {repo: 'git://127.0.0.1:1/theirs'}\n"));
        let dev = |flags: &[&str]| {
            let args = [&["dev", "--name", "dotted", "--ephemeral"], flags, &["--", "true"]].concat();
            env.podspawn(args).at(&app).limit(LIMIT).run().ok().stderr
        };
        let (said, own) = (dev(&[]), dev(&["--dotfiles"]));
        assert!(said.contains("127.0.0.1") && !said.contains("127.0.0.2"), "{said}");
        assert!(own.contains("127.0.0.2") && !own.contains("127.0.0.1"), "{own}");
        assert_eq!(env.objects(), Vec::<String>::new());
        forget_images(&env, "dotted");
    }

    [docker; soak: podman, gvisor]
    fn ones_own_podfile_makes_machines_unless_an_image_is_named(env: Env) {
        let own = env.home().join(".podspawn/podfile.yaml");
        std::fs::create_dir_all(own.parent().expect("a parent")).expect("mkdir");
        let text = format!("base: {}\nenv: {{WHOSE: mine}}\non_create: echo made >~/made\n", fact("IMAGE_SUDO"));
        std::fs::write(&own, text).expect("write");
        let look = ["sh", "-c", "echo $WHOSE; cat ~/made"];
        let _ = env.podspawn(["create", "own"]).limit(LIMIT).run().ok();
        let said = env.podspawn([&["exec", "own", "--"][..], &look].concat()).run().ok().out();
        assert_eq!(said, "mine\nmade\n");
        assert!(only_row(&env)["image"].as_str().is_some_and(|image| image.starts_with("podspawn/own:podfile-")));
        let said = env.podspawn([&["run", "once", "--"][..], &look].concat()).limit(LIMIT).run().ok().out();
        assert_eq!(said, "mine\nmade\n");
        let image = fact("IMAGE_SUDO");
        let args = ["run", "plain", "--image", image, "--", "sh", "-c", "echo $WHOSE; test -e ~/made || echo bare"];
        assert_eq!(env.podspawn(args).run().ok().out(), "\nbare\n");
        let _ = env.podspawn(["rm", "own", "--force"]).run().ok();
        for name in ["own", "once"] {
            forget_images(&env, name);
        }
    }

    [docker; soak: podman]
    fn a_base_that_nothing_can_be_installed_in_is_said_to_be_one(env: Env) {
        let app = directory(&env, "app", &[
            ("podfile.yaml", format!("base: {}\npackages: [git]\n", fact("IMAGE_BUSYBOX"))),
        ]);
        let run = env.podspawn(["dev", "--name", "bare", "--", "true"]).at(&app).limit(LIMIT).run().status(1);
        let expected = "this image has none of apt-get, apk and dnf, so nothing can be installed in it: \
                        choose a base of Debian, Ubuntu, Alpine or Fedora";
        assert!(run.stderr.contains(expected), "{}", run.stderr);
        assert_eq!(env.objects(), Vec::<String>::new());
        forget_images(&env, "bare");
    }
}
