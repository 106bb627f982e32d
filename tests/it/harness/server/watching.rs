//! What can be seen of sessions: by `list`, in the engine, in the logs.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Server;
use crate::harness::{json, system};

impl Server {
    /// The sessions as `list` has them.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        let run = self.podspawn(&["list", "--output", "json"]).run().ok();
        json::parse(&run).as_array().expect("a list").clone()
    }

    /// The engine's containers of a user.
    pub fn containers(&self, user: &str) -> Vec<String> {
        self.engine.labelled("container", &format!("podspawn-user={user}"))
    }

    /// Lines of the audit log so far.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("state/audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Waits until the audit log has an event of a user `count` times; returns the last of them.
    #[track_caller]
    pub fn audited(&self, user: &str, event: &str, count: usize, limit: Duration) -> Value {
        use rustix::fs::inotify;
        let deadline = Instant::now() + limit;
        let watch =
            inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).expect("inotify");
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        inotify::add_watch(&watch, self.path("state"), flags).expect("watch the state directory");
        loop {
            let found: Vec<Value> = self
                .audit()
                .into_iter()
                .filter(|line| line["user"] == user && line["event"] == event)
                .collect();
            if found.len() >= count {
                return found.last().expect("an event").clone();
            }
            let more = system::readable(&[watch.as_fd()], deadline);
            assert!(more, "{event} of {user} did not come {count} times:\n{}", self.story());
            let _ = rustix::io::read(&watch, &mut [0u8; 4096]);
        }
    }

    /// Waits until a session of this user has been removed `count` times, and looks that its containers are gone.
    #[track_caller]
    pub fn gone(&self, user: &str, count: usize, limit: Duration) {
        self.audited(user, "container_destroy", count, limit);
        assert_eq!(self.containers(user), Vec::<String>::new());
    }

    /// Everything that was logged, for a failure.
    pub fn story(&self) -> String {
        let audit: Vec<String> = self.audit().iter().map(Value::to_string).collect();
        format!(
            "--- broker\n{}\n--- audit\n{}\n--- sshd\n{}",
            self.broker_log().text(),
            audit.join("\n"),
            self.sshd_log.text()
        )
    }
}
