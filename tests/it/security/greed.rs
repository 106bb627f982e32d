//! One user who takes whatever there is: the others do not notice.

use std::time::Duration;

use super::broker::{middle, takes};
use crate::harness::server::{Server, Wishes};

const SOON: Duration = Duration::from_secs(60);

on_engines! {
    [docker]
    fn a_user_who_starts_processes_without_end_harms_nobody_else(engine: EngineName) {
        let server = Server::with(engine, &Wishes { processes: 64, ..Wishes::default() });
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        server.sh(&ben, "true");
        let fifo = "/tmp/full";
        server.sh(&ann, &format!("mkfifo {fifo}"));
        // Every process makes two, those that cannot try again; the first failure says that the limit is reached.
        let bomb = format!(
            "exec 2>/dev/null; perl -e 'my $first = $$; while (1) {{ defined(fork) or do {{ \
             if ($$ == $first and !$said++) {{ open F, q(>{fifo}); close F }} select undef, undef, undef, 0.05 }} }}'"
        );
        let full = server.ssh(&ann, &[], &[&format!("exec cat {fifo}")]).start();
        server.audited(&ann, "connect", 2, SOON);
        let bombing = server.ssh(&ann, &[], &[&bomb]).start();
        let _ = full.wait(SOON).ok();
        let id = &server.containers(&ann)[0];
        let counted = server.engine.run(&["top", id, "-eo", "pid"]).lines().count() - 1;
        assert!((32..=64).contains(&counted), "{counted}");
        assert_eq!(server.sh(&ben, "echo served"), "served");
        // It ends as every session does.
        let _ = server.podspawn(&["stop", &ann]).run().ok();
        assert_ne!(bombing.wait(SOON).status, 0);
        assert_eq!(server.containers(&ann), Vec::<String>::new());
        assert_eq!(server.sh(&ann, "echo served"), "served");
    }

    [docker]
    fn a_user_who_takes_more_memory_than_there_is_loses_that_process_only(engine: EngineName) {
        let server = Server::with(engine, &Wishes { memory: "64m", ..Wishes::default() });
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        server.sh(&ben, "true");
        let eaters: Vec<_> = (0..2)
            .map(|_| server.ssh(&ann, &[], &["perl -e '$x = q(x) x (128 << 20); print length $x'"]).start())
            .collect();
        assert_eq!(server.sh(&ben, "echo served"), "served");
        for eater in eaters {
            let run = eater.wait(SOON);
            assert_ne!(run.status, 0);
            assert_eq!(run.out(), "");
        }
        assert_eq!(server.sh(&ann, "echo served"), "served");
        assert_eq!(server.containers(&ann).len(), 1);
    }

    #[expect(clippy::print_stderr, reason = "a measurement")]
    [; soak: docker]
    fn whoever_takes_every_processor_and_all_the_memory_there_is_makes_others_wait_at_most_twice_as_long(engine: EngineName) {
        let server = Server::with(engine, &Wishes { processes: 64, memory: "64m", ..Wishes::default() });
        let (ann, ben) = (server.user("ann"), server.user("ben"));
        server.sh(&ben, "true");
        for (what, greed) in [
            // As many as there may be, each of them busy.
            ("processes", "exec 2>/dev/null; perl -e 'fork; while (1) { fork if ++$n % 1000 == 0 }'"),
            // Twice as much as there is, again and again.
            ("memory", "exec 2>/dev/null; while :; do perl -e '$x = q(x) x (128 << 20)'; done"),
        ] {
            let mut pairs = Vec::new();
            // A few at a time, so that whatever else this host does slows both down.
            for _ in 0..6 {
                let quiet: Vec<_> = (0..5).map(|_| takes(&server, &ben)).collect();
                server.sh(&ann, "true");
                let greedy = server.running(&ann, &[], greed);
                pairs.extend(quiet.into_iter().map(|quiet| (quiet, takes(&server, &ben))));
                let _ = server.podspawn(&["stop", &ann]).run().ok();
                assert_ne!(greedy.wait(SOON).status, 0);
            }
            let (quiet, during) = middle(pairs);
            eprintln!("ssh true: {quiet:?}, {during:?} meanwhile ({what}; the pair in the middle)");
            assert!(during <= quiet * 2, "{what}: {quiet:?}, {during:?}");
        }
    }
}
