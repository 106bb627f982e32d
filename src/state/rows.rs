//! How a record stands in its row.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, named_params};

use super::record::{AttachWay, FirstProcess, ObjectKind, SessionRecord, SetupState, Status, Timestamp};
use crate::names::{MachineName, SessionKey, UserName};
use crate::spec::{Kind, Mode};

/// Words of an enum in the database.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl ToSql for Word<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(match self.0 { $($type::$variant => $word),+ }.into())
            }
        }

        impl FromSql for Word<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_str()? {
                    $($word => Ok(Word($type::$variant)),)+
                    other => Err(FromSqlError::Other(format!("unknown word `{other}`").into())),
                }
            }
        }
    };
}

/// A value that stands in the database as a word.
pub(super) struct Word<T>(pub(super) T);

words!(Status { Creating = "creating", Running = "running", GracePeriod = "grace_period", Destroying = "destroying" });
words!(Kind { Machine = "machine", Throwaway = "throwaway", Session = "session" });
words!(Mode {
    GracePeriod = "grace-period",
    DestroyOnDisconnect = "destroy-on-disconnect",
    Persistent = "persistent",
});
words!(SetupState { Pending = "pending", Done = "done", Failed = "failed" });
words!(AttachWay { Direct = "direct", Engine = "engine" });
words!(ObjectKind { Container = "container", Network = "network", Volume = "volume", Directory = "directory" });

/// A time that stands in the database as microseconds since the epoch.
pub(super) struct Time(pub(super) Timestamp);

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_microsecond().into())
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let time = Timestamp::from_microsecond(value.as_i64()?);
        time.map(Time).map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// All columns in the order in which [`read`] wants them.
pub(super) const COLUMNS: &str = "id, user, project, kind, status, container_id, container_name, image, network_id, \
     service_ids, mode, grace_seconds, shell, account, created_at, last_activity, max_lifetime, grace_expiry, attach, \
     socket_dir, process_pid, process_start, process_boot, engine, attached, start_dir, setup";

/// Writes a whole row; the parameters are those of [`with_parameters`].
pub(super) const INSERT: &str = "INSERT INTO sessions (id, user, project, kind, status, container_id, container_name, \
     image, network_id, service_ids, mode, grace_seconds, shell, account, created_at, last_activity, max_lifetime, \
     grace_expiry, attach, socket_dir, process_pid, process_start, process_boot, engine, attached, start_dir, setup) \
     VALUES (:id, :user, :project, :kind, :status, :container_id, :container_name, :image, :network_id, :service_ids, \
     :mode, :grace_seconds, :shell, :account, :created_at, :last_activity, :max_lifetime, :grace_expiry, :attach, \
     :socket_dir, :process_pid, :process_start, :process_boot, :engine, :attached, :start_dir, :setup)";

/// Writes all that may change in a row's life, but for `setup`: that is written without the user's lock, and a copy of the
/// row that somebody read a moment ago must not take it back.
pub(super) const UPDATE: &str = "UPDATE sessions SET (status, container_id, network_id, service_ids, shell, \
     last_activity, grace_expiry, attach, socket_dir, process_pid, process_start, process_boot, attached) = (:status, \
     :container_id, :network_id, :service_ids, :shell, :last_activity, :grace_expiry, :attach, :socket_dir, \
     :process_pid, :process_start, :process_boot, :attached) WHERE id = :id";

