//! What a connection carries besides its channels, which ends in the container's network.

use std::time::Duration;

use crate::harness::engines::fact;
use crate::harness::greeter::Greeter;
use crate::harness::server::{LATE, Server, Wishes};

/// Listens on the loopback of a user's container, and answers every request with `inside`.
fn serve_inside(server: &Server, user: &str, port: u16) {
    let script = format!(
        "use IO::Socket::INET; use POSIX; \
         my $s = IO::Socket::INET->new(Listen => 5, LocalAddr => \"127.0.0.1\", LocalPort => {port}) or die; \
         exit if fork; setsid; close STDIN; close STDOUT; close STDERR; \
         while (my $c = $s->accept) {{ <$c>; print $c \"HTTP/1.0 200 OK\\r\\n\\r\\ninside\\n\"; close $c }}"
    );
    server.sh(user, &format!("perl -e '{script}'"));
}

/// A connection that has nothing but a master's socket; returns once sshd has opened its session, which is after the login.
fn connected(server: &Server, user: &str) -> String {
    let control = server.scratch().join("control").display().to_string();
    let _ = server.ssh(user, &["-f", "-N", "-M", "-S", &control], &[]).run().ok();
    // Nobody listens there: what counts is that sshd has tried.
    let run = server.ssh(user, &["-S", &control, "-W", "127.0.0.1:9"], &[]).run();
    assert!(run.status != 0 && run.out().is_empty(), "{}", run.out());
    control
}

