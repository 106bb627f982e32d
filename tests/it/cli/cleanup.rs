//! `podspawn cleanup`

use rustix::process::Signal;

use crate::harness::Env;

on_engines! {
    [docker, podman]
    fn a_pass_leaves_machines_alone_and_removes_what_a_killed_command_left(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let kept = env.objects();
        let mut terminal = env.terminal(["run", "scratch"]);
        terminal.expect(&format!("{}@scratch", env.user));
        terminal.signal(Signal::KILL);
        let _ = terminal.wait();
        assert_eq!(env.objects().len(), 4, "killed: nobody removed anything");

        let run = env.podspawn(["cleanup"]).run().ok();
        assert_eq!(run.out(), "Cleanup pass complete.\n");
        assert!(run.stderr.contains("INFO nobody is connected, destroying "), "{}", run.stderr);
        assert!(run.stderr.contains("INFO cleanup pass complete "), "{}", run.stderr);
        assert_eq!(env.objects(), kept);

        let again = env.podspawn(["cleanup"]).run().ok();
        assert_eq!((again.out().as_str(), again.stderr.as_str()), ("Cleanup pass complete.\n", ""));
    }
}

#[test]
fn the_daemon_goes_on_until_it_is_told_to_end() {
    let env = Env::on(crate::harness::EngineName::Docker);
    let mut killed = env.terminal(["run", "scratch"]);
    killed.expect(&format!("{}@scratch", env.user));
    killed.signal(Signal::KILL);
    let _ = killed.wait();
    assert_ne!(env.objects(), Vec::<String>::new(), "killed: nobody removed anything");
    let mut terminal = env.terminal(["cleanup", "--daemon", "--interval", "90s"]);
    terminal.expect("INFO cleanup daemon started interval=1m30s");
    terminal.expect("INFO nobody is connected, destroying ");
    terminal.expect("INFO cleanup pass complete ");
    assert_eq!(env.objects(), Vec::<String>::new());
    terminal.signal(Signal::TERM);
    terminal.expect("cleanup daemon stopped");
    assert_eq!(terminal.wait().0, 0);
}

#[test]
fn an_interval_that_is_none_is_refused() {
    let env = Env::without_engine();
    for wrong in ["60", "soon", "-1s", "0s"] {
        let run = env.podspawn(["cleanup", "--interval", wrong]).run().status(1);
        assert!(run.stderr.starts_with("Error: ") && run.stderr.contains("`--interval`"), "{}", run.stderr);
        assert!(run.stderr.contains("hint: --interval 60s"), "{}", run.stderr);
    }
}
