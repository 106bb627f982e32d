//! How long a session lives.

use std::fs;
use std::time::{Duration, Instant};

use podspawn::state::UserLocks;
use rustix::process::Signal;

use crate::harness::server::{LATE, Server, Wishes};

/// Long enough for whatever has to happen.
const SOON: Duration = Duration::from_secs(30);

on_engines! {
    [docker, podman]
    fn whoever_comes_back_within_the_grace_period_finds_everything_as_it_was(server: Server) {
        let ann = server.user("ann");
        server.sh(&ann, "echo here >/tmp/file");
        let containers = server.containers(&ann);
        server.audited(&ann, "disconnect", 1, SOON);
        let listed = &server.list()[0];
        assert_eq!(listed["status"], "grace_period");
        assert!(listed["disk_bytes"].is_u64(), "{listed}");
        assert_eq!(server.sh(&ann, "cat /tmp/file"), "here");
        assert_eq!(server.containers(&ann), containers);
    }

    [docker; soak: podman, gvisor]
    fn a_container_is_gone_soon_after_its_grace_period(engine: EngineName) {
        let server = Server::with(engine, &Wishes { grace: "3s", ..Wishes::default() });
        let ann = server.user("ann");
        server.sh(&ann, "true");
        let ended = Instant::now();
        server.gone(&ann, 1, Duration::from_secs(3) + LATE);
        assert!(ended.elapsed() > Duration::from_millis(2500), "{:?}", ended.elapsed());
        assert!(server.list().is_empty());
        // A person is told why what they had is not there.
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("your previous container was replaced by a new one: its grace period was over");
        terminal.expect("$ ");
        terminal.line("exit");
        terminal.wait();
    }

    [docker, podman]
    fn a_session_keeps_the_mode_and_the_shell_that_it_was_made_with(server: Server) {
        let ann = server.user("ann");
        let shell = |expected: &str| {
            let mut terminal = server.login(&ann, &[]);
            terminal.expect("$ ");
            terminal.line("readlink /proc/$$/exe; exit").expect(expected);
            terminal.wait();
        };
        shell("/bash");
        let made = server.containers(&ann);
        let config = fs::read_to_string(server.config_file()).expect("read");
        let changed = config.replace("mode: grace-period", "mode: destroy-on-disconnect").replace("defaults:\n", "defaults:\n  shell: /bin/sh\n");
        assert_ne!(changed, config);
        fs::write(server.config_file(), changed).expect("write");
        // Its mode would have ended it, and its shell would be another.
        shell("/bash");
        assert_eq!(server.containers(&ann), made);
        let store = rusqlite::Connection::open(server.path("state/state.db")).expect("open the store");
        let mode: String = store.query_row("SELECT mode FROM sessions", [], |row| row.get(0)).expect("a row");
        assert_eq!(mode, "grace-period");
        drop(store);
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        shell("/dash");
        server.gone(&ann, 2, SOON);
    }

    /// As another session of the same user does while it waits for its services.
    [docker; soak: podman]
    fn the_grace_period_also_begins_where_the_user_was_being_worked_for_too_long(engine: EngineName) {
        let server = Server::with(engine, &Wishes { grace: "1s", ..Wishes::default() });
        let ann = server.user("ann");
        let long = server.ssh(&ann, &[], &["exec sleep 1000"]).start();
        server.audited(&ann, "connect", 1, SOON);
        let locks = UserLocks::new(server.path("state/locks"));
        let at_work = locks.try_lock(&ann.parse().expect("a name")).expect("the lock").expect("it is free");
        long.signal(Signal::KILL);
        server.broker_log().wait("after a connection had ended", SOON);
        drop(at_work);
        server.gone(&ann, 1, SOON);
    }

    [docker, podman]
    fn a_container_ends_with_its_connection_where_the_mode_says_so(engine: EngineName) {
        let wishes = Wishes { mode: "destroy-on-disconnect", ..Wishes::default() };
        let server = Server::with(engine, &wishes);
        let ann = server.user("ann");
        let long = server.ssh(&ann, &[], &["exec sleep 1000"]).start();
        server.audited(&ann, "connect", 1, SOON);
        // Another connection of the same user ends nothing.
        server.sh(&ann, "true");
        assert_eq!(server.containers(&ann).len(), 1);
        assert_eq!(server.audited(&ann, "disconnect", 1, SOON)["remaining_connections"], 1);
        long.signal(Signal::KILL);
        server.gone(&ann, 1, SOON);
    }

    [docker, podman]
    fn a_persistent_home_outlives_its_container(engine: EngineName) {
        let server = Server::with(engine, &Wishes { mode: "persistent", grace: "1s", ..Wishes::default() });
        let ann = server.user("ann");
        assert_eq!(server.sh(&ann, "cd; echo kept >kept; stat -c '%u %g' . kept; id -u"), "1000 1000\n1000 1000\n1000");
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        assert_eq!(server.containers(&ann), Vec::<String>::new());
        assert_eq!(server.sh(&ann, "cd; cat kept; stat -c %u ."), "kept\n1000");
    }

    [docker, podman; soak: gvisor]
    fn what_a_killed_client_has_started_ends(server: Server) {
        let ann = server.user("ann");
        let running = server.running(&ann, &[], "echo $$ >/tmp/pid; exec sleep 1000");
        let pid = server.sh(&ann, "cat /tmp/pid");
        running.signal(Signal::KILL);
        let run = server.ssh(&ann, &[], &[&format!("tail --pid={pid} -f /dev/null")]).run().ok();
        assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
    }

    [docker]
    fn the_home_on_this_host_is_empty_again_after_the_last_connection(server: Server) {
        let ann = server.user("ann");
        let home = server.run_home(&ann);
        let long = server.running(&ann, &[], "exec sleep 1000");
        // As programs of a login could have left it.
        std::fs::create_dir_all(home.join("a/b")).expect("mkdir");
        std::fs::write(home.join("a/b/file"), "left").expect("write");
        std::os::unix::fs::symlink(server.path("etc"), home.join("link")).expect("link");
        server.sh(&ann, "true");
        // Those that tell when the process runs, and this one.
        server.audited(&ann, "disconnect", 3, SOON);
        assert!(home.join("a/b/file").exists());
        long.signal(Signal::KILL);
        server.audited(&ann, "disconnect", 4, SOON);
        assert_eq!(std::fs::read_dir(&home).expect("a home").count(), 0);
        assert!(server.config_file().exists());
        assert_eq!(server.sh(&ann, "echo again"), "again");
    }
}