on_engines! {
    [docker, podman, gvisor]
    fn what_listens_in_the_container_is_reached_by_its_users_forwarding(server: Server) {
        let ann = server.user("ann");
        serve_inside(&server, &ann, 8080);
        let through = server.ssh(&ann, &["-W", "127.0.0.1:8080"], &[]).stdin("GET / HTTP/1.0\r\n\r\n").run().ok();
        assert!(through.out().ends_with("inside\n"), "{}", through.out());

        let run = server.script(&format!(
            "$SSH -f -N -M -S control -L $PWD/local.sock:127.0.0.1:8080 -L $PWD/localhost.sock:localhost:8080 -D $PWD/socks.sock \
               -o ExitOnForwardFailure=yes {ann}@127.0.0.1
             trap '$SSH -S control -O exit {ann}@127.0.0.1' EXIT
             curl -sS --unix-socket local.sock http://x/
             curl -sS --unix-socket localhost.sock http://x/
             curl -sS --proxy socks5h://localhost$PWD/socks.sock http://127.0.0.1:8080/
             curl -sS --proxy socks5://localhost$PWD/socks.sock http://127.0.0.1:8080/"
        ));
        assert_eq!(run.run().ok().out(), "inside\n".repeat(4));
    }

    [docker, podman; soak: gvisor]
    fn what_else_is_in_the_containers_network_is_reached_by_address_and_by_name(engine: EngineName) {
        // As on hosts with a resolver of their own: it is not there for whoever is in another network.
        let server = Server::with(engine, &Wishes { resolver: Some("127.0.0.53"), ..Wishes::default() });
        let ann = server.user("ann");
        server.sh(&ann, "true");
        let label = format!("podspawn-user={ann}");
        let network = engine.labelled("network", &label).remove(0);
        let companion = "use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 5, LocalPort => 5432) or die; \
                         while (my $c = $s->accept) { print $c \"companion\\n\"; close $c }";
        let args = ["run", "--detach", "--network", &network, "--network-alias", "database", "--label", &label];
        let companion = engine.run(&[&args[..], &[fact("IMAGE_SUDO"), "perl", "-e", companion]].concat());
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        // A network that is named by its id is listed twice.
        let addresses = engine.run(&["inspect", "--format", format, &companion]);
        let address = addresses.split_whitespace().next().expect("an address");
        server.sh(&ann, "until bash -c '</dev/tcp/database/5432'; do sleep 0.1; done 2>/dev/null");
        for place in [address, "database"] {
            let through = server.ssh(&ann, &["-W", &format!("{place}:5432")], &[]).run().ok();
            assert_eq!(through.out(), "companion\n", "{place}");
        }
        let run = server.script(&format!(
            "$SSH -f -N -M -S control -D $PWD/socks.sock -o ExitOnForwardFailure=yes {ann}@127.0.0.1
             trap '$SSH -S control -O exit {ann}@127.0.0.1' EXIT
             curl -sS --http0.9 --proxy socks5h://localhost$PWD/socks.sock http://database:5432/"
        ));
        assert_eq!(run.run().ok().out(), "companion\n");
    }

    [docker, podman]
    fn what_a_client_lends_is_reached_from_inside_and_from_nowhere_else(server: Server) {
        let ann = server.user("ann");
        let own = Greeter::listen(0, "the client\n");
        let control = server.scratch().join("control").display().to_string();
        let _ = server.ssh(&ann, &["-f", "-N", "-M", "-S", &control], &[]).run().ok();
        let lend = format!("0:127.0.0.1:{}", own.port);
        let answer = server.ssh(&ann, &["-S", &control, "-O", "forward", "-R", &lend], &[]).run().ok().out();
        let port = answer.trim();
        assert_eq!(server.sh(&ann, &format!("bash -c 'cat </dev/tcp/127.0.0.1/{port}'")), "the client");
        assert!(std::net::TcpStream::connect(("127.0.0.1", port.parse::<u16>().expect("a port"))).is_err());
        let _ = server.ssh(&ann, &["-S", &control, "-O", "exit"], &[]).run().ok();
    }

    [docker; soak: podman]
    fn a_connection_that_only_forwards_keeps_its_session(engine: EngineName) {
        let server = Server::with(engine, &Wishes { grace: "2s", ..Wishes::default() });
        let ann = server.user("ann");
        serve_inside(&server, &ann, 8080);
        let control = server.scratch().join("control").display().to_string();
        let _ = server.ssh(&ann, &["-f", "-N", "-M", "-S", &control], &[]).run().ok();
        // Longer than the grace period: another session's end tells that it is over.
        let ben = server.user("ben");
        server.sh(&ben, "true");
        server.gone(&ben, 1, Duration::from_secs(2) + LATE);
        assert_eq!(server.list().iter().filter(|one| one["user"] == ann.as_str()).count(), 1);
        let through = server.ssh(&ann, &["-S", &control, "-W", "127.0.0.1:8080"], &[]).stdin("GET / HTTP/1.0\r\n\r\n");
        assert!(through.run().ok().out().ends_with("inside\n"));
        let _ = server.ssh(&ann, &["-S", &control, "-O", "exit"], &[]).run().ok();
        server.gone(&ann, 1, Duration::from_secs(2) + LATE);
    }

    [docker, podman]
    fn a_session_that_was_made_for_forwarding_alone_counts_nowhere_and_goes_without_grace(engine: EngineName) {
        let server = Server::with(engine, &Wishes { most: 1, ..Wishes::default() });
        let ann = server.user("ann");
        let forward = || {
            let control = connected(&server, &ann);
            assert_eq!(server.containers(&ann).len(), 1);
            control
        };
        let end = |control: &str| {
            let _ = server.ssh(&ann, &["-S", control, "-O", "exit"], &[]).run().ok();
        };
        let control = forward();
        assert!(server.list().is_empty(), "{:?}", server.list());
        let numbers = server.podspawn(&["status", "--prometheus"]).run().ok().out();
        assert!(numbers.contains("podspawn_sessions_total 0"), "{numbers}");
        // Long before the grace period of a minute is over.
        end(&control);
        server.gone(&ann, 1, LATE);

        // Whoever attaches to it makes a session of it, within the limit of one, and with its grace.
        let control = forward();
        let made = server.containers(&ann);
        assert_eq!(server.sh(&ann, "id -un"), ann);
        assert_eq!(server.containers(&ann), made);
        assert_eq!(server.list().len(), 1);
        end(&control);
        server.audited(&ann, "disconnect", 2, LATE);
        assert_eq!((server.containers(&ann), server.list().len()), (made, 1));
    }

    [docker, podman]
    fn forwarding_that_only_joins_makes_no_session(engine: EngineName) {
        let server = Server::with(engine, &Wishes { forwarding: "running", ..Wishes::default() });
        let ann = server.user("ann");
        let reach = || {
            let run = server.ssh(&ann, &["-W", "127.0.0.1:8080"], &[]).stdin("GET / HTTP/1.0\r\n\r\n").run();
            run.out().ends_with("inside\n")
        };
        assert!(!reach());
        assert_eq!(server.containers(&ann), Vec::<String>::new());
        // The connection that makes the session has no part in its network.
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("podspawn: port forwarding works for connections that begin while your container runs");
        terminal.expect("$ ");
        serve_inside(&server, &ann, 8080);
        assert!(reach());
        terminal.line("exit");
        terminal.wait();
        let mut terminal = server.login(&ann, &[]);
        terminal.expect("$ ");
        terminal.line("exit");
        let (_, screen) = terminal.wait();
        assert!(!screen.contains("port forwarding"), "{screen}");
    }

    [docker, podman]
    fn whose_container_is_not_ready_in_time_is_told_from_when_on_forwarding_works(server: Server) {
        let ann = server.user("ann");
        // The image has a name that only the engine's own tag gives it, once the connection is there.
        let (image, tag) = (fact("IMAGE_SUDO"), format!("localhost/podspawn-it-{ann}:1"));
        let config = std::fs::read_to_string(server.config_file()).expect("read");
        std::fs::write(server.config_file(), config.replace(&format!("image: {image}"), &format!("image: {tag}"))).expect("write");
        let control = connected(&server, &ann);
        assert_eq!(server.containers(&ann), Vec::<String>::new());
        server.engine.run(&["tag", image, &tag]);
        let screen = |before: &[&str]| {
            let mut terminal = server.login(&ann, before);
            terminal.expect("$ ");
            terminal.line("exit");
            terminal.wait().1
        };
        let screens = [screen(&["-S", &control]), screen(&[])];
        let run = server.ssh(&ann, &["-S", &control, "-W", "127.0.0.1:22"], &[]).run();
        let _ = server.ssh(&ann, &["-S", &control, "-O", "exit"], &[]).run().ok();
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        server.engine.run(&["rmi", &tag]);
        assert!(run.status != 0 && run.out().is_empty(), "{}", run.out());
        let later = "podspawn: port forwarding works from your next connection on";
        assert_eq!(screens.map(|screen| screen.matches(later).count()), [1, 0]);
    }

    [docker, podman; soak: gvisor]
    fn a_forwarded_agent_is_there_for_several_connections_at_once_and_for_later_ones(server: Server) {
        let ann = server.user("ann");
        let run = server.script(&format!(
            "ssh-keygen -lf $KEY.pub >expected; echo \"{ann} $(cat $KEY.pub)\" >signers
             export INSIDE='ssh-add -l && ssh-add -L >key && date +%N | tee text && ssh-keygen -Y sign -q -n test -f key <text'
             ssh-agent bash -c 'ssh-add -q $KEY
               for n in 1 2 3; do $SSH -A {ann}@127.0.0.1 \"mkdir $n; cd $n; $INSIDE\" >got-$n & done; wait
               $SSH -A {ann}@127.0.0.1 \"mkdir 4; cd 4; $INSIDE\" >got-4
               $SSH {ann}@127.0.0.1 \"ssh-add -l\" >none 2>&1 || echo without: $?'
             for n in 1 2 3 4; do
               head -n 1 got-$n | cmp expected; tail -n +3 got-$n >signature
               sed -n 2p got-$n | ssh-keygen -Y verify -q -n test -f signers -I {ann} -s signature
             done; cat none"
        ));
        let out = run.run().ok().out();
        assert!(out.starts_with("without: 2\n") && out.contains("authentication agent"), "{out}");
    }
    [docker; soak: podman]
    fn git_inside_uses_the_persons_keys_on_a_server_that_they_lend(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        server.sh(&ben, "git init -q -b main repo; cd repo; git -c user.name=Ben -c user.email=b@example.com commit -q --allow-empty -m of-ben");
        let inside = format!(
            "set -e; export GIT_SSH_COMMAND='ssh -p '$1' -o BatchMode=yes -o StrictHostKeyChecking=no -o LogLevel=ERROR'
             git clone -q {ben}@127.0.0.1:repo copy-$1; git -C copy-$1 log --format=%s"
        );
        // Two connections at once, and one after both are over: each has its own agent and port.
        let run = server.script(&format!(
            "inside() {{ $SSH -A -R $1:127.0.0.1:{} -o ExitOnForwardFailure=yes {ann}@127.0.0.1 bash -s $1 <<<\"$INSIDE\"; }}
             work() {{ ssh-add -q $KEY; inside 2201 & first=$!; inside 2202 & second=$!; wait $first; wait $second; inside 2203; }}
             export -f inside work; ssh-agent bash -euc work",
            server.port()
        ));
        assert_eq!(run.var("INSIDE", inside).run().ok().out(), "of-ben\n".repeat(3));
        assert_eq!(server.list().len(), 2);
    }
}
