//! Named volumes.

use std::sync::Arc;

use podspawn_runtimes::*;

use crate::lab::{Lab, stat_script};

pub(crate) async fn a_volume_outlives_its_containers(lab: Arc<Lab>) {
    let name = lab.name("data");
    lab.engine.create_volume(&name, &lab.labels).await.unwrap();
    let mount = |read_only| Mount::Volume { name: name.clone(), target: "/data".into(), read_only };
    let writer = lab.start(&ContainerSpec { mounts: vec![mount(false)], ..lab.spec("writer") }).await;
    assert_eq!(lab.sh(&writer, "echo kept > /data/file && chown 1000:1000 /data/file").await.code, 0);
    lab.engine.remove_container(&writer).await.unwrap();
    let reader = lab.start(&ContainerSpec { mounts: vec![mount(true)], ..lab.spec("reader") }).await;
    let look = format!("cat /data/file; {}; echo x > /data/new", stat_script("/data/file"));
    let output = lab.sh(&reader, &look).await;
    assert_eq!(output.out, "kept\n644 1000:1000 /data/file\n", "{output:?}");
    assert!(output.err.contains("Read-only file system"), "{output:?}");
    assert!(lab.engine.remove_volume(&name).await.is_err(), "a volume in use stays");
    lab.engine.remove_container(&reader).await.unwrap();
    lab.engine.remove_volume(&name).await.unwrap();
}

pub(crate) async fn volumes_are_listed_by_label_and_removed(lab: Arc<Lab>) {
    let mut labels = lab.labels.clone();
    labels.insert("purpose".into(), "listing".into());
    let (first, second) = (lab.name("first"), lab.name("second"));
    lab.engine.create_volume(&first, &labels).await.unwrap();
    lab.engine.create_volume(&first, &labels).await.expect("there already is no error");
    lab.engine.create_volume(&second, &lab.labels).await.unwrap();
    let listed = lab.engine.volumes(&labels).await.unwrap();
    assert_eq!(listed, [VolumeInfo { name: first.clone(), labels: labels.clone() }]);
    let any = Labels::from([("purpose".into(), String::new())]);
    assert!(lab.engine.volumes(&any).await.unwrap().iter().any(|volume| volume.name == first));
    assert_eq!(lab.engine.volumes(&lab.labels).await.unwrap().len(), 2);
    for name in [&first, &second, &first] {
        lab.engine.remove_volume(name).await.unwrap();
    }
    assert_eq!(lab.engine.volumes(&lab.labels).await.unwrap(), []);
}
