//! One event of a binary log, as far as it says what a transaction did.
//!
//! The driver's library parses MySQL's events. MariaDB's own have numbers from 160 on that it does not
//! know; of these only the one that begins a transaction matters, and it is read here, by hand:
//! <https://mariadb.com/kb/en/gtid_event/>. Numbers of events:
//! <https://mariadb.com/kb/en/2-binlog-event-header/>, and MySQL's `mysql::binlog::event::Log_event_type`.

use std::time::{Duration, SystemTime};

use mysql_async::binlog::EventType;
use mysql_async::binlog::events::{
    Event, EventData, GtidEvent, QueryEvent, RotateEvent, RowsEventData, TableMapEvent,
};
use mysql_async::binlog::row::BinlogRow;
use mysql_async::binlog::value::BinlogValue;

use super::cell::Logged;

/// The number of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gtid {
    /// MySQL's.
    Source { uuid: u128, tag: String, number: u64 },
    /// MariaDB's.
    Domain { domain: u32, server: u32, sequence: u64 },
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LogEvent {
    /// A transaction begins.
    Begins(Gtid, SystemTime),
    /// Rows of one table changed.
    Rows(Vec<RowChange>),
    /// A statement that is to be run again as it stands.
    Statement(String),
    /// The transaction is in here, compressed; what could be unpacked follows.
    Packed,
    /// `BEGIN`: what follows belongs to the transaction.
    Opens,
    /// Something of the transaction that cannot be read, and why.
    Unreadable(String),
    /// What follows is in this file of the log.
    File(String),
    /// A file of the log begins or ends: no part of a transaction.
    Outside,
    /// A part of the transaction that says nothing of interest.
    Other,
}

/// One row, changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowChange {
    pub(super) schema: String,
    pub(super) table: String,
    /// What it was; `None` for an insert.
    pub(super) before: Option<RowImage>,
    /// What it became; `None` for a delete.
    pub(super) after: Option<RowImage>,
}

/// The columns of a row in their order; `None` for one that the image leaves out.
pub(super) type RowImage = Vec<Option<Logged>>;

/// MariaDB's `GTID_EVENT`.
const MARIADB_GTID: u8 = 162;
/// MariaDB's `BINLOG_CHECKPOINT_EVENT`, `GTID_LIST_EVENT` and `START_ENCRYPTION_EVENT`.
const MARIADB_OUTSIDE: [u8; 3] = [161, 163, 164];
/// MariaDB's compressed query and rows events.
const MARIADB_COMPRESSED: std::ops::RangeInclusive<u8> = 165..=171;
/// MySQL's `GTID_TAGGED_LOG_EVENT`.
const GTID_TAGGED: u8 = 42;

/// Reads an event. `table_of` knows the tables that the stream has announced.
pub(super) fn read<'a>(
    event: &Event,
    table_of: impl Fn(u64) -> Option<&'a TableMapEvent<'static>>,
) -> LogEvent {
    let header = event.header();
    let number = header.event_type_raw();
    if number == MARIADB_GTID {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(header.timestamp().into());
        return mariadb_gtid(event.data(), header.server_id()).map_or_else(
            || unreadable("a GTID event is too short"),
            |gtid| LogEvent::Begins(gtid, at),
        );
    }
    if MARIADB_COMPRESSED.contains(&number) {
        return unreadable("its events are compressed (log_bin_compress)");
    }
    if MARIADB_OUTSIDE.contains(&number) {
        return LogEvent::Outside;
    }
    if number == GTID_TAGGED || number == EventType::GTID_EVENT as u8 {
        return match event.read_event::<GtidEvent>() {
            Ok(gtid) => mysql_gtid(&gtid, header.timestamp()),
            Err(error) => unreadable(error),
        };
    }
    match header.event_type() {
        Ok(EventType::QUERY_EVENT) => match event.read_event::<QueryEvent<'_>>() {
            Ok(query) => statement(&query.query()),
            Err(error) => unreadable(error),
        },
        Ok(EventType::ROTATE_EVENT) => match event.read_event::<RotateEvent<'_>>() {
            Ok(rotate) => file(rotate.name_raw()),
            Err(_) => LogEvent::Outside,
        },
        Ok(
            EventType::FORMAT_DESCRIPTION_EVENT
            | EventType::PREVIOUS_GTIDS_EVENT
            | EventType::STOP_EVENT
            | EventType::HEARTBEAT_EVENT,
        ) => LogEvent::Outside,
        Ok(EventType::TRANSACTION_PAYLOAD_EVENT) => LogEvent::Packed,
        Ok(EventType::BEGIN_LOAD_QUERY_EVENT | EventType::EXECUTE_LOAD_QUERY_EVENT) => {
            LogEvent::Statement("LOAD DATA, in statement format".to_owned())
        }
        Ok(EventType::XA_PREPARE_LOG_EVENT) => LogEvent::Statement("XA PREPARE".to_owned()),
        Ok(EventType::INCIDENT_EVENT) => {
            unreadable("the log has an incident: something is missing")
        }
        Ok(
            EventType::WRITE_ROWS_EVENT_V1
            | EventType::UPDATE_ROWS_EVENT_V1
            | EventType::DELETE_ROWS_EVENT_V1
            | EventType::WRITE_ROWS_EVENT
            | EventType::UPDATE_ROWS_EVENT
            | EventType::DELETE_ROWS_EVENT
            | EventType::PARTIAL_UPDATE_ROWS_EVENT,
        ) => match event.read_data() {
            Ok(Some(EventData::RowsEvent(rows))) => match table_of(rows.table_id()) {
                Some(table) => row_changes(&rows, table),
                None => unreadable("rows of a table that was not announced"),
            },
            Ok(_) => unreadable("a rows event is none"),
            Err(error) => unreadable(error),
        },
        _ => LogEvent::Other,
    }
}

