//! Images of all kinds made ready, agents, and the end of a container.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use podspawn_wire::{Exit, FailureKind, FromGuest, PROTOCOL, Program, RunAs, Start, ToGuest, X11};

use crate::client::{Session, Way, on_terminal, sh, start, ways};
use crate::support::{ALL, Engine, GuestProgram, Machine, Plan};

#[test]
fn the_user_is_in_place_in_every_image() {
    for image in ["IMAGE_DEBIAN", "IMAGE_BUSYBOX", "IMAGE_UID1000", "IMAGE_SUDO"] {
        for engine in [Engine::Docker, Engine::Podman] {
            let machine = Plan::new(engine, image).start();
            assert_eq!(
                machine.sh("id"),
                "uid=1000(sarah) gid=1000(sarah) groups=1000(sarah)",
                "{image} {engine:?}"
            );
            assert_eq!(
                machine.sh("stat -c '%u %g %a' /home/sarah /workspace"),
                "1000 1000 755\n1000 1000 755"
            );
            assert_eq!(machine.sh("touch ~/a /workspace/b /tmp/c && echo yes"), "yes");
            assert_eq!(machine.root("stat -c '%u %a' /etc/sudoers.d/sarah"), "0 440");
            assert_eq!(machine.root("cat /etc/sudoers.d/sarah"), "sarah ALL=(root) NOPASSWD:ALL");
            assert_eq!(machine.root("stat -c '%a' /run/podspawn /run/podspawn/guest.sock"), "700\n600");
            let shell = if image == "IMAGE_BUSYBOX" { "/bin/sh" } else { "/bin/bash" };
            assert_eq!(
                machine.sh("echo $SHELL; grep ^sarah: /etc/passwd"),
                format!("{shell}\nsarah:x:1000:1000::/home/sarah:{shell}")
            );
            if image != "IMAGE_BUSYBOX" {
                assert_eq!(machine.sh("stat -c %U ~/.bashrc"), "sarah");
            }
            if image == "IMAGE_UID1000" {
                assert_eq!(
                    machine.sh("grep -c resident /etc/passwd /etc/group || true"),
                    "/etc/passwd:0\n/etc/group:0"
                );
            }
            // Stopped and started again, everything is as it was.
            let before = machine.root("cat /etc/passwd /etc/group");
            assert!(machine.engine.cli(&["restart", "-t", "10", &machine.name]).status.success());
            assert_eq!(machine.root("cat /etc/passwd /etc/group"), before);
            assert_eq!(machine.sh("ls ~/a"), "/home/sarah/a");
        }
    }
}

#[test]
fn sudo_answers_under_no_new_privileges() {
    for engine in ALL {
        let machine = Plan::new(engine, "IMAGE_DEBIAN").start();
        assert_eq!(machine.sh("sudo -n true && /usr/bin/sudo id -u"), "0", "{engine:?}");
        assert_eq!(machine.run(ways(engine)[0], sh("sudo sh -c 'exit 42'")).exit, Exit::Code(42));
    }
}

