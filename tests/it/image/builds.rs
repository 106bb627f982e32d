//! Packages of the distribution, commands, environment, the name as a cache, failures.

use std::fs;
use std::net::TcpListener;

use podspawn::podfile::{Base, BuildBase};
use podspawn::session::{Cancel, SessionError};
use podspawn_runtimes::Builder;

use super::lab::Lab;
use crate::harness::engines::{EngineName, fact};
use crate::harness::system::random_hex;

/// The process of this host, in whatever container, that has that command line.
fn process(command: &str) -> Option<i32> {
    let wanted = command.replace(' ', "\0");
    let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let runs = |entry: &fs::DirEntry| {
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        line.trim_end_matches('\0').ends_with(&wanted)
    };
    processes.filter(runs).find_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether there is one.
fn runs(command: &str) -> bool {
    process(command).is_some()
}

/// Ends what a test's build runs.
fn kill(command: &str) {
    while let Some(pid) = process(command) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Waits until that is so, for a minute at most.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it did not happen within a minute");
}

on_engines! {
    [docker; soak: podman]
    fn packages_sudo_environment_and_commands_are_in_the_image(engine: EngineName) {
        let lab = Lab::on(engine);
        let mut podfile = lab.podfile(&["tree", "jq"]);
        podfile.env = [("TOOLS", "/opt/tools/bin:$PATH"), ("ODD", "a \"b\" \\ $5 'c'"), ("ME", "${PODSPAWN_USER}")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        podfile.ports.expose = vec![8080];
        podfile.extra_commands = vec![
            // Another command each time: one whose layer is there already is not run, and says nothing.
            format!("set -o pipefail\n: {}\necho one > /made\necho \"$TOOLS\" >> /made", random_hex()),
            "cat <<EOF >> /made\nRUN touch /injected\nEOF\necho '#' end >> /made \\\n  && true".into(),
        ];
        let (image, recipe) = lab.recipe(&podfile);
        let (outcome, steps) = lab.build(&image, &recipe);
        assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")), "it was not there");
        let installing = "Installing packages: tree jq...";
        let wanted = [
            "building",
            installing,
            &format!("{installing} done"),
            "Running set -o pipefail…...",
            "Running set -o pipefail…... done",
            "Running cat <<EOF >> /made…...",
            "Running cat <<EOF >> /made…... done",
            "built",
        ];
        assert_eq!(steps, wanted);
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let made = lab.inside(&image, "cat /made; ls -d /injected 2>/dev/null; echo \"$ODD\"; echo \"[$ME]\"");
        let wanted = format!(
            "one\n/opt/tools/bin:{path}\nRUN touch /injected\n# end\na \"b\" \\ $5 'c'\n[]"
        );
        assert_eq!(made, wanted);
        assert!(lab.inside(&image, "jq --version; tree --version").starts_with("jq-"));
        let sudo = "command -v sudo; ls -l /etc/sudoers.d/podspawn | cut -c1-10; ls -d /var/lib/apt/lists/*_*";
        assert_eq!(lab.inside(&image, &format!("{sudo} 2>/dev/null || true")), "/usr/bin/sudo\n-r--r-----");
        let root = lab.engine.run(&[
            "run", "--rm", "--user", "0", "--entrypoint", "/bin/sh", image.as_str(), "-c",
            "useradd -u 1000 -m ann && su ann -c 'sudo -n id -u' && visudo -cq",
        ]);
        assert_eq!(root, "0");

        // The name is the cache: nothing is built again.
        let (outcome, steps) = lab.build(&image, &recipe);
        assert_eq!((outcome.expect("it is there"), steps), (false, Vec::new()));
    }

    [docker; soak: podman]
    fn a_package_that_does_not_exist_is_told_with_the_last_lines(engine: EngineName) {
        let lab = Lab::on(engine);
        let (image, recipe) = lab.recipe(&lab.podfile(&["no-such-package-anywhere"]));
        let (outcome, steps) = lab.build(&image, &recipe);
        let error = outcome.expect_err("there is no such package");
        assert!(matches!(&error, SessionError::Build { .. }), "{error:?}");
        let told = steps.join("\n");
        assert!(told.contains("Installing packages: no-such-package-anywhere... failed"), "{told}");
        let cause = "installing no-such-package-anywhere failed: E: Unable to locate package no-such-package-anywhere";
        assert!(error.to_string().ends_with(cause), "{error}");
        assert!(!told.contains("Unable to locate"), "the cause is said once: {told}");
        assert!(!told.contains("podspawn-") && !told.contains("/bin/sh") && !told.contains("dpkg --"), "{told}");
        assert!(!told.contains('\u{1b}') && !told.contains("\\u{1b}"), "{told}");
        assert!(!lab.has(&image));
    }

    [docker, docker26, podman]
    fn a_failing_command_is_named_and_what_it_wrote_is_shown(engine: EngineName) {
        let lab = Lab::on(engine);
        // That image has `sudo`: nothing is fetched.
        let mut podfile = lab.podfile(&[]);
        podfile.base = Base::Image(fact("IMAGE_SUDO").parse().expect("an image"));
        // Another command each time: one whose layer is there already is not run.
        let fine = format!("echo fine {}", random_hex());
        podfile.extra_commands = vec![fine.clone(), "echo so far so good\nls /not-there\necho never".into()];
        let (image, recipe) = lab.recipe(&podfile);
        let (outcome, steps) = lab.build(&image, &recipe);
        let error = outcome.expect_err("the second command fails").to_string();
        assert!(error.contains("running `echo so far so good…` failed: "), "{error}");
        let told = steps.join("\n");
        assert!(told.contains(&format!("Running {fine}... done")), "{told}");
        assert!(told.contains("  so far so good"), "{told}");
        assert!(error.contains("ls: cannot access '/not-there'"), "{error}");
        assert!(!told.contains("  never") && !told.contains("podspawn-step") && !told.contains("/bin/sh"), "{told}");
    }

    [docker, docker26; soak: podman]
    fn a_dockerfile_of_the_repository_is_built_first(engine: EngineName) {
        let lab = Lab::on(engine);
        let context = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a directory");
        let at = |name: &str| context.path().join(name);
        fs::create_dir(at("docker")).expect("mkdir");
        let base = fact("IMAGE_SUDO");
        let text = format!("FROM {base} AS wanted\nARG WORD\nCOPY . /context\nRUN echo $WORD > /word\nFROM wanted\nRUN false\n");
        fs::write(at("docker/Dockerfile"), text).expect("write");
        fs::write(at("secret"), "s").expect("write");
        fs::write(at("note"), "n").expect("write");
        fs::write(at(".dockerignore"), "sec*\n").expect("write");
        let mut podfile = lab.podfile(&[]);
        podfile.base = Base::Build(BuildBase {
            dockerfile: "docker/Dockerfile".into(),
            context: context.path().to_owned(),
            args: [("WORD".to_owned(), "argument".to_owned())].into(),
            target: Some("wanted".into()),
        });
        let (image, recipe) = lab.recipe(&podfile);
        let (outcome, steps) = lab.build(&image, &recipe);
        assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
        assert_eq!(steps[1], "Building base image from docker/Dockerfile...");
        assert_eq!(lab.inside(&image, "cat /word; ls /context"), "argument\ndocker\nnote");
    }

    [docker, docker26, podman]
    fn a_dockerfile_that_is_none_is_told_with_what_is_wrong_in_it(engine: EngineName) {
        let lab = Lab::on(engine);
        let context = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a directory");
        let base = fact("IMAGE_SUDO");
        for (wrong, named) in [("RUNN x", "RUNN"), ("COPY not-there /x", "not-there"), ("RUN --frob=1 x", "frob")] {
            fs::write(context.path().join("Dockerfile"), format!("FROM {base}\n{wrong}\n")).expect("write");
            let mut podfile = lab.podfile(&[]);
            podfile.base = Base::Build(BuildBase {
                dockerfile: "Dockerfile".into(),
                context: context.path().to_owned(),
                args: [].into(),
                target: None,
            });
            let (image, recipe) = lab.recipe(&podfile);
            let (outcome, steps) = lab.build(&image, &recipe);
            let error = outcome.expect_err("it cannot be built").to_string();
            // On an old Podman a wrong `RUN` is refused before the engine sees it.
            let why = error.split_once("failed: ").map_or(&*error, |(_, why)| why);
            assert!(why.contains(named) && !error.contains("copy /context"), "{error}");
            assert!(!steps.join("\n").contains("copy /context"), "{steps:#?}");
        }
    }

    [docker, docker26, podman]
    fn a_dockerfile_reaches_no_address_of_the_hosts_loopback(engine: EngineName) {
        let lab = Lab::on(engine);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set the listener");
        let url = format!("http://{}/x", listener.local_addr().expect("an address"));
        let host = url.trim_start_matches("http://").trim_end_matches("/x").replace(':', "/");
        for (line, why) in [
            (format!("ADD {url} /x"), "would be fetched by the engine itself"),
            (format!("ADD [\"{url}\", \"/x\"]"), "would be fetched by the engine itself"),
            (format!("ARG FROM={url}\nadd \\\n  $FROM /x"), "could become something"),
            (format!("ONBUILD ADD {url} /x"), "would be fetched by the engine itself"),
            (format!("RUN --network=host bash -c 'echo > /dev/tcp/{host}'"), "only `none` and `default`"),
        ] {
            let text = format!("FROM {}\n{line}\n", fact("IMAGE_SUDO"));
            let (image, recipe) = lab.recipe(&lab.podfile_on(&lab.context(&[("Dockerfile", &text)]), &[]));
            let (outcome, steps) = lab.build(&image, &recipe);
            // Before anything is asked of the engine.
            let fetched = listener.accept().is_ok();
            assert!(!fetched, "{line}: {outcome:?}");
            let error = outcome.expect_err("it is refused").to_string();
            assert!(error.starts_with("`Dockerfile`, line ") && error.contains(why), "{line}: {error}");
            assert_eq!(steps, ["building"]);
        }
    }

    [docker26]
    fn cache_mounts_of_another_project_are_not_seen(engine: EngineName) {
        let lab = Lab::on(engine);
        let id = random_hex();
        let dockerfile = |step: u8| {
            format!(
                "FROM {}\nRUN --mount=type=cache,id={id},target=/c echo $(ls /c) > /seen; touch /c/left{step}\n",
                fact("IMAGE_SUDO")
            )
        };
        let own = lab.context(&[("Dockerfile", &dockerfile(1))]);
        let other = lab.context(&[("Dockerfile", &dockerfile(3))]);
        let seen = |context: &std::path::Path| {
            let (image, recipe) = lab.recipe(&lab.podfile_on(context, &[]));
            let (outcome, steps) = lab.build(&image, &recipe);
            assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
            lab.inside(&image, "cat /seen")
        };
        assert_eq!(seen(&own), "");
        fs::write(own.join("Dockerfile"), dockerfile(2)).expect("write");
        assert_eq!(seen(&own), "left1");
        assert_eq!(seen(&other), "");
    }

    [docker, docker26, podman]
    fn a_build_that_is_given_up_ends_and_leaves_no_image(engine: EngineName) {
        let lab = Lab::on(engine);
        let mut podfile = lab.podfile(&[]);
        podfile.base = Base::Image(fact("IMAGE_SUDO").parse().expect("an image"));
        let command = format!("sleep 3{}", u32::from_str_radix(&random_hex()[..7], 16).expect("a number"));
        podfile.extra_commands = vec![command.clone()];
        let (image, recipe) = lab.recipe(&podfile);
        let (handle, cancel) = Cancel::new();
        let (outcome, _) = lab.build_until(&image, &recipe, &cancel, async || {
            until(|| runs(&command)).await;
            handle.cancel();
        });
        assert!(matches!(outcome, Err(SessionError::Cancelled)), "{outcome:?}");
        // Docker ends it too. Podman 4.3 goes on with the step that is under way.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        if engine == EngineName::Podman {
            return kill(&command);
        }
        runtime.block_on(until(|| !runs(&command)));
        assert!(!lab.has(&image));
    }

    [docker26]
    fn the_classic_builder_serves_where_it_is_asked_for(engine: EngineName) {
        let mut lab = Lab::on(engine);
        lab.builder = Builder::Classic;
        let mut podfile = lab.podfile(&[]);
        podfile.base = Base::Image(fact("IMAGE_SUDO").parse().expect("an image"));
        podfile.extra_commands = vec!["echo made > /made".into()];
        let (image, recipe) = lab.recipe(&podfile);
        let (outcome, steps) = lab.build(&image, &recipe);
        assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
        // BuildKit says in its image's history that it made it.
        let history = lab.engine.run(&["history", "--format", "{{.Comment}}", image.as_str()]);
        assert!(!history.contains("buildkit"), "{history}");
        assert_eq!(lab.inside(&image, "cat /made"), "made");
    }

    [docker26]
    fn buildkit_makes_the_image_where_the_engine_prefers_it(engine: EngineName) {
        let lab = Lab::on(engine);
        let mut podfile = lab.podfile(&[]);
        podfile.base = Base::Image(fact("IMAGE_SUDO").parse().expect("an image"));
        podfile.env = [("A".into(), "x:$PATH".into())].into();
        let (image, recipe) = lab.recipe(&podfile);
        let (outcome, steps) = lab.build(&image, &recipe);
        assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
        let history = lab.engine.run(&["history", "--format", "{{.Comment}}", image.as_str()]);
        assert!(history.contains("buildkit"), "{history}");
        assert!(lab.inside(&image, "echo $A").starts_with("x:/usr/local/sbin"));
    }
}