fn unreadable(why: impl ToString) -> LogEvent {
    LogEvent::Unreadable(why.to_string())
}

/// `sequence: u64, domain: u32, flags: u8, …`, little-endian; the server's id is in the header.
fn mariadb_gtid(data: &[u8], server: u32) -> Option<Gtid> {
    let sequence = u64::from_le_bytes(data.get(..8)?.try_into().ok()?);
    let domain = u32::from_le_bytes(data.get(8..12)?.try_into().ok()?);
    Some(Gtid::Domain { domain, server, sequence })
}

fn mysql_gtid(gtid: &GtidEvent, seconds: u32) -> LogEvent {
    // Microseconds since 1970, from 8.0 on.
    let at = match gtid.original_commit_timestamp() {
        0 => Duration::from_secs(seconds.into()),
        micros => Duration::from_micros(micros),
    };
    let number = Gtid::Source {
        uuid: u128::from_be_bytes(gtid.sid()),
        tag: gtid.tag().map(ToString::to_string).unwrap_or_default(),
        number: gtid.gno(),
    };
    LogEvent::Begins(number, SystemTime::UNIX_EPOCH + at)
}

/// `binlog.000007`. The first event of a stream has its checksum behind the name, which nothing tells
/// before the second one has come.
fn file(name: &[u8]) -> LogEvent {
    const CHECKSUM: usize = 4;
    let number = |name: &[u8]| {
        let dot = name.iter().rposition(|byte| *byte == b'.')?;
        let digits = &name[dot + 1..];
        (digits.len() >= 6 && digits.iter().all(u8::is_ascii_digit)).then_some(())
    };
    let without = &name[..name.len().saturating_sub(CHECKSUM)];
    let name = if number(without).is_some() { without } else { name };
    match std::str::from_utf8(name) {
        Ok(name) if number(name.as_bytes()).is_some() => LogEvent::File(name.to_owned()),
        _ => LogEvent::Outside,
    }
}

fn statement(query: &str) -> LogEvent {
    let first = query.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match first.as_str() {
        "BEGIN" => LogEvent::Opens,
        // A savepoint and the way back to it enclose what did not come to pass in row format.
        "COMMIT" | "SAVEPOINT" | "ROLLBACK" | "RELEASE" => LogEvent::Other,
        _ => LogEvent::Statement(query.to_owned()),
    }
}

fn row_changes(rows: &RowsEventData<'_>, table: &TableMapEvent<'static>) -> LogEvent {
    let width = usize::try_from(table.columns_count()).unwrap_or(usize::MAX);
    let before_has = rows.columns_before_image().map(|bits| bits.iter().by_vals().collect());
    let after_has = rows.columns_after_image().map(|bits| bits.iter().by_vals().collect());
    let image = |row: Option<BinlogRow>, has: &Option<Vec<bool>>| {
        let (row, has) = (row?, has.as_ref()?);
        let mut values = row.unwrap().into_iter();
        let columns = has.iter().take(width);
        Some(columns.map(|has| if *has { values.next().map(logged) } else { None }).collect())
    };
    let (schema, name) = (table.database_name().into_owned(), table.table_name().into_owned());
    let changes = rows.rows(table).map(|row| {
        let (before, after) = row?;
        Ok(RowChange {
            schema: schema.clone(),
            table: name.clone(),
            before: image(before, &before_has),
            after: image(after, &after_has),
        })
    });
    match changes.collect::<std::io::Result<Vec<_>>>() {
        Ok(changes) => LogEvent::Rows(changes),
        Err(error) => unreadable(format!("rows of {schema}.{name}: {error}")),
    }
}

fn logged(value: BinlogValue<'static>) -> Logged {
    match value {
        BinlogValue::Value(value) => Logged::Value(value),
        BinlogValue::Jsonb(document) => {
            serde_json::Value::try_from(document).map_or(Logged::Unreadable, Logged::Json)
        }
        BinlogValue::JsonDiff(_) => Logged::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mariadb_transaction_begins_with_its_number() {
        let mut data = vec![0; 19];
        data[..8].copy_from_slice(&106_u64.to_le_bytes());
        data[8..12].copy_from_slice(&7_u32.to_le_bytes());
        let gtid = Gtid::Domain { domain: 7, server: 2, sequence: 106 };
        assert_eq!(mariadb_gtid(&data, 2), Some(gtid));
        assert_eq!(mariadb_gtid(&data[..11], 2), None);
    }

    #[test]
    fn a_file_is_known_by_its_name_with_a_checksum_and_without() {
        let named = |name: &str| LogEvent::File(name.to_owned());
        assert_eq!(file(b"binlog.000007"), named("binlog.000007"));
        assert_eq!(file(b"binlog.000007\x01\xff.7"), named("binlog.000007"));
        assert_eq!(file(b"binlog.0000071234"), named("binlog.000007"));
        assert_eq!(file(b"a.b.1000007"), named("a.b.1000007"));
        assert_eq!(file(b"binlog"), LogEvent::Outside);
        assert_eq!(file(b""), LogEvent::Outside);
    }

    #[test]
    fn what_frames_a_transaction_is_no_statement() {
        assert_eq!(statement("BEGIN"), LogEvent::Opens);
        assert_eq!(statement("COMMIT"), LogEvent::Other);
        assert_eq!(statement("SAVEPOINT `a`"), LogEvent::Other);
        let ddl = "ALTER TABLE t ADD b INT";
        assert_eq!(statement(ddl), LogEvent::Statement(ddl.to_owned()));
    }
}
