//! What a container is made of, as it is seen from inside.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use podspawn_runtimes::*;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::lab::{Lab, Which};

pub(crate) async fn user_directory_environment_and_host_name_arrive(lab: Arc<Lab>) {
    let spec = ContainerSpec {
        user: Some("1234:4321".into()),
        working_dir: Some("/usr/share".into()),
        env: vec!["ONE=1".into(), "SPACED=a b=c".into()],
        hostname: Some("somewhere".into()),
        ..lab.spec("made")
    };
    let name = lab.start(&spec).await;
    let output = lab
        .sh(&name, "id -u; id -g; pwd; echo $ONE/$SPACED; hostname; cat /proc/1/cmdline | tr '\\0' ' '")
        .await;
    assert_eq!(output.out, "1234\n4321\n/usr/share\n1/a b=c\nsomewhere\nsleep 600 ", "{output:?}");
    let info = lab.engine.container(&name).await.unwrap().unwrap();
    assert_eq!((info.name.as_str(), info.state), (name.as_str(), ContainerState::Running));
    assert!(info.pid.is_some_and(|pid| pid > 1) && info.exit_code.is_none(), "{info:?}");
    assert!(info.created_at > 1_700_000_000);
    let pair = lab.labels.iter().next().unwrap();
    assert_eq!(info.labels.get(pair.0), Some(pair.1));
}

pub(crate) async fn entrypoint_and_command_replace_those_of_the_image(lab: Arc<Lab>) {
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let spec = ContainerSpec {
        entrypoint: words(&["/bin/echo", "one two"]),
        command: words(&["three", "$HOME"]),
        ..lab.spec("echo")
    };
    let name = lab.start(&spec).await;
    assert_eq!(lab.engine.wait_container(&name).await.unwrap(), ExitCode(0));
    let logs = lab.engine.logs(&name, LogOptions::default()).await.unwrap();
    let pieces: Vec<ExecOutput> = logs.map(|piece| piece.unwrap()).collect().await;
    assert_eq!(pieces, [ExecOutput::Stdout("one two three $HOME\n".into())]);
    // The guest's way to start: a program that stands in a bind mount, before the image's own command.
    let alone = ContainerSpec { entrypoint: words(&["/bin/echo"]), command: Vec::new(), ..lab.spec("alone") };
    let name = lab.start(&alone).await;
    assert_eq!(lab.engine.wait_container(&name).await.unwrap(), ExitCode(0));
    let logs = lab.engine.logs(&name, LogOptions::default()).await.unwrap();
    let pieces: Vec<ExecOutput> = logs.map(|piece| piece.unwrap()).collect().await;
    assert_eq!(pieces, [ExecOutput::Stdout("\n".into())], "no argument of the image is left");
}

pub(crate) async fn binds_and_their_read_only_form_hold_inside(lab: Arc<Lab>) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::write(dir.path().join("given"), "from outside").unwrap();
    let bind =
        |target: &str, read_only| Mount::Bind { source: dir.path().into(), target: target.into(), read_only };
    let mounts = vec![bind("/open", false), bind("/closed", true)];
    let name = lab.start(&ContainerSpec { mounts, ..lab.spec("binds") }).await;
    let output =
        lab.sh(&name, "cat /open/given; echo inside > /open/made; echo $?; echo x > /closed/made2").await;
    assert_eq!(output.out, "from outside0\n", "{output:?}");
    assert!(output.err.contains("Read-only file system"), "{output:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("made")).unwrap(), "inside\n");
    assert!(!dir.path().join("made2").exists());
    lab.engine.remove_container(&name).await.unwrap();
}

pub(crate) async fn published_ports_reach_the_container(lab: Arc<Lab>) {
    let listen = "use IO::Socket::INET; $| = 1; \
                  $s = IO::Socket::INET->new(Listen => 5, LocalPort => 8080, ReuseAddr => 1) or die; print qq(ready\\n); \
                  while ($c = $s->accept) { print $c q(hello); close $c }";
    let network = lab.network("net").await;
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let spec = ContainerSpec {
        command: ["perl", "-e", listen].map(String::from).to_vec(),
        network: Some(network),
        ports: vec![PublishedPort { container: 8080, host }],
        ..lab.spec("ports")
    };
    let name = lab.start(&spec).await;
    let mut logs = lab.engine.logs(&name, LogOptions { follow: true, tail: None }).await.unwrap();
    assert_eq!(logs.next().await.unwrap().unwrap(), ExecOutput::Stdout("ready\n".into()));
    let ports = lab.engine.container(&name).await.unwrap().unwrap().ports;
    let [PublishedPort { container: 8080, host }] = ports[..] else { panic!("{ports:?}") };
    assert!(host.ip().is_loopback() && host.port() != 0, "{host}");
    // The newer Docker of the tests lives in a network namespace of its own: its ports are not this host's.
    if lab.which != Which::Docker26 {
        let mut answer = String::new();
        let talk = async {
            let mut stream = TcpStream::connect(host).await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(10), talk).await.expect("an answer in time");
        assert_eq!(answer, "hello");
    }
}

pub(crate) async fn what_is_missing_or_taken_is_named(lab: Arc<Lab>) {
    let none = format!("{}/none:1", lab.prefix);
    let no_image = ContainerSpec { image: none.clone(), ..lab.spec("image") };
    match lab.engine.create_container(&no_image).await {
        Err(EngineError::NotFound { kind: "image", name, .. }) => assert_eq!(name, none),
        other => panic!("expected a missing image, got {other:?}"),
    }
    let no_network = ContainerSpec { network: Some(lab.name("none")), ..lab.spec("network") };
    // Docker finds out when it starts the container.
    let missing = match lab.engine.create_container(&no_network).await {
        Ok(_) => lab.engine.start_container(&no_network.name).await,
        Err(error) => Err(error),
    };
    assert!(missing.unwrap_err().to_string().contains(&lab.name("none")));
    let taken = lab.spec("taken");
    lab.engine.create_container(&taken).await.unwrap();
    let conflict = lab.engine.create_container(&taken).await.unwrap_err();
    assert!(conflict.is_conflict(), "{conflict:?}");
    for bad in ["", "-x", "a b", "a/b", "../x", "ä"] {
        let bad = ContainerSpec { name: bad.into(), ..lab.spec("bad") };
        assert!(lab.engine.create_container(&bad).await.is_err(), "{:?} is no name", bad.name);
    }
    let unknown = ContainerSpec { cap_add: vec!["DANCE".into()], ..lab.spec("capability") };
    let refused = lab.engine.create_container(&unknown).await.unwrap_err().to_string();
    assert!(refused.to_uppercase().contains("DANCE"), "{refused}");
}