#[test]
fn a_read_only_root_with_prepared_files_is_enough() {
    let folder = std::env::temp_dir().join(format!("podspawn-guest-accounts-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let plan = Plan::new(Engine::Docker, "IMAGE_DEBIAN");
    let files = podspawn_guest::accounts::Files {
        passwd: b"root:x:0:0:root:/root:/bin/bash\n".to_vec(),
        group: b"root:x:0:\ntty:x:5:\n".to_vec(),
        shadow: None,
    };
    let files = podspawn_guest::accounts::provision(&files, &plan.config.user).unwrap();
    std::fs::write(folder.join("passwd"), files.passwd).unwrap();
    std::fs::write(folder.join("group"), files.group).unwrap();
    let mut plan = plan.option("--read-only").option("--tmpfs=/tmp:exec").option("--tmpfs=/home/sarah:exec");
    plan = plan.option("--tmpfs=/workspace:exec");
    for name in ["passwd", "group"] {
        plan = plan.option(&format!("-v={}:/etc/{name}:ro", folder.join(name).display()));
    }
    plan.config.readonly_rootfs = true;
    let machine = plan.start();
    assert_eq!(
        machine.sh("id -un; touch ~/a /workspace/b && echo made; touch /c || echo kept"),
        "sarah\nmade\nkept"
    );
    drop(machine);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_account_that_would_be_root_is_refused_with_a_reason() {
    let mut plan = Plan::new(Engine::Docker, "IMAGE_DEBIAN");
    plan.config.user.name = "root".into();
    let machine = plan.start();
    let mut session = Session::connect(&machine, Way::Direct);
    session.send(ToGuest::Hello { protocol: PROTOCOL });
    let failure = session.failed();
    assert_eq!(failure.kind, FailureKind::Provision);
    assert!(failure.text.contains("`root`"), "{}", failure.text);
}

#[test]
fn an_agent_socket_lasts_as_long_as_its_connection() {
    for engine in [Engine::Docker, Engine::Podman] {
        let machine = Plan::new(engine, "IMAGE_DEBIAN").start();
        let mut session = Session::open(&machine, Way::Direct);
        let script = "stat -c '%U %a' $(dirname $SSH_AUTH_SOCK); echo $SSH_AUTH_SOCK; read end";
        session.start(Start { agent: true, ..sh(script) });
        session.started();
        session.expect("sarah 700\n");
        session.expect("agent.sock\n");
        let path = "/run/podspawn-user/agent-0/agent.sock";
        // A client inside: the test reaches the same socket through the container's root.
        let outside = format!("/proc/{}/root{path}", machine.pid());
        let mut clients: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&outside).unwrap()).collect();
        // Sixteen are asked for, and not one more until one of them has gone.
        session.pull_until(|session| session.controls.len() == 16);
        assert!(
            session
                .controls
                .iter()
                .enumerate()
                .all(|(number, message)| { *message == FromGuest::AgentWanted { id: number as u32 } })
        );
        let mut ends = Vec::new();
        for id in 0..16 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            session.send_with(ToGuest::AgentOpened { id }, vec![theirs.into()]);
            ends.push(ours);
        }
        for (number, (client, agent)) in clients.iter_mut().zip(&mut ends).enumerate() {
            let (question, answer) = (format!("sign {number}"), format!("signed {number}"));
            let mut heard = vec![0; question.len()];
            client.write_all(question.as_bytes()).unwrap();
            agent.read_exact(&mut heard).unwrap();
            assert_eq!(heard, question.as_bytes());
            let mut heard = vec![0; answer.len()];
            agent.write_all(answer.as_bytes()).unwrap();
            client.read_exact(&mut heard).unwrap();
            assert_eq!(heard, answer.as_bytes());
        }
        // One goes, the next is asked for; refused, its client sees the end.
        session.controls.clear();
        drop(clients.remove(0));
        let mut end = Vec::new();
        ends.remove(0).read_to_end(&mut end).unwrap();
        session.pull_until(|session| !session.controls.is_empty());
        assert_eq!(session.controls, [FromGuest::AgentWanted { id: 16 }]);
        session.send(ToGuest::AgentRefused { id: 16 });
        clients[15].read_to_end(&mut end).unwrap();
        assert!(end.is_empty());
        session.end_input();
        assert_eq!(session.finish_started(), Exit::Code(1));
        assert_eq!(machine.root("ls /run/podspawn-user"), "profile\nsudo.sock");
    }
}

fn display(display: &str) -> Option<X11> {
    let protocol = "MIT-MAGIC-COOKIE-1".into();
    Some(X11 { display: display.into(), protocol, cookie: (0..16).collect() })
}

