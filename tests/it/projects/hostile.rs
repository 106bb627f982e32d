//! Repositories and checkouts that try to have something run, or read, on this host.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::remote::{Remote, git};
use crate::dev::yard::forget_images;
use crate::harness::engines::fact;
use crate::harness::{Env, system};

/// A line of shell that would leave a trace.
fn trace(path: &Path) -> String {
    format!("touch {}", path.display())
}

#[test]
fn nothing_that_a_repository_holds_runs_while_it_is_cloned_and_updated() {
    let env = Env::without_engine();
    let remote = Remote::start();
    let trap = env.directory().join("trap");
    let tree = remote.tree("api");
    // Attributes that name filters, a submodule with a command for an address, links out of the tree, hooks of the remote.
    remote.commit(
        "api",
        "main",
        &[
            (".gitattributes", "* filter=lfs diff=evil merge=evil\nwhere filter=evil\n"),
            (
                ".gitmodules",
                &format!(
                    "[submodule \"x\"]\n path = x\n url = ext::sh -c '{}'\n update = !{}\n",
                    trace(&trap),
                    trace(&trap)
                ),
            ),
            (".githooks/post-checkout", &format!("#!/bin/sh\n{}\n", trace(&trap))),
            (".gitconfig", &format!("[core]\n fsmonitor = {}\n", trace(&trap))),
        ],
    );
    symlink("/etc/shadow", tree.join("link")).unwrap();
    git(
        &tree,
        &["update-index", "--add", "--cacheinfo", "160000,0123456789012345678901234567890123456789,x"],
    );
    remote.push("api", "main");
    let hook = remote.bare("api").join("hooks/post-checkout");
    std::fs::write(&hook, format!("#!/bin/sh\n{}\n", trace(&trap))).unwrap();
    // What the repository names is there to be run: the user's own settings of git know it, and have traps of their own.
    let (hooks, template) = (env.home().join("hooks"), env.home().join("template"));
    for hook in [hooks.join("post-checkout"), template.join("hooks/post-checkout")] {
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, format!("#!/bin/sh\n{}\n", trace(&trap))).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let settings = format!(
        "[filter \"evil\"]\n smudge = sed s/^/caught:/\n[core]\n hooksPath = {}\n[init]\n templateDir = {}\n",
        hooks.display(),
        template.display()
    );
    std::fs::write(env.home().join(".gitconfig"), settings).unwrap();
    let _ = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).run().ok();
    remote.commit("api", "main", &[("where", "later\n")]);
    let _ = env.podspawn(["update-project", "api"]).run().ok();
    let clone = env.home().join(".podspawn/projects/api");
    assert_eq!(std::fs::read_to_string(clone.join("where")).unwrap(), "later\n");
    assert!(clone.join("link").is_symlink() && !clone.join(".git/hooks").exists());
    assert!(!trap.exists());
}

#[test]
fn a_tree_with_gits_own_directory_in_it_is_refused() {
    let env = Env::without_engine();
    let remote = Remote::start();
    remote.repository("evil");
    // A tree that no git would write: its entry is called `.git`.
    let tree = remote.tree("evil");
    std::fs::write(tree.join("config"), "[core]\n fsmonitor = touch /tmp/x\n").unwrap();
    let blob = git(&tree, &["hash-object", "-w", "config"]);
    let inner = pipe(&tree, &["mktree"], &format!("100644 blob {blob}\tconfig\n"));
    let outer = pipe(&tree, &["mktree"], &format!("040000 tree {inner}\t.git\n"));
    let commit = pipe(&tree, &["commit-tree", &outer], "evil");
    git(&tree, &["push", "-q", "origin", &format!("{commit}:refs/heads/main")]);
    let run = env.podspawn(["add-project", "evil", "--repo", &remote.url("evil")]).run().status(1);
    assert!(run.stderr.contains("Error: failed to clone "), "{}", run.stderr);
    assert!(!env.home().join(".podspawn/projects/evil").exists());
}

