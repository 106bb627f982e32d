//! Rows about a store with many sessions. The sessions are made up: they name this process as their container's first one.

use std::path::Path;

use jiff::SignedDuration;
use podspawn::names::SessionKey;
use podspawn::spec::{Kind, Limits, Mode};
use podspawn::state::{
    AttachWay, FirstProcess, Lease, Leases, Object, ObjectKind, SessionRecord, SetupState, Status, Store,
};
use podspawn::system::process::{boot_id, start_time};
use podspawn::system::{Clock, SystemClock};

use crate::Result;
use crate::engines::{Facts, Place, output};
use crate::measure::{Pairs, seconds};
use crate::proxy::Proxy;
use crate::report::{Budget, Row};

type Measure = fn(&Facts, &Path, usize) -> Result<Vec<Row>>;

pub(crate) const ROWS: &[(&str, Measure)] = &[
    ("list and status with 1,000 sessions", list_and_status),
    ("cleanup with 1,000 sessions, 10 expired", cleanup),
];

/// Fills the place's store; the leases must be kept as long as the sessions shall have connections.
fn fill(place: &Place, engine: &str, running: usize, expired: usize) -> Result<(Store, Vec<Lease>)> {
    let directory = place.home().join(".podspawn");
    let store = Store::open(&directory.join("state.db"))?;
    let leases = Leases::new(directory.join("locks/leases"));
    let mut held = Vec::new();
    for number in 0..running + expired {
        let record = record(place, engine, number, number >= running)?;
        let objects = [
            Object { kind: ObjectKind::Container, name: record.container_name.clone(), id: None },
            Object { kind: ObjectKind::Network, name: record.key.network_name(), id: None },
        ];
        if number < running {
            held.push(leases.take(&record.id)?);
        }
        store.insert(&record, &objects, Limits::default())?;
    }
    Ok((store, held))
}

fn record(place: &Place, engine: &str, number: usize, expired: bool) -> Result<SessionRecord> {
    let key = SessionKey::machine(place.user.parse()?, format!("m{number}").parse()?);
    let now = SystemClock.now();
    let pid = i32::try_from(std::process::id())?;
    let process = FirstProcess {
        pid,
        start_time: start_time(pid)?.ok_or("this process has no start time")?,
        boot_id: boot_id()?,
    };
    Ok(SessionRecord {
        id: format!("00000000-0000-7000-8000-{number:012}"),
        container_id: format!("{number:064x}"),
        container_name: key.container_name(),
        network_id: format!("{number:064x}"),
        key,
        kind: if expired { Kind::Session } else { Kind::Machine },
        status: if expired { Status::GracePeriod } else { Status::Running },
        image: "podspawn-test/debian:12".into(),
        service_ids: Vec::new(),
        mode: Mode::GracePeriod,
        grace_seconds: 60,
        shell: "/bin/bash".into(),
        account: place.user.clone(),
        created_at: now - SignedDuration::from_hours(1),
        last_activity: now - SignedDuration::from_hours(1),
        max_lifetime: None,
        grace_expiry: expired.then(|| now - SignedDuration::from_mins(1)),
        attach: AttachWay::Direct,
        socket_dir: None,
        process: Some(process),
        attached: true,
        start_dir: None,
        setup: SetupState::Done,
        engine: engine.to_owned(),
    })
}

fn list_and_status(facts: &Facts, program: &Path, count: usize) -> Result<Vec<Row>> {
    let place = Place::docker(facts, program)?;
    let (_store, _held) = fill(&place, &format!("docker unix://{}", facts.get("DOCKER_SOCKET")?), 1000, 0)?;
    let mut rows = Vec::new();
    for command in ["list", "status"] {
        let mut times = Vec::new();
        for _ in 0..=count {
            times.push(seconds(|| {
                let text = output(place.podspawn(&[command]))?;
                if text.contains("1000 active") || text.lines().count() == 1001 {
                    Ok(())
                } else {
                    Err(format!("`podspawn {command}` does not show 1000 sessions: {text}").into())
                }
            })?);
        }
        rows.push(Row {
            name: format!("{command} with 1,000 connected sessions"),
            engine: "-",
            against: "-",
            unit: "s",
            pairs: Pairs { ours: times.split_off(1), theirs: Vec::new() },
            budget: Budget::SecondsAtMost(0.05),
        });
    }
    Ok(rows)
}

/// The engine's requests of one pass with 1,000 sessions, against a pass with as many expired and no others.
fn cleanup(facts: &Facts, program: &Path, _count: usize) -> Result<Vec<Row>> {
    let mut pairs = Pairs::default();
    for (running, into) in [(990, &mut pairs.ours), (0, &mut pairs.theirs)] {
        let place = Place::docker(facts, program)?;
        let proxy = Proxy::start(place.home().join("engine.sock"), Path::new(facts.get("DOCKER_SOCKET")?))?;
        let endpoint = format!("unix://{}", proxy.socket().display());
        let (store, _held) = fill(&place, &format!("docker {endpoint}"), running, 10)?;
        proxy.take();
        let mut command = place.podspawn(&["cleanup"]);
        command.env("DOCKER_HOST", &endpoint);
        output(command)?;
        into.push(proxy.take() as f64);
        let left = store.all()?.len();
        if left != running {
            return Err(format!("cleanup left {left} sessions of {running}").into());
        }
    }
    Ok(vec![Row {
        name: "cleanup: engine calls, 1,000 sessions, 10 expired".into(),
        engine: "Docker",
        against: "10 sessions, 10 expired",
        unit: "calls",
        pairs,
        budget: Budget::RatioAtMost(1.1),
    }])
}
