//! Many users at the same moment.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::server::{Server, Wishes};
use crate::harness::{EngineName, soak};

/// Longest until everybody has been served.
const SERVED: Duration = Duration::from_secs(300);

on_engines! {
    [docker; soak: podman, gvisor]
    fn everybody_who_comes_at_the_same_moment_gets_a_container_of_their_own(engine: EngineName) {
        let count = match (soak(), engine) {
            (false, _) => 6,
            // A kernel for each of them.
            (true, EngineName::Gvisor) => 20,
            // Each has a network: more than a Docker has addresses for as it comes (docs/engines.md).
            (true, _) => 50,
        };
        // sshd as it comes turns some away once ten log in at a time.
        let server = Server::with(engine, &Wishes { startups: None, ..Wishes::default() });
        server.set_up_with(&["--max-startups", "100:30:200"]);
        server.reload_sshd();
        let users: Vec<String> = (0..count).map(|n| server.user(&format!("n{n}"))).collect();
        let started: Vec<_> =
            users.iter().map(|user| server.ssh(user, &[], &["id -un; cat /etc/hostname"]).start()).collect();
        let mut places = BTreeSet::new();
        for (user, running) in users.iter().zip(started) {
            let out = running.wait(SERVED).ok().out();
            let (name, place) = out.trim_end().split_once('\n').expect("a name and a place");
            assert_eq!(name, user);
            places.insert(place.to_owned());
        }
        assert_eq!(places.len(), count);
        let listed: BTreeSet<String> =
            server.list().iter().map(|one| one["user"].as_str().expect("a user").to_owned()).collect();
        assert_eq!(listed, users.iter().cloned().collect());
    }
}
