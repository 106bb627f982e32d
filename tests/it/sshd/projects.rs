//! Registered projects over SSH.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::pull::Pushed;
use crate::dev::podfile::Rude;
use crate::harness::engines::{EngineName, fact};
use crate::harness::moments::let_pass;
use crate::harness::server::{Server, Wishes};
use crate::harness::system::{random_hex, run};
use crate::projects::machines::asking;
use crate::projects::remote::{Remote, Silent};
use crate::services::lab::{Place, drive};

pub(crate) const PROJECT: &str = "SetEnv=PODSPAWN_PROJECT=api";

const SOON: Duration = Duration::from_secs(60);

/// The processes of this host, in whatever container, whose command lines hold these words one after the other.
fn processes(words: &[&str]) -> Vec<Pid> {
    let wanted = words.join("\0");
    let holds = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&wanted)
    };
    let all = fs::read_dir("/proc").expect("processes").flatten().filter(holds);
    all.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Waits until some of these processes run, or none of them does.
#[track_caller]
fn wait_until(run: bool, words: &[&str]) {
    let deadline = Instant::now() + SOON;
    while processes(words).is_empty() == run {
        assert!(Instant::now() < deadline, "{words:?}: {:?}", processes(words));
        let_pass(Duration::from_millis(50));
    }
}

/// What is left of clones, finished and not.
fn clones(server: &Server) -> Vec<PathBuf> {
    let entries = |name: &str| fs::read_dir(server.path(name)).into_iter().flatten().flatten();
    let all = entries("state/projects").chain(entries("state-fetch")).map(|entry| entry.path());
    all.filter(|path| path.is_dir()).collect()
}

