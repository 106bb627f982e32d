//! What root's commands fetch from elsewhere, and who fetches it.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// The `git` processes of this host that were told this address, with the lines of their status.
fn gits(url: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let told = processes.filter(|process| {
        // One that has ended meanwhile is none.
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let program = command.split('\0').next().unwrap_or_default();
        program.rsplit('/').next() == Some("git") && command.contains(url)
    });
    told.filter_map(|process| fs::read_to_string(process.path().join("status")).ok()).collect()
}

on_engines! {
    [docker, podman]
    fn git_works_as_an_account_that_can_open_nothing_of_the_hosts(server: Server) {
        let ann = server.user("ann");
        server.sh(&ann, "true");
        let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("git://{}/api", elsewhere.local_addr().expect("an address"));
        let fetching = server.podspawn(&["add-project", "api", "--repo", &url]).start();
        // It has asked, and waits for an answer.
        let (asked, _) = elsewhere.accept().expect("a connection");
        let gits = gits(&url);
        assert!(!gits.is_empty(), "no git was told {url}");
        let field = |status: &str, name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of the status");
            line.split_whitespace().map(|id| id.parse().expect("a number")).collect::<Vec<u32>>()
        };
        let account = server.uid(&server.git_account());
        let (mut group, mut groups) = (0, Vec::new());
        for status in &gits {
            assert_eq!(field(status, "Uid:"), [account; 4], "{status}");
            group = field(status, "Gid:")[0];
            assert_eq!(field(status, "Gid:"), [group; 4], "{status}");
            groups = field(status, "Groups:");
            assert!(groups.iter().all(|other| *other == group), "{status}");
            assert_eq!(field(status, "CapEff:"), [0], "{status}");
        }
        drop(asked);
        assert_ne!(fetching.wait(SOON).status, 0);

        // What such an account may open of everything that podspawn has, and of the engine: for root each of them is there.
        let (root, engine) = (server.path("").display().to_string(), server.engine.socket());
        let script = format!(
            "curl -s -m 6 -o /dev/null --unix-socket {engine} http://x/_ping && echo engine
             curl -s -m 6 --unix-socket {broker} http://x/; test $? != 7 && echo broker
             ls {root}/state >/dev/null 2>&1 && echo state
             ls {root}/etc/keys >/dev/null 2>&1 && echo keys; true",
            broker = server.socket().display(),
        );
        let as_root = server.tool("sh", &["-c", &script]).run().ok().out();
        assert_eq!(as_root.lines().collect::<Vec<_>>(), ["engine", "broker", "state", "keys"]);
        let (uid, gid) = (account.to_string(), group.to_string());
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        let groups = if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", groups.join(",")) };
        let as_git = server.tool("setpriv", &["--reuid", &uid, "--regid", &gid, &groups, "sh", "-c", &script]).run().ok();
        assert_eq!(as_git.out(), "");
    }
}
