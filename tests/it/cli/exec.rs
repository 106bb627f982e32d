//! `podspawn exec`

use crate::harness::Env;
use crate::harness::engines::fact;

on_engines! {
    [docker, docker26, podman, gvisor]
    fn a_command_runs_with_its_streams_and_its_status(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let exec = |args: &[&str]| env.podspawn(["exec"].iter().chain(args));

        let run = exec(&["dev", "--", "sh", "-c", "echo out; echo err >&2; exit 42"]).run().status(42);
        assert_eq!((run.out().as_str(), run.stderr.as_str()), ("out\n", "err\n"));

        // No shell in between.
        let run = exec(&["dev", "--", "printf", "%s|", "a b", "$HOME", "*", ""]).run().ok();
        assert_eq!(run.out(), "a b|$HOME|*||");

        // Input only with -i; every byte of it, and its end.
        let bytes: Vec<u8> = (0..=255u8).cycle().take(1 << 20).collect();
        let run = exec(&["-i", "dev", "--", "cat"]).stdin(&bytes).run().ok();
        assert!(run.stdout == bytes, "{} of {} bytes", run.stdout.len(), bytes.len());
        let run = exec(&["dev", "--", "cat"]).stdin("nobody reads this").run().ok();
        assert_eq!(run.out(), "");

        let run = exec(&["dev", "--", "sh", "-c", "kill -KILL $$"]).run().status(137);
        assert_eq!(run.out(), "");

        let run = exec(&["dev", "--", "no-such-program"]).run().status(127);
        assert!(run.stderr.starts_with("Error: ") && run.stderr.contains("no-such-program"), "{}", run.stderr);
        let _ = exec(&["dev", "--", "/etc/passwd"]).run().status(126);
    }
}

on_engines! {
    [docker, podman]
    fn a_terminal_is_given_where_it_is_asked_for(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let mut terminal = env.terminal(["exec", "-it", "dev", "--", "sh", "-c", "tty; stty size; read x; exit $x"]);
        terminal.expect("/dev/pts/");
        terminal.expect("24 80");
        terminal.line("11");
        assert_eq!(terminal.wait().0, 11);
        // Without -t there is none, even if a person sits there.
        let (status, screen) = env.terminal(["exec", "dev", "--", "tty"]).wait();
        assert_eq!((status, screen.trim()), (1, "not a tty"));
        // The terminal inside ends lines for one that shows them; the one outside adds nothing.
        let (status, screen) = env.terminal(["exec", "-t", "dev", "--", "echo", "one"]).wait();
        assert_eq!((status, screen.as_str()), (0, "one\r\n"));
    }
}

on_engines! {
    [docker]
    fn an_image_without_a_shell_of_its_own_runs_commands_all_the_same(env: Env) {
        let _ = env.podspawn(["create", "dev", "--image", fact("IMAGE_BUSYBOX")]).run().ok();
        let run = env.podspawn(["exec", "dev", "--", "id", "-u"]).run().ok();
        assert_eq!(run.out(), "1000\n");
    }
}

on_engines! {
    [docker]
    fn a_reader_that_goes_away_ends_the_command(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let program = crate::harness::system::podspawn();
        let line = format!("{} exec dev -- yes | head -1", program.display());
        let run = env.program("sh", ["-c", &line]).limit(std::time::Duration::from_secs(20)).run().ok();
        assert_eq!(run.out(), "y\n");
    }
}

#[test]
fn a_terminal_is_refused_where_there_is_none() {
    let env = Env::without_engine();
    let run = env.podspawn(["exec", "-t", "dev", "--", "true"]).run().status(1);
    assert_eq!(
        run.stderr,
        "Error: `--tty` needs a terminal as standard input and output\nhint: leave `--tty` out\n"
    );
}

#[test]
fn a_missing_command_is_refused() {
    let env = Env::without_engine();
    let run = env.podspawn(["exec", "dev"]).run().status(1);
    assert!(
        run.stderr.starts_with("Error: the following required arguments were not provided:"),
        "{}",
        run.stderr
    );
    let _ = env.podspawn(["exec", "dev", "--", ""]).run().status(1);
}
