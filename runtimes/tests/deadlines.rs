//! Engines that do not answer, answer nonsense, or are not there. Time stands still while a test waits for nobody, so that
//! deadlines pass at once.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use podspawn_runtimes::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// A socket behind which `serve` handles each connection.
fn engine<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(UnixStream) -> F + Send + 'static,
) -> (TempDir, PathBuf) {
    let dir = TempDir::with_prefix("podspawn-deadlines-").unwrap();
    let path = dir.path().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    (dir, path)
}

/// Reads and never answers.
async fn silent(mut stream: UnixStream) {
    let mut sink = [0; 4096];
    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    std::future::pending::<()>().await;
}

fn facts(kind: EngineKind, path: &std::path::Path) -> Facts {
    Facts {
        kind,
        version: "1".into(),
        api_version: "1".into(),
        endpoint: format!("unix://{}", path.display()),
        rootless: false,
        cgroup_version: 2,
        local: true,
        runtimes: vec!["runsc".into()],
        data_root: None,
        gaps: Vec::new(),
    }
}

fn timed_out<T>(result: Result<T>, seconds: u64) {
    match result {
        Err(EngineError::Timeout { seconds: found, action }) => assert_eq!(found, seconds, "{action}"),
        Err(other) => panic!("expected a timeout, got {other:?}"),
        Ok(_) => panic!("expected a timeout"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_accepts_and_never_answers_ends_every_call() {
    let (_dir, path) = engine(silent);
    for kind in [EngineKind::Docker, EngineKind::Podman, EngineKind::Gvisor] {
        let chosen = Chosen::at(kind, Endpoint::Unix(path.clone()));
        timed_out(Runtime::connect(&chosen).await, 10);
        let engine = Runtime::connect_known(&chosen, facts(kind, &path)).unwrap();
        let labels = Labels::new();
        let spec = ContainerSpec { name: "x".into(), image: "x".into(), ..Default::default() };
        let network =
            NetworkSpec { name: "x".into(), labels: labels.clone(), bridge_name: None, internal: false };
        let exec = ExecSpec { argv: vec!["x".into()], ..Default::default() };
        timed_out(engine.image("x").await, 60);
        timed_out(engine.pull("x", &mut |_| ()).await, 60);
        timed_out(engine.tag_image("x", "y").await, 60);
        timed_out(engine.remove_image("x").await, 60);
        timed_out(engine.create_container(&spec).await, 60);
        timed_out(engine.start_container("x").await, 60);
        timed_out(engine.stop_container("x", Duration::from_secs(7)).await, 67);
        timed_out(engine.kill_container("x", "SIGKILL").await, 60);
        timed_out(engine.remove_container("x").await, 60);
        timed_out(engine.container("x").await, 60);
        timed_out(engine.containers(&labels).await, 60);
        timed_out(engine.logs("x", LogOptions::default()).await, 60);
        timed_out(engine.create_network(&network).await, 60);
        timed_out(engine.remove_network("x").await, 60);
        timed_out(engine.networks(&labels).await, 60);
        timed_out(engine.create_volume("x", &labels).await, 60);
        timed_out(engine.remove_volume("x").await, 60);
        timed_out(engine.volumes(&labels).await, 60);
        timed_out(engine.copy_in("x", "/", bytes::Bytes::new()).await, 60);
        timed_out(engine.copy_out("x", "/").await, 60);
        timed_out(engine.exec("x", &exec).await, 60);
        timed_out(engine.resize_exec("x", WindowSize::default()).await, 60);
        timed_out(engine.exec_exit_code("x").await, 60);
        timed_out(engine.events(&labels).await, 60);
    }
}

#[tokio::test]
async fn a_place_where_nobody_listens_is_named() {
    let dir = TempDir::with_prefix("podspawn-deadlines-").unwrap();
    let left = dir.path().join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    for path in [left, dir.path().join("none.sock")] {
        for kind in [EngineKind::Docker, EngineKind::Podman] {
            let chosen = Chosen::at(kind, Endpoint::Unix(path.clone()));
            let error = Runtime::connect(&chosen).await.err().expect("nobody is there");
            let EngineError::Unreachable { engine, endpoint, .. } = &error else { panic!("{error:?}") };
            assert_eq!((*engine, endpoint), (kind.name(), &format!("unix://{}", path.display())));
        }
        if path.exists() {
            let chosen = Chosen::at(EngineKind::Podman, Endpoint::Unix(path.clone()));
            let known = Runtime::connect_known(&chosen, facts(EngineKind::Podman, &path)).unwrap();
            let error = known.start_container("x").await.unwrap_err();
            assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn nonsense_and_sudden_ends_are_errors() {
    let answers: [&'static [u8]; 5] = [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 20\r\n\r\n{\"message\":\"broken\"}",
    ];
    for answer in answers {
        let (_dir, path) = engine(move |mut stream| async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        });
        let chosen = Chosen::at(EngineKind::Docker, Endpoint::Unix(path.clone()));
        let shown = String::from_utf8_lossy(answer);
        assert!(Runtime::connect(&chosen).await.is_err(), "{shown}");
        for kind in [EngineKind::Docker, EngineKind::Podman] {
            let engine = Runtime::connect_known(&chosen, facts(kind, &path)).unwrap();
            let exec = ExecSpec { argv: vec!["x".into()], ..Default::default() };
            assert!(engine.container("x").await.is_err(), "{shown}");
            assert!(engine.containers(&Labels::new()).await.is_err(), "{shown}");
            assert!(engine.exec("x", &exec).await.is_err(), "{shown}");
        }
    }
}

#[tokio::test]
async fn an_engine_that_dies_ends_its_streams() {
    let (_dir, path) = engine(|mut stream| async move {
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        if request.contains("/_ping") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").await;
            return;
        }
        let event =
            r#"{"Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"exitCode":"3"}}}"#;
        let answer =
            format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{event}\n{{\"Type\":\"cont");
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    let chosen = Chosen::at(EngineKind::Docker, Endpoint::Unix(path.clone()));
    let engine = Runtime::connect_known(&chosen, facts(EngineKind::Docker, &path)).unwrap();
    let events: Vec<Result<Event>> = engine.events(&Labels::new()).await.unwrap().collect().await;
    assert_eq!(events.len(), 2, "{events:?}");
    let died = events[0].as_ref().unwrap();
    assert_eq!((died.action, died.exit_code), (EventAction::Died, Some(3)));
    assert!(events[1].is_err(), "what was cut off is no event");
}
