//! What an engine says of its containers and of itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use podspawn_runtimes::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::lab::{Lab, Which};

pub(crate) async fn containers_are_listed_by_label(lab: Arc<Lab>) {
    let labelled = |suffix: &str, colour: &str| {
        let mut spec = lab.spec(suffix);
        spec.labels.insert("colour".into(), colour.into());
        spec
    };
    let running = lab.start(&labelled("running", "red")).await;
    let created = labelled("created", "blue");
    lab.engine.create_container(&created).await.unwrap();
    let ended = ContainerSpec { command: vec!["true".into()], ..labelled("ended", "red") };
    let ended = lab.start(&ended).await;
    lab.engine.wait_container(&ended).await.unwrap();
    lab.start(&lab.spec("plain")).await;
    let list = async |colour: &str| {
        let mut labels = lab.labels.clone();
        labels.insert("colour".into(), colour.into());
        let mut found = lab.engine.containers(&labels).await.unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    };
    let red: Vec<_> = list("red").await.into_iter().map(|one| (one.name, one.state)).collect();
    assert_eq!(red, [(ended, ContainerState::Exited), (running.clone(), ContainerState::Running)]);
    let blue = list("blue").await;
    let [blue] = &blue[..] else { panic!("{blue:?}") };
    assert_eq!((&blue.name, blue.state), (&created.name, ContainerState::Created));
    assert_eq!(blue.labels.get("colour").map(String::as_str), Some("blue"));
    assert!(blue.created_at > 1_700_000_000 && blue.id.len() == 64, "{blue:?}");
    assert_eq!(list("").await.len(), 3, "any value");
    assert_eq!(list("green").await, []);
    assert_eq!(lab.engine.containers(&lab.labels).await.unwrap().len(), 4);
    let by_id = lab.engine.container(&blue.id).await.unwrap().unwrap();
    assert_eq!((by_id.name, by_id.state), (created.name, ContainerState::Created));
    assert_eq!(lab.engine.container(&lab.name("none")).await.unwrap(), None);
}

pub(crate) async fn what_a_container_writes_is_counted_as_its_own(lab: Arc<Lab>) {
    let writer = lab.start(&lab.spec("writer")).await;
    let idle = lab.start(&lab.spec("idle")).await;
    let id = async |name: &str| lab.engine.container(name).await.unwrap().unwrap().id;
    let (writer_id, idle_id) = (id(&writer).await, id(&idle).await);
    lab.sh(&writer, "dd if=/dev/zero of=/written bs=1000 count=2000 2>/dev/null; sync").await;
    let found = lab.engine.disk_use(&lab.labels).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    // Under gVisor what is written may lie elsewhere than in the engine's layer.
    if lab.which != Which::Gvisor {
        assert!((2_000_000..3_000_000).contains(&found[&writer_id]), "{found:?}");
    }
    assert!(found[&idle_id] < 1_000_000, "{found:?}");
    let mut others = lab.labels.clone();
    others.insert("colour".into(), "none".into());
    assert!(lab.engine.disk_use(&others).await.unwrap().is_empty());
}

pub(crate) async fn events_tell_what_happens_to_labelled_containers(lab: Arc<Lab>) {
    let mut labels = lab.labels.clone();
    labels.insert("watched".into(), String::new());
    let events = lab.engine.events(&labels).await.unwrap();
    let mut told = lab.script("told", "exit 3");
    told.labels.insert("watched".into(), "yes".into());
    let created = lab.engine.create_container(&told).await.unwrap();
    // One of the two labels is not enough.
    let other = lab.spec("other");
    lab.engine.create_container(&other).await.unwrap();
    lab.engine.remove_container(&other.name).await.unwrap();
    lab.engine.start_container(&created.id).await.unwrap();
    lab.engine.wait_container(&created.id).await.unwrap();
    lab.engine.remove_container(&created.id).await.unwrap();
    let wait = tokio::time::timeout(Duration::from_secs(30), events.take(4).collect::<Vec<_>>());
    let events: Vec<Event> =
        wait.await.expect("four events").into_iter().map(|event| event.unwrap()).collect();
    let actions: Vec<EventAction> = events.iter().map(|event| event.action).collect();
    use EventAction::*;
    assert_eq!(actions, [Created, Started, Died, Removed]);
    for event in &events {
        assert_eq!((&event.container, event.name.as_deref()), (&created.id, Some(lab.name("told").as_str())));
        assert_eq!(event.exit_code.filter(|_| event.action == Died), (event.action == Died).then_some(3));
    }
}

