//! The way to an engine: over a plain TCP connection, and to another engine than was expected.

use std::path::Path;

use futures_util::StreamExt;
use podspawn_runtimes::testing::TestEngines;
use podspawn_runtimes::*;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixStream};

fn at(kind: EngineKind, socket: &Path) -> Chosen {
    Chosen::at(kind, Endpoint::Unix(socket.into()))
}

#[tokio::test]
async fn an_engine_behind_tcp_works_and_is_not_local() {
    let engines = TestEngines::load();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let socket = engines.docker_socket.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let engine =
        Runtime::connect(&Chosen::at(EngineKind::Docker, Endpoint::Tcp(address.clone()))).await.unwrap();
    let facts = engine.facts();
    assert_eq!((facts.kind, facts.endpoint.clone()), (EngineKind::Docker, format!("tcp://{address}")));
    assert!(!facts.local && !facts.direct_attach() && facts.data_root.is_none(), "{facts:?}");
    let spec = ContainerSpec {
        name: format!("podspawn-connect-{}", std::process::id()),
        image: engines.image_busybox.clone(),
        command: ["sleep", "600"].map(String::from).to_vec(),
        ..ContainerSpec::default()
    };
    engine.create_container(&spec).await.unwrap();
    let talk = async {
        engine.start_container(&spec.name).await?;
        let cat = ExecSpec { argv: vec!["cat".into()], stdin: true, ..ExecSpec::default() };
        let mut session = engine.exec(&spec.name, &cat).await?;
        session.input.write_all(b"there and back").await.unwrap();
        session.input.shutdown().await.unwrap();
        let mut seen = Vec::new();
        while let Some(piece) = session.output.next().await {
            match piece? {
                ExecOutput::Stdout(bytes) => seen.extend_from_slice(&bytes),
                ExecOutput::Stderr(bytes) => panic!("{bytes:?}"),
            }
        }
        Ok::<_, EngineError>((seen, engine.exec_exit_code(&session.id).await?))
    };
    let result = talk.await;
    engine.remove_container(&spec.name).await.unwrap();
    assert_eq!(result.unwrap(), (b"there and back".to_vec(), Some(ExitCode(0))));
}

#[tokio::test]
async fn podman_behind_a_socket_that_was_said_to_be_dockers_is_podman() {
    let engines = TestEngines::load();
    let engine = Runtime::connect(&at(EngineKind::Docker, &engines.podman_socket)).await.unwrap();
    let direct = engines.podman().await;
    assert_eq!(engine.facts(), direct.facts());
    assert!(matches!(engine, Runtime::Podman(_)));
}

#[tokio::test]
async fn an_engine_of_another_kind_is_refused_by_name() {
    let engines = TestEngines::load();
    for (kind, socket, words) in [
        (EngineKind::Podman, &engines.docker_socket, "Docker answers there"),
        (EngineKind::Gvisor, &engines.podman_socket, "Podman answers there"),
        (EngineKind::Gvisor, &engines.docker26_socket, "no runtime `runsc`"),
    ] {
        let error = Runtime::connect(&at(kind, socket)).await.err().expect("another engine is there");
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains(kind.name()), "{error}");
    }
}
