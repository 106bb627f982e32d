//! Tests of the store.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::spec::{Kind, Mode};
use crate::state::{AttachWay, FirstProcess, SetupState, Status};

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("podspawn-store-").tempdir().unwrap()
}

fn record(user: &str, project: &str) -> SessionRecord {
    let now = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
    SessionRecord {
        id: format!("{user}/{project}"),
        key: SessionKey { user: user.parse().unwrap(), name: project.parse().ok() },
        kind: Kind::Session,
        status: Status::GracePeriod,
        container_id: "c".repeat(64),
        container_name: format!("podspawn-{user}-{project}"),
        image: "debian:12".into(),
        network_id: "n".repeat(64),
        service_ids: vec!["one".into(), "two".into()],
        mode: Mode::GracePeriod,
        grace_seconds: 60,
        shell: "/bin/bash".into(),
        account: user.into(),
        created_at: now,
        last_activity: now,
        max_lifetime: Some(Timestamp::MAX.round(jiff::Unit::Second).unwrap_or(now)),
        grace_expiry: Some(now),
        attach: AttachWay::Direct,
        socket_dir: Some("/somewhere".into()),
        process: Some(FirstProcess { pid: 7, start_time: u64::MAX / 2, boot_id: "boot".into() }),
        attached: true,
        start_dir: None,
        setup: SetupState::Done,
        engine: "Docker /var/run/docker.sock".into(),
    }
}

const ANY: Limits = Limits { max_per_user: None, max_containers: None };

#[test]
fn what_is_written_is_read_back() {
    let dir = directory();
    let store = Store::open(&dir.path().join("a/b/state.db")).unwrap();
    let full = record("ann", "web");
    let mut bare = record("bob", "");
    bare.status = Status::Creating;
    (bare.grace_expiry, bare.max_lifetime, bare.process, bare.socket_dir) = (None, None, None, None);
    bare.service_ids.clear();
    bare.attach = AttachWay::Engine;
    let objects = [
        Object { kind: ObjectKind::Container, name: "c".into(), id: None },
        Object { kind: ObjectKind::Directory, name: "/d".into(), id: None },
    ];
    store.insert(&full, &objects, ANY).unwrap();
    store.insert(&bare, &[], ANY).unwrap();
    assert_eq!(store.all().unwrap(), [full.clone(), bare.clone()]);
    assert_eq!(store.find(&bare.key).unwrap(), Some(bare.clone()));
    assert_eq!(store.of_user(&full.key.user).unwrap(), std::slice::from_ref(&full));

    store.set_object_id(&full.id, ObjectKind::Container, "c", "id").unwrap();
    store.remove_object(&full.id, ObjectKind::Directory, "/d").unwrap();
    let left = [Object { kind: ObjectKind::Container, name: "c".into(), id: Some("id".into()) }];
    assert_eq!(store.objects(&full.id).unwrap(), left);
    // Something that was left by whoever tried before is made anew under its name.
    store.add_object(&full.id, &Object { id: None, ..left[0].clone() }).unwrap();
    assert_eq!(store.objects(&full.id).unwrap(), [Object { id: None, ..left[0].clone() }]);

    bare.status = Status::Running;
    bare.container_id = "new".into();
    assert!(store.update(&bare).unwrap());
    assert_eq!(store.get(&bare.id).unwrap(), Some(bare.clone()));
    store.delete(&full.id).unwrap();
    assert_eq!(store.objects(&full.id).unwrap(), [], "what a session owned goes with its row");
    assert!(!store.update(&full).unwrap());
}

#[test]
fn a_key_is_there_once() {
    let dir = directory();
    let store = Store::open(&dir.path().join("state.db")).unwrap();
    store.insert(&record("ann", "web"), &[], ANY).unwrap();
    let mut again = record("ann", "web");
    again.id = "another".into();
    assert!(matches!(store.insert(&again, &[], ANY), Err(StoreError::Exists { .. })));
    let mut nonsense = record("ann", "other");
    nonsense.grace_expiry = None;
    assert!(
        matches!(store.insert(&nonsense, &[], ANY), Err(StoreError::Other { .. })),
        "in grace without an end"
    );
}

#[test]
fn the_database_and_its_side_files_are_private() {
    let dir = directory();
    let path = dir.path().join("home/state.db");
    let store = Store::open(&path).unwrap();
    store.insert(&record("ann", "web"), &[], ANY).unwrap();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = dir.path().join("home").join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    assert_eq!(dir.path().join("home").metadata().unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn the_installation_keeps_its_id_and_every_installation_has_its_own() {
    let dir = directory();
    let open = |name: &str| Store::open(&dir.path().join(name)).unwrap().installation().to_owned();
    let first = open("one.db");
    assert_eq!(open("one.db"), first);
    assert_ne!(open("two.db"), first);
}

#[test]
fn many_that_open_a_new_database_at_once_agree() {
    let dir = directory();
    let path = dir.path().join("state.db");
    let ids: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..8)
            .map(|number| {
                let path = &path;
                scope.spawn(move || {
                    let store = Store::open(path).unwrap();
                    store.insert(&record("ann", &format!("m{number}")), &[], ANY).unwrap();
                    store.installation().to_owned()
                })
            })
            .collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1);
    assert_eq!(Store::open(&path).unwrap().all().unwrap().len(), 8);
}

#[test]
fn a_database_left_empty_by_a_crash_is_set_up() {
    let dir = directory();
    let path = dir.path().join("state.db");
    std::fs::write(&path, "").unwrap();
    assert_eq!(Store::open(&path).unwrap().all().unwrap(), []);
}

/// One line, and it names the file.
fn refusal(path: &Path) -> String {
    let text = Store::open(path).unwrap_err().to_string();
    assert!(!text.contains('\n') && text.contains(&*path.to_string_lossy()), "{text}");
    text
}

#[test]
fn what_is_no_database_is_refused_in_one_line_that_names_it() {
    let dir = directory();
    let path = dir.path().join("state.db");
    std::fs::create_dir(&path).unwrap();
    assert!(refusal(&path).ends_with("is a directory"));

    let path = dir.path().join("garbage.db");
    std::fs::write(&path, "this is no database, whatever its name says. ".repeat(100)).unwrap();
    assert!(refusal(&path).contains("damaged or no database"));

    let path = dir.path().join("newer.db");
    drop(Store::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE schema_version SET version = 99", []).unwrap();
    drop(connection);
    assert!(
        refusal(&path)
            .contains(&format!("has version 99, but this podspawn knows only up to {}", migrations::CURRENT))
    );

    let path = dir.path().join("file/state.db");
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(refusal(&path).contains("cannot be used"));
}

#[test]
fn a_row_that_no_podspawn_writes_is_an_error_and_not_a_guess() {
    let dir = directory();
    let path = dir.path().join("state.db");
    let store = Store::open(&path).unwrap();
    store.insert(&record("ann", "web"), &[], ANY).unwrap();
    Connection::open(&path).unwrap().execute("UPDATE sessions SET project = '../etc'", []).unwrap();
    let error = store.all().unwrap_err();
    assert!(matches!(&error, StoreError::Row { .. }), "{error}");
}

#[test]
fn opening_takes_little_time() {
    let dir = directory();
    let path = dir.path().join("state.db");
    drop(Store::open(&path).unwrap());
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        drop(Store::open(&path).unwrap());
    }
    let each = begun.elapsed() / 20;
    // About a millisecond on an idle machine; other tests run beside this one.
    assert!(each < Duration::from_millis(50), "{each:?}");
}