/// Registers `api` by hand, as if its repository had been fetched.
pub(crate) fn register(server: &Server, podfile: &str) -> PathBuf {
    let config = fs::read_to_string(server.config_file()).expect("read");
    fs::write(
        server.config_file(),
        format!("{config}projects:\n  api:\n    repo: https://git.example/a/api\n"),
    )
    .expect("write");
    let clone = server.path("state/projects/api");
    fs::create_dir_all(&clone).expect("mkdir");
    run(Command::new("git").args(["init", "-q", "-b", "main"]).arg(&clone));
    fs::write(clone.join("podfile.yaml"), podfile).expect("write");
    fs::write(clone.join("where"), "main\n").expect("write");
    // The broker may work as another account.
    run(Command::new("chown")
        .arg("-R")
        .arg(format!("--reference={}", server.path("state").display()))
        .arg(&clone));
    run(Command::new("chown")
        .arg(format!("--reference={}", server.path("state").display()))
        .arg(server.path("state/projects")));
    clone
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn a_registered_project_has_its_files_its_image_and_its_hooks(server: Server) {
        let base = fact("IMAGE_DEBIAN");
        register(
            &server,
            &format!(
                "base: {base}\nenv:\n  WHO: ${{PODSPAWN_USER}}@${{PODSPAWN_PROJECT}}\n\
                 on_create: |\n  cat /workspace/api/where >> ~/created\n\
                 on_start: |\n  echo started >> ~/started\n  echo said by a hook\n"
            ),
        );
        let ann = server.user("ann");
        // Standard output is the command's alone, also while everything is made.
        let said = server.sh_with(&ann, &["-o", PROJECT], "echo $WHO; cat ~/created ~/started; cat /workspace/api/where");
        assert_eq!(said.lines().collect::<Vec<_>>(), [&format!("{ann}@api"), "main", "started", "main"]);
        let again = server.sh_with(&ann, &["-o", PROJECT], "cat ~/created ~/started; echo mine > /workspace/api/where");
        assert_eq!(again.lines().collect::<Vec<_>>(), ["main", "started", "started"]);
        // Another user of the project has a copy of their own; a session without a name has none.
        let ben = server.user("ben");
        assert_eq!(server.sh_with(&ben, &["-o", PROJECT], "cat /workspace/api/where; find /workspace/api/.git -maxdepth 0").trim(), "main\n/workspace/api/.git");
        assert_eq!(server.sh(&ann, "find /workspace/api -maxdepth 0 2>/dev/null || echo none").trim(), "none");
    }

    [docker; soak: podman]
    fn a_services_image_that_is_missing_is_pulled_in_the_services_line(server: Server) {
        let greeter = drive(async {
            let place = Place::on(EngineName::Docker).await;
            place.service("cache", "greeter", &[]).await.image.to_string()
        });
        let image = Pushed::copy_of(&greeter, &format!("service-{}", random_hex()), server.engine);
        let service = format!("services: [{{name: cache, image: '{}', ports: [7000]}}]", image.name);
        register(&server, &format!("base: {}\n{service}\n", fact("IMAGE_DEBIAN")));
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &["-o", PROJECT]);
        terminal.expect(&format!("{ann}@podspawn-{ann}-api"));
        let screen = terminal.screen();
        let told: Vec<&str> = screen.lines().map(str::trim_end).filter(|line| line.contains(&image.name)).collect();
        assert_eq!(told, [format!("  Starting companion service: cache ({})... done", image.name)], "{screen}");
        assert!(!screen.contains("Pulling"), "{screen}");
        terminal.line("exit");
        assert_eq!(terminal.wait().0, 0);
        // The engine keeps an image that a container is made of.
        let _ = server.podspawn(&["stop", &format!("{ann}@api")]).run().ok();
    }

    [docker, podman; soak: gvisor]
    fn a_development_container_has_its_image_and_its_hooks(server: Server) {
        let remote = Remote::start();
        let json = asking(fact("IMAGE_SUDO"));
        remote.commit("api", "main", &[("where", "main\n"), (".devcontainer/devcontainer.json", &json)]);
        let added = server.podspawn(&["add-project", "api", "--repo", &remote.url("api")]).run().ok();
        let image = added.stderr.trim_end().rsplit(' ').next().expect("an image").to_owned();
        assert!(image.starts_with("podspawn/api:podfile-"), "{}", added.stderr);
        let told = "warning: .devcontainer/devcontainer.json:6: `features`: ";
        assert!(added.stderr.contains(told), "{}", added.stderr);
        let ann = server.user("ann");
        let said = server.sh_with(&ann, &["-o", PROJECT], "cat ~/created; echo $AT $IN $CALLED");
        let expected = "/workspace/api\nmain\n/workspace/api /workspace/api api";
        assert_eq!(said.trim(), expected);
        assert_eq!(server.list()[0]["image"], image.as_str(), "made for everybody when it was registered");
        let same = server.podspawn(&["update-project", "api"]).run().ok();
        assert!(same.stderr.contains("podfile unchanged"), "{}", same.stderr);
    }

    [docker; soak: podman, gvisor]
    fn no_login_asks_anybody_for_what_a_podfile_extends(server: Server) {
        let web = Rude::start();
        register(&server, "extends: github.com/org/repo/base.yaml\n");
        let config = fs::read_to_string(server.config_file()).expect("read");
        fs::write(server.config_file(), format!("{config}github_url: {}\n", web.url)).expect("write");
        let kept = server.path("state/cache/podfiles/github/org/repo/main/base.yaml");
        fs::create_dir_all(kept.parent().expect("a parent")).expect("mkdir");
        fs::write(&kept, format!("base: {}\non_start: echo started >>~/started\n", fact("IMAGE_SUDO"))).expect("write");
        let ann = server.user("ann");
        let look = || server.sh_with(&ann, &["-o", PROJECT], "cat ~/started").trim().to_owned();
        assert_eq!((look(), look()), ("started".into(), "started\nstarted".into()));
        assert_eq!(web.asked(), 0);
    }

    [docker, podman; soak: gvisor]
    fn whoever_comes_back_to_a_project_needs_no_file_of_its_build(server: Server) {
        let clone = register(&server, "");
        fs::remove_file(clone.join("podfile.yaml")).expect("remove");
        let json = r#"{"build": {"dockerfile": "Dockerfile"}, "postAttachCommand": "echo attached >>~/attached"}"#;
        fs::write(clone.join(".devcontainer.json"), json).expect("write");
        fs::write(clone.join("Dockerfile"), format!("FROM {}\nCOPY where /where\n", fact("IMAGE_SUDO"))).expect("write");
        let ann = server.user("ann");
        let look = || server.sh_with(&ann, &["-o", PROJECT], "cat /where ~/attached").trim().to_owned();
        assert_eq!(look(), "main\nattached");
        fs::File::create(clone.join("large")).and_then(|large| large.set_len(300 << 20)).expect("a large file");
        assert_eq!(look(), "main\nattached\nattached");
    }

    [docker, podman; soak: gvisor]
    fn a_podfile_that_is_not_valid_is_told_without_places_of_the_host(server: Server) {
        register(&server, "base: debian\nprivileged: true\n");
        let ann = server.user("ann");
        let run = server.ssh(&ann, &["-o", PROJECT], &["echo in"]).run();
        assert!(run.status != 0 && run.out().is_empty(), "{}", run.stderr);
        assert!(run.stderr.contains("podfile.yaml:2") && run.stderr.contains("privileged"), "{}", run.stderr);
        assert!(!run.stderr.contains("/var/lib"), "{}", run.stderr);
        assert!(server.list().is_empty());
    }

    [docker, podman; soak: gvisor]
    fn a_project_whose_repository_was_not_fetched_says_what_to_do(server: Server) {
        let clone = register(&server, "base: debian\n");
        fs::remove_dir_all(clone).expect("remove");
        let ann = server.user("ann");
        let run = server.ssh(&ann, &["-o", PROJECT], &["echo in"]).run();
        assert!(run.status != 0 && run.out().is_empty(), "{}", run.stderr);
        assert!(run.stderr.contains("update-project api"), "{}", run.stderr);
        assert!(server.list().is_empty());
    }

    [docker, podman; soak: gvisor]
    fn an_administrator_registers_updates_and_removes_a_project(server: Server) {
        let remote = Remote::start();
        let base = fact("IMAGE_SUDO");
        remote.commit("api", "main", &[("where", "main\n"), ("podfile.yaml", &format!("base: {base}\nenv:\n  STATE: first\n"))]);
        let added = server.podspawn(&["add-project", "api", "--repo", &remote.url("api")]).run().ok();
        assert!(added.stderr.contains("project api registered, image: podspawn/api:podfile-"), "{}", added.stderr);
        let again = server.podspawn(&["add-project", "api", "--repo", &remote.url("api")]).run();
        assert!(again.status != 0 && again.stderr.contains("registered already"), "{}", again.stderr);
        let ann = server.user("ann");
        let look = "echo $STATE; cat /workspace/api/where";
        assert_eq!(server.sh_with(&ann, &["-o", PROJECT], look).trim(), "first\nmain");
        let same = server.podspawn(&["update-project", "api"]).run().ok();
        assert!(same.stderr.contains("project api: podfile unchanged, skipping rebuild"), "{}", same.stderr);
        remote.commit("api", "main", &[("podfile.yaml", &format!("base: {base}\nenv:\n  STATE: second\n"))]);
        let updated = server.podspawn(&["update-project", "api"]).run().ok();
        assert!(updated.stderr.contains("project api rebuilt, image: podspawn/api:podfile-"), "{}", updated.stderr);
        // Who is in keeps what they have; who comes anew has what is new.
        assert_eq!(server.sh_with(&ann, &["-o", PROJECT], look).trim(), "first\nmain");
        let ben = server.user("ben");
        assert_eq!(server.sh_with(&ben, &["-o", PROJECT], look).trim(), "second\nmain");
        let removed = server.podspawn(&["remove-project", "api"]).run().ok();
        assert!(removed.stderr.contains("removed project api"), "{}", removed.stderr);
        let note = removed.stderr.split_once("still exists; run '").and_then(|(_, rest)| rest.split_once('\'')).expect("the note").0;
        let image = updated.stderr.rsplit_once("image: ").expect("the image").1.trim();
        match server.engine {
            EngineName::Podman => assert!(note.starts_with("runuser -u ") && note.ends_with(&format!(" podman rmi {image}")), "{note}"),
            _ => assert_eq!(note, format!("docker rmi {image}")),
        }
        assert!(!server.path("state/projects/api").exists());
    }

    [docker, podman; soak: gvisor]
    fn a_clone_gets_into_a_directory_of_state_that_is_a_mount_of_its_own(server: Server) {
        server.kill_broker();
        server.start_broker_with_a_mount();
        let remote = Remote::start();
        let podfile = format!("base: {}\n", fact("IMAGE_SUDO"));
        remote.commit("api", "main", &[("where", "main\n"), ("podfile.yaml", &podfile), ("run", "#!/bin/sh\ncat where\n")]);
        run(Command::new("sh").args(["-c", "chmod +x run && ln -s where link"]).current_dir(remote.tree("api")));
        remote.push("api", "main");
        let (ann, look) = (server.user("ann"), "cd /workspace/api && ./run && cat link && git status --porcelain 2>&1");
        let look = look.replace(" && git", " && { command -v git >/dev/null || exit 0; } && git");
        match server.engine {
            // Its broker fetches nothing.
            EngineName::Podman => drop(server.podspawn_with_a_mount(&["add-project", "api", "--repo", &remote.url("api")]).run().ok()),
            _ => {
                let config = fs::read_to_string(server.config_file()).expect("read");
                fs::write(server.config_file(), format!("{config}projects:\n  api:\n    repo: {}\n", remote.url("api"))).expect("write");
            }
        }
        assert_eq!(server.sh_with(&ann, &["-o", PROJECT], &look).trim(), "main\nmain");
        remote.commit("api", "main", &[("where", "second\n")]);
        let _ = server.podspawn_with_a_mount(&["update-project", "api"]).run().ok();
        let ben = server.user("ben");
        assert_eq!(server.sh_with(&ben, &["-o", PROJECT], &look).trim(), "second\nsecond");
        // The former one stays for those who copy from it; nothing of it belongs to anybody else than the broker.
        let mut left = clones(&server);
        left.sort();
        assert_eq!(left, ["state/projects/.old-api", "state/projects/api"].map(|name| server.path(name)));
        let (program, state) = (left[1].join("run"), server.path("state"));
        let facts = |path: PathBuf| fs::symlink_metadata(path).map(|facts| (facts.uid(), facts.gid())).expect("facts");
        assert_eq!([facts(program), facts(left[1].join("link")), facts(left[1].join(".git/HEAD"))], [facts(state); 3]);
    }

    [docker, podman; soak: gvisor]
    fn a_project_that_cannot_be_added_leaves_nothing(server: Server) {
        let remote = Remote::start();
        remote.commit("api", "main", &[("podfile.yaml", "base: debian\nprivileged: true\n")]);
        for url in [remote.url("api"), remote.url("missing")] {
            let run = server.podspawn(&["add-project", "api", "--repo", &url]).run();
            assert!(run.status != 0, "{}", run.stderr);
            let left = fs::read_dir(server.path("state/projects")).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{url}");
            let making = fs::read_dir(server.path("state-fetch")).expect("list").flatten();
            assert!(making.into_iter().all(|entry| entry.path().is_file()), "only locks");
        }
        assert!(!fs::read_to_string(server.path("etc/projects.yaml")).is_ok_and(|text| text.contains("api")));
    }

    [docker; soak: gvisor]
    fn a_fetch_that_nobody_waits_for_any_more_ends_and_is_in_nobodys_way(engine: EngineName) {
        let server = Server::with(engine, &Wishes { forwarding: "off", ..Wishes::default() });
        let config = fs::read_to_string(server.config_file()).expect("read");
        let registered = |url: &str| {
            fs::write(server.config_file(), format!("{config}projects:\n  api:\n    repo: {url}\n")).expect("write");
        };
        let silent = Silent::start();
        registered(&silent.url());
        let ann = server.user("ann");
        // More than the broker works on at once for one user: each of them goes while its repository is being fetched.
        for _ in 0..20 {
            server.login(&ann, &["-o", PROJECT]).expect("Fetching the repository of api...");
        }
        let file = server.config_file().display().to_string();
        wait_until(false, &[&file, "fetch-project", "api"]);
        wait_until(false, &[&silent.url()]);
        assert_eq!(server.sh(&ann, "echo in"), "in");
        // Whatever was begun is out of the way of the next one.
        let remote = Remote::start();
        remote.commit("api", "main", &[("where", "main\n"), ("podfile.yaml", &format!("base: {}\n", fact("IMAGE_SUDO")))]);
        registered(&remote.url("api"));
        assert_eq!(server.sh_with(&ann, &["-o", PROJECT], "cat /workspace/api/where"), "main");
        assert_eq!(clones(&server), [server.path("state/projects/api")]);
    }

    [docker; soak: podman]
    fn a_branch_that_was_asked_for_stays_when_a_project_is_updated(server: Server) {
        let remote = Remote::start();
        let podfile = format!("base: {}\n", fact("IMAGE_SUDO"));
        remote.commit("api", "feature", &[("where", "feature\n"), ("podfile.yaml", &podfile)]);
        let add = ["add-project", "api", "--repo", &remote.url("api"), "--branch", "feature"];
        let _ = server.podspawn(&add).run().ok();
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let look = |user: &str| server.sh_with(user, &["-o", PROJECT], "cat /workspace/api/where /workspace/api/.git/HEAD");
        assert_eq!(look(&ann), "feature\nref: refs/heads/feature");
        remote.commit("api", "feature", &[("where", "feature, later\n")]);
        let _ = server.podspawn(&["update-project", "api"]).run().ok();
        assert_eq!(look(&ben), "feature, later\nref: refs/heads/feature");
        let run = server.podspawn(&["add-project", "other", "--repo", &remote.url("api"), "--branch", "none"]).run();
        assert!(run.status != 0 && run.stderr.contains("none"), "{}", run.stderr);
    }

    [docker]
    fn ctrl_c_while_a_server_clones_ends_git_and_what_git_started(server: Server) {
        let silent = Silent::start();
        for url in [silent.url(), silent.url().replace("git:", "https:")] {
            let adding = server.podspawn(&["add-project", "api", "--repo", &url]).start();
            let connection = silent.asked();
            adding.signal(Signal::INT);
            let run = adding.wait(SOON).status(130);
            assert!(run.stderr.ends_with("Error: interrupted\n"), "{}", run.stderr);
            wait_until(false, &[&url]);
            assert_eq!(clones(&server), Vec::<PathBuf>::new());
            drop(connection);
        }
    }

    [docker; soak: podman]
    fn a_build_whose_administrator_goes_ends_and_leaves_nothing(server: Server) {
        let remote = Remote::start();
        let base = fact("IMAGE_SUDO");
        let seconds = format!("3{}", u32::from_str_radix(&random_hex()[..7], 16).expect("a number"));
        let step = ["sleep", &seconds];
        let commit = |command: &str| {
            remote.commit("api", "main", &[("podfile.yaml", &format!("base: {base}\nextra_commands:\n  - {command}\n"))]);
        };
        commit(&step.join(" "));
        let add = || server.podspawn(&["add-project", "api", "--repo", &remote.url("api")]);
        for (signal, status) in [(Signal::KILL, 137), (Signal::INT, 130)] {
            let adding = add().start();
            wait_until(true, &step);
            adding.signal(signal);
            let run = adding.wait(SOON).status(status);
            if signal == Signal::INT {
                assert!(run.stderr.ends_with("Error: interrupted\n"), "{}", run.stderr);
                assert_eq!(clones(&server), Vec::<PathBuf>::new());
            }
            if server.engine == EngineName::Podman {
                // Podman 4.3 goes on with the step that is under way.
                for process in processes(&step) {
                    let _ = kill_process(process, Signal::KILL);
                }
            }
            wait_until(false, &step);
        }
        commit("echo corrected");
        let added = add().run().ok();
        assert!(added.stderr.contains("project api registered"), "{}", added.stderr);
    }
}
