//! What people meet in the sessions of registered projects, on good days and on bad ones.

use std::fs;
use std::time::Duration;

use super::projects::{PROJECT, register};
use crate::harness::engines::{EngineName, fact};
use crate::harness::server::{LATE, Server, Wishes};
use crate::projects::remote::Remote;
use crate::services::lab::{Place, drive};

/// What ssh is told besides.
const API: [&str; 2] = ["-o", PROJECT];

/// The image of a companion service, see the laboratory of services.
fn image(engine: EngineName, name: &str) -> String {
    drive(async { Place::on(engine).await.service(name, name, &[]).await.image.to_string() })
}

/// A Podfile with one service.
fn with_service(name: &str, image: &str, port: u16, more: &str) -> String {
    format!(
        "base: {}\nservices:\n  - name: {name}\n    image: {image}\n    ports: [{port}]\n    env: {{ GREETING: the {name} }}\n{more}",
        fact("IMAGE_SUDO")
    )
}

/// Asks a service for its line.
fn ask(name: &str, port: u16) -> String {
    format!("bash -c 'exec 3<>/dev/tcp/{name}/{port} && cat <&3'")
}

on_engines! {
    [docker, podman; soak: gvisor]
    fn services_are_ready_before_a_hook_runs_and_every_connection_is_in_the_same_session(server: Server) {
        let ask = ask("late", 7000);
        let hooks = format!("on_create: |\n  {ask} >>~/created\non_start: |\n  {ask} >>~/started\n");
        register(&server, &with_service("late", &image(server.engine, "late"), 7000, &hooks));
        let ann = server.user("ann");
        let seen = server.sh_with(&ann, &API, "cat ~/created ~/started; touch ~/mine");
        assert_eq!(seen, "hello from the late\nhello from the late");
        // That of the default session is another matter.
        let all = || server.engine.labelled("container", &format!("podspawn-session=podspawn-{ann}-api"));
        let made = all();
        let again = server.sh_with(&ann, &API, "wc -l <~/created; wc -l <~/started; find ~/mine | wc -l");
        assert_eq!(again.split_whitespace().collect::<Vec<_>>(), ["1", "2", "1"], "{again}");
        assert_eq!(all(), made);
    }

    [docker, podman; soak: gvisor]
    fn a_person_is_told_where_the_services_are_and_a_program_is_not(server: Server) {
        register(&server, &with_service("greeter", &image(server.engine, "greeter"), 7000, ""));
        let ann = server.user("ann");
        let run = server.ssh(&ann, &API, &["true"]).run().ok();
        assert!(!run.stderr.contains("service greeter"), "{}", run.stderr);
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = server.engine.run(&["inspect", "--format", format, &format!("podspawn-{ann}-api.greeter")]);
        assert!(address.parse::<std::net::IpAddr>().is_ok(), "{address}");
        let mut terminal = server.login(&ann, &API);
        terminal.expect(&format!("podspawn: service greeter: {address}, port 7000"));
        terminal.expect("$ ");
        terminal.line(&format!("{}; exit", ask(&address, 7000))).expect("hello from the greeter");
        let (_, screen) = terminal.wait();
        assert_eq!(screen.matches("service greeter").count(), 1, "{screen}");
        assert_eq!(screen.matches("port forwarding of this connection ends in your default session").count(), 1, "{screen}");
        // The default session has none.
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        terminal.line("exit");
        let (_, screen) = terminal.wait();
        assert!(!screen.contains("podspawn: service"), "{screen}");
    }

    [docker; soak: podman, gvisor]
    fn a_volume_is_one_users_and_stays_when_the_session_goes(server: Server) {
        let volumes = "    volumes: [data:/data]\n";
        register(&server, &with_service("db", &image(server.engine, "database"), 5432, volumes));
        let starts = |user: &str| {
            let _ = server.sh_with(user, &API, "true");
            let service = format!("podspawn-{user}-api.db");
            server.engine.run(&["exec", &service, "wc", "-l", "/data/starts"]).split(' ').next().map(str::to_owned)
        };
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        assert_eq!(starts(&ann).as_deref(), Some("1"));
        let _ = server.podspawn(&["stop", &format!("{ann}@api")]).run().ok();
        assert_eq!(starts(&ann).as_deref(), Some("2"));
        assert_eq!(starts(&ben).as_deref(), Some("1"), "of their own");
    }

    [docker; soak: podman, gvisor]
    fn whoever_comes_while_a_session_is_set_up_waits_files_too(server: Server) {
        let create = "on_create: |\n  mkfifo /tmp/gate\n  echo waiting here\n  cat /tmp/gate >/dev/null\n  echo done >~/done\n";
        register(&server, &format!("base: {}\n{create}", fact("IMAGE_SUDO")));
        let ann = server.user("ann");
        let mut first = server.login(&ann, &API);
        first.expect("waiting here");
        let script = format!("printf 'get done got\\n' | sftp -b - -o {PROJECT} $OPTIONS {ann}@127.0.0.1 && cat got");
        let files = server.script(&script).start();
        let mut second = server.login(&ann, &API);
        second.expect("Waiting for another connection that sets your container up...");
        let container = format!("podspawn-{ann}-api");
        server.engine.run(&["exec", "--user", "root", &container, "sh", "-c", "echo go >/tmp/gate"]);
        first.expect("$ ");
        second.expect("$ ");
        second.line("cat done; exit").expect("done");
        assert_eq!(second.wait().0, 0);
        let files = files.wait(Duration::from_secs(60)).ok();
        assert!(files.out().ends_with("done\n"), "{}", files.out());
        first.line("exit");
        assert_eq!(first.wait().0, 0);
    }

    [docker, podman; soak: gvisor]
    fn after_its_grace_period_nothing_of_a_session_is_left(engine: EngineName) {
        let server = Server::with(engine, &Wishes { grace: "1s", forwarding: "off", ..Wishes::default() });
        register(&server, &with_service("greeter", &image(engine, "greeter"), 7000, ""));
        let ann = server.user("ann");
        assert_eq!(server.sh_with(&ann, &API, &ask("greeter", 7000)), "hello from the greeter");
        server.gone(&ann, 1, LATE + Duration::from_secs(20));
        assert_eq!(engine.labelled("network", &format!("podspawn-user={ann}")), Vec::<String>::new());
        assert!(server.list().is_empty());
    }

    [docker; soak: podman, gvisor]
    fn a_build_that_fails_says_what_failed_and_leaves_nothing(server: Server) {
        register(&server, &format!("base: {}\nextra_commands:\n  - echo no luck here; exit 3\n", fact("IMAGE_SUDO")));
        let ann = server.user("ann");
        let run = server.ssh(&ann, &API, &["echo in"]).run();
        assert!(run.status == 1 && run.out().is_empty(), "{}", run.stderr);
        let line = run.stderr.lines().find(|line| line.starts_with("Error: your environment could not be built"));
        assert!(line.is_some_and(|line| line.contains("echo no luck here")), "{}", run.stderr);
        let (status, screen) = server.login(&ann, &API).wait();
        assert!(status == 1 && screen.contains("no luck here"), "{screen}");
        assert!(server.list().iter().all(|session| session["project"] != "api"), "{:?}", server.list());
        let projects = server.engine.labelled("container", "podspawn-project=api");
        let own = server.containers(&ann);
        assert!(projects.iter().all(|one| !own.contains(one)), "{projects:?}");
    }

    [docker; soak: podman, gvisor]
    fn a_service_that_does_not_come_up_is_named_and_everything_is_undone(engine: EngineName) {
        let server = Server::with(engine, &Wishes { forwarding: "off", ..Wishes::default() });
        register(&server, &with_service("db", &image(engine, "broken"), 5432, ""));
        let ann = server.user("ann");
        let run = server.ssh(&ann, &API, &["echo in"]).run();
        assert!(run.status == 1 && run.out().is_empty(), "{}", run.stderr);
        assert!(run.stderr.contains("`db`") && run.stderr.contains("out of luck"), "{}", run.stderr);
        assert!(run.stderr.contains("hint: "), "{}", run.stderr);
        assert_eq!(server.containers(&ann), Vec::<String>::new());
        assert_eq!(engine.labelled("network", &format!("podspawn-user={ann}")), Vec::<String>::new());
        assert!(server.list().is_empty());
    }

    [docker; soak: podman, gvisor]
    fn what_the_administrator_decides_for_a_user_wins(server: Server) {
        register(&server, &format!("base: {}\nenv:\n  EDITOR: vim\n  TEAM: web\n", fact("IMAGE_SUDO")));
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        fs::create_dir(server.path("etc/users")).expect("mkdir");
        fs::write(server.path("etc/users").join(format!("{ann}.yaml")), "env:\n  EDITOR: nvim\n").expect("write");
        assert_eq!(server.sh_with(&ann, &API, "echo $EDITOR $TEAM"), "nvim web");
        assert_eq!(server.sh_with(&ben, &API, "echo $EDITOR $TEAM"), "vim web");
    }

    [docker; soak: gvisor]
    fn what_the_administrator_decides_for_a_user_reaches_the_container(server: Server) {
        let clone = register(&server, &format!("base: {}\nshell: /bin/bash\nresources:\n  memory: 700m\n", fact("IMAGE_SUDO")));
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        fs::create_dir(server.path("etc/users")).expect("mkdir");
        let file = server.path("etc/users").join(format!("{ann}.yaml"));
        fs::write(&file, format!("memory: 300m\nshell: /bin/sh\nimage: {}\n", fact("IMAGE_BUSYBOX"))).expect("write");
        let look = |user: &str| {
            let inside = server.sh_with(user, &API, "while IFS=: read -r name x x x x x shell; do [ $name = $USER ] && echo $shell; done </etc/passwd; test -e /etc/debian_version && echo debian || echo other");
            let ask = |what: &str| server.engine.run(&["inspect", "--format", what, &format!("podspawn-{user}-api")]).trim().to_owned();
            let memory = ask("{{.HostConfig.Memory}}");
            (inside.lines().map(str::to_owned).collect::<Vec<_>>(), memory)
        };
        // With a Podfile the image is what that describes.
        assert_eq!(look(&ann), (vec!["/bin/sh".into(), "debian".into()], (300u64 << 20).to_string()));
        assert_eq!(look(&ben), (vec!["/bin/bash".into(), "debian".into()], (700u64 << 20).to_string()));
        // Without one it is the user's.
        fs::remove_file(clone.join("podfile.yaml")).expect("remove");
        let _ = server.podspawn(&["stop", &format!("{ann}@api")]).run().ok();
        assert_eq!(look(&ann), (vec!["/bin/sh".into(), "other".into()], (300u64 << 20).to_string()));
    }

    [docker, podman; soak: gvisor]
    fn a_client_for_files_that_comes_first_reads_nothing_of_what_hooks_say(server: Server) {
        let noise = "echo noise; echo noise >&2; head -c 100000 /dev/zero | tr '\\0' n";
        register(&server, &format!("base: {}\non_create: |\n  {noise}\non_start: |\n  {noise}\n", fact("IMAGE_SUDO")));
        let ann = server.user("ann");
        let script = format!("printf 'get /workspace/api/where got\\n' | sftp -b - -o {PROJECT} $OPTIONS {ann}@127.0.0.1 >said && cat got && ! grep -q nnnn said");
        let files = server.script(&script).limit(Duration::from_secs(200)).run().ok();
        assert_eq!(files.out(), "main\n");
        assert!(!files.stderr.contains("noise"), "{}", files.stderr);
    }

    [docker; soak: podman, gvisor]
    fn a_project_that_cannot_be_used_any_more_keeps_nobody_out_of_their_session(server: Server) {
        let clone = register(&server, &format!("base: {}\non_start: |\n  echo welcome\n", fact("IMAGE_SUDO")));
        let ann = server.user("ann");
        assert_eq!(server.sh_with(&ann, &API, "touch mine; echo in"), "in");
        fs::write(clone.join("podfile.yaml"), "base: debian\nprivileged: true\n").expect("write");
        // Programs hear nothing of it.
        let run = server.ssh(&ann, &API, &["find mine"]).run().ok();
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("mine\n", ""));
        let mut terminal = server.login(&ann, &API);
        terminal.expect("podspawn: the project `api` cannot be used: ");
        let rest = terminal.expect("`on_start` did not run");
        assert!(rest.contains("podfile.yaml:2") && rest.contains("privileged"), "{rest}");
        terminal.expect("$ ");
        terminal.line("find mi*; exit").expect("mine");
        assert_eq!(terminal.wait().0, 0);
        // A new session cannot be made of it.
        let ben = server.user("ben");
        let run = server.ssh(&ben, &API, &["echo in"]).run();
        assert!(run.status == 1 && run.out().is_empty() && run.stderr.contains("privileged"), "{}", run.stderr);
    }

    [docker; soak: podman, gvisor]
    fn a_read_only_root_has_no_room_for_a_project_and_says_so(server: Server) {
        let config = fs::read_to_string(server.config_file()).expect("read");
        let config = config.replace("security:\n", "security:\n  readonly_rootfs: true\n");
        fs::write(server.config_file(), config).expect("write");
        register(&server, &format!("base: {}\n", fact("IMAGE_SUDO")));
        let ann = server.user("ann");
        let run = server.ssh(&ann, &API, &["echo in"]).run();
        assert!(run.status == 1 && run.out().is_empty(), "{}", run.stderr);
        assert!(run.stderr.contains("read-only") && run.stderr.contains("`security.readonly_rootfs`"), "{}", run.stderr);
        assert_eq!(server.sh(&ann, "touch /etc/new 2>/dev/null || echo closed"), "closed", "without a project");
    }

    [docker, podman; soak: gvisor]
    fn spec_shows_what_a_session_of_a_project_is_made_of(server: Server) {
        register(&server, &format!("base: {}\nenv:\n  EDITOR: vim\n", fact("IMAGE_SUDO")));
        let ann = server.user("ann");
        fs::create_dir(server.path("etc/users")).expect("mkdir");
        let file = server.path("etc/users").join(format!("{ann}.yaml"));
        fs::write(&file, "memory: 300m\n").expect("write");
        let out = server.podspawn(&["spec", &format!("{ann}@api")]).run().ok().out();
        let row = |key: &str| {
            let found = out.lines().find(|line| line.split_whitespace().next() == Some(key));
            found.unwrap_or_else(|| panic!("{key} in {out}")).to_owned()
        };
        assert!(row("image").contains("podspawn/api:podfile-") && row("image").contains("built from the Podfile"), "{out}");
        assert!(row("copy").contains("/workspace/api"), "{out}");
        assert!(row("resources.memory").contains("300m") && row("resources.memory").contains(&format!("{ann}.yaml")), "{out}");
        assert!(server.list().is_empty(), "only looked at");
    }

    [docker; soak: podman, gvisor]
    fn an_update_to_a_podfile_that_is_not_valid_is_refused_and_the_old_one_stays(server: Server) {
        let remote = Remote::start();
        remote.commit("api", "main", &[("podfile.yaml", &format!("base: {}\nenv:\n  STATE: first\n", fact("IMAGE_SUDO")))]);
        let _ = server.podspawn(&["add-project", "api", "--repo", &remote.url("api")]).limit(Duration::from_secs(200)).run().ok();
        remote.commit("api", "main", &[("podfile.yaml", "base: debian\nprivileged: true\n")]);
        let run = server.podspawn(&["update-project", "api"]).run();
        assert!(run.status != 0 && run.stderr.contains("podfile.yaml:2"), "{}", run.stderr);
        let ann = server.user("ann");
        assert_eq!(server.sh_with(&ann, &API, "echo $STATE"), "first");
    }

    [docker; soak: podman, gvisor]
    fn an_entry_that_was_written_by_hand_needs_only_an_address(server: Server) {
        let remote = Remote::start();
        remote.commit("api", "main", &[("where", "main\n"), ("podfile.yaml", &format!("base: {}\nenv:\n  STATE: first\n", fact("IMAGE_SUDO")))]);
        let config = fs::read_to_string(server.config_file()).expect("read");
        fs::write(server.config_file(), format!("{config}projects:\n  api:\n    repo: {}\n", remote.url("api"))).expect("write");
        let ann = server.user("ann");
        let look = "echo $STATE; cat /workspace/api/where";
        if server.engine == EngineName::Podman {
            // Its broker has given up root's rights, and git must not work with the broker's.
            let run = server.ssh(&ann, &API, &[look]).run();
            assert!(run.status == 1 && run.out().is_empty(), "{}", run.stderr);
            assert!(run.stderr.contains("`sudo podspawn update-project api`"), "{}", run.stderr);
            let _ = server.podspawn(&["update-project", "api"]).limit(Duration::from_secs(200)).run().ok();
            assert_eq!(server.sh_with(&ann, &API, look), "first\nmain");
            return;
        }
        let mut terminal = server.login(&ann, &API);
        terminal.expect("Fetching the repository of api... done");
        terminal.expect_within("$ ", Duration::from_secs(200));
        assert_eq!(server.sh_with(&ann, &API, look), "first\nmain");
        // Nobody but the broker works in it, and git's own account owns nothing.
        let clone = server.path("state/projects/api");
        assert_eq!(fs::metadata(clone).map(|facts| std::os::unix::fs::MetadataExt::uid(&facts)).expect("the clone"), 0);
        terminal.line("exit");
        assert_eq!(terminal.wait().0, 0);
    }
}

#[test]
#[ignore = "a longer proof: make soak"] // a minute of waiting
fn a_service_that_is_never_ready_is_named_with_what_it_said() {
    let server = Server::with(EngineName::Docker, &Wishes { forwarding: "off", ..Wishes::default() });
    register(&server, &with_service("db", &image(EngineName::Docker, "never"), 5432, ""));
    let ann = server.user("ann");
    let run = server.ssh(&ann, &API, &["echo in"]).limit(Duration::from_secs(150)).run();
    assert!(run.status == 1 && run.out().is_empty(), "{}", run.stderr);
    let told = "did not open port 5432 within 60 s";
    assert!(run.stderr.contains(told) && run.stderr.contains("no port today"), "{}", run.stderr);
    assert_eq!(server.containers(&ann), Vec::<String>::new());
    assert!(server.list().is_empty());
}
