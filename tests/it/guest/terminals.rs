//! Shells and programs on a terminal: size, keys, job control, full-screen programs, hang-up.

use super::{answer, create, inside, shell};

on_engines! {
    [docker, podman, gvisor]
    fn a_shell_has_a_terminal_made_inside(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        let tty = answer(&mut terminal, "tty");
        assert!(tty.trim().starts_with("/dev/pts/"), "{tty}");
        assert_eq!(answer(&mut terminal, "echo $TERM").trim(), "xterm-256color");
        terminal.line("exit 7");
        assert_eq!(terminal.wait().0, 7);
    }

    [docker, podman, gvisor]
    fn windows_of_any_size_are_taken_over(env: Env) {
        create(&env);
        for (rows, cols) in [(1, 1), (200, 500), (500, 200), (24, 80)] {
            let (status, screen) = env.podspawn(["exec", "-t", "m", "--", "stty", "size"]).terminal(rows, cols).wait();
            assert_eq!((status, screen.trim()), (0, format!("{rows} {cols}").as_str()));
        }
    }

    [docker, podman]
    fn a_changed_window_is_told(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        terminal.line("trap 'stty size' WINCH; echo re''ady");
        terminal.expect("ready");
        terminal.resize(33, 101);
        // A key may overtake the window's change, and a shell at its prompt runs no trap: it is busy until the change is there.
        terminal.line("until [ \"$(stty size)\" = '33 10'1 ]; do :; done");
        terminal.expect("33 101");
        // What is typed before the prompt is there may be lost to the shell's own setting of the terminal.
        terminal.line("trap - WINCH; echo un''trapped");
        terminal.expect("untrapped");
        terminal.expect("P$ ");
        terminal.resize(1, 1).resize(200, 500);
        terminal.line("until [ \"$(stty size)\" = '200 500' ]; do :; done; echo big''ger");
        terminal.expect("bigger");
    }

    [docker, podman]
    fn keys_are_signals_and_jobs_are_controlled(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        terminal.line("echo go''; exec sh -c 'echo run''ning; exec sleep 1000'; echo never");
        terminal.expect("running");
        terminal.send("\x03");
        // The shell was replaced: its end is the session's.
        assert_eq!(terminal.wait().0, 130);

        let mut terminal = shell(&env);
        // Says when it goes on: the shell shows the line of a job before it gives the terminal to it.
        terminal.line(r#"perl -e '$|=1; $SIG{CONT}=sub{print "ba"."ck\n"}; print "run"."ning\n"; sleep 1000 while 1'"#);
        terminal.expect("running");
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect("P$ ");
        assert!(answer(&mut terminal, "jobs").contains("sleep 1000"));
        terminal.line("fg");
        terminal.expect("back");
        terminal.send("\x03");
        terminal.expect("P$ ");
        assert_eq!(answer(&mut terminal, "echo $?").trim(), "130");
        terminal.line("cat");
        terminal.line("typed");
        terminal.expect("typed");
        terminal.send("\x04");
        terminal.expect("P$ ");
    }

    [docker, podman, gvisor]
    fn full_screen_programs_work(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        terminal.line("vim -u NONE -N note; echo vim''=$?");
        terminal.expect("note");
        terminal.send("ihello from vim\x1b:wq\r");
        terminal.expect("vim=0");
        terminal.expect("P$ ");
        assert_eq!(answer(&mut terminal, "cat note").trim(), "hello from vim");
        terminal.line("script -qec 'tty; exit 5' typed; echo script''=$?");
        terminal.expect("/dev/pts/");
        terminal.expect("script=5");
        terminal.expect("P$ ");
    }

    [docker, podman, gvisor]
    fn tmux_works(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        terminal.line("tmux new-session 'echo in-t''mux; read x; echo got-$x > seen; tmux wait-for -S done'");
        terminal.expect("in-tmux");
        terminal.line("key");
        terminal.expect("[exited]");
        terminal.expect("P$ ");
        assert_eq!(answer(&mut terminal, "cat seen").trim(), "got-key");
    }

    [docker, podman]
    fn at_hang_up_jobs_die_and_what_ignores_it_lives(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        // A `nohup` that has not begun yet dies like the others.
        let begun = "nohup sh -c 'echo > up; exec sleep 1001' > out 2>&1 & echo $! > lives; until [ -s up ]; do :; done";
        answer(&mut terminal, &format!("sleep 1000 & echo $! > dies; {begun}"));
        answer(&mut terminal, "echo $$ > shell");
        terminal.hang_up();
        let script = "for name in shell dies; do timeout 60 tail --pid=$(cat $name) -f /dev/null || exit 1; done
                      kill -0 $(cat lives) && kill $(cat lives)";
        let _ = inside(&env, script).ok();
    }

    [docker, podman]
    fn a_keyboard_that_is_gone_is_a_hang_up_and_not_the_end_of_input(env: Env) {
        create(&env);
        // Nobody but the end of its input tells podspawn here: no signal, and its output is on another terminal.
        let apart = r#"exec 3<&0; command="$*"; exec script -qec "$command <&3" screen </dev/null"#;
        let starter = ["env", "--ignore-signal=HUP", "sh", "-c", apart, "sh"];
        let mut terminal = env.podspawn_by(&starter, &["exec", "-it", "m", "--", "bash", "-i"]).terminal(24, 80);
        terminal.line("sleep 1000 & echo $! > dies; echo $$ > shell");
        let _ = inside(&env, "until [ -s shell ]; do :; done").ok();
        terminal.hang_up();
        let script = "for name in shell dies; do timeout 60 tail --pid=$(cat $name) -f /dev/null || exit 1; done";
        let _ = inside(&env, script).ok();
        assert_eq!(terminal.wait().0, 129);
    }

    [docker, podman, gvisor]
    fn a_program_on_a_terminal_ends_with_its_status_and_all_of_its_output(env: Env) {
        create(&env);
        let script = "seq 50000; exit 9";
        let (status, screen) = env.terminal(["exec", "-it", "m", "--", "sh", "-c", script]).wait();
        assert_eq!(status, 9);
        let expected: String = (1..=50_000).map(|number| format!("{number}\r\n")).collect();
        assert!(screen == expected, "{} bytes of {}", screen.len(), expected.len());
    }
}
