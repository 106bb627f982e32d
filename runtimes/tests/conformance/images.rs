//! Images that are there, that come, and that do not.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use podspawn_runtimes::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::lab::{Lab, Which};

pub(crate) async fn an_image_is_present_or_not(lab: Arc<Lab>) {
    let image = lab.engine.image(&lab.engines.image_debian).await.unwrap().expect("the image is there");
    assert!(image.id.starts_with("sha256:") && image.id.len() == 71, "{}", image.id);
    assert!(image.size > 10_000_000, "{}", image.size);
    assert_eq!(image.architecture, "amd64");
    let by_id = lab.engine.image(&image.id).await.unwrap().expect("the same by its id");
    assert_eq!(by_id.id, image.id);
    assert_eq!(lab.engine.image(&format!("{}/none:1", lab.prefix)).await.unwrap(), None);
    for bad in ["", "-x", "a b", "a/../b", "a?b", "a//b", "ä"] {
        assert!(lab.engine.image(bad).await.is_err(), "{bad:?} is no reference");
    }
}

/// A context with files of these names, contents and modes.
pub(crate) fn context(files: &[(&str, &[u8])]) -> Bytes {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap().into()
}

/// Builds an image with content of its own, pushes it to the registry, and removes it here. Its reference.
async fn pushed_image(lab: &Lab) -> String {
    let mut noise = vec![0; 4 << 20];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    let reference = format!("{}/{}:1", lab.engines.registry, lab.prefix);
    let spec = BuildSpec {
        tag: reference.clone(),
        dockerfile: "Dockerfile".into(),
        context_tar: context(&[("Dockerfile", b"FROM scratch\nCOPY noise /noise\n"), ("noise", &noise)]),
        args: Default::default(),
        target: None,
        labels: Labels::new(),
        // BuildKit would keep the layer in a cache of its own, and there would be nothing to pull.
        builder: Builder::Classic,
    };
    lab.engine.build(&spec, &mut |_| ()).await.unwrap();
    let socket = match lab.which {
        Which::Docker | Which::Gvisor => &lab.engines.docker_socket,
        Which::Docker26 => &lab.engines.docker26_socket,
        Which::Podman => &lab.engines.podman_socket,
    };
    let host = format!("unix://{}", socket.display());
    let push = Command::new(&lab.engines.docker_cli).args(["-H", &host, "push", &reference]).output().await;
    let push = push.unwrap();
    assert!(push.status.success(), "{}", String::from_utf8_lossy(&push.stderr));
    lab.engine.remove_image(&reference).await.unwrap();
    assert_eq!(lab.engine.image(&reference).await.unwrap(), None);
    reference
}

/// One request to the registry; the whole answer.
async fn registry(lab: &Lab, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(&lab.engines.registry).await.unwrap();
    let accept =
        "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
    let request = format!("{method} {path} HTTP/1.0\r\nHost: registry\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn remove_from_registry(lab: &Lab) {
    let head = registry(lab, "HEAD", &format!("/v2/{}/manifests/1", lab.prefix)).await;
    let digest = head.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: ")).unwrap().trim();
    let answer = registry(lab, "DELETE", &format!("/v2/{}/manifests/{digest}", lab.prefix)).await;
    assert!(answer.starts_with("HTTP/1.0 202") || answer.starts_with("HTTP/1.1 202"), "{answer}");
}

pub(crate) async fn a_pull_reports_progress_and_ends_with_the_image(lab: Arc<Lab>) {
    let reference = pushed_image(&lab).await;
    let mut steps = Vec::new();
    let pulled = lab.engine.pull(&reference, &mut |step| steps.push(step)).await;
    remove_from_registry(&lab).await;
    lab.remember_image(&reference);
    let pulled = pulled.unwrap();
    assert!(pulled.size >= 4 << 20, "{}", pulled.size);
    assert_eq!(lab.engine.image(&reference).await.unwrap(), Some(pulled));
    let layer = |wanted: &str| {
        let found = |step: &Progress| matches!(step, Progress::Layer { status, .. } if status == wanted);
        steps.iter().any(found)
    };
    assert!(layer("Pull complete") || layer("Download complete"), "{steps:?}");
    let major = lab.engine.facts().version.split('.').next().and_then(|major| major.parse().ok());
    if lab.which == Which::Podman || major.is_some_and(|major: u32| major >= 29) {
        // They count bytes now and then only, and this pull is over before.
        return;
    }
    let counted = |step: &Progress| matches!(step, Progress::Layer { current: Some(n), .. } if *n > 0);
    assert!(steps.iter().any(counted), "no byte was counted: {steps:?}");
}

pub(crate) async fn a_failed_pull_gives_the_answer_of_the_registry(lab: Arc<Lab>) {
    let failure = async |reference: &str| match lab.engine.pull(reference, &mut |_| ()).await {
        Err(EngineError::Pull { image, answer }) => {
            assert_eq!(image, reference);
            answer.to_lowercase()
        }
        other => panic!("expected a failed pull, got {other:?}"),
    };
    let unknown = failure(&format!("{}/podspawn-test/none:1", lab.engines.registry)).await;
    assert!(["manifest unknown", "not found"].iter().any(|words| unknown.contains(words)), "{unknown}");
    let nobody = failure("127.0.0.1:1/podspawn-test/none:1").await;
    assert!(nobody.contains("connection refused"), "{nobody}");
}

pub(crate) async fn an_image_gets_further_names_and_loses_them(lab: Arc<Lab>) {
    let (first, second) = (format!("{}/first:1", lab.prefix), format!("{}/second", lab.prefix));
    let original = lab.engine.image(&lab.engines.image_busybox).await.unwrap().unwrap();
    lab.remember_image(&first);
    lab.remember_image(&second);
    lab.engine.tag_image(&lab.engines.image_busybox, &first).await.unwrap();
    lab.engine.tag_image(&first, &second).await.unwrap();
    assert_eq!(lab.engine.image(&second).await.unwrap().unwrap().id, original.id);
    lab.engine.remove_image(&second).await.unwrap();
    assert_eq!(lab.engine.image(&second).await.unwrap(), None);
    assert_eq!(lab.engine.image(&first).await.unwrap().unwrap().id, original.id);
    lab.engine.remove_image(&second).await.expect("gone already is no error");
    let missing = lab.engine.tag_image(&second, &first).await.unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}
