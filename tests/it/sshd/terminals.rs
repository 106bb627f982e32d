//! People at terminals.

on_engines! {
    [docker, podman, gvisor]
    fn a_login_is_a_shell_on_a_terminal_of_the_container(server: Server) {
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        terminal.line("tty; stty size; id -un; echo shell-$0").expect("/dev/pts/");
        terminal.expect("24 80");
        terminal.expect(&ann);
        terminal.expect("shell--");
        terminal.line("exit 7");
        let (status, screen) = terminal.wait();
        assert_eq!(status, 7, "{screen}");
        // Nothing of the host's own greeting.
        assert!(!screen.contains("Last login") && !screen.contains("ABSOLUTELY NO WARRANTY"), "{screen}");
    }

    [docker, podman; soak: gvisor]
    fn a_terminal_that_the_image_does_not_know_is_told_as_one_that_it_knows(server: Server) {
        let ann = server.user("ann");
        let told = |term: &str| {
            let run = server.ssh(&ann, &["-tt"], &["echo told-$TERM-; tput cols"]).var("TERM", term);
            let (status, screen) = run.terminal(24, 80).wait();
            assert_eq!(status, 0, "{screen}");
            let rest = screen.split_once("told-").expect("an answer").1;
            rest.split_once('-').map(|_| rest.lines().next().expect("a line").trim_end().to_owned()).expect("a line")
        };
        for (sent, expected) in [
            ("xterm-kitty-of-tomorrow", "xterm-256color-"),
            ("vt100", "vt100-"),
            ("../../etc/passwd", "xterm-256color-"),
        ] {
            assert_eq!(told(sent), expected, "{sent}");
        }
    }

    [docker; soak: podman]
    fn the_time_is_that_of_this_hosts_zone(server: Server) {
        let ann = server.user("ann");
        let expected = podspawn::system::host::timezone().unwrap_or_default();
        assert_eq!(server.sh(&ann, "echo $TZ"), expected);
        let wanted = server.path("etc/users");
        std::fs::create_dir(&wanted).expect("mkdir");
        let ben = server.user("ben");
        std::fs::write(wanted.join(format!("{ben}.yaml")), "env:\n  TZ: Asia/Kolkata\n").expect("write");
        assert_eq!(server.sh(&ben, "echo $TZ; bash -c 'echo $TZ'"), "Asia/Kolkata\nAsia/Kolkata");
        let mut terminal = server.login(&ben, &[]);
        terminal.expect("$ ");
        terminal.line("echo zone-$TZ-").expect("zone-Asia/Kolkata-");
        terminal.line("exit");
        terminal.wait();
    }

    [docker; soak: podman, gvisor]
    fn a_login_has_the_search_path_that_commands_have(server: Server) {
        let wanted = server.path("etc/users");
        std::fs::create_dir(&wanted).expect("mkdir");
        let ann = server.user("ann");
        let path = "/opt/tools/bin:/usr/local/bin:/usr/bin:/bin";
        std::fs::write(wanted.join(format!("{ann}.yaml")), format!("env:\n  PATH: {path}\n")).expect("write");
        assert_eq!(server.sh(&ann, "echo $PATH"), path);
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        terminal.line("echo path-$PATH").expect(&format!("path-{path}"));
        terminal.line("exit");
        terminal.wait();
    }

    [docker, podman, gvisor]
    fn a_window_that_changes_its_size_is_noticed_inside(server: Server) {
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        terminal.line("bash -c 'trap \"stty size; exit\" WINCH; echo rea\"dy\"; sleep 1000 & wait'").expect("ready");
        terminal.resize(50, 132).expect("50 132");
        terminal.expect("$ ");
        terminal.line("vim -u NONE -c 'echo \"load\" . \"ed\"' -c 'autocmd VimResized * call writefile([&columns], \"/tmp/columns\") | quit'");
        terminal.expect("loaded");
        terminal.resize(40, 100).expect("$ ");
        terminal.line("cat /tmp/columns").expect("100");
        terminal.line("exit");
        terminal.wait();
    }

    [docker, podman]
    fn ctrl_c_reaches_what_runs_and_a_closed_window_ends_it(server: Server) {
        let ann = server.user("ann");
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        terminal.line("echo $$ >/tmp/shell; bash -c 'trap \"echo caught; exit\" INT; echo rea\"dy\"; read line'");
        terminal.expect("ready");
        terminal.send("\x03").expect("caught");
        terminal.expect("$ ");
        terminal.hang_up();
        let shell = server.sh(&ann, "cat /tmp/shell");
        let _ = server.sh(&ann, &format!("tail --pid={shell} -f /dev/null"));
    }

    [docker, podman; soak: gvisor]
    fn five_people_at_terminals_of_one_account_are_in_one_container(server: Server) {
        let ann = server.user("ann");
        let mut terminals: Vec<_> = (0..5).map(|_| server.login(&ann, &[])).collect();
        let mut seen = std::collections::BTreeSet::new();
        for (n, terminal) in terminals.iter_mut().enumerate() {
            terminal.expect("$ ");
            terminal.resize(30, 90 + n as u16).line("echo \"at \" $(tty) of $(cat /etc/hostname) \".\"").expect("at  ");
            let place = terminal.expect(" .");
            let (tty, container) = place.split_once(" of ").expect("a terminal of a container");
            seen.insert((container.to_owned(), tty.to_owned()));
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
        assert_eq!(seen.first().map(|one| &one.0), seen.last().map(|one| &one.0), "{seen:?}");
        assert_eq!(server.list()[0]["connections"], 5);
        terminals[0].line("echo for-all >/tmp/file");
        for (n, mut terminal) in terminals.into_iter().enumerate() {
            terminal.line("cat /tmp/file; stty size").expect("for-all");
            terminal.expect(&format!("30 {}", 90 + n));
            terminal.line(&format!("exit {n}"));
            assert_eq!(terminal.wait().0, n as i32);
        }
    }

    [docker, podman; soak: gvisor]
    fn five_connections_at_once_share_one_container(server: Server) {
        let ann = server.user("ann");
        let started: Vec<_> =
            (0..5).map(|_| server.ssh(&ann, &[], &["cat /etc/hostname"]).start()).collect();
        let outputs: std::collections::BTreeSet<String> = started
            .into_iter()
            .map(|running| running.wait(std::time::Duration::from_secs(60)).ok().out())
            .collect();
        assert_eq!(outputs.len(), 1, "{outputs:?}");
        assert_eq!(server.containers(&ann).len(), 1);
    }
}
