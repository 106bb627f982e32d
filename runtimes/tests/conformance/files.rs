//! Files in and out.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use podspawn_runtimes::*;

use crate::lab::{Lab, Which, assert_unsupported, stat_script};

fn archive() -> Bytes {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, mode, owner: (u64, u64), content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_size(content.len() as u64);
        if kind == tar::EntryType::Symlink {
            header.set_size(0);
            archive.append_link(&mut header, name, std::str::from_utf8(content).unwrap()).unwrap();
        } else {
            archive.append_data(&mut header, name, content).unwrap();
        }
    };
    add("tree/", tar::EntryType::Directory, 0o750, (1000, 1001), b"");
    add("tree/plain", tar::EntryType::Regular, 0o640, (1000, 1001), b"content\n");
    add("tree/program", tar::EntryType::Regular, 0o4755, (0, 0), b"#!/bin/sh\nexit 0\n");
    add("tree/link", tar::EntryType::Symlink, 0o777, (1000, 1000), b"plain");
    let long = format!("tree/{}", "long-".repeat(40));
    add(&long, tar::EntryType::Regular, 0o600, (65534, 65534), b"");
    archive.into_inner().unwrap().into()
}

fn look() -> String {
    format!(
        "cd /srv/tree && {}; readlink link; cat plain; ls | wc -l",
        stat_script(". plain program link long-*")
    )
}

fn seen() -> String {
    let long = "long-".repeat(40);
    format!(
        "750 1000:1001 .\n640 1000:1001 plain\n4755 0:0 program\n777 1000:1000 link\n600 65534:65534 {long}\n\
         plain\ncontent\n4\n"
    )
}

pub(crate) async fn files_go_in_with_owners_and_modes(lab: Arc<Lab>) {
    let before = lab.spec("before");
    lab.engine.create_container(&before).await.unwrap();
    lab.engine.copy_in(&before.name, "/srv", archive()).await.expect("into one that was never started");
    lab.engine.start_container(&before.name).await.unwrap();
    assert_eq!(lab.sh(&before.name, &look()).await.out, seen());
    let running = lab.start(&ContainerSpec { user: Some("1000".into()), ..lab.spec("running") }).await;
    let copied = lab.engine.copy_in(&running, "/srv", archive()).await;
    if lab.engine.facts().lacks(Gap::CopyIn) {
        assert_unsupported(copied);
        return;
    }
    copied.expect("into a running one");
    let look = ExecSpec { user: Some("0".into()), argv: crate::lab::argv(&look()), ..ExecSpec::default() };
    let output = lab.exec(&running, look, &[]).await;
    assert_eq!(output.out, seen(), "whatever the container's user: {output:?}");
}

pub(crate) async fn files_come_out_as_they_are(lab: Arc<Lab>) {
    let name = lab.start(&lab.spec("out")).await;
    let make = "mkdir -p /srv/tree/sub && cd /srv/tree && echo content > plain && chmod 640 plain && \
                chown 1000:1001 plain && ln -s plain link && head -c 3M /dev/urandom > sub/noise && sha256sum sub/noise";
    let hash = lab.sh(&name, make).await.out;
    let mut chunks = match lab.engine.copy_out(&name, "/srv/tree").await {
        // Sandboxes from 2023 on keep what is written in them to themselves.
        Err(EngineError::NotFound { .. }) if lab.which == Which::Gvisor => return,
        chunks => chunks.unwrap(),
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    let mut found = BTreeMap::new();
    let mut noise = Vec::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        let header = entry.header();
        let facts = (header.mode().unwrap() & 0o7777, header.uid().unwrap(), header.gid().unwrap());
        if path == "tree/sub/noise" {
            entry.read_to_end(&mut noise).unwrap();
        }
        found.insert(path, facts);
    }
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["tree", "tree/link", "tree/plain", "tree/sub", "tree/sub/noise"]);
    assert_eq!(found["tree/plain"], (0o640, 1000, 1001));
    assert!(hash.starts_with(&crate::exec::hex_digest(&noise)), "{hash}");
}

pub(crate) async fn a_missing_path_is_named(lab: Arc<Lab>) {
    let spec = lab.spec("missing");
    lab.engine.create_container(&spec).await.unwrap();
    let error = lab.engine.copy_out(&spec.name, "/no/such").await.err().expect("no such path");
    assert!(error.is_not_found() && error.to_string().contains("/no/such"), "{error:?}");
    if lab.which != Which::Podman {
        // Podman makes the directory.
        assert!(lab.engine.copy_in(&spec.name, "/no/such", archive()).await.is_err());
    }
    let nobody = lab.name("none");
    assert!(lab.engine.copy_out(&nobody, "/etc").await.err().expect("no container").is_not_found());
    assert!(lab.engine.copy_in(&nobody, "/etc", archive()).await.unwrap_err().is_not_found());
}