/// Runs `statement` with the parameters of a whole row (or only those that may change, for [`UPDATE`]).
pub(super) fn with_parameters(
    connection: &rusqlite::Connection,
    statement: &str,
    record: &SessionRecord,
) -> rusqlite::Result<usize> {
    let process = record.process.as_ref();
    let services = record.service_ids.join(",");
    let pid = process.map(|process| process.pid);
    // The kernel's counter stays far below 2^63.
    let start = process.map(|process| process.start_time.cast_signed());
    let boot = process.map(|process| process.boot_id.as_str());
    let mut statement = connection.prepare_cached(statement)?;
    let all = named_params! {
        ":id": record.id,
        ":status": Word(record.status),
        ":container_id": record.container_id,
        ":network_id": record.network_id,
        ":service_ids": services,
        ":shell": record.shell,
        ":last_activity": Time(record.last_activity),
        ":grace_expiry": record.grace_expiry.map(Time),
        ":attach": Word(record.attach),
        ":socket_dir": record.socket_dir,
        ":process_pid": pid,
        ":process_start": start,
        ":process_boot": boot,
        ":attached": record.attached,
        ":user": record.key.user.as_str(),
        ":project": record.key.project(),
        ":kind": Word(record.kind),
        ":container_name": record.container_name,
        ":image": record.image,
        ":mode": Word(record.mode),
        ":grace_seconds": record.grace_seconds,
        ":account": record.account,
        ":created_at": Time(record.created_at),
        ":max_lifetime": record.max_lifetime.map(Time),
        ":engine": record.engine,
        ":start_dir": record.start_dir,
        ":setup": Word(record.setup),
    };
    let wanted = statement.parameter_count();
    statement.execute(&all[..wanted])
}

/// The record in a row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    // By position: looking each name up costs more than everything else about a row.
    let mut cells = Cells { row, next: 0 };
    let id = cells.next()?;
    let key = key(&mut cells)?;
    Ok(SessionRecord {
        id,
        key,
        kind: cells.next::<Word<Kind>>()?.0,
        status: cells.next::<Word<Status>>()?.0,
        container_id: cells.next()?,
        container_name: cells.next()?,
        image: cells.next()?,
        network_id: cells.next()?,
        service_ids: services(&cells.next::<String>()?),
        mode: cells.next::<Word<Mode>>()?.0,
        grace_seconds: cells.next()?,
        shell: cells.next()?,
        account: cells.next()?,
        created_at: cells.next::<Time>()?.0,
        last_activity: cells.next::<Time>()?.0,
        max_lifetime: cells.next::<Option<Time>>()?.map(|time| time.0),
        grace_expiry: cells.next::<Option<Time>>()?.map(|time| time.0),
        attach: cells.next::<Word<AttachWay>>()?.0,
        socket_dir: cells.next()?,
        process: process(&mut cells)?,
        engine: cells.next()?,
        attached: cells.next()?,
        start_dir: cells.next()?,
        setup: cells.next::<Word<SetupState>>()?.0,
    })
}

/// The values of a row from left to right. What is read from it has to stand in the order of [`COLUMNS`].
struct Cells<'a, 'row> {
    row: &'a Row<'row>,
    next: usize,
}

impl Cells<'_, '_> {
    fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.next)?;
        self.next += 1;
        Ok(value)
    }
}

fn key(cells: &mut Cells<'_, '_>) -> rusqlite::Result<SessionKey> {
    let bad = |index, error: crate::names::NameError| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, error.into())
    };
    let index = cells.next;
    let user: String = cells.next()?;
    let user = user.parse::<UserName>().map_err(|error| bad(index, error))?;
    let project: String = cells.next()?;
    let name = match project.as_str() {
        "" => None,
        name => Some(name.parse::<MachineName>().map_err(|error| bad(index + 1, error))?),
    };
    Ok(SessionKey { user, name })
}

fn services(text: &str) -> Vec<String> {
    text.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

fn process(cells: &mut Cells<'_, '_>) -> rusqlite::Result<Option<FirstProcess>> {
    let (pid, start, boot): (Option<i32>, Option<i64>, Option<String>) =
        (cells.next()?, cells.next()?, cells.next()?);
    // All three or none, says the table.
    Ok(match (pid, start, boot) {
        (Some(pid), Some(start), Some(boot_id)) => {
            Some(FirstProcess { pid, start_time: start.cast_unsigned(), boot_id })
        }
        _ => None,
    })
}