fn pipe(dir: &Path, args: &[&str], input: &str) -> String {
    let file = dir.join(".input");
    std::fs::write(&file, input).unwrap();
    let mut command = std::process::Command::new("sh");
    let line = format!("git -c user.name=t -c user.email=t@t {} <.input", args.join(" "));
    let out = system::run(command.current_dir(dir).args(["-c", &line]));
    std::fs::remove_file(&file).unwrap();
    out.trim().to_owned()
}

on_engines! {
    [docker; soak: podman]
    fn what_a_container_did_to_its_checkout_never_runs_on_the_host(env: Env) {
        let remote = Remote::start();
        let _ = env.podspawn(["add-project", "api", "--repo", &remote.url("api")]).run().ok();
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        let trap = env.directory().join("trap");
        std::fs::create_dir(&trap).unwrap();
        std::fs::set_permissions(&trap, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let config = env.home().join(".podspawn/workspaces/dev/.git/config");
        // As the container's user could: every program that git would run leaves a trace where the host sees it.
        let touch = format!("touch {}/ran; false", trap.display());
        let mut text = std::fs::read_to_string(&config).unwrap();
        text.push_str(&format!(
            "[core]\n\tfsmonitor = \"{touch}\"\n\tsshCommand = \"{touch}\"\n\tpager = \"{touch}\"\n[filter \"evil\"]\n\t\
             smudge = \"{touch}\"\n\tclean = \"{touch}\"\n[alias]\n\tstatus = \"!{touch}\"\n"
        ));
        std::fs::write(&config, text).unwrap();
        let hooks = env.home().join(".podspawn/workspaces/dev/.git/hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        for hook in ["post-checkout", "reference-transaction", "post-index-change"] {
            std::fs::write(hooks.join(hook), format!("#!/bin/sh\n{touch}\n")).unwrap();
            std::fs::set_permissions(hooks.join(hook), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        // git on this host would run it: that is what must not happen.
        let checkout = env.home().join(".podspawn/workspaces/dev");
        git(&checkout, &["-c", "safe.directory=*", "status"]);
        std::fs::remove_file(trap.join("ran")).expect("the trap works");
        if let Some(account) = env.engine.and_then(|engine| engine.account()) {
            let owner = format!("{}:{}", account.uid, account.gid);
            system::run(std::process::Command::new("chown").args(["-R", &owner]).arg(&hooks));
        }
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        // Whether these succeed is the repository's own business.
        let _ = env.podspawn(["switch-branch", "dev", "feature"]).run();
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run();
        let _ = env.podspawn(["list"]).run().ok();
        let _ = env.podspawn(["update-project", "api"]).run().ok();
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
        let ran: Vec<_> = std::fs::read_dir(&trap).unwrap().collect();
        assert!(ran.is_empty(), "{ran:?}");
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

on_engines! {
    [; soak: podman]
    fn what_only_root_inside_can_read_keeps_nobody_from_a_machine_and_its_removal(env: Env) {
        let remote = Remote::start();
        for (name, line) in [("alone", ""), ("takes", "COPY where /where\n")] {
            let dockerfile = format!("FROM {}\n{line}", fact("IMAGE_SUDO"));
            let config = r#"{"build": {"dockerfile": "Dockerfile"}}"#;
            remote.repository(name);
            let files = [(".devcontainer.json", config), ("Dockerfile", &dockerfile), ("where", "x")];
            remote.commit(name, "main", &files);
            let _ = env.podspawn(["add-project", name, "--repo", &remote.url(name)]).run().ok();
            let _ = env.podspawn(["create", "dev", "--project", name]).run().ok();
            let hide = "mkdir deep && touch deep/file && chmod 700 deep";
            let in_it = format!("cd /workspace/{name} && {hide}");
            let _ = env.podspawn(["exec", "dev", "--", "sudo", "sh", "-c", &in_it]).run().ok();
            let _ = env.podspawn(["stop", "dev"]).run().ok();
            let again = env.podspawn(["create", "dev"]).run();
            assert_eq!(again.status == 0, name == "alone", "{}", again.stderr);
            if name == "takes" {
                assert!(again.stderr.contains("`.dockerignore` leaves out"), "{}", again.stderr);
            }
            let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
            assert!(!env.home().join(".podspawn/workspaces/dev").exists());
            forget_images(&env, name);
        }
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