/// One question to the engine, past everything that is being tested.
pub(crate) async fn ask(lab: &Lab, path: &str) -> serde_json::Value {
    let socket = lab.engine.facts().endpoint.strip_prefix("unix://").unwrap();
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

pub(crate) async fn facts_are_those_of_the_engine(lab: Arc<Lab>) {
    let facts = lab.engine.facts();
    let (path, fields): (_, [&[&str]; 3]) = match lab.which {
        // Podman's own report; what is known of it comes from a ping and from this host.
        Which::Podman => (
            "/v4.3.1/libpod/info",
            [&["version", "Version"], &["host", "cgroupVersion"], &["host", "security", "rootless"]],
        ),
        _ => ("/info", [&["ServerVersion"], &["CgroupVersion"], &["SecurityOptions"]]),
    };
    let report = ask(&lab, path).await;
    let [version, cgroup, rootless] =
        fields.map(|keys| keys.iter().fold(&report, |value, key| &value[key]).to_string().replace('"', ""));
    assert_eq!(facts.version, version);
    assert_eq!(facts.cgroup_version.to_string(), cgroup.trim_start_matches('v'));
    assert_eq!(facts.rootless, rootless == "true" || rootless.contains("name=rootless"), "{rootless}");
    assert!(facts.local && !facts.api_version.is_empty());
    let (kind, gaps): (_, &[Gap]) = match lab.which {
        Which::Docker | Which::Docker26 => (EngineKind::Docker, &[]),
        Which::Podman => {
            (EngineKind::Podman, &[Gap::CpuLimit, Gap::MemoryLimit, Gap::PidsLimit, Gap::BuildMounts])
        }
        // How it is registered decides whether filters are loaded.
        Which::Gvisor if report["Runtimes"]["runsc"]["runtimeArgs"].to_string().contains("oci-seccomp") => {
            (EngineKind::Gvisor, &[Gap::PidsLimit, Gap::CopyIn])
        }
        Which::Gvisor => (EngineKind::Gvisor, &[Gap::PidsLimit, Gap::CopyIn, Gap::Seccomp]),
    };
    assert_eq!(facts.kind, kind);
    if lab.which == Which::Podman && facts.cgroup_version == 2 {
        assert!(facts.gaps.iter().all(|gap| gaps.contains(gap)), "{:?}", facts.gaps);
    } else {
        assert_eq!(facts.gaps, gaps);
    }
    assert_eq!(facts.direct_attach(), lab.which != Which::Gvisor);
    // The facts survive a round through a file, as a cache keeps them.
    let text = serde_json::to_string(facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), *facts);
}

pub(crate) async fn a_known_engine_is_connected_without_asking(lab: Arc<Lab>) {
    let facts = lab.engine.facts().clone();
    let path = facts.endpoint.strip_prefix("unix://").unwrap();
    let chosen = Chosen::at(facts.kind, Endpoint::Unix(path.into()));
    let again = Runtime::connect_known(&chosen, facts.clone()).unwrap();
    assert_eq!(*again.facts(), facts);
    let name = lab.start(&lab.spec("known")).await;
    let found = again.container(&name).await.unwrap().unwrap();
    assert_eq!(found.state, ContainerState::Running);
    assert_eq!(again.containers(&lab.labels).await.unwrap().len(), 1);
}
