//! X11 forwarding: a client inside reaches the X server of the person's own machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use crate::harness::command::Invocation;
use crate::harness::{Server, system};

/// Longest until an X client has come.
const SOON: Duration = Duration::from_secs(30);

/// An X client: authenticates with the key that it finds, says a line, and prints the key and what is answered.
const CLIENT: &str = r#"
use IO::Socket::INET;
open(my $file, "<", $ENV{XAUTHORITY}) or die "no key: $!";
my (undef, $host, $number, $protocol, $key) = unpack("n n/a n/a n/a n/a", join("", <$file>));
my ($display) = $ENV{DISPLAY} =~ /^(?:localhost|127.0.0.1):(\d+)/ or die "display: $ENV{DISPLAY}";
$number == $display or die "the key is one of display $number";
chomp(my $own = `cat /etc/hostname`);
$host eq $own or die "the key is one of $host";
my $x = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 6000 + $display) or die "connect: $!";
my $padded = sub { $_[0] . "\0" x (-length($_[0]) % 4) };
print $x pack("a x n n n n x2", "B", 11, 0, length($protocol), length($key)), $padded->($protocol), $padded->($key);
print $x "from $host\n";
$x->flush;
# Waits as X clients do: a plain read of a network socket does not, in old sandboxes.
vec(my $set = "", fileno($x), 1) = 1;
select($set, undef, undef, 30);
print unpack("H*", $key), "\n", <$x>;
"#;

/// What an X server hears of a client: its protocol, its key and its line.
type Heard = (String, Vec<u8>, String);

/// An X server of a test's own, as far as a client says hello to it.
struct Display {
    /// For `DISPLAY` on the person's machine.
    name: String,
    heard: mpsc::Receiver<Heard>,
}

impl Display {
    fn open() -> Self {
        let address = system::own_loopback();
        let listener = TcpListener::bind((address.as_str(), 6000)).expect("listen");
        let (sender, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let _ = serve(client).map(|one| sender.send(one));
            }
        });
        Self { name: format!("{address}:0"), heard }
    }

    /// A client that has come.
    fn next(&self) -> Heard {
        self.heard.recv_timeout(SOON).expect("an X client")
    }
}

/// Reads a client's hello, as the X protocol has it, and a line; answers with a line.
fn serve(client: TcpStream) -> std::io::Result<Heard> {
    client.set_read_timeout(Some(SOON))?;
    let mut from = BufReader::new(&client);
    let mut head = [0; 12];
    from.read_exact(&mut head)?;
    let mut field = |at: usize| {
        let length = usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        let mut bytes = vec![0; length.next_multiple_of(4)];
        from.read_exact(&mut bytes)?;
        bytes.truncate(length);
        std::io::Result::Ok(bytes)
    };
    let (protocol, key) = (field(6)?, field(8)?);
    let mut line = String::new();
    from.read_line(&mut line)?;
    // In one piece: in an old sandbox whoever waits for the rest of a line has an error instead.
    (&client).write_all(format!("welcome, {}\n", line.trim_end()).as_bytes())?;
    Ok((String::from_utf8_lossy(&protocol).into_owned(), key, line))
}

/// An X client inside, of a user whose own machine has this display and its key in this file.
fn client(server: &Server, user: &str, flags: &[&str], display: &Display, keys: &str) -> Invocation {
    server.ssh(user, flags, &["perl -"]).stdin(CLIENT).var("DISPLAY", &display.name).var("XAUTHORITY", keys)
}

/// Makes a file of keys with one for this display, as the person's own X server has it; path and key.
fn keys(server: &Server, display: &Display) -> (String, String) {
    let file = server.scratch().join("keys").display().to_string();
    let key = system::random_hex().repeat(2);
    let _ = server
        .tool("xauth", &["-q", "-f", &file, "add", &display.name, "MIT-MAGIC-COOKIE-1", &key])
        .run()
        .ok();
    (file, key)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn an_x_client_reaches_the_persons_own_display_with_a_key_that_is_good_for_nothing_else(server: Server) {
        let ann = server.user("ann");
        // A container that takes more than five seconds to make is there for the second connection's forwarding only.
        server.sh(&ann, "true");
        let display = Display::open();
        let (file, real) = keys(&server, &display);
        for flag in ["-X", "-Y"] {
            let run = client(&server, &ann, &[flag], &display, &file).run().ok();
            assert_eq!(run.stderr, "");
            let out = run.out();
            let (protocol, key, line) = display.next();
            assert_eq!((protocol.as_str(), hex(&key).as_str()), ("MIT-MAGIC-COOKIE-1", real.as_str()), "{flag}");
            assert!(out.contains(&format!("welcome, {line}")), "{out}");
            // Nothing of it stays on the host.
            let home = std::fs::read_dir(server.run_home(&ann)).expect("a home");
            let left: u64 = home.map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len()).sum();
            assert_eq!(left, 0);
            assert!(!out.contains(&real), "{out}");
        }
        // A person whose machine has no `xauth`.
        let out = client(&server, &ann, &["-X", "-o", "XAuthLocation=/none"], &display, &file).run().ok().out();
        assert!(out.contains(&format!("welcome, {}", display.next().2)), "{out}");
        // Nothing of it is there for who does not ask, or afterwards.
        assert_eq!(server.sh(&ann, "echo \"$DISPLAY$XAUTHORITY.\"; find / -path /proc -prune -o -name '*Xauthority*' -print 2>/dev/null || :"), ".");

        // Many at once, each with a display of its own.
        let displays: Vec<Display> = (0..6).map(|_| Display::open()).collect();
        let started: Vec<_> =
            displays.iter().map(|display| client(&server, &ann, &["-X"], display, &file).start()).collect();
        for (display, running) in displays.iter().zip(started) {
            let run = running.wait(SOON).ok();
            let out = run.out();
            assert!(out.contains("welcome"), "{out}{}", run.stderr);
            assert!(out.contains(&display.next().2), "{out}");
        }
    }
}
