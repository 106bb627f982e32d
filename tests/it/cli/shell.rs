//! `podspawn shell`

use crate::harness::Env;

on_engines! {
    [docker, podman]
    fn a_shell_in_a_machine_leaves_it_running(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let mut terminal = env.terminal(["shell", "dev"]);
        terminal.expect(&format!("{}@dev", env.user));
        terminal.line("echo kept > here; pwd");
        terminal.expect(&format!("/home/{}\r\n", env.user));
        terminal.line("exit 0");
        assert_eq!(terminal.wait().0, 0);

        let run = env.podspawn(["shell", "dev"]).stdin("cat here; exit 9").run().status(9);
        assert_eq!(run.out(), "kept\n");
        assert_eq!(run.stderr, "");
    }
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn the_callers_language_goes_along_and_nothing_else(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let variables = [("LANG", "C.UTF-8"), ("LC_TIME", "de_DE.UTF-8"), ("LC_x", "1"), ("FOO", "bar")];
        for (command, input) in [(vec!["exec", "dev", "--", "env"], ""), (vec!["shell", "dev"], "exec env")] {
            let command = env.podspawn(&command).stdin(input);
            let run = variables.iter().fold(command, |command, (name, value)| command.var(name, value)).run().ok();
            let out = run.out();
            let is_seen = |(name, value): &(&str, &str)| out.lines().any(|line| line == format!("{name}={value}"));
            let seen: Vec<_> = variables.iter().filter(|variable| is_seen(variable)).collect();
            assert_eq!(seen, [&variables[0], &variables[1]], "{out}");
        }
        let run = env.podspawn(["run", "scratch", "--", "env"]).var("LANG", "C.UTF-8").run().ok();
        assert!(run.out().contains("LANG=C.UTF-8\n"), "{}", run.out());
        let mut terminal = env.podspawn(["shell", "dev"]).var("LANG", "C.UTF-8").var("TERM", "vt100").terminal(24, 80);
        terminal.line("echo $TERM-$LANG").expect("vt100-C.UTF-8");
        terminal.line("exit");
        assert_eq!(terminal.wait().0, 0);
    }
}

on_engines! {
    [docker]
    fn somebody_elses_machine_is_named_by_its_owner(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let target = format!("{}@dev", env.user);
        let run = env.podspawn(["shell", &target]).var("USER", "somebody").stdin("hostname").run().ok();
        assert_eq!(run.out(), "dev\n");
    }
}

#[test]
fn an_unknown_machine_is_named_with_its_owner() {
    let env = Env::without_engine();
    for command in [vec!["shell", "dev"], vec!["exec", "dev", "--", "true"]] {
        let run = env.podspawn(&command).run().status(1);
        assert_eq!(
            run.stderr,
            format!(
                "Error: there is no machine `dev` of {}\nhint: `podspawn list` shows your machines\n",
                env.user
            )
        );
    }
}
