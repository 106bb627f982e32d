//! Repositories with Podfiles, and the images that their services are made of.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use podspawn_runtimes::{Chosen, Endpoint, Engine, EngineKind, Runtime};

use crate::harness::engines::{EngineName, fact};
use crate::harness::{Env, json};
use crate::services::lab::make_image;

/// A database that takes 5 s before it begins: whoever does not wait for it meets a closed port.
const POSTGRES: &str = r#"#!/bin/sh
set -e
sleep 5
bin=$(echo /usr/lib/postgresql/*/bin)
as() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if [ ! -s /data/PG_VERSION ]; then
    mkdir -p /data
    chown postgres:postgres /data
    chmod 700 /data
    printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
    chmod 644 /tmp/password
    as "$bin/initdb" -D /data -U postgres --pwfile=/tmp/password -A scram-sha-256 >/dev/null
    echo 'host all all all scram-sha-256' | as tee -a /data/pg_hba.conf >/dev/null
    echo "CREATE DATABASE $POSTGRES_DB" | as "$bin/postgres" --single -D /data postgres >/dev/null
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups "$bin/postgres" -D /data -c listen_addresses='*'
"#;

/// The tests of the project: they speak to both services.
const TEST: &str = r#"import os, psycopg2, redis

db = psycopg2.connect(os.environ["DATABASE_URL"])
with db, db.cursor() as cursor:
    cursor.execute("SELECT name FROM users ORDER BY id")
    assert [row[0] for row in cursor.fetchall()] == ["ann"], "made by on_create"
    cursor.execute("INSERT INTO users (name) VALUES ('bob') RETURNING id")
    assert cursor.fetchone()[0] == 2
db.rollback()
with db, db.cursor() as cursor:
    cursor.execute("DELETE FROM users WHERE name = 'bob'")
    cursor.execute("ALTER SEQUENCE users_id_seq RESTART WITH 2")
cache = redis.Redis(host="cache")
assert cache.get("greeting") == b"hello", "put there by on_create"
print("2 passed")
"#;

const SCHEMA: &str = "CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);\n\
                      INSERT INTO users (name) VALUES ('ann');\n";

/// What the project's tests and hooks need.
const PACKAGES: [&str; 4] = ["python3-psycopg2", "python3-redis", "postgresql-client", "redis-tools"];

/// Files of a small project with a database and a cache, whose image is built from the distribution's packages.
pub fn api_files() -> Vec<(&'static str, String)> {
    files(fact("IMAGE_DEBIAN"), &format!("packages: [{}]\n", PACKAGES.join(", ")))
}

/// The same on an image of [`make_api_image`] that has the packages: it is built several times in no time.
pub fn prepared_api_files() -> Vec<(&'static str, String)> {
    files(&tag("api"), "")
}

fn files(base: &str, packages: &str) -> Vec<(&'static str, String)> {
    let podfile = format!(
        "base: {base}\n{packages}\
         env:\n  DATABASE_URL: postgres://postgres:devpass@postgres:5432/testdb\n  WHO: ${{PODSPAWN_USER}}\n\
         services:\n\
         \x20 - name: postgres\n    image: {postgres}\n    ports: [5432]\n    env:\n      POSTGRES_PASSWORD: devpass\n\
         \x20     POSTGRES_DB: testdb\n    volumes: ['pgdata:/data']\n\
         \x20 - name: cache\n    image: {redis}\n    ports: [6379]\n\
         on_create: |\n\
         \x20 # for a moment it answers that it is starting up\n\
         \x20 while pg_isready -q -h postgres; [ $? = 1 ]; do sleep 0.1; done\n\
         \x20 cd /workspace/api && psql -q \"$DATABASE_URL\" -f schema.sql && redis-cli -h cache set greeting hello\n\
         \x20 echo created >> ~/created\n\
         on_start: |\n  echo started >> ~/started\n",
        postgres = tag("postgres"),
        redis = tag("redis"),
    );
    vec![("podfile.yaml", podfile), ("schema.sql", SCHEMA.into()), ("test_api.py", TEST.into())]
}

/// An image of [`make_backends`] or [`make_api_image`]: `postgres`, `redis` or `api`.
pub fn tag(name: &str) -> String {
    format!("podspawn-test/backend-{name}:1")
}

/// Makes the images of the services where the engine does not have them: packages of the distribution.
pub fn make_backends(engine: EngineName) {
    make_once(engine, &["postgres", "redis"], async |runtime| {
        let both = format!(
            "{}COPY postgres /postgres\n",
            from_packages(fact("IMAGE_DEBIAN"), &["postgresql", "redis-server"])
        );
        make_image(runtime, &tag("both"), &[("Dockerfile", &both), ("postgres", POSTGRES)]).await;
        for (name, command) in [
            ("postgres", r#"["sh", "/postgres"]"#),
            ("redis", r#"["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]"#),
        ] {
            let text = format!("FROM {}\nCMD {command}\n", tag("both"));
            make_image(runtime, &tag(name), &[("Dockerfile", &text)]).await;
        }
    });
}

/// Makes the image of [`prepared_api_files`] where the engine does not have it.
pub fn make_api_image(engine: EngineName) {
    make_once(engine, &["api"], async |runtime| {
        let text = from_packages(fact("IMAGE_SUDO"), &PACKAGES);
        make_image(runtime, &tag("api"), &[("Dockerfile", &text)]).await;
    });
}

fn from_packages(base: &str, packages: &[&str]) -> String {
    format!(
        "FROM {base}\nRUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {} && \
         rm -rf /var/lib/apt/lists/*\n",
        packages.join(" ")
    )
}

/// Makes images unless the engine has all of them, one story after the other.
fn make_once(engine: EngineName, names: &[&str], make: impl AsyncFnOnce(&Runtime)) {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let kind = if engine == EngineName::Podman { EngineKind::Podman } else { EngineKind::Docker };
        let chosen = Chosen::at(kind, Endpoint::Unix(engine.socket().into()));
        let runtime = Runtime::connect(&chosen).await.expect("the engine answers");
        for name in names {
            if runtime.image(&tag(name)).await.expect("look for an image").is_none() {
                return make(&runtime).await;
            }
        }
    });
}

/// A directory of this environment that holds those files, owned by whoever runs podspawn; root's are given to 1000.
pub fn directory(env: &Env, name: &str, files: &[(&str, String)]) -> PathBuf {
    let directory = env.home().join(name);
    std::fs::create_dir_all(&directory).expect("mkdir");
    for (file, content) in files {
        let path = directory.join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(&path, content).expect("write");
        own(env, &path);
    }
    own(env, &directory);
    directory
}

fn own(env: &Env, path: &Path) {
    let (uid, gid) = match env.engine.and_then(EngineName::account) {
        Some(account) => (account.uid, account.gid),
        None => (1000, 1000),
    };
    chown(path, Some(uid), Some(gid)).expect("chown");
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A Podfile with nothing but a base, and further lines.
pub fn podfile(further: &str) -> Vec<(&'static str, String)> {
    vec![("podfile.yaml", format!("base: {}\n{further}", fact("IMAGE_SUDO")))]
}

/// The one row of `list --output json`.
pub fn only_row(env: &Env) -> serde_json::Value {
    let all = json::parse(&env.podspawn(["list", "--output", "json"]).run().ok());
    let rows = all.as_array().expect("a list").clone();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().expect("one")
}

/// Removes images that podspawn has built for a session or project.
pub fn forget_images(env: &Env, name: &str) {
    let Some(engine) = env.engine else { return };
    let mut cli = engine.cli();
    let listed = cli.args(["images", "--format", "{{.Repository}}:{{.Tag}}"]).output().expect("list images");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for image in listed.lines().filter(|image| image.contains(&format!("podspawn/{name}:"))) {
        let _ = engine.cli().args(["rmi", image]).output();
    }
}
