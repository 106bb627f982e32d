//! Programs that carry files over ssh.

/// A file that is sent, and the same file come back.
const MAKE: &str = "head -c 5M /dev/urandom >sent";
const SAME: &str = "cmp sent back && echo the same";

on_engines! {
    [docker, podman, gvisor]
    fn sftp_and_both_protocols_of_scp_carry_files_both_ways(server: Server) {
        let ann = server.user("ann");
        let sftp = format!("printf 'put sent by-sftp\\nget by-sftp back\\n' | sftp -q $OPTIONS -b - {ann}@127.0.0.1 >/dev/null");
        let scp = |protocol: &str| {
            format!(
                "scp -q {protocol} $OPTIONS sent {ann}@127.0.0.1:by-scp{protocol} && \
                 scp -q {protocol} $OPTIONS {ann}@127.0.0.1:by-scp{protocol} back"
            )
        };
        for way in [sftp, scp("-s"), scp("-O")] {
            let run = server.script(&format!("{MAKE}; {way}; {SAME}; rm sent back")).run().ok();
            assert_eq!(run.out(), "the same\n", "{way}");
        }
        assert_eq!(server.sh(&ann, "cd; find by-* -printf '%u\\n'"), [ann.as_str(); 3].join("\n"));
    }

    [docker, podman]
    fn rsync_carries_a_tree_both_ways(server: Server) {
        let ann = server.user("ann");
        let run = server.script(&format!(
            "mkdir -p tree/a/b; echo one >tree/a/one; ln -s one tree/a/link; head -c 1M /dev/urandom >tree/a/b/two; chmod 700 tree/a/b
             rsync -a -e \"$SSH\" tree/ {ann}@127.0.0.1:tree/
             echo more >>tree/a/one; rsync -a -e \"$SSH\" tree/ {ann}@127.0.0.1:tree/
             rsync -a -e \"$SSH\" {ann}@127.0.0.1:tree/ back/
             diff -r --no-dereference tree back && stat -c '%a %F' back/a/b back/a/link"
        ));
        assert_eq!(run.run().ok().out(), "700 directory\n777 symbolic link\n");
    }

    [docker, podman]
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
