//! The way of an administrator and two developers from a host with nothing to a team that works: every command that a
//! newcomer is told to type, and what they are told to expect.
//!
//! A git server and a mirror of this host stand for those of the internet, images of this host for public ones, and
//! `SetEnv=PODSPAWN_PROJECT` for a client that sends it.

use std::fs;
use std::time::Duration;

use podspawn::server::pam;
use rustix::process::Signal;

use crate::accounts::web::Web;
use crate::cli::pull::Pushed;
use crate::harness::engines::EngineName;
use crate::harness::server::{Server, Wishes};
use crate::harness::{Run, system};
use crate::image::mirror::Mirror;
use crate::projects::remote::Remote;
use crate::services::lab::{Place, drive};

/// A build fetches packages of a distribution.
const BUILD: Duration = Duration::from_secs(400);

const API: [&str; 2] = ["-o", "SetEnv=PODSPAWN_PROJECT=api"];

/// What `npm test` runs: it talks to the database that its environment names.
const TESTS: &str = "#!/bin/bash\nset -e\necho '> node-api@1.0.0 test'\n\
    host=${DATABASE_URL#*@}; host=${host%/*}\nexec 3<>\"/dev/tcp/${host%:*}/${host#*:}\"; read -r line <&3\n\
    [[ $line == hello* ]] && echo ' PASS  tests/users.test.js'\n";

/// The Podfile of the project, with images of this host.
fn podfile(base: &str, postgres: &str) -> String {
    format!(
        "base: {base}

packages:
  - nodejs@22
  - git
  - curl
  - ripgrep

shell: /bin/bash

env:
  DATABASE_URL: \"postgres://postgres:devpass@postgres:5432/testdb\"
  NODE_ENV: development

services:
  - name: postgres
    image: {postgres}
    ports: [5432]
    env:
      POSTGRES_PASSWORD: devpass
      POSTGRES_DB: testdb

on_create: |
  cd /workspace/api && npm install

on_start: |
  echo \"API dev environment ready\"
  echo \"Run: cd /workspace/api && npm test\"
"
    )
}

/// As a host is before `server-setup`: nothing in sshd's configuration or PAM's speaks of podspawn.
fn bare(server: &Server) {
    let text = fs::read_to_string(server.sshd_config()).expect("read");
    let (_, rest) = text.split_once('\n').expect("the included file first");
    fs::write(server.sshd_config(), rest).expect("write");
    fs::remove_file(server.path("ssh/podspawn.conf")).expect("remove");
    let _ = pam::unwire(&server.service).expect("unwire");
}

fn configure(server: &Server, more: &str) {
    let text = fs::read_to_string(server.config_file()).expect("read");
    fs::write(server.config_file(), format!("{text}{more}")).expect("write");
}

