//! `sudo` under no-new-privileges.

use std::time::Duration;

use super::{answer, create, create_from, inside, shell};
use crate::harness::engines::{EngineName, fact};

on_engines! {
    [docker, podman, gvisor; soak: docker26]
    fn what_people_and_scripts_use_works(env: Env) {
        create(&env);
        let shown = |script: &str| inside(&env, script).ok().out();
        if env.engine != Some(EngineName::Gvisor) {
            // Its `/proc` has no such line.
            assert_eq!(shown("grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t1\n");
        }
        assert_eq!(shown("sudo -n true && /usr/bin/sudo id -u"), "0\n");
        assert_eq!(shown("sudo -u nobody id -un"), "nobody\n");
        assert_eq!(shown("echo x | sudo tee /etc/f && cat /etc/f && find /etc/f -printf %u\\\\n"), "x\nx\nroot\n");
        let _ = inside(&env, "sudo sh -c 'exit 42'").status(42);
        let _ = inside(&env, "sudo sh -c 'kill -TERM $$'").status(128 + 15);
        assert_eq!(shown("cd /tmp && sudo pwd && sudo -i pwd && sudo -D /var pwd"), "/tmp\n/root\n/var\n");
        let name = &env.user;
        let expected = format!("{name} 1000 1000 root /root unset set\n");
        let script = "KEPT=1 sudo sh -c 'echo $SUDO_USER $SUDO_UID $SUDO_GID $USER $HOME ${KEPT-unset}' | tr '\\n' ' '
                      KEPT=set sudo -E sh -c 'echo $KEPT'";
        assert_eq!(shown(script), expected);
        assert_eq!(shown("sudo A=1 sh -c 'echo $A'; sudo -s echo 'a  b'; sudo -- echo -n x"), "1\na  b\nx");
        let _ = inside(&env, "sudo -v && sudo -k && sudo -K && sudo -l && sudo -l id").ok();
    }

    [docker, podman; soak: gvisor]
    fn what_cannot_be_done_says_so(env: Env) {
        create(&env);
        for (command, text) in [
            ("sudo -e /etc/f", "sudo: option `-e` is not supported here\n"),
            ("sudo no-such-program", "sudo: no-such-program: command not found\n"),
            ("sudo -u no-such-user id", "sudo: unknown user `no-such-user`\n"),
            ("sudo", "sudo: no command given\n"),
            ("sudo -u nobody sudo id", "sudo: only the user of this machine may use it\n"),
        ] {
            let run = inside(&env, command).status(1);
            assert!(run.stderr.starts_with(text) && run.stdout.is_empty(), "{command}: {}", run.stderr);
        }
    }

    [docker, podman; soak: gvisor]
    fn silent_and_garbled_callers_do_not_keep_others_out(env: Env) {
        create(&env);
        // Bash has no unix sockets; `sudo` itself stopped in mid-call has, and many of them at once. In a sandboxed kernel
        // each takes seconds.
        let many = if env.engine == Some(EngineName::Gvisor) { 8 } else { 40 };
        let script = format!(
            "for i in $(seq {many}); do sudo sleep 1000 & done
             sudo id -u
             kill $(jobs -p) && wait
             sudo id -u"
        );
        let run = env.podspawn(["exec", "m", "--", "bash", "-c", &script]).run();
        assert_eq!(run.out(), "0\n0\n", "{}", run.stderr);
        let left = inside(&env, "pgrep -x sleep").status(1);
        assert_eq!(left.out(), "");
    }

    [docker, podman]
    fn jobs_of_root_are_controlled_from_the_keyboard(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        terminal.line("sudo sh -c 'echo run''ning; exec sleep 1000'");
        terminal.expect("running");
        terminal.send("\x03");
        terminal.expect("P$ ");
        assert_eq!(answer(&mut terminal, "echo $?").trim(), "130");

        terminal.line("sudo sh -c 'echo run''ning; exec cat'");
        terminal.expect("running");
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect("P$ ");
        terminal.line("fg");
        terminal.expect("sudo sh");
        terminal.line("typed");
        terminal.expect("typed");
        terminal.send("\x04");
        terminal.expect("P$ ");
        assert_eq!(answer(&mut terminal, "echo $?").trim(), "0");
    }

    [docker; soak: podman]
    fn a_root_shell_has_jobs_of_its_own(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        terminal.line("sudo -s");
        terminal.expect("# ");
        terminal.line("PS1='R''# '");
        terminal.expect("R# ");
        terminal.line("id -u; sh -c 'echo run''ning; exec sleep 1000'");
        terminal.expect("running");
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect("R# ");
        terminal.line("bg; jobs");
        terminal.expect("Running");
        terminal.expect("R# ");
        terminal.line("fg");
        terminal.expect("sleep 1000");
        terminal.send("\x03");
        terminal.expect("R# ");
        terminal.line("suspend");
        terminal.expect("Stopped");
        terminal.expect("P$ ");
        terminal.line("fg");
        terminal.expect("sudo -s");
        terminal.line("");
        terminal.expect("R# ");
        terminal.resize(33, 101);
        terminal.line("until [ \"$(stty size)\" = '33 101' ]; do :; done; exit 7");
        terminal.expect("P$ ");
        assert_eq!(answer(&mut terminal, "echo $?").trim(), "7");
    }

    [docker; soak: podman]
    fn in_pipelines_the_terminal_goes_to_who_wants_it(env: Env) {
        create(&env);
        let mut terminal = shell(&env);
        terminal.line("sudo sh -c 'seq 1000; echo the-e''nd' | less");
        terminal.expect("1\r\n2\r\n");
        terminal.send("G");
        terminal.expect("the-end");
        terminal.send("q");
        terminal.expect("P$ ");
        terminal.line("echo piped | sudo sh -c 'cat; read x < /dev/tty; echo got-$x'");
        terminal.expect("piped");
        terminal.line("key");
        terminal.expect("got-key");
        terminal.expect("P$ ");
        terminal.line("x=$(sudo sh -c 'read x; echo value-$x')");
        terminal.line("typed");
        terminal.expect("P$ ");
        assert_eq!(answer(&mut terminal, "echo $x").trim(), "value-typed");
        let settings = answer(&mut terminal, "stty -g; sudo true; stty -g");
        let lines: Vec<&str> = settings.split_whitespace().collect();
        assert_eq!(lines[0], lines[1]);
    }

    [docker; soak: podman]
    fn packages_are_installed(env: Env) {
        create(&env);
        let script = "sudo apt-get update && sudo apt-get install -y file && file /bin/sh";
        let run = env.podspawn(["exec", "m", "--", "sh", "-c", script]).limit(Duration::from_secs(300)).run().ok();
        assert!(run.out().ends_with("/bin/sh: symbolic link to dash\n"), "{}", run.out());
        // The real one is installed beside ours, which stays in force.
        let script = "sudo apt-get install -y sudo && readlink /usr/bin/sudo && /usr/bin/sudo id -u";
        let run = env.podspawn(["exec", "m", "--", "sh", "-c", script]).limit(Duration::from_secs(300)).run().ok();
        assert!(run.out().ends_with("/.podspawn/guest\n0\n"), "{}", run.out());
    }

    [docker, podman]
    fn a_real_one_steps_aside_and_serves_where_it_can(env: Env) {
        create_from(&env, fact("IMAGE_SUDO"));
        assert_eq!(inside(&env, "/usr/bin/sudo -n id -u; readlink /usr/bin/sudo").ok().out(), "0\n/.podspawn/guest\n");
        let _ = env.podspawn(["rm", "--force", "m"]).run().ok();
        env.write_config(&format!("local:\n  image: {}\nsecurity:\n  no_new_privileges: false\n", env.image));
        create_from(&env, fact("IMAGE_SUDO"));
        assert_eq!(inside(&env, "sudo -n id -u; test -L /usr/bin/sudo || sudo -V | head -c 12").ok().out(), "0\nSudo version");
    }
}
