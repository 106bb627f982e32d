//! What `dev` and its like refuse, and that nothing is made then.

use super::yard::{directory, podfile};
use crate::harness::Env;
use crate::harness::engines::fact;
use crate::harness::system::random_hex;

#[test]
fn without_a_podfile_there_is_a_way_to_one() {
    let env = Env::without_engine();
    let empty = directory(&env, "empty", &[]);
    for (command, hint) in [
        ("dev", "podspawn init"),
        ("prebuild", "podspawn init"),
        ("down", "`podspawn list` shows what there is; `podspawn down --name <name>` needs no Podfile"),
    ] {
        let run = env.podspawn([command]).at(&empty).run().status(1);
        let expected = format!("Error: there is no Podfile in `{}`\nhint: {hint}\n", empty.display());
        assert_eq!(run.stderr, expected);
    }
}

#[test]
fn below_a_directory_with_a_podfile_its_place_is_told() {
    let env = Env::without_engine();
    let app = directory(&env, "app", &podfile(""));
    let deep = directory(&env, "app/src/deep", &[]);
    // The user's own is nobody's project.
    let _ = directory(&env, ".podspawn", &[("podfile.yaml", "base: debian:12\n".into())]);
    let run = env.podspawn(["dev"]).at(&deep).run().status(1);
    let expected = format!(
        "Error: there is no Podfile in `{}`\nhint: `{}` has one: `cd` there\nhint: podspawn init\n",
        deep.display(),
        app.display()
    );
    assert_eq!(run.stderr, expected);
    let elsewhere = directory(&env, "elsewhere", &[]);
    let run = env.podspawn(["dev"]).at(&elsewhere).run().status(1);
    assert!(
        run.stderr.ends_with("\nhint: podspawn init\n") && !run.stderr.contains("has one"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_podfile_that_is_named_is_the_one_that_is_read() {
    let env = Env::without_engine();
    let app = directory(&env, "app", &podfile("oops: 1\n"));
    let run = env.podspawn(["dev", "--podfile", "other.yaml"]).at(&app).run().status(1);
    assert!(run.stderr.contains("other.yaml"), "{}", run.stderr);
    let run = env.podspawn(["dev", "--podfile", "podfile.yaml"]).at(&app).run().status(1);
    assert!(run.stderr.contains("podfile.yaml:2: unknown key `oops`"), "{}", run.stderr);
}

#[test]
fn podspawns_own_files_are_mounted_into_no_container() {
    let env = Env::without_engine();
    for place in ["", ".podspawn", ".podspawn/projects/api", ".podspawn/guest"] {
        let at = directory(&env, place, &podfile(""));
        let run = env.podspawn(["dev", "--", "true"]).at(&at).run().status(1);
        assert!(run.stderr.contains("podspawn keeps files of its own there"), "{place}: {}", run.stderr);
        assert!(run.stderr.contains("\nhint: work in a directory of the project's own"), "{}", run.stderr);
    }
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn the_name_of_a_machine_is_left_alone(env: Env) {
        let app = directory(&env, "app", &podfile(""));
        let _ = env.podspawn(["create", "mine"]).run().ok();
        let before = env.objects();
        for flags in [&[][..], &["--fresh"]] {
            let args = [&["dev", "--name", "mine"], flags, &["--", "true"]].concat();
            let run = env.podspawn(args).at(&app).run().status(1);
            assert!(run.stderr.contains("Error: the name `mine` belongs to a machine\n"), "{}", run.stderr);
            assert_eq!(env.objects(), before, "{flags:?}");
        }
        let run = env.podspawn(["down", "--name", "mine"]).at(&app).run().status(1);
        assert!(run.stderr.contains("hint: podspawn stop mine\n"), "{}", run.stderr);
        assert_eq!(env.objects(), before);

        // A throwaway machine is somebody's work too.
        let mut person = env.terminal(["run", "try"]);
        person.expect(&format!("{}@try", env.user));
        let run = env.podspawn(["dev", "--fresh", "--name", "try", "--", "true"]).at(&app).run().status(1);
        assert!(run.stderr.contains("Error: the name `try` belongs to a machine\n"), "{}", run.stderr);
        person.line("echo still-$((40 + 2)); exit");
        person.expect("still-42");
        assert_eq!(person.wait().0, 0);
    }
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn hostile_podfiles_make_nothing(env: Env) {
        for text in [
            "services: [{name: '$(id)', image: a}]\n",
            "services: [{name: a, image: 'a;id'}]\n",
            "services: [{name: a, image: a, volumes: ['/etc:/x']}]\n",
            "workspace: /proc/self\n",
            "env: {'A=B': x}\n",
            "packages: ['x; touch /tmp/pwned']\n",
            "extends: ../../etc/passwd.yaml\n",
        ] {
            let app = directory(&env, "app", &podfile(text));
            let run = env.podspawn(["dev", "--", "true"]).at(&app).run().status(1);
            assert!(run.stderr.starts_with("Error: ") && run.stderr.contains("podfile.yaml:2"), "{text}: {}", run.stderr);
        }
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn a_dockerfile_reaches_no_file_of_the_host(env: Env) {
        let secret = format!("secret-{}", random_hex());
        let file = directory(&env, "private", &[("key", secret.clone())]).join("key");
        // However its flag is written: with quotes, with a variable, on two lines.
        for flag in ["--mount", "--m\"oun\"t", "--$M", "--mo\\\nunt"] {
            // Another link each time: a layer that is there already would be used.
            let link = format!("/out-{}", random_hex());
            let dockerfile = format!(
                "FROM {base} AS one\nRUN ln -s / {link}\nFROM {base}\nARG M=mount\n\
                 RUN {flag}=type=bind,from=one,source={link},destination=/mnt,rw cat /mnt{file}\n",
                base = fact("IMAGE_DEBIAN"),
                file = file.display(),
            );
            let config = r#"{"build": {"dockerfile": "Dockerfile"}}"#.to_owned();
            let files = [(".devcontainer.json", config), ("Dockerfile", dockerfile)];
            let app = directory(&env, "app", &files);
            let run = env.podspawn(["dev", "--name", "out", "--", "true"]).at(&app).run().status(1);
            // Docker takes all but the variable, and keeps the link inside.
            let named = run.stderr.contains("--m") || run.stderr.contains("$M");
            assert!(!run.stderr.contains(&secret) && named, "{flag}: {}", run.stderr);
        }
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
