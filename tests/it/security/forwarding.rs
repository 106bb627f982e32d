//! Forwarding that tries to end on the host.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use podspawn::server::pam;

use crate::harness::engines::fact;
use crate::harness::greeter::Greeter;
use crate::harness::system::run;
use crate::harness::{EngineName, Server};

const HOST: &str = "this is the host\n";

/// This host's addresses that are there for as long as it runs.
fn host_addresses() -> Vec<String> {
    let text = run(Command::new("ip").args(["-4", "-o", "addr", "show", "scope", "global"]));
    let lasting = |line: &&str| line.contains(" eth") || line.contains(" en") || line.contains(" docker0");
    let address = |line: &str| Some(line.split_whitespace().nth(3)?.split('/').next()?.to_owned());
    let found: Vec<String> = text.lines().filter(lasting).filter_map(address).collect();
    assert!(!found.is_empty(), "this host has no address:\n{text}");
    found
}

/// What the forwarding of a user's connection brings from each place: by `-W`, and through a SOCKS port.
fn brought(server: &Server, user: &str, places: &[String]) -> String {
    let direct = |place: &String| {
        format!("timeout 6 $SSH -W {place} {user}@127.0.0.1 </dev/null >>answers 2>/dev/null &")
    };
    let socks = |place: &String| {
        format!(
            "curl -s -m 6 --http0.9 --proxy socks5h://localhost$PWD/socks http://{place}/ >>answers 2>/dev/null &"
        )
    };
    let all: Vec<String> = places.iter().flat_map(|place| [direct(place), socks(place)]).collect();
    let script = format!(
        "rm -f answers socks; touch answers; $SSH -f -N -M -S control -D $PWD/socks {user}@127.0.0.1
         {}
         wait; $SSH -S control -O exit {user}@127.0.0.1 2>/dev/null; cat answers",
        all.join("\n")
    );
    server.script(&script).run().ok().out()
}

/// A login works, and nothing that the user forwards reaches the host, where it does for somebody else.
#[track_caller]
fn login_alone(server: &Server, ann: &str, olaf: &str, places: &[String]) {
    assert_eq!(brought(server, olaf, places).matches(HOST).count(), 2 * places.len());
    assert_eq!(brought(server, ann, places), "");
    assert_eq!(server.sh(ann, "id -un"), ann);
}

/// What a person is told when they come.
fn told(server: &Server, user: &str) -> String {
    let mut terminal = server.login(user, &[]);
    terminal.expect("$ ");
    terminal.line("exit");
    terminal.wait().1
}