#[test]
fn a_display_and_its_cookie_last_as_long_as_their_connection() {
    crate::everywhere(|machine, way| {
        let mut session = Session::open(machine, way);
        let script = "echo $DISPLAY; find $(dirname $XAUTHORITY) $XAUTHORITY -maxdepth 0 -printf '%u %m\\n'; \
            od -An -v -tx1 $XAUTHORITY | tr -d ' \n'; echo; hostname; echo told; read end";
        session.start(Start { x11: display("localhost:10.0"), ..sh(script) });
        session.started();
        let out = session.expect("told\n");
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..3], ["localhost:10.0", "sarah 700", "sarah 600"]);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let sized = |text: &str| format!("{:04x}{}", text.len(), hex(text.as_bytes()));
        let tail =
            format!("{}{}0010000102030405060708090a0b0c0d0e0f", sized("10"), sized("MIT-MAGIC-COOKIE-1"));
        assert_eq!(lines[3], format!("0100{}{tail}ffff0000{tail}", sized(lines[4])));
        // Another connection of the same user's has none, and nobody else can read it.
        let other = machine.run(way, sh("echo \"$DISPLAY$XAUTHORITY.\"; ls /run/podspawn-user/"));
        assert_eq!(other.out, ".\n", "{}", other.err);
        session.end_input();
        assert_eq!(session.finish_started(), Exit::Code(1));
        assert_eq!(
            machine.root("find /run/podspawn-user -mindepth 1 -printf '%f\\n' | sort"),
            "profile\nsudo.sock"
        );
        // Gone as well where the client goes first.
        let mut session = Session::open(machine, way);
        session.start(Start { x11: display("127.0.0.1:11.0"), ..sh("echo up; read end") });
        session.started();
        session.expect("up");
        session.vanish();
        machine.root(
            "for i in $(seq 300); do find /run/podspawn-user | grep -q x11 || exit 0; sleep 0.1; done; exit 1",
        );
    });
}

#[test]
fn a_display_elsewhere_is_refused() {
    let machine = Plan::new(Engine::Docker, "IMAGE_BUSYBOX").start();
    for elsewhere in ["unix:10", "host:10.0", "localhost:99999"] {
        let mut session = Session::open(&machine, Way::Direct);
        session.start(Start { x11: display(elsewhere), ..sh("true") });
        let failure = session.failed();
        assert_eq!(failure.kind, FailureKind::Request);
        assert!(failure.text.contains("display"), "{}", failure.text);
    }
    assert_eq!(machine.root("ls /run/podspawn-user"), "profile\nsudo.sock");
}

#[test]
fn a_container_ends_in_order_and_in_bounded_time() {
    for engine in ALL {
        for way in ways(engine) {
            let machine = Plan::new(engine, "IMAGE_DEBIAN").start();
            let mut polite = Session::open(&machine, *way);
            polite.start(sh("trap 'echo bye; exit 6' TERM; echo up; while :; do sleep 0.1; done"));
            polite.started();
            polite.expect("up");
            let mut stubborn = Session::open(&machine, *way);
            stubborn.start(sh("trap '' TERM HUP; echo up; while :; do sleep 0.1; done"));
            stubborn.started();
            stubborn.expect("up");
            let begun = Instant::now();
            let stopping = machine.engine.command(&["stop", "-t", "30", &machine.name]).spawn().unwrap();
            let (polite, stubborn) = (polite.finish_started(), stubborn.finish_started());
            assert!(stopping.wait_with_output().unwrap().status.success());
            // The hang-up comes before the request to end.
            assert!(matches!(polite, Exit::Code(6) | Exit::Signal(1)), "{polite:?}");
            assert_eq!(stubborn, Exit::Signal(9));
            assert!(begun.elapsed() < Duration::from_secs(20), "{engine:?} {way:?} {:?}", begun.elapsed());
        }
    }
}

#[test]
fn the_guest_runs_nowhere_but_in_a_container() {
    let output =
        std::process::Command::new(GuestProgram::shared().path()).args(["init", "{}"]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("must not be run elsewhere"), "{text}");
}

