//! The fake engine itself, since other crates' proofs rest on it.

use std::time::Duration;

use futures_util::StreamExt;
use podspawn_runtimes::testing::{At, ExecReply, Fake, When};
use podspawn_runtimes::*;

fn spec(name: &str) -> ContainerSpec {
    let labels = Labels::from([("owner".into(), "ann".into())]);
    ContainerSpec { name: name.into(), image: "debian:12".into(), labels, ..Default::default() }
}

fn fake() -> Fake {
    let fake = Fake::new();
    fake.add_image("debian:12");
    fake
}

#[tokio::test]
async fn calls_are_recorded_in_order_with_their_objects() {
    let fake = fake();
    let engine = Runtime::from(fake.clone());
    engine.create_container(&spec("a")).await.unwrap();
    engine.start_container("a").await.unwrap();
    engine.remove_container("a").await.unwrap();
    let calls: Vec<String> = fake.calls().iter().map(ToString::to_string).collect();
    assert_eq!(calls, ["create_container a", "start_container a", "remove_container a"]);
    assert!(fake.world().is_clean());
}

#[tokio::test]
async fn a_planned_failure_hits_the_nth_call_of_its_name_only() {
    let fake = fake();
    fake.fail(At::Named("create_volume", 2), When::Before, || EngineError::Timeout {
        action: "create volume `two`".into(),
        seconds: 60,
    });
    let labels = Labels::new();
    fake.create_volume("one", &labels).await.unwrap();
    assert!(matches!(fake.create_volume("two", &labels).await, Err(EngineError::Timeout { .. })));
    fake.create_volume("three", &labels).await.unwrap();
    let names: Vec<String> = fake.world().volumes.into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["one", "three"]);
}

#[tokio::test]
async fn a_death_before_a_call_leaves_nothing_and_one_after_it_leaves_its_effect() {
    for (when, left) in [(When::Before, 0), (When::After, 1)] {
        let fake = fake();
        fake.die(At::Call(1), when);
        let a = spec("a");
        tokio::select! {
            _ = fake.create_container(&a) => panic!("the process is dead"),
            () = fake.died() => {}
        }
        assert_eq!(fake.world().containers.len(), left);
        tokio::select! {
            biased;
            _ = fake.remove_container("a") => panic!("a dead process calls nothing"),
            () = std::future::ready(()) => {}
        }
        let reborn = fake.next_process();
        assert_eq!(reborn.containers(&Labels::new()).await.unwrap().len(), left);
        assert_eq!((fake.calls().len(), reborn.calls().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_paused_call_waits_for_its_release() {
    let fake = fake();
    let pause = fake.pause(At::Named("create_container", 1), When::After);
    let task = tokio::spawn({
        let fake = fake.clone();
        async move { fake.create_container(&spec("a")).await }
    });
    pause.reached().await;
    assert_eq!(fake.world().containers.len(), 1);
    assert!(!task.is_finished());
    pause.release();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_world_in_a_file_outlives_its_process() {
    let dir = std::env::temp_dir().join(format!("podspawn-fake-{}", std::process::id()));
    let first = Fake::stored_at(&dir);
    first.add_image("debian:12");
    first.create_container(&spec("a")).await.unwrap();
    drop(first);
    let second = Fake::stored_at(&dir);
    assert!(second.container("a").await.unwrap().is_some());
    std::fs::remove_file(&dir).unwrap();
}

#[tokio::test]
async fn it_answers_as_an_engine_would() {
    let fake = fake();
    let missing = ContainerSpec { image: "nope".into(), ..spec("a") };
    assert!(fake.create_container(&missing).await.unwrap_err().is_not_found());
    let on_net = ContainerSpec { network: Some("net".into()), ..spec("a") };
    assert!(fake.create_container(&on_net).await.unwrap_err().is_not_found());
    let network =
        NetworkSpec { name: "net".into(), labels: Labels::new(), bridge_name: None, internal: false };
    let id = fake.create_network(&network).await.unwrap();
    fake.create_container(&on_net).await.unwrap();
    assert!(fake.create_container(&on_net).await.unwrap_err().is_conflict());
    assert!(fake.remove_network(&id).await.is_err(), "a network in use stays");
    assert!(fake.exec("a", &ExecSpec::default()).await.is_err(), "not running yet");
    fake.remove_container("a").await.unwrap();
    fake.remove_container("a").await.unwrap();
    fake.remove_network(&id).await.unwrap();
    assert!(matches!(fake.pull("nope", &mut |_| ()).await, Err(EngineError::Pull { .. })));
}

#[tokio::test]
async fn waits_events_and_commands_follow_what_happens() {
    let fake = fake();
    fake.on_exec(|name, spec| ExecReply {
        stdout: format!("{name} {}", spec.argv.join(" ")).into_bytes(),
        stderr: Vec::new(),
        code: 42,
    });
    let events = fake.events(&Labels::from([("owner".into(), String::new())])).await.unwrap();
    let id = fake.create_container(&spec("a")).await.unwrap().id;
    fake.start_container(&id).await.unwrap();
    let mut session =
        fake.exec("a", &ExecSpec { argv: vec!["true".into()], ..Default::default() }).await.unwrap();
    assert_eq!(session.output.next().await.unwrap().unwrap(), ExecOutput::Stdout("a true".into()));
    assert_eq!(fake.exec_exit_code(&session.id).await.unwrap(), Some(ExitCode(42)));
    let (code, ()) = tokio::join!(fake.wait_container("a"), async { fake.end_container("a", 3) });
    assert_eq!(code.unwrap(), ExitCode(3));
    fake.stop_container("a", Duration::ZERO).await.unwrap();
    fake.remove_container("a").await.unwrap();
    let actions: Vec<EventAction> = events.take(4).map(|e| e.unwrap().action).collect().await;
    use EventAction::*;
    assert_eq!(actions, [Created, Started, Died, Removed]);
}
