//! From start to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use podspawn_runtimes::*;

use crate::lab::{Lab, Which};

/// Reads until the text has been written.
async fn wait_for_output(lab: &Lab, name: &str, text: &str) {
    let mut logs = lab.engine.logs(name, LogOptions { follow: true, tail: None }).await.unwrap();
    let mut seen = String::new();
    while !seen.contains(text) {
        match logs.next().await.expect("the output goes on").unwrap() {
            ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes) => {
                seen.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}

pub(crate) async fn a_wait_gives_the_exit_status(lab: Arc<Lab>) {
    for status in [0, 7, 255] {
        let spec = lab.script(&format!("exit-{status}"), &format!("sleep 0.2; exit {status}"));
        let name = lab.start(&spec).await;
        assert_eq!(lab.engine.wait_container(&name).await.unwrap(), ExitCode(status));
        assert_eq!(lab.engine.wait_container(&name).await.unwrap(), ExitCode(status), "after the end too");
        let info = lab.engine.container(&name).await.unwrap().unwrap();
        assert_eq!((info.state, info.exit_code, info.pid), (ContainerState::Exited, Some(status), None));
        assert!(!info.oom_killed);
    }
    let missing = lab.engine.wait_container(&lab.name("none")).await.unwrap_err();
    assert!(missing.is_not_found(), "{missing:?}");
    assert!(lab.engine.start_container(&lab.name("none")).await.unwrap_err().is_not_found());
}

pub(crate) async fn starting_twice_and_stopping_twice_are_no_errors(lab: Arc<Lab>) {
    let name =
        lab.start(&lab.script("twice", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done")).await;
    lab.engine.start_container(&name).await.unwrap();
    wait_for_output(&lab, &name, "up").await;
    lab.engine.stop_container(&name, Duration::from_secs(20)).await.unwrap();
    lab.engine.stop_container(&name, Duration::from_secs(20)).await.unwrap();
    assert_eq!(lab.engine.wait_container(&name).await.unwrap(), ExitCode(5));
    // What was stopped can be started again, with its files.
    lab.engine.start_container(&name).await.unwrap();
    assert_eq!(lab.engine.container(&name).await.unwrap().unwrap().state, ContainerState::Running);
    let missing = lab.engine.stop_container(&lab.name("none"), Duration::ZERO).await.unwrap_err();
    assert!(missing.is_not_found(), "{missing:?}");
}

pub(crate) async fn a_stop_asks_first_and_kills_after_its_grace(lab: Arc<Lab>) {
    let polite = lab.script("polite", "trap 'exit 9' USR1; echo up; while :; do sleep 0.1; done");
    let polite = ContainerSpec { stop_signal: Some("SIGUSR1".into()), ..polite };
    let name = lab.start(&polite).await;
    wait_for_output(&lab, &name, "up").await;
    let began = Instant::now();
    lab.engine.stop_container(&name, Duration::from_secs(30)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "it ended when it was asked to");
    assert_eq!(lab.engine.wait_container(&name).await.unwrap(), ExitCode(9));
    let deaf = lab.start(&lab.script("deaf", "trap '' TERM; echo up; while :; do sleep 0.1; done")).await;
    wait_for_output(&lab, &deaf, "up").await;
    let began = Instant::now();
    lab.engine.stop_container(&deaf, Duration::from_secs(2)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "its grace was given: {:?}", began.elapsed());
    assert_eq!(lab.engine.wait_container(&deaf).await.unwrap(), ExitCode(137));
}

pub(crate) async fn signals_reach_the_first_process(lab: Arc<Lab>) {
    let name =
        lab.start(&lab.script("signals", "trap 'echo one' USR1; echo up; while :; do sleep 0.1; done")).await;
    wait_for_output(&lab, &name, "up").await;
    lab.engine.kill_container(&name, "SIGUSR1").await.unwrap();
    wait_for_output(&lab, &name, "one").await;
    lab.engine.kill_container(&name, "SIGKILL").await.unwrap();
    assert_eq!(lab.engine.wait_container(&name).await.unwrap(), ExitCode(137));
    assert!(lab.engine.kill_container(&name, "SIGKILL").await.is_err(), "it does not run");
    assert!(lab.engine.kill_container(&lab.name("none"), "SIGKILL").await.unwrap_err().is_not_found());
}

pub(crate) async fn a_removal_ends_a_stubborn_container_at_once(lab: Arc<Lab>) {
    let name = lab
        .start(&lab.script("stubborn", "trap '' TERM INT HUP; echo up; while :; do sleep 0.1; done"))
        .await;
    wait_for_output(&lab, &name, "up").await;
    let pid = lab.engine.container(&name).await.unwrap().unwrap().pid.unwrap();
    let began = Instant::now();
    lab.engine.remove_container(&name).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(lab.engine.container(&name).await.unwrap(), None);
    assert!(!std::path::Path::new(&format!("/proc/{pid}/root/bin")).exists(), "its process is gone");
}

pub(crate) async fn a_removal_of_what_is_gone_is_no_error(lab: Arc<Lab>) {
    let spec = lab.spec("gone");
    let id = lab.engine.create_container(&spec).await.unwrap().id;
    lab.engine.remove_container(&id).await.unwrap();
    for name in [&id, &spec.name] {
        lab.engine.remove_container(name).await.unwrap();
        assert_eq!(lab.engine.container(name).await.unwrap(), None);
    }
    // Its name is free again.
    lab.engine.create_container(&spec).await.unwrap();
}

pub(crate) async fn two_removals_at_once_both_succeed(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("raced")).await;
    let remove = || lab.engine.remove_container(&name);
    let (first, second, third) = tokio::join!(remove(), remove(), remove());
    assert!(first.is_ok() && second.is_ok() && third.is_ok(), "{first:?} {second:?} {third:?}");
    assert_eq!(lab.engine.container(&name).await.unwrap(), None);
}

pub(crate) async fn output_of_the_first_process_is_kept_apart_and_followed(lab: Arc<Lab>) {
    let script = "echo first; echo bad >&2; sleep 1; echo last; sleep 0.3";
    let name = lab.start(&lab.script("logs", script)).await;
    let collect = async |options| {
        let logs = lab.engine.logs(&name, options).await.unwrap();
        let pieces: Vec<ExecOutput> = logs.map(|piece| piece.unwrap()).collect().await;
        let (mut out, mut err) = (String::new(), String::new());
        for piece in pieces {
            match piece {
                ExecOutput::Stdout(bytes) => out.push_str(std::str::from_utf8(&bytes).unwrap()),
                ExecOutput::Stderr(bytes) => err.push_str(std::str::from_utf8(&bytes).unwrap()),
            }
        }
        (out, err)
    };
    let followed = collect(LogOptions { follow: true, tail: None }).await;
    assert_eq!(followed, ("first\nlast\n".into(), "bad\n".into()), "the stream ends with the container");
    let tail = collect(LogOptions { follow: false, tail: Some(1) }).await;
    assert_eq!(tail, ("last\n".into(), String::new()));
    let missing = lab.engine.logs(&lab.name("none"), LogOptions::default()).await.err().unwrap();
    assert!(missing.is_not_found(), "{missing:?}");
    // A stream ends also when it is followed on a container that is removed.
    if lab.which != Which::Gvisor {
        let silent = lab.start(&lab.spec("silent")).await;
        let mut logs = lab.engine.logs(&silent, LogOptions { follow: true, tail: None }).await.unwrap();
        lab.engine.remove_container(&silent).await.unwrap();
        while let Some(Ok(_)) = logs.next().await {}
    }
}