#[test]
fn a_configuration_that_does_not_parse_is_one_line_in_the_log() {
    let machine: Machine = Plan::new(Engine::Docker, "IMAGE_DEBIAN").start_with("{\"protocol\":1}");
    machine.engine.cli(&["wait", &machine.name]);
    let log = machine.log();
    assert!(log.starts_with("podspawn-guest: cannot read the configuration"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn the_limit_on_processes_holds_for_the_user_and_for_root() {
    let mut plan = Plan::new(Engine::Gvisor, "IMAGE_DEBIAN").option("--pids-limit=4096");
    plan.config.nproc_limit = Some(20);
    let machine = plan.start();
    let fork = "my @made; for (1..60) { my $pid = fork; last if !defined $pid; if (!$pid) { sleep 60; exit } push @made, $pid } \
                print scalar @made; kill 9, @made";
    for run_as in [RunAs::User, RunAs::Root] {
        let program = Program::Argv(["perl", "-e", fork].map(Into::into).into());
        let ran = machine.run(Way::Engine, Start { run_as, ..start(program) });
        let made: u32 = ran.out.trim().parse().unwrap();
        assert!((1..=20).contains(&made), "{run_as:?}: {ran:?}");
    }
    let ran = machine.run(Way::Engine, sh(&format!("sudo perl -e '{fork}'")));
    let made: u32 = ran.out.trim().parse().unwrap();
    assert!((1..=20).contains(&made), "{ran:?}");
}

#[test]
fn login_shells_have_the_sessions_search_path_and_keep_what_profiles_add() {
    for engine in [Engine::Docker, Engine::Gvisor] {
        for shell in ["/bin/bash", "/bin/sh"] {
            let mut plan = Plan::new(engine, "IMAGE_DEBIAN");
            plan.config.user.shell = shell.into();
            plan.config.env.push(("PATH".into(), "/opt/it's mine/bin:/usr/bin:/bin".into()));
            let machine = plan.start();
            let way = ways(engine)[0];
            let mut session = Session::open(&machine, way);
            session.start(on_terminal(Program::Shell { login: true }, 24, 200));
            session.started();
            session.write(b"printf 'PATH is %s\\n' \"$PATH\"; exit\r");
            let path = "/opt/it's mine/bin:/usr/bin:/bin:/usr/local/bin:/usr/local/games:/usr/games";
            session.expect(&format!("PATH is {path}\r\n"));
            session.finish_started();
            // A login shell within the session, and one of root's, which keeps root's path.
            assert_eq!(machine.run(way, sh("bash -lc 'echo $PATH'")).out.trim(), path);
            let root = machine.run(way, sh("sudo -i sh -c 'echo $PATH'"));
            assert!(root.out.starts_with("/usr/local/sbin:"), "{root:?}");
        }
    }
}

#[test]
fn a_file_of_the_image_is_not_replaced_by_the_search_path() {
    let folder = std::env::temp_dir().join(format!("podspawn-guest-profile-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("00-podspawn.sh"), "PATH=/image:$PATH\n").unwrap();
    let mount = format!("-v={}:/etc/profile.d", folder.display());
    let machine = Plan::new(Engine::Docker, "IMAGE_DEBIAN").option(&mount).start();
    assert!(machine.sh("bash -lc 'echo $PATH'").starts_with("/image:"));
    assert_eq!(machine.sh("cat /etc/profile.d/*"), "PATH=/image:$PATH");
    drop(machine);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_account_of_the_image_with_another_id_has_its_home_back() {
    let folder = std::env::temp_dir().join(format!("podspawn-guest-home-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(1000), Some(1000)).unwrap();
    let mut plan = Plan::new(Engine::Docker, "IMAGE_UID1000");
    plan.config.user.name = "resident".into();
    plan.config.user.home = "/home/resident".into();
    (plan.config.user.uid, plan.config.user.gid) = (1234, 1234);
    let machine = plan.option(&format!("-v={}:/home/resident/host", folder.display())).start();
    assert_eq!(
        machine.sh("id -u; touch ~/new ~/.profile && stat -c '%u %g' ~ ~/.profile"),
        "1234\n1234 1234\n1234 1234"
    );
    assert_eq!(machine.sh("stat -c %u ~/host"), "1000", "what is mounted there is somebody else's");
    drop(machine);
    std::fs::remove_dir_all(folder).unwrap();
}
