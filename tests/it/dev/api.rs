//! One project with a database and a cache, by every way that leads to it.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::yard::{
    api_files, directory, forget_images, make_api_image, make_backends, only_row, prepared_api_files,
};
use crate::projects::remote::Remote;

/// An image with packages is built, a database starts 5 s late.
const LIMIT: Duration = Duration::from_secs(400);

on_engines! {
    [docker; soak: podman]
    fn the_tests_of_a_repository_pass_in_its_environment(env: Env) {
        let engine = env.engine.expect("an engine");
        make_backends(engine);
        let api = directory(&env, "api", &api_files());
        let dev = |args: &[&str]| {
            let command: Vec<&str> = ["dev", "--"].iter().chain(args).copied().collect();
            env.podspawn(command).at(&api).limit(LIMIT).run()
        };
        let run = dev(&["python3", "test_api.py"]).ok();
        assert_eq!(run.out(), "2 passed\n", "{}", run.stderr);
        let name = only_row(&env)["name"].as_str().expect("a name").to_owned();
        assert!(name.starts_with("api-") && name.len() == 8, "{name}");

        // Again: the same container, set up once, greeted each time; the arguments are kept as they are.
        let run = dev(&["sh", "-c", "echo \"$1\"; cat ~/created ~/started; echo $WHO; pwd", "-", "a  b"]).ok();
        let expected = format!("a  b\ncreated\nstarted\nstarted\n{}\n/workspace/api\n", env.user);
        assert_eq!(run.out(), expected, "{}", run.stderr);
        assert!(run.stderr.contains(&format!("Re-attaching to {name} (started ")), "{}", run.stderr);
        assert_eq!(dev(&["sh", "-c", "exit 7"]).status, 7);

        // What is made inside belongs outside to the owner of the directory, and the other way round.
        let _ = dev(&["sh", "-c", "echo x > made-inside"]).ok();
        let (made, owner) = (api.join("made-inside").metadata().unwrap(), api.metadata().unwrap());
        assert_eq!((made.uid(), made.gid()), (owner.uid(), owner.gid()));

        let row = only_row(&env);
        let states: Vec<&str> = row["services"].as_array().expect("services").iter()
            .map(|service| service["state"].as_str().expect("a state")).collect();
        assert_eq!(states, ["ready", "ready"], "{row}");
        let log = env.podspawn(["logs", &name, "postgres"]).run().ok();
        assert!(format!("{}{}", log.out(), log.stderr).contains("ready to accept connections"), "{}", log.stderr);

        // The data outlives the session, until it is not wanted any more.
        let run = env.podspawn(["down"]).at(&api).run().ok();
        assert_eq!(run.stderr, format!("Stopped {name}\n"));
        assert_eq!(env.objects().len(), 1, "the volume alone: {:?}", env.objects());
        let run = env.podspawn(["down", "--clean"]).at(&api).run().ok();
        assert_eq!(run.stderr, "Removed volume pgdata\n");
        assert_eq!(env.objects(), Vec::<String>::new());
        let run = env.podspawn(["down"]).at(&api).run().status(1);
        let hint = "`podspawn list` shows what there is; `podspawn down --name <name>` needs no Podfile";
        assert_eq!(run.stderr, format!("Error: no session {name} is running\nhint: {hint}\n"));
        let run = env.podspawn(["down", "--clean"]).at(&api).run().ok();
        assert_eq!(run.stderr, format!("no session {name} is running, and it has no volumes\n"));
        forget_images(&env, &name);
    }
}

on_engines! {
    [; soak: docker, podman]
    fn a_project_is_the_same_by_create_and_by_run(env: Env) {
        let engine = env.engine.expect("an engine");
        make_backends(engine);
        make_api_image(engine);
        let remote = Remote::start();
        let files = prepared_api_files();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        remote.commit("api", "main", &files);
        let project = format!("p{}", &env.user);
        let _ = env.podspawn(["add-project", &project, "--repo", &remote.url("api")]).limit(LIMIT).run().ok();
        let again = env.podspawn(["update-project", &project]).limit(LIMIT).run().ok();
        assert!(again.stderr.contains("podfile unchanged, skipping rebuild"), "{}", again.stderr);

        let text = files[0].1.replace("/workspace/api", &format!("/workspace/{project}"));
        remote.commit("api", "main", &[("podfile.yaml", &text)]);
        let again = env.podspawn(["update-project", &project]).limit(LIMIT).run().ok();
        assert!(again.stderr.contains(&format!("project {project} rebuilt, image: podspawn/{project}:podfile-")), "{}", again.stderr);

        let _ = env.podspawn(["create", "fix", "--project", &project]).limit(LIMIT).run().ok();
        let test = |machine: &str| env.podspawn(["exec", machine, "--", "python3", "test_api.py"]).run();
        assert_eq!(test("fix").ok().out(), "2 passed\n");
        assert_eq!(only_row(&env)["status"], "running");
        let spec = env.podspawn(["spec", "fix"]).run().ok().out();
        let services = spec.lines().find(|line| line.starts_with("services ")).expect("the services");
        assert!(services.contains("postgres (") && services.contains("/podfile.yaml:"), "{services}");

        // Another container, the same checkout: it is set up again, and the database still has what it had.
        let _ = env.podspawn(["stop", "fix"]).run().ok();
        assert_eq!(only_row(&env)["status"], "stopped");
        for command in [&["exec", "fix", "--", "true"][..], &["logs", "fix"]] {
            let run = env.podspawn(command).run().status(1);
            let expected = format!(
                "Error: the machine `fix` of the project `{project}` is stopped\n\
                 hint: `podspawn create fix` starts it, `podspawn shell fix` opens a shell in it too\n"
            );
            assert_eq!(run.stderr, expected);
        }
        let run = env.podspawn(["shell", "fix"]).stdin("python3 test_api.py; cat ~/created").limit(LIMIT).run();
        assert!(run.out().contains("created\n"), "{}{}", run.out(), run.stderr);

        let run = env.podspawn(["run", "review", "--project", &project, "--", "python3", "test_api.py"]);
        assert_eq!(run.limit(LIMIT).run().ok().out(), "2 passed\n");
        let _ = env.podspawn(["rm", "fix", "--force"]).run().ok();
        assert!(!env.home().join(".podspawn/workspaces/fix").exists());
        assert_eq!(env.objects(), Vec::<String>::new(), "its volumes go with it, those of `run` did at once");
        let _ = env.podspawn(["remove-project", &project]).run().ok();
        forget_images(&env, &project);
    }
}
