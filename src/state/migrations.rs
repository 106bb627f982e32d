//! The versions of the database, one step each.
//!
//! A step runs in one transaction together with the new version number: after a crash it has happened wholly or not at
//! all, and the next start repeats it.

use rusqlite::{Connection, TransactionBehavior};

/// The steps, oldest first. What was released is never changed: a correction is a further step.
const STEPS: &[&str] = &[V1, V2, V3];

/// The version that this program writes.
pub(super) const CURRENT: i64 = STEPS.len() as i64;

const V1: &str = "
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE sessions (
    id             TEXT    NOT NULL UNIQUE,
    user           TEXT    NOT NULL,
    project        TEXT    NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('machine', 'throwaway', 'session')),
    status         TEXT    NOT NULL CHECK (status IN ('creating', 'running', 'grace_period', 'destroying')),
    container_id   TEXT    NOT NULL DEFAULT '',
    container_name TEXT    NOT NULL,
    image          TEXT    NOT NULL,
    network_id     TEXT    NOT NULL DEFAULT '',
    service_ids    TEXT    NOT NULL DEFAULT '',
    mode           TEXT    NOT NULL CHECK (mode IN ('grace-period', 'destroy-on-disconnect', 'persistent')),
    grace_seconds  INTEGER NOT NULL CHECK (grace_seconds >= 0),
    shell          TEXT    NOT NULL,
    account        TEXT    NOT NULL,
    -- Times are microseconds since the epoch, UTC.
    created_at     INTEGER NOT NULL,
    last_activity  INTEGER NOT NULL,
    max_lifetime   INTEGER,
    grace_expiry   INTEGER CHECK ((grace_expiry IS NOT NULL) = (status = 'grace_period')),
    attach         TEXT    NOT NULL CHECK (attach IN ('direct', 'engine')),
    socket_dir     TEXT,
    process_pid    INTEGER,
    process_start  INTEGER,
    process_boot   TEXT,
    engine         TEXT    NOT NULL,
    PRIMARY KEY (user, project),
    CHECK ((process_pid IS NULL) = (process_start IS NULL) AND (process_pid IS NULL) = (process_boot IS NULL))
) STRICT;

-- What a session owns outside the database: by name before it is made, by id after.
CREATE TABLE objects (
    session   TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    position  INTEGER NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind IN ('container', 'network', 'volume', 'directory')),
    name      TEXT    NOT NULL,
    object_id TEXT,
    PRIMARY KEY (session, kind, name)
) STRICT;
";

/// Sessions that so far only lend their network to forwarding; nobody has attached to them.
const V2: &str = "
ALTER TABLE sessions ADD COLUMN attached INTEGER NOT NULL DEFAULT 1 CHECK (attached IN (0, 1));
";

/// What a Podfile adds: where shells start, how far the setup inside has come, and checkouts that outlive containers.
const V3: &str = "
ALTER TABLE sessions ADD COLUMN start_dir TEXT;
ALTER TABLE sessions ADD COLUMN setup TEXT NOT NULL DEFAULT 'done' CHECK (setup IN ('pending', 'done', 'failed'));

CREATE TABLE workspaces (
    id               TEXT    NOT NULL UNIQUE,
    user             TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    project          TEXT    NOT NULL,
    repo_url         TEXT    NOT NULL,
    branch           TEXT    NOT NULL,
    workspace_path   TEXT    NOT NULL,
    workspace_target TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    initialized      INTEGER NOT NULL DEFAULT 0 CHECK (initialized IN (0, 1)),
    head_commit      TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (user, name)
) STRICT;
";

/// The version of an open database; 0 for one that has no table yet.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let exists: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version')",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(0);
    }
    connection.query_row("SELECT version FROM schema_version", [], |row| row.get(0))
}

/// Brings a database up to [`CURRENT`]. `new_installation` is the id of a database that has none yet.
pub(super) fn migrate(connection: &mut Connection, new_installation: &str) -> rusqlite::Result<()> {
    migrate_with(connection, new_installation, STEPS)
}

fn migrate_with(connection: &mut Connection, new_installation: &str, steps: &[&str]) -> rusqlite::Result<()> {
    for (index, step) in (0i64..).zip(steps) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Asked again in each transaction: another process may have been quicker.
        if version(&transaction)? > index {
            continue;
        }
        transaction.execute_batch(step)?;
        if index == 0 {
            transaction.execute_batch(
                "CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
                                INSERT INTO schema_version VALUES (0);",
            )?;
            transaction
                .execute("INSERT INTO meta (key, value) VALUES ('installation', ?1)", [new_installation])?;
        }
        transaction.execute("UPDATE schema_version SET version = ?1", [index + 1])?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_step_leaves_the_old_version_and_is_repeated() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate_with(&mut db, "one", STEPS).unwrap();
        // A step that fails half-way, as a full disk or a killed process would make it.
        let broken =
            [V1, V2, V3, "CREATE TABLE extra (a INTEGER) STRICT; CREATE TABLE sessions (a INTEGER);"];
        assert!(migrate_with(&mut db, "one", &broken).is_err());
        assert_eq!(version(&db).unwrap(), CURRENT);
        let fixed = [V1, V2, V3, "CREATE TABLE extra (a INTEGER) STRICT;"];
        migrate_with(&mut db, "one", &fixed).unwrap();
        assert_eq!(version(&db).unwrap(), CURRENT + 1);
        migrate_with(&mut db, "one", &fixed).unwrap();
        assert_eq!(version(&db).unwrap(), CURRENT + 1);
    }

    #[test]
    fn the_installation_id_stays_what_it_was_first() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, "first").unwrap();
        migrate(&mut db, "second").unwrap();
        let id: String =
            db.query_row("SELECT value FROM meta WHERE key = 'installation'", [], |row| row.get(0)).unwrap();
        assert_eq!(id, "first");
    }
}