/// The rows of a table, their words apart.
fn rows(run: &Run) -> Vec<Vec<String>> {
    run.out().lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[track_caller]
fn says(run: &Run, line: &str) {
    let found = run.stderr.lines().any(|said| said == line);
    assert!(found, "{line:?} is not in\n{}", run.stderr);
}

/// Removed from the engine at the end, whatever happens.
struct Images(EngineName, Vec<String>);

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.1 {
            let _ = self.0.cli().args(["rmi", "-f", image]).output();
        }
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn a_team_gets_to_work(engine: EngineName) {
        let mut images = Images(engine, Vec::new());
        let id = system::random_hex()[..10].to_owned();
        let base = Pushed::of("IMAGE_SUDO", &format!("tutorial-{id}"), engine);
        let database = drive(async {
            let place = Place::on(engine).await;
            place.service("postgres", "database", &[5432]).await.image.to_string()
        });
        let server = Server::with(engine, &Wishes::default());
        let (mirror, remote) = (Mirror::start(), Remote::start());
        let mut keys = fs::read_to_string(server.path("ssh/key.pub")).expect("a key");
        keys += &fs::read_to_string(server.path("ssh/other.pub")).expect("a key");
        let web = Web::with(server.scratch(), [("/sarahcodes.keys".to_owned(), keys)].into());
        let nodejs = mirror.sources().nodejs;
        configure(&server, &format!("github_url: {}\npackages:\n  sources:\n    nodejs: {}\n", web.url, nodejs.as_str()));
        bare(&server);

        // 2: the server.
        let (config, service) = (server.sshd_config(), server.service.clone());
        let (config, service) = (config.to_str().expect("text"), service.to_str().expect("text"));
        let run = server.podspawn(&["server-setup", "--sshd-config", config, "--pam-service", service]).run().ok();
        says(&run, &format!("backed up {config} to {config}.podspawn.bak"));
        says(&run, &format!("appended AuthorizedKeysCommand to {config}"));
        says(&run, "server-setup complete");
        server.reload_sshd();

        // 3: users.
        let (sarah, james) = (server.name("sarah"), server.name("james"));
        let added = server.podspawn(&["add-user", &sarah, "--github", "sarahcodes"]);
        says(&added.var("SSL_CERT_FILE", &web.authority).run().ok(), &format!("added 2 key(s) for {sarah}"));
        let saved = fs::read_to_string(server.path("etc/keys").join(&sarah)).expect("keys");
        assert_eq!(saved.lines().count(), 2, "{saved}");
        let key = server.path("ssh/key.pub");
        let run = server.podspawn(&["add-user", &james, "--key-file", key.to_str().expect("text")]).run().ok();
        says(&run, &format!("added 1 key(s) for {james}"));
        let again = fs::read_to_string(server.path("ssh/ca.pub")).expect("a key");
        let run = server.podspawn(&["add-user", &sarah, "--key", again.trim()]).run().ok();
        says(&run, &format!("added 1 key(s) for {sarah}"));

        // 5 and 6: the project.
        remote.commit("api", "main", &[
            ("podfile.yaml", &podfile(&base.name, &database)),
            ("package.json", "{ \"name\": \"node-api\", \"version\": \"1.0.0\" }\n"),
            ("run-tests", TESTS),
        ]);
        system::run(std::process::Command::new("chmod").arg("755").arg(remote.tree("api").join("run-tests")));
        remote.push("api", "main");
        let run = server.podspawn(&["add-project", "api", "--repo", &remote.url("api")]).limit(BUILD).run().ok();
        let image = run.stderr.lines().find_map(|line| line.strip_prefix("project api registered, image: "));
        let image = image.expect("a line").to_owned();
        images.1.push(image.clone());
        let registry = fs::read_to_string(server.path("etc/projects.yaml")).expect("the registry");
        assert!(registry.contains("api:\n") && registry.contains(&format!("repo: {}", remote.url("api"))), "{registry}");

        // 7: into it. The image was made when the project was registered; on a host that has thrown it away it is made anew.
        engine.run(&["rmi", "-f", &image, &base.name]);
        let mut terminal = server.login(&sarah, &API);
        // The prompt is coloured: name, host and place stand apart.
        let prompt = |user: &str| format!("{user}@podspawn-{user}-api\u{1b}[00m:\u{1b}[01;34m~\u{1b}[00m$ ");
        terminal.expect_within(&prompt(&sarah), BUILD);
        let screen = terminal.screen();
        let seen: Vec<&str> = screen.lines().map(str::trim_end).collect();
        let wanted = [
            "Building environment from podfile.yaml (first time, this takes a minute)...",
            &format!("  Pulling base image {}... done", base.name),
            "  Installing packages: nodejs@22 git curl ripgrep... done",
            &format!("  Starting companion service: postgres ({database})... done"),
            "  Running on_create: npm install... done",
            "",
            "API dev environment ready",
            "Run: cd /workspace/api && npm test",
        ];
        assert_eq!(seen[..wanted.len().min(seen.len())], wanted, "{screen}");
        let container = format!("podspawn-{sarah}-api");
        terminal.line("cd /workspace/api");
        terminal.line("npm test").expect(" PASS  tests/users.test.js");
        assert!(terminal.screen().contains("> node-api@1.0.0 test"), "{}", terminal.screen());
        terminal.line("echo $NODE_ENV-$DATABASE_URL").expect("development-postgres://postgres:devpass@postgres:5432/testdb");

        // Another developer: the image is there, and so nothing is said about it.
        let mut first = server.login(&james, &API);
        first.expect(&prompt(&james));
        assert!(!first.screen().contains("Building environment"), "{}", first.screen());
        let mut second = server.login(&james, &API);
        second.expect("Run: cd /workspace/api && npm test");
        second.expect(&prompt(&james));
        assert!(!second.screen().contains("Starting companion"), "{}", second.screen());

        // 8: what an editor needs, without a project: a command, files and a way to a port inside.
        assert_eq!(server.sh(&sarah, "hostname"), format!("podspawn-{sarah}"));
        let run = server.script(&format!("printf 'put /etc/hostname server\\n' | sftp -b - $OPTIONS {sarah}@127.0.0.1"));
        let _ = run.run().ok();
        assert_eq!(server.sh(&sarah, "test -f server && ls -d /workspace/api 2>/dev/null || echo default"), "default");
        let forwarded = server.script(&format!("$SSH -W 127.0.0.1:1 {sarah}@127.0.0.1 || echo closed-inside"));
        assert!(forwarded.run().ok().out().contains("closed-inside"));

        // 9: who is there, and cleaning up.
        let came = || server.audit().iter().filter(|line| line["user"] == *sarah && line["event"] == "connect").count();
        // All but the terminal's two: its session, and the one whose network it forwards into.
        server.audited(&sarah, "disconnect", came() - 2, Duration::from_secs(30));
        let run = server.podspawn(&["list"]).run().ok();
        let rows = rows(&run);
        assert_eq!(rows[0].join(" "), "USER PROJECT CONTAINER STATUS CONNS AGE LIFETIME LEFT");
        let row = |user: &str, project: &str| {
            let found = rows.iter().find(|row| row[0] == user && row[1] == project);
            found.unwrap_or_else(|| panic!("{user} {project} in {}", run.out()))[2..5].join(" ")
        };
        assert_eq!(row(&sarah, "api"), format!("{container} running 1"));
        assert_eq!(row(&james, "api"), format!("podspawn-{james}-api running 2"));
        // The network that a connection forwards into is that of the default session.
        assert_eq!(row(&sarah, "(default)"), format!("podspawn-{sarah} running 1"));
        let mut daemon = server.podspawn(&["cleanup", "--daemon"]).terminal(24, 80);
        daemon.expect("INFO cleanup daemon started interval=1m0s");
        daemon.signal(Signal::INT);
        assert_eq!(daemon.wait().0, 0);
        terminal.line("exit");
        assert_eq!(terminal.wait().0, 0);
        server.audited(&sarah, "disconnect", came(), Duration::from_secs(30));
        let waiting = server.podspawn(&["list"]).run().ok();
        let in_grace = waiting.out().lines().filter(|line| line.contains(&sarah) && line.contains(" grace_period ")).count();
        assert_eq!(in_grace, 2, "{}", waiting.out());
        // As if the grace period had been over for a while, and nobody had looked.
        let store = rusqlite::Connection::open(server.path("state/state.db")).expect("open the store");
        let changed = store.execute("UPDATE sessions SET grace_expiry = created_at WHERE grace_expiry IS NOT NULL", []);
        assert_eq!(changed.expect("a change"), 2);
        let run = server.podspawn(&["cleanup"]).run().ok();
        says(&run, &format!("INFO grace period expired, destroying user={sarah} project=api container={container}"));
        says(&run, "INFO cleanup pass complete grace_expired=2 lifetime_expired=0 orphans_removed=0");
        assert!(run.out().ends_with("Cleanup pass complete.\n"), "{}", run.out());
        assert_eq!(server.containers(&sarah), Vec::<String>::new(), "with its services");

        // 10: somebody leaves.
        let run = server.podspawn(&["remove-user", &james, "--force"]).run().ok();
        says(&run, &format!("INFO destroying session user={james} container=podspawn-{james}-api"));
        // The session whose network his connections forward into is in no count.
        says(&run, &format!("removed user {james} (1 session(s) destroyed)"));
        assert_eq!(server.containers(&james), Vec::<String>::new(), "with its services");
        assert!(!server.path("etc/keys").join(&james).exists());
        let refused = server.ssh(&james, &[], &["echo in"]).run();
        assert!(refused.status == 255 && refused.out().is_empty(), "{}", refused.stderr);
        assert_ne!(first.wait().0, 0);
        assert_ne!(second.wait().0, 0);
    }
}
