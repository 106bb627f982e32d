//! Machines with a checkout: from `create` to `rm`.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::remote::Remote;
use crate::dev::yard::{directory, forget_images, podfile};
use crate::harness::engines::fact;
use crate::harness::{Env, Run, json};

/// Longest that a machine may take whose image has to be built.
const LIMIT: Duration = Duration::from_secs(200);

/// An environment in which `api` is registered.
fn registered(env: &Env) -> Remote {
    let remote = Remote::start();
    let _ = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).run().ok();
    remote
}

fn checkout(env: &Env, name: &str) -> PathBuf {
    env.home().join(".podspawn/workspaces").join(name)
}

/// Status and branch of a machine, as `list` shows them.
fn row(env: &Env, name: &str) -> Option<(String, String)> {
    let all = json::parse(&env.podspawn(["list", "--output", "json"]).run().ok());
    let listed = env.podspawn(["list"]).run().ok().out();
    let row = all.as_array().expect("a list").iter().find(|row| row["name"] == name)?.clone();
    let line = listed.lines().find(|line| line.starts_with(name)).expect("a line");
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells[2], row["branch"].as_str().unwrap_or("-"), "{listed}");
    Some((cells[1].to_owned(), cells[2].to_owned()))
}

fn inside(env: &Env, name: &str, script: &str) -> Run {
    env.podspawn(["exec", name, "--", "sh", "-c", script]).run()
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_machine_keeps_its_checkout_until_it_is_removed(env: Env) {
        let remote = registered(&env);
        let run = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        assert!(run.stderr.ends_with(&format!("✓ Creating dev ({})\n", env.image)), "{}", run.stderr);
        assert_eq!(row(&env, "dev"), Some(("running".into(), "main".into())));
        let run = env.podspawn(["shell", "dev"]).stdin("pwd; cat where").run().ok();
        assert_eq!(run.out(), "/workspace/api\nmain\n");

        // Both sides see one checkout.
        std::fs::write(checkout(&env, "dev").join("note"), "from the host").unwrap();
        assert_eq!(inside(&env, "dev", "cat /workspace/api/note").ok().out(), "from the host");
        std::fs::remove_file(checkout(&env, "dev").join("note")).unwrap();
        if env.engine == Some(crate::harness::EngineName::Docker) {
            // Podspawn runs as root here: the checkout is the account's inside.
            let facts = checkout(&env, "dev").join("where").metadata().unwrap();
            assert_eq!((facts.uid(), facts.gid()), (1000, 1000));
            assert_eq!(inside(&env, "dev", "cd /workspace/api && echo x >kept && id -u").ok().out(), "1000\n");
            let _ = inside(&env, "dev", "rm /workspace/api/kept").ok();
        }

        let run = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        assert!(run.stderr.ends_with(&format!("✓ dev is running already ({})\n", env.image)), "{}", run.stderr);
        let run = env.podspawn(["create", "dev", "--project", "api", "--branch", "feature"]).run().status(1);
        assert!(run.stderr.contains("Error: the machine `dev` is bound to the branch `main`\n"), "{}", run.stderr);
        let _ = env.podspawn(["add-project", "other", "--repo", &remote.url("api")]).run().ok();
        let run = env.podspawn(["create", "dev", "--project", "other"]).run().status(1);
        assert!(run.stderr.contains("is bound to the project `api`\n"), "{}", run.stderr);
        let run = env.podspawn(["create", "dev", "--image", &env.image]).run().status(1);
        assert!(run.stderr.contains("is made of the project `api`"), "{}", run.stderr);
        let run = env.podspawn(["run", "dev", "--project", "api", "--", "true"]).run().status(1);
        assert_eq!(run.stderr, "Error: the name `dev` is in use\nhint: podspawn shell dev\n");
        let run = env.podspawn(["switch-branch", "dev", "feature"]).run().status(1);
        assert_eq!(run.stderr, "Error: the machine `dev` has not been stopped\nhint: podspawn stop dev\n");
        assert_eq!(row(&env, "dev"), Some(("running".into(), "main".into())));

        let _ = env.podspawn(["stop", "dev"]).run().ok();
        assert_eq!(env.objects(), Vec::<String>::new());
        assert_eq!(row(&env, "dev"), Some(("stopped".into(), "main".into())));
        let run = env.podspawn(["shell", "dev"]).stdin("pwd; cat where").run().ok();
        assert_eq!(run.out(), "/workspace/api\nmain\n");
        assert_eq!(row(&env, "dev"), Some(("running".into(), "main".into())));

        let run = env.podspawn(["rm", "dev"]).run().status(1);
        assert_eq!(run.stderr, "Error: the machine `dev` is running\nhint: podspawn rm dev --force\n");
        let run = env.podspawn(["rm", "dev", "--force"]).run().ok();
        assert_eq!(run.stderr, "✓ Removed workspace dev\n");
        assert!(!checkout(&env, "dev").exists());
        assert_eq!(row(&env, "dev"), None);
        assert_eq!(env.objects(), Vec::<String>::new());
        let _ = env.podspawn(["shell", "dev"]).run().status(1);
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn another_branch_is_checked_out_in_a_clean_checkout_of_a_stopped_machine(env: Env) {
        let remote = registered(&env);
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        std::fs::write(checkout(&env, "dev").join("where"), "changed").unwrap();
        let run = env.podspawn(["switch-branch", "dev", "feature"]).run().status(1);
        assert!(
            run.stderr.contains("the checkout of the machine `dev` has uncommitted changes: M where\n"),
            "{}",
            run.stderr
        );
        std::fs::write(checkout(&env, "dev").join("where"), "main\n").unwrap();
        let run = env.podspawn(["switch-branch", "dev", "none"]).run().status(1);
        assert!(run.stderr.contains("Error: failed to fetch the branch `none`: "), "{}", run.stderr);
        assert_eq!(row(&env, "dev"), Some(("stopped".into(), "main".into())));

        let run = env.podspawn(["switch-branch", "dev", "feature"]).run().ok();
        assert!(run.stderr.ends_with("✓ Switched dev to branch feature\n"), "{}", run.stderr);
        assert_eq!(row(&env, "dev"), Some(("uninitialized".into(), "feature".into())));
        assert_eq!(std::fs::read_to_string(checkout(&env, "dev").join("where")).unwrap(), "feature\n");
        assert_eq!(env.objects(), Vec::<String>::new());
        // What the remote has now is what is checked out, also for a branch that was here before.
        remote.commit("api", "main", &[("where", "main again\n")]);
        let _ = env.podspawn(["switch-branch", "dev", "main"]).run().ok();
        let run = env.podspawn(["shell", "dev"]).stdin("cat where").run().ok();
        assert_eq!(run.out(), "main again\n");
        assert_eq!(row(&env, "dev"), Some(("running".into(), "main".into())));
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_throwaway_checkout_goes_with_its_machine(env: Env) {
        let _remote = registered(&env);
        let run = env.podspawn(["run", "try", "--project", "api", "--branch", "feature"]);
        let run = run.stdin("pwd; cat where; exit 7").run().status(7);
        assert_eq!(run.out(), "/workspace/api\nfeature\n");
        // Files of root inside are no reason to stay.
        let script = "sudo mkdir -m 700 /workspace/api/deep && sudo touch /workspace/api/deep/file";
        let _ = env.podspawn(["run", "try", "--project", "api", "--", "sh", "-c", script]).run();
        let left: Vec<_> = std::fs::read_dir(env.home().join(".podspawn/workspaces")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(env.objects(), Vec::<String>::new());
        assert_eq!(env.podspawn(["list"]).run().ok().out(), "No machines.\n");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_name_in_use_is_refused_before_anything_is_cloned(env: Env) {
        let _remote = registered(&env);
        let _ = env.podspawn(["create", "plain"]).run().ok();
        let run = env.podspawn(["create", "plain", "--project", "api"]).run().status(1);
        assert!(run.stderr.contains("Error: the name `plain` is in use\n"), "{}", run.stderr);
        let run = env.podspawn(["run", "plain", "--project", "api"]).run().status(1);
        assert_eq!(run.stderr, "Error: the name `plain` is in use\nhint: podspawn shell plain\n");
        assert!(!checkout(&env, "plain").exists());
        let run = env.podspawn(["list", "--machines"]).run().ok();
        assert_eq!(run.out(), "No machines.\n");
        assert_eq!(row(&env, "plain"), Some(("running".into(), "-".into())));
        let run = env.podspawn(["create", "dev", "--project", "none"]).run().status(1);
        assert!(run.stderr.contains("there is no project `none`"), "{}", run.stderr);
        // A directory that no machine has is left alone.
        std::fs::create_dir_all(checkout(&env, "dev")).unwrap();
        let run = env.podspawn(["create", "dev", "--project", "api"]).run().status(1);
        assert!(run.stderr.contains("exists and belongs to no machine"), "{}", run.stderr);
        assert!(checkout(&env, "dev").exists());
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn what_fails_after_the_clone_takes_the_checkout_back(env: Env) {
        let remote = registered(&env);
        remote.repository("linked");
        std::os::unix::fs::symlink("/etc/passwd", remote.tree("linked").join("podfile.yaml")).unwrap();
        remote.push("linked", "main");
        let registry = env.home().join(".podspawn/projects.yaml");
        let text = std::fs::read_to_string(&registry).unwrap();
        std::fs::write(&registry, format!("{text}linked:\n  repo: {}\n", remote.url("linked"))).unwrap();
        let run = env.podspawn(["create", "dev", "--project", "linked"]).run().status(1);
        assert!(run.stderr.contains("it leads out of the repository"), "{}", run.stderr);
        let run = env.podspawn(["create", "dev", "--project", "api", "--branch", "none"]).run().status(1);
        assert!(run.stderr.contains("Remote branch none not found"), "{}", run.stderr);
        let left: Vec<_> = std::fs::read_dir(env.home().join(".podspawn/workspaces")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(row(&env, "dev"), None);
        // The same with an image that cannot be had.
        env.write_config("local:\n  image: 127.0.0.1:1/none:1\n");
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().status(1);
        assert!(!checkout(&env, "dev").exists());
        assert_eq!(row(&env, "dev"), None);
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_machine_that_runs_is_open_whatever_its_podfile_says_by_now(env: Env) {
        let remote = registered(&env);
        let podfile = format!("base: {}\non_start: echo x >> ~/started\n", fact("IMAGE_SUDO"));
        remote.commit("api", "main", &[("podfile.yaml", &podfile)]);
        let _ = env.podspawn(["create", "dev", "--project", "api"]).limit(LIMIT).run().ok();
        let started = || inside(&env, "dev", "wc -l < ~/started").ok();
        let run = started();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("2\n", ""));

        std::fs::write(checkout(&env, "dev").join("podfile.yaml"), format!("<<<<<<< HEAD\n{podfile}")).unwrap();
        let run = started();
        assert_eq!(run.out(), "2\n");
        let line = run.stderr.strip_suffix("; `on_start` did not run\n").expect("what did not happen");
        assert!(line.starts_with("warning: ") && line.contains("podfile.yaml:2: "), "{}", run.stderr);
        assert_eq!(line.lines().count(), 1, "{}", run.stderr);
        let run = env.podspawn(["shell", "dev"]).stdin("wc -l < ~/started").run().ok();
        assert_eq!(run.out(), "2\n");
        std::fs::write(checkout(&env, "dev").join("podfile.yaml"), &podfile).unwrap();
        assert_eq!(started().out(), "3\n");

        // What its image is made of is not looked at.
        std::fs::remove_file(checkout(&env, "dev").join("podfile.yaml")).unwrap();
        let json = r#"{"build": {"dockerfile": "Dockerfile"}, "workspaceFolder": "/workspace/api", "postAttachCommand": "echo x >> ~/started"}"#;
        std::fs::write(checkout(&env, "dev").join(".devcontainer.json"), json).unwrap();
        std::fs::write(checkout(&env, "dev").join("Dockerfile"), "FROM scratch\n").unwrap();
        let large = std::fs::File::create(checkout(&env, "dev").join("large")).unwrap();
        large.set_len(257 << 20).unwrap();
        let run = started();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("4\n", ""));
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
        forget_images(&env, "api");
    }
}

/// A development container that asks for everything that a checkout's place could get into.
pub fn asking(image: &str) -> String {
    format!(
        r#"{{
    "image": "{image}",
    "containerEnv": {{"AT": "${{localWorkspaceFolder}}", "IN": "${{containerWorkspaceFolder}}"}},
    "remoteEnv": {{"CALLED": "${{localWorkspaceFolderBasename}}", "ID": "${{devcontainerId}}"}},
    "forwardPorts": [3000],
    "features": {{"ghcr.io/a/b:1": {{}}}},
    "remoteUser": "node",
    "postCreateCommand": "pwd >~/created; cat ${{containerWorkspaceFolder}}/where >>~/created"
}}"#
    )
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn a_development_container_is_the_same_by_add_project_create_and_run(env: Env) {
        let remote = Remote::start();
        let json = asking(fact("IMAGE_SUDO"));
        remote.commit("api", "main", &[("where", "main\n"), (".devcontainer/devcontainer.json", &json)]);
        let added = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).limit(LIMIT).run().ok();
        let image = added.stderr.trim_end().rsplit(' ').next().expect("an image").to_owned();
        assert!(image.starts_with("podspawn/api:podfile-"), "{}", added.stderr);
        let told = "warning: .devcontainer/devcontainer.json:6: `features`: ";
        assert!(added.stderr.contains(told), "{}", added.stderr);

        let made = env.podspawn(["create", "fix", "--project", "api"]).run().ok();
        assert!(made.stderr.ends_with(&format!("✓ Creating fix ({image})\n")), "no further image: {}", made.stderr);
        assert!(made.stderr.contains(told), "{}", made.stderr);
        let look = "cat ~/created; pwd; echo $AT $IN $CALLED; whoami";
        let expected = "/workspace/api\nmain\n/workspace/api\n/workspace/api /workspace/api api\nnode\n";
        assert_eq!(env.podspawn(["shell", "fix"]).stdin(look).run().ok().out(), expected);
        let _ = env.podspawn(["stop", "fix"]).run().ok();
        assert_eq!(env.podspawn(["shell", "fix"]).stdin(look).run().ok().out(), expected);

        let args = ["run", "once", "--project", "api", "--", "sh", "-c", look];
        let run = env.podspawn(args).limit(LIMIT).run().ok();
        assert_eq!(run.out(), expected);
        assert!(run.stderr.contains(&image) || !run.stderr.contains("podspawn/"), "{}", run.stderr);
        let _ = env.podspawn(["rm", "fix", "--force"]).run().ok();
        assert_eq!(env.objects(), Vec::<String>::new());
        forget_images(&env, "api");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn the_podfile_says_the_branch_and_a_setup_that_failed_is_done_again(env: Env) {
        let remote = Remote::start();
        let text = |branch: &str| {
            let again = "echo tried >>/workspace/api/tries; test $(wc -l </workspace/api/tries) -ge 2";
            format!("base: {}\nbranch: {branch}\non_create: {again}\n", fact("IMAGE_SUDO"))
        };
        remote.commit("api", "work", &[("where", "work\n"), ("podfile.yaml", &text("work"))]);
        remote.commit("api", "main", &[("where", "main\n"), ("podfile.yaml", &text("work"))]);
        let _ = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).limit(LIMIT).run().ok();
        let run = env.podspawn(["create", "dev", "--project", "api"]).limit(LIMIT).run().ok();
        assert!(run.stderr.contains("on_create"), "{}", run.stderr);
        assert_eq!(row(&env, "dev"), Some(("running".into(), "work".into())));
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        assert_eq!(row(&env, "dev"), Some(("uninitialized".into(), "work".into())));
        let run = env.podspawn(["shell", "dev"]).stdin("cat where tries").run().ok();
        assert_eq!(run.out(), "work\ntried\ntried\n");
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        assert_eq!(row(&env, "dev"), Some(("stopped".into(), "work".into())));
        let _ = env.podspawn(["rm", "dev"]).run().ok();
        forget_images(&env, "api");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_stopped_machine_keeps_its_name(env: Env) {
        let _remote = registered(&env);
        let app = directory(&env, "app", &podfile(""));
        let _ = env.podspawn(["create", "fix", "--project", "api"]).run().ok();
        let _ = env.podspawn(["stop", "fix"]).run().ok();
        for args in [&["dev", "--name", "fix", "--", "true"][..], &["dev", "--fresh", "--name", "fix", "--", "true"]] {
            let run = env.podspawn(args.iter().copied()).at(&app).run().status(1);
            let expected = "Error: the name `fix` belongs to a machine\nhint: give another one with `--name`\n";
            assert_eq!(run.stderr, expected);
        }
        let run = env.podspawn(["run", "fix", "--", "true"]).run().status(1);
        assert!(run.stderr.contains("the name `fix` is in use\nhint: podspawn shell fix"), "{}", run.stderr);
        assert_eq!(env.objects(), Vec::<String>::new());
        assert_eq!(row(&env, "fix"), Some(("stopped".into(), "main".into())));
        let _ = env.podspawn(["rm", "fix"]).run().ok();
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn the_volumes_of_a_stopped_machine_are_no_sessions(env: Env) {
        let remote = registered(&env);
        let image = fact("IMAGE_SUDO");
        let json = format!(r#"{{"image": "{image}", "mounts": ["type=volume,source=data,target=/data"]}}"#);
        remote.commit("api", "main", &[(".devcontainer.json", &json)]);
        let _ = env.podspawn(["create", "dev", "--project", "api"]).limit(LIMIT).run().ok();
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        let before = env.objects();
        assert_eq!(before.len(), 1, "the volume: {before:?}");
        let run = env.podspawn(["down", "--clean", "--name", "dev"]).at(&env.home()).run().status(1);
        let expected = "Error: the volumes of `dev` belong to a machine\n\
                        hint: `podspawn rm dev` removes the machine with its checkout and its volumes\n";
        assert_eq!(run.stderr, expected);
        assert_eq!(env.objects(), before);
        let _ = env.podspawn(["rm", "dev"]).run().ok();
        assert_eq!(env.objects(), Vec::<String>::new());
        forget_images(&env, "api");
    }
}