on_engines! {
    [docker, podman]
    fn what_sshd_has_not_loaded_forwards_nothing_whatever_its_configuration_says(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let host = Greeter::listen_at("127.0.0.1", 0, HOST);
        let places = [format!("127.0.0.1:{}", host.port)];
        let replace = |from: &str, to: &str| {
            let text = fs::read_to_string(server.sshd_config()).expect("read");
            fs::write(server.sshd_config(), text.replace(from, to)).expect("write");
        };
        // After the set-up an administrator stops using PAM; the lines for container users allow forwarding as before.
        replace("UsePAM yes", "UsePAM no");
        server.reload_sshd();
        login_alone(&server, &ann, &olaf, &places);
        let off = "podspawn: port forwarding is off on this connection: this host's PAM module is not in use";
        let screen = told(&server, &ann);
        assert_eq!(screen.matches(off).count(), 1, "{screen}");
        // What the file says now sshd has not read.
        replace("UsePAM no", "UsePAM yes");
        login_alone(&server, &ann, &olaf, &places);
        server.reload_sshd();
        let screen = told(&server, &ann);
        assert!(!screen.contains("port forwarding"), "{screen}");

        // sshd takes another service than the one that was wired, as by `PAMServiceName`.
        let other = server.service.with_extension("other");
        fs::copy(&server.service, &other).expect("copy");
        pam::record_service_file(&server.path("etc"), &other).expect("record");
        let _ = pam::unwire(&server.service).expect("unwire");
        let (alone, screen) = (
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| login_alone(&server, &ann, &olaf, &places))),
            told(&server, &ann),
        );
        fs::remove_file(&other).expect("remove");
        alone.expect("nothing is forwarded");
        assert_eq!(screen.matches(off).count(), 1, "{screen}");
    }

    [docker; soak: podman]
    fn a_module_that_cannot_be_used_forwards_nothing_and_keeps_nobody_out(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let host = Greeter::listen_at("127.0.0.1", 0, HOST);
        let places = [format!("127.0.0.1:{}", host.port)];
        let module = server.path("lib/pam_podspawn.so");
        let whole = fs::read(&module).expect("read");
        // Another machine's, by the number in the head of the file.
        let mut foreign = whole.clone();
        foreign[18] = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
        // Whatever it is, it is a new file: the old one may be loaded.
        let put = |content: Option<&[u8]>, mode: u32| {
            let _ = fs::remove_file(&module);
            if let Some(content) = content {
                fs::write(&module, content).expect("write");
                fs::set_permissions(&module, fs::Permissions::from_mode(mode)).expect("chmod");
            }
        };
        let cases: [(Option<&[u8]>, u32, &str); 5] = [
            (None, 0, "its PAM module is missing"),
            (Some(&whole[..whole.len() / 2]), 0o644, "its PAM module is of another version of podspawn"),
            (Some(&foreign), 0o644, "its PAM module is of another version of podspawn"),
            (Some(&[&whole[..], b"\n"].concat()), 0o644, "its PAM module is of another version of podspawn"),
            (Some(&whole), 0o000, "its PAM module cannot be used"),
        ];
        for (content, mode, why) in cases {
            put(content, mode);
            login_alone(&server, &ann, &olaf, &places);
            let (line, screen) = (format!("podspawn: port forwarding is off on this host: {why}"), told(&server, &ann));
            assert_eq!(screen.matches(&line).count(), 1, "{line}\n{screen}");
        }
        put(Some(&whole), 0o644);
        let screen = told(&server, &ann);
        assert!(!screen.contains("port forwarding"), "{screen}");
        // A broker that does not start where it is needed: the service names a program that is not there.
        let wired = fs::read_to_string(&server.service).expect("read");
        let program = format!("broker={}", server.program().display());
        assert!(wired.contains(&program), "{wired}");
        fs::write(&server.service, wired.replace(&program, "broker=/nonexistent")).expect("write");
        server.end_brokers(rustix::process::Signal::TERM);
        let _ = fs::remove_file(server.socket());
        assert_eq!(brought(&server, &ann, &places), "");
        fs::write(&server.service, wired).expect("write");
        assert_eq!(server.sh(&ann, "id -un"), ann);
    }

    [docker, podman, gvisor]
    fn no_forwarding_reaches_what_listens_on_the_host(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let host = Greeter::listen_at("0.0.0.0", 0, HOST);
        let mut addresses: Vec<String> = ["127.0.0.1", "localhost", "127.8.8.8", "0.0.0.0"].map(String::from).into();
        if server.engine != EngineName::Podman {
            // A rootless engine's network is a process of this host: there a rule of the administrator's is needed.
            addresses.extend(host_addresses());
            server.sh(&ann, "true");
            let format = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}";
            addresses.push(server.engine.run(&["inspect", "--format", format, &server.containers(&ann)[0]]));
        }
        let places: Vec<String> = addresses.iter().map(|address| format!("{address}:{}", host.port)).collect();
        // For somebody else each of them is there, twice.
        assert_eq!(brought(&server, &olaf, &places).matches(HOST).count(), 2 * places.len());
        assert_eq!(brought(&server, &ann, &places), "");
        // Nor is it reached from inside.
        let tries = addresses.iter().map(|address| {
            format!("timeout 4 bash -c 'cat </dev/tcp/{address}/{}' 2>/dev/null & ", host.port)
        });
        assert_eq!(server.sh(&ann, &format!("{}wait", tries.collect::<String>())), "");
    }

    [docker; soak: gvisor]
    fn no_forwarding_reaches_another_users_container(server: Server) {
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        let listen = "use IO::Socket::INET; use POSIX; \
            my $s = IO::Socket::INET->new(Listen => 5, LocalPort => 8080) or die; \
            exit if fork; setsid; close STDIN; close STDOUT; close STDERR; \
            while (my $c = $s->accept) { print $c \"this is ben\\n\"; close $c }";
        server.sh(&ben, &format!("perl -e '{listen}'"));
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = server.engine.run(&["inspect", "--format", format, &server.containers(&ben)[0]]);
        let place = [format!("{address}:8080")];
        assert_eq!(brought(&server, &ben, &place), "this is ben\n".repeat(2));
        assert_eq!(brought(&server, &ann, &place), "");
        let script = format!("timeout 4 bash -c 'cat </dev/tcp/{address}/8080' 2>/dev/null; true");
        assert_eq!(server.sh(&ann, &script), "");
    }

    [docker, podman]
    fn no_unix_socket_of_the_host_is_reached_or_made(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let place = server.path("homes/socket");
        let listener = UnixListener::bind(&place).expect("bind");
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777)).expect("chmod");
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let _ = client.and_then(|mut client| client.write_all(HOST.as_bytes()));
            }
        });
        let reach = |user: &str, place: &str| {
            let script = format!(
                "rm -f here; $SSH -f -N -M -S control -L $PWD/here:{place} {user}@127.0.0.1
                 curl -s -m 6 --http0.9 --unix-socket here http://x/ || true
                 $SSH -S control -O exit {user}@127.0.0.1 2>/dev/null"
            );
            server.script(&script).run().ok().out()
        };
        let place = place.display().to_string();
        assert_eq!(reach(&olaf, &place), HOST);
        assert_eq!(reach(&ann, &place), "");
        assert_eq!(reach(&ann, server.engine.socket()), "");

        let make = |user: &str| {
            let place = server.scratch().join(format!("made-by-{user}"));
            let _ = std::fs::set_permissions(server.scratch(), std::fs::Permissions::from_mode(0o777));
            let lend = format!("{}:127.0.0.1:9", place.display());
            let options = ["-o", "ExitOnForwardFailure=yes", "-R", &lend];
            let run = server.ssh(user, &options, &["true"]).run();
            (run.status == 0, place.exists())
        };
        assert_eq!(make(&olaf), (true, true));
        assert_eq!(make(&ann), (false, false));
    }

    [docker, podman]
    fn no_tunnel_is_made(server: Server) {
        let (ann, olaf) = (server.user("ann"), server.ordinary("olaf"));
        let rejected = |user: &str| {
            let options = ["-v", "-o", "ExitOnForwardFailure=yes", "-w", "any:any", "-N"];
            // An ordinary user may, but has not the rights to make the device.
            let run = server.ssh(user, &options, &[]).run().status(255);
            run.stderr.contains("Server has rejected tunnel device forwarding")
        };
        assert!(!rejected(&olaf));
        assert!(rejected(&ann));
    }

    [podman]
    fn with_the_documented_rule_a_rootless_container_does_not_reach_this_host(server: Server) {
        let ann = server.user("ann");
        let host = Greeter::listen_at("0.0.0.0", 0, HOST);
        let places: Vec<String> =
            host_addresses().into_iter().map(|address| format!("{address}:{}", host.port)).collect();
        server.sh(&ann, "true");
        assert!(brought(&server, &ann, &places).contains(HOST), "the rule is not needed");
        let rule = Documented::in_force(&server, host.port);
        assert_eq!(brought(&server, &ann, &places), "");
        let tries = places.iter().map(|place| {
            format!("timeout 4 bash -c 'cat </dev/tcp/{}' 2>/dev/null & ", place.replace(':', "/"))
        });
        let tries = format!("{}wait", tries.collect::<String>());
        assert_eq!(server.sh(&ann, &tries), "");
        drop(rule);
        assert!(server.sh(&ann, &tries).contains(HOST.trim_end()));
    }
}

