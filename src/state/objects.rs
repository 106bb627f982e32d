//! What sessions own outside the database.

use rusqlite::{Connection, params};

use super::record::{Object, ObjectKind};
use super::rows::Word;

/// Writes down what is about to be made. What is there already under its name, left by whoever tried before, is made anew.
pub(super) fn insert(connection: &Connection, session: &str, objects: &[Object]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO objects (session, position, kind, name, object_id)
         VALUES (?1, (SELECT count(*) FROM objects WHERE session = ?1), ?2, ?3, ?4)
         ON CONFLICT (session, kind, name) DO UPDATE SET object_id = excluded.object_id",
    )?;
    for object in objects {
        statement.execute(params![session, Word(object.kind), object.name, object.id])?;
    }
    Ok(())
}

pub(super) fn set_id(
    connection: &Connection,
    session: &str,
    kind: ObjectKind,
    name: &str,
    id: &str,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("UPDATE objects SET object_id = ?4 WHERE session = ?1 AND kind = ?2 AND name = ?3")?
        .execute(params![session, Word(kind), name, id])
}

pub(super) fn remove(
    connection: &Connection,
    session: &str,
    kind: ObjectKind,
    name: &str,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM objects WHERE session = ?1 AND kind = ?2 AND name = ?3")?
        .execute(params![session, Word(kind), name])
}

pub(super) fn remove_all(
    connection: &Connection,
    session: &str,
    kind: ObjectKind,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM objects WHERE session = ?1 AND kind = ?2")?
        .execute(params![session, Word(kind)])
}

pub(super) fn of(connection: &Connection, session: &str) -> rusqlite::Result<Vec<Object>> {
    connection
        .prepare_cached("SELECT kind, name, object_id FROM objects WHERE session = ?1 ORDER BY position")?
        .query_map([session], |row| {
            Ok(Object { kind: row.get::<_, Word<ObjectKind>>(0)?.0, name: row.get(1)?, id: row.get(2)? })
        })?
        .collect()
}
