//! Editors that work on another machine: what they run there, step by step, with stock programs.

use crate::harness::system;

/// First part of what the editor writes to the remote shell: looks around, and asks for the server if there is none.
const LOOK: &str = r#"
set -eu; umask 077
PLACE=$HOME/.editor-server/0123abcd; mkdir -p "$PLACE"; cd "$PLACE"
echo "platform==$(uname -s)==$(uname -m)=="
if [ -x server ] && kill -0 "$(cat pid)" 2>/dev/null; then echo "port==$(cat port)=="; else echo "wanted==$PLACE/payload.tar.gz=="; fi
"#;

/// Second part, once the server has been delivered: starts it so that it outlives the connection, and tells its port.
const INSTALL: &str = r#"
tar -xzf payload.tar.gz; mkfifo ready; nohup ./server >log 2>&1 </dev/null & echo $! >pid
read -r port <ready; echo "$port" >port; echo "port==$port=="
"#;

/// The server: tells its port, and answers five requests as soon as all five are there.
const PAYLOAD: &str = r#"#!/usr/bin/perl
use IO::Socket::INET;
$SIG{CHLD} = "IGNORE";
my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1") or die;
open(my $ready, ">", "ready"); print $ready $server->sockport, "\n"; close $ready;
while (1) {
    for my $client (map { scalar $server->accept } 1 .. 5) {
        next if fork;
        # A plain read of a network socket does not wait, in old sandboxes.
        vec(my $set = "", fileno($client), 1) = 1;
        select($set, undef, undef, 30);
        my ($path) = <$client> =~ m{^GET /(\S+) HTTP};
        while (<$client>) { last if /^\r?$/ }
        print $client "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n$path\n", "x" x 3_000_000;
        exit;
    }
}
"#;

/// A window of the editor: one connection that forwards and whose shell is told what to do, a second one for the delivery.
/// Prints what happened.
const WINDOW: &str = r#"
coproc REMOTE { $SSH -T -D $SOCKS:1080 -o ConnectTimeout=15 -o ExitOnForwardFailure=yes $TARGET bash; }
pid=$REMOTE_PID
exec 3<&"${REMOTE[0]}" 4>&"${REMOTE[1]}" {REMOTE[0]}<&- {REMOTE[1]}>&-
hear() { while IFS= read -r line <&3; do case $line in *==) echo "$line"; return ;; esac; done; return 1; }
printf %s "$LOOK" >&4; hear; answer=$(hear)
case $answer in
    wanted==*)
        place=${answer#wanted==}; echo delivered
        scp -q $OPTIONS payload.tar.gz "$TARGET:${place%==}"
        printf %s "$INSTALL" >&4; answer=$(hear) ;;
esac
port=${answer#port==}; port=${port%==}
channels=()
for n in 1 2 3 4 5; do
    curl -sS --fail --socks5-hostname $SOCKS:1080 "http://localhost:$port/$n" >got-$n & channels+=($!)
done
for channel in "${channels[@]}"; do wait $channel; done
for n in 1 2 3 4 5; do head -n 1 got-$n; done; cat got-* | wc -c
exec 4>&-; cat <&3; wait $pid
"#;

on_engines! {
    [docker, podman; soak: gvisor]
    fn an_editor_installs_its_server_and_works_through_a_socks_port(server: Server) {
        let ann = server.user("ann");
        let run = server.script(&format!(
            "printf %s \"$PAYLOAD\" >server; chmod 755 server; tar -czf payload.tar.gz server
             {WINDOW}
             {WINDOW}"
        ));
        let run = run.var("PAYLOAD", PAYLOAD).var("LOOK", LOOK).var("INSTALL", INSTALL);
        let run = run.var("SOCKS", system::own_loopback()).var("TARGET", format!("{ann}@127.0.0.1"));
        let channels = "1\n2\n3\n4\n5\n15000010\n";
        let platform = format!("platform==Linux=={}==\n", std::env::consts::ARCH);
        // The second window finds the server of the first.
        assert_eq!(run.run().ok().out(), format!("{platform}delivered\n{channels}{platform}{channels}"));
        assert_eq!(server.containers(&ann).len(), 1);
    }
}