/// The rule that docs/firewall.md has for rootless engines, for one port of this host alone: others use this engine too.
struct Documented {
    chain: String,
    jump: Vec<String>,
}

impl Documented {
    fn in_force(server: &Server, port: u16) -> Self {
        let chain = format!("PI-{}", server.gid());
        let account = fact("PODMAN_USER");
        let text = include_str!("../../../docs/firewall.md");
        let lines = text.lines().filter_map(|line| line.strip_prefix("iptables ")).map(str::trim_start);
        let lines = lines.filter(|line| line.contains("PODSPAWN-ROOTLESS"));
        let mut rule = Self { chain: chain.clone(), jump: Vec::new() };
        let mut count = 0;
        for line in lines {
            let line = line.replace("PODSPAWN-ROOTLESS", &chain).replace("containers", account);
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if words[0] == "-I" {
                words.extend(["-p".into(), "tcp".into(), "--dport".into(), port.to_string()]);
                // The same without its place.
                rule.jump = words.clone();
                rule.jump.remove(2);
            }
            run(Command::new("iptables").arg("-w").args(&words));
            count += 1;
        }
        assert!(count > 5 && !rule.jump.is_empty(), "the document has other rules now");
        rule
    }
}

impl Drop for Documented {
    fn drop(&mut self) {
        let iptables = |args: &[&str]| {
            let _ = Command::new("iptables").arg("-w").args(args).output();
        };
        if !self.jump.is_empty() {
            let jump: Vec<&str> = self.jump[1..].iter().map(String::as_str).collect();
            iptables(&[&["-D"], &jump[..]].concat());
        }
        iptables(&["-F", &self.chain]);
        iptables(&["-X", &self.chain]);
    }
}
