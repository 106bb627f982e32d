//! Many sessions in one machine at once.

use std::time::Duration;

use super::{create, inside};

/// Sessions at once.
const SESSIONS: usize = 100;

on_engines! {
    [docker, podman]
    fn a_hundred_sessions_share_a_machine(env: Env) {
        create(&env);
        let _ = inside(&env, "mkfifo gate in").ok();
        // Each says that it is there, then waits for the gate, whose opening lets all go at once.
        let script = "echo here > in; read x < gate; echo through; exit 5";
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|_| env.podspawn(["exec", "m", "--", "sh", "-c", script]).start())
            .collect();
        let counted = format!("exec 3<>in; for i in $(seq {SESSIONS}); do read x <&3; done; : > gate; echo counted");
        assert_eq!(inside(&env, &counted).ok().out(), "counted\n");
        for session in sessions {
            let run = session.wait(Duration::from_secs(120)).status(5);
            assert_eq!(run.out(), "through\n");
        }
    }
}
