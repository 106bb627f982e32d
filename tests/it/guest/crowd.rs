//! Many sessions in one machine at once.

use std::time::Duration;

use super::{create, inside};

/// Sessions at once.
const SESSIONS: usize = 100;

on_engines! {
    [docker; soak: podman]
    fn a_hundred_sessions_share_a_machine(env: Env) {
        create(&env);
        let _ = inside(&env, "mkfifo gate in").ok();
        // Each says that it is there, then waits for one of the lines that come when all are there. Whoever hands them out
        // keeps the pipe open until the last has taken his.
        let script = "echo here > in; read x < gate; echo gone > in; echo through; exit 5";
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|_| env.podspawn(["exec", "m", "--", "sh", "-c", script]).start())
            .collect();
        let all = format!("for i in $(seq {SESSIONS}); do");
        let counted = format!(
            "exec 3<>in 4<>gate; {all} read x <&3; done; {all} echo >&4; done; {all} read x <&3; done; echo counted"
        );
        assert_eq!(inside(&env, &counted).ok().out(), "counted\n");
        for session in sessions {
            let run = session.wait(Duration::from_secs(120)).status(5);
            assert_eq!(run.out(), "through\n");
        }
    }
}
