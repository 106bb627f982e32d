//! Machines whose checkout, repository or Podfile is not as it should be: what podspawn knows of them stays, and a way leads back.

use super::crash::{checkout, checkouts, register};
use super::remote::Remote;
use crate::dev::yard::forget_images;
use crate::harness::engines::fact;
use crate::harness::{Env, json};

/// Status, project and branch of the machine `dev`.
fn dev(env: &Env) -> Option<[String; 3]> {
    let all = json::parse(&env.podspawn(["list", "--output", "json"]).run().ok());
    let row = all.as_array().expect("a list").iter().find(|row| row["name"] == "dev")?;
    Some(["status", "project", "branch"].map(|field| row[field].as_str().expect("text").to_owned()))
}

fn is(status: &str, project: &str, branch: &str) -> Option<[String; 3]> {
    Some([status, project, branch].map(str::to_owned))
}

on_engines! {
    [docker; soak: podman]
    fn a_checkout_that_is_away_for_a_while_is_that_of_its_machine_when_it_comes_back(env: Env) {
        let remote = Remote::start();
        register(&env, "api", &remote.url("api"));
        remote.repository("other");
        remote.commit("other", "main", &[("where", "other\n")]);
        register(&env, "other", &remote.url("other"));
        let _ = env.podspawn(["create", "dev", "--project", "api", "--branch", "feature"]).run().ok();
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        let known = is("stopped", "api", "feature");
        assert_eq!(dev(&env), known);

        // The disk with all checkouts is not mounted.
        let (place, away) = (env.home().join(".podspawn/workspaces"), env.home().join(".podspawn/away"));
        std::fs::rename(&place, &away).unwrap();
        for args in [&["create", "dev"][..], &["create", "dev", "--project", "other"]] {
            let run = env.podspawn(args).run().status(1);
            let wanted = format!("Error: failed to look for the checkout in `{}`: No such file", place.display());
            assert!(run.stderr.contains(&wanted), "{}", run.stderr);
            assert!(run.stderr.contains("hint: mount the disk"), "{}", run.stderr);
            assert!(!place.exists());
        }
        std::fs::rename(&away, &place).unwrap();
        let _ = env.podspawn(["create", "dev"]).run().ok();
        assert_eq!(dev(&env), is("running", "api", "feature"));
        let _ = env.podspawn(["stop", "dev"]).run().ok();

        // It alone is away, and no other can be had: not cloned, or not started.
        let aside = env.home().join("aside");
        std::fs::rename(checkout(&env, "dev"), &aside).unwrap();
        let bare = remote.bare("api");
        std::fs::rename(&bare, bare.with_extension("away")).unwrap();
        let _ = env.podspawn(["create", "dev"]).run().status(1);
        std::fs::rename(bare.with_extension("away"), &bare).unwrap();
        assert_eq!(dev(&env), known);
        env.write_config("local:\n  image: 127.0.0.1:1/none:1\n");
        let _ = env.podspawn(["create", "dev"]).run().status(1);
        assert_eq!(dev(&env), known);
        let _ = env.podspawn(["create", "dev", "--project", "other"]).run().status(1);
        assert_eq!(dev(&env), known);
        assert_eq!(checkouts(&env), Vec::<String>::new());
        env.write_config(&format!("local:\n  image: {}\n", env.image));
        std::fs::rename(&aside, checkout(&env, "dev")).unwrap();
        let _ = env.podspawn(["create", "dev"]).run().ok();
        assert_eq!(dev(&env), is("running", "api", "feature"));
        let _ = env.podspawn(["stop", "dev"]).run().ok();

        // One that is gone for good is replaced by whatever is asked for.
        std::fs::remove_dir_all(checkout(&env, "dev")).unwrap();
        let _ = env.podspawn(["create", "dev", "--project", "other"]).run().ok();
        assert_eq!(dev(&env), is("running", "other", "main"));
        assert_eq!(std::fs::read_to_string(checkout(&env, "dev").join("where")).unwrap(), "other\n");
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
    }
}

on_engines! {
    [docker; soak: podman]
    fn a_branch_of_which_no_machine_can_be_made_is_left_as_any_other(env: Env) {
        let remote = Remote::start();
        register(&env, "api", &remote.url("api"));
        remote.commit("api", "invalid", &[("podfile.yaml", "base: [\n")]);
        let unbuilt = format!("base: {}\nextra_commands: ['exit 9']\n", fact("IMAGE_DEBIAN"));
        remote.commit("api", "unbuilt", &[("podfile.yaml", &unbuilt)]);
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        let _ = env.podspawn(["stop", "dev"]).run().ok();

        let run = env.podspawn(["switch-branch", "dev", "invalid"]).run();
        assert!(run.status != 0 && run.stderr.contains("podfile.yaml:1"), "{}", run.stderr);
        assert_eq!(dev(&env), is("uninitialized", "api", "invalid"));
        let run = env.podspawn(["switch-branch", "dev", "unbuilt"]).run().ok();
        let wanted = "warning: no machine can be made of the checkout, the default image is used: ";
        assert!(run.stderr.contains(wanted), "{}", run.stderr);
        assert_eq!(dev(&env), is("uninitialized", "api", "unbuilt"));
        let run = env.podspawn(["switch-branch", "dev", "main"]).run().ok();
        assert!(run.stderr.contains(wanted), "{}", run.stderr);
        assert_eq!(dev(&env), is("uninitialized", "api", "main"));
        let run = env.podspawn(["shell", "dev"]).stdin("cat where").run().ok();
        assert_eq!(run.out(), "main\n");
        let _ = env.podspawn(["rm", "dev", "--force"]).run().ok();
        forget_images(&env, "api");
    }
}

on_engines! {
    [podman]
    fn files_of_root_inside_go_whatever_became_of_the_image(env: Env) {
        let remote = Remote::start();
        register(&env, "api", &remote.url("api"));
        let _ = env.podspawn(["create", "dev", "--project", "api"]).run().ok();
        let hide = "cd /workspace/api && sudo sh -c 'mkdir deep && touch deep/file && chmod 700 deep'";
        let _ = env.podspawn(["exec", "dev", "--", "sh", "-c", hide]).run().ok();
        let podfile = format!("base: {}\nextra_commands: ['exit 9']\n", fact("IMAGE_DEBIAN"));
        let script = format!("cat >/workspace/api/podfile.yaml <<'EOF'\n{podfile}EOF\n");
        let _ = env.podspawn(["exec", "dev", "--", "sh", "-c", &script]).run().ok();
        let _ = env.podspawn(["stop", "dev"]).run().ok();
        let _ = env.podspawn(["rm", "dev"]).run().ok();
        assert_eq!((dev(&env), checkouts(&env)), (None, Vec::new()));
        assert_eq!(env.objects(), Vec::<String>::new());
        forget_images(&env, "api");
    }
}
