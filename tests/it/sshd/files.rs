//! Programs that carry files over ssh.

use std::time::Duration;

use crate::harness::server::{Server, Wishes};
use crate::harness::soak;

/// Size of the file that is carried in each way.
fn size() -> &'static str {
    if soak() { "1G" } else { "64M" }
}

/// Longest that all of it may take.
fn limit() -> Duration {
    Duration::from_secs(if soak() { 1200 } else { 120 })
}

on_engines! {
    [docker; soak: podman, gvisor]
    fn sftp_and_both_protocols_of_scp_carry_large_files_both_ways(engine: EngineName) {
        // Longer than the hashing of a large file between two connections.
        let server = Server::with(engine, &Wishes { grace: "30m", ..Wishes::default() });
        let ann = server.user("ann");
        let sftp = format!("printf 'put sent large\\nget large back\\n' | sftp -q $OPTIONS -b - {ann}@127.0.0.1 >/dev/null");
        let scp = |protocol: &str| {
            format!("scp -q {protocol} $OPTIONS sent {ann}@127.0.0.1:large && scp -q {protocol} $OPTIONS {ann}@127.0.0.1:large back")
        };
        for way in [sftp, scp("-s"), scp("-O")] {
            let run = server.script(&format!(
                "head -c {} /dev/urandom >sent; {way}
                 sha256sum <sent; sha256sum <back; $SSH {ann}@127.0.0.1 'sha256sum <large; find large -printf \"%u\\n\"; rm large'; rm sent back",
                size()
            ));
            let out = run.limit(limit()).run().ok().out();
            let [sent, back, inside, owner] = out.lines().collect::<Vec<_>>()[..] else { panic!("{way}: {out}") };
            assert_eq!((back, inside, owner), (sent, sent, ann.as_str()), "{way}");
        }
    }

    [docker, podman; soak: gvisor]
    fn rsync_carries_a_tree_both_ways_and_what_is_there_not_again(server: Server) {
        let ann = server.user("ann");
        let run = server.script(&format!(
            "mkdir -p tree/a/b; echo one >tree/a/one; ln -s one tree/a/link; chmod 640 tree/a/one
             head -c 1M /dev/urandom >tree/a/b/two; chmod 700 tree/a/b; touch -d '2001-02-03 04:05:06 UTC' tree/a/b/two
             carry() {{ rsync -a --delete --out-format='%o %n' -e \"$SSH\" \"$@\"; }}
             carry tree/ {ann}@127.0.0.1:tree/ >/dev/null
             echo again:; carry tree/ {ann}@127.0.0.1:tree/
             echo more >>tree/a/one; echo new >tree/a/three; rm tree/a/b/two
             echo changed:; carry tree/ {ann}@127.0.0.1:tree/ | grep -v '/$' | sort
             echo back:; $SSH {ann}@127.0.0.1 'rm tree/a/three'; cp -a tree back
             carry {ann}@127.0.0.1:tree/ back/ | grep -v '/$'
             rm tree/a/three; diff -r --no-dereference tree back; cd back; stat -c '%a %F' a/b a/link a/one"
        ));
        let expected = "again:\nchanged:\ndel. a/b/two\nsend a/one\nsend a/three\nback:\ndel. a/three\n\
                        700 directory\n777 symbolic link\n640 regular file\n";
        assert_eq!(run.run().ok().out(), expected);
    }

    [docker, podman; soak: gvisor]
    fn git_clones_and_pushes(server: Server) {
        let ann = server.user("ann");
        server.sh(&ann, "git init -q --bare -b main repo.git");
        let run = server.script(&format!(
            "export GIT_SSH_COMMAND=\"$SSH\" GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=Ann
             export GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=ann@example.com
             git init -q -b main work; cd work; echo text >file; git add file; git commit -qm first
             git push -q {ann}@127.0.0.1:repo.git main; cd ..
             git clone -q {ann}@127.0.0.1:repo.git copy; cat copy/file"
        ));
        assert_eq!(run.run().ok().out(), "text\n");
        assert_eq!(server.sh(&ann, "git -C repo.git log --format=%s main"), "first");
    }
}
