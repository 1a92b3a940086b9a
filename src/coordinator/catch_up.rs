//! Waiting until a standby has executed what it received.
//!
//! With its master gone `Seconds_Behind_Master` is NULL though events wait to be applied, so caught
//! up means: the applier runs, and what was executed contains what was received (`protocol.md`
//! 6.4). The servers have functions that wait for that without polling, but none of them notices
//! that the applier has stopped, so they are called in slices and the applier is looked at between
//! two. Nothing here stops or starts a thread: on MariaDB with GTIDs that throws received events
//! away.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::failure;
use crate::failover::OrderFailure;
use crate::monitor::{
    Answers, Columns, Connection, ConnectionError, ReplicationChannel, read_channels,
};
use crate::topology::grants::Privilege;
use crate::topology::{Channel, Flavor, ThreadState};

/// How long one wait lasts before the applier is looked at again.
pub(super) const SLICE: Duration = Duration::from_millis(250);

/// Waits until every channel has executed what it had received at some moment after the call.
pub(super) async fn catch_up(
    connection: &mut Connection,
    within: Duration,
) -> Result<(), OrderFailure> {
    let deadline = Instant::now() + within;
    loop {
        let (server_id, channels) = read_status(connection).await?;
        if let Some(stopped) = channels.iter().find(|c| c.channel.sql != ThreadState::Yes) {
            return Err(OrderFailure::ApplierStopped(why_stopped(&stopped.channel)));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let waits: Vec<String> = channels
            .iter()
            .filter_map(|channel| wait_for(connection, server_id, channel, left.min(SLICE)))
            .collect();
        if waits.is_empty() {
            return Ok(());
        }
        let answers = connection.ask(&waits.join("; ")).await.and_then(Answers::all);
        let sets =
            answers.map_err(|error| failure(error, connection, Privilege::ReplicationStatus))?;
        let reached = |rows: &Vec<mysql_async::Row>| {
            rows.first().is_some_and(|row| Columns(row).find(&["reached"]).as_deref() == Some("1"))
        };
        if sets.iter().all(reached) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(OrderFailure::TimedOut(backlog(&channels)));
        }
    }
}

/// The server's id and its replication channels.
pub(super) async fn read_status(
    connection: &mut Connection,
) -> Result<(u32, Vec<ReplicationChannel>), OrderFailure> {
    let dialect = connection.dialect();
    let question = format!("SELECT @@server_id AS server_id; {}", dialect.replication_status());
    let read = |answers: Answers| -> Result<_, ConnectionError> {
        let sets = answers.all()?;
        let id = sets.first().and_then(|rows| rows.first()).map(Columns);
        let id = id.map_or(Ok(0), |row| row.number(&["server_id"]))?;
        Ok((id, read_channels(dialect, sets.get(1).map_or(&[], Vec::as_slice))?))
    };
    let status = connection.ask(&question).await.and_then(read);
    status.map_err(|error| failure(error, connection, Privilege::ReplicationStatus))
}

pub(super) fn why_stopped(channel: &Channel) -> String {
    match &channel.sql_error {
        (0, _) => "nobody has started it".to_owned(),
        (code, message) => format!("error {code}: {message}"),
    }
}

fn backlog(channels: &[ReplicationChannel]) -> String {
    let of = |channel: &ReplicationChannel| {
        let (received, executed) = (&channel.received_position, &channel.executed_position);
        format!("received {}:{}, executed {}:{}", received.0, received.1, executed.0, executed.1)
    };
    channels.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// The statement that waits for this channel and yields `reached` = 1 when it is there; `None` when
/// it has nothing to wait for.
fn wait_for(
    connection: &Connection,
    server_id: u32,
    status: &ReplicationChannel,
    slice: Duration,
) -> Option<String> {
    let dialect = connection.dialect();
    let received = status.channel.received.to_string();
    if status.channel.uses_gtid {
        let seconds = slice.as_secs_f64();
        let received = match dialect.flavor {
            Flavor::MariaDb if status.starts_from_own => others_events(&received, server_id),
            _ => received,
        };
        return (!received.is_empty()).then(|| match dialect.flavor {
            Flavor::MariaDb => {
                format!("SELECT MASTER_GTID_WAIT('{received}', {seconds:.3}) = 0 AS reached")
            }
            Flavor::MySql => format!(
                "SELECT WAIT_FOR_EXECUTED_GTID_SET('{received}', {seconds:.3}) = 0 AS reached"
            ),
        });
    }
    let (file, position) = &status.received_position;
    if file.is_empty() || status.received_position == status.executed_position {
        return None;
    }
    let function = match dialect.flavor {
        Flavor::MySql if dialect.version >= (8, 0, 26) => "SOURCE_POS_WAIT",
        _ => "MASTER_POS_WAIT",
    };
    // Whole seconds: older versions round a fraction to "for ever".
    let channel = text_literal(&status.channel.name);
    let file = text_literal(file);
    Some(format!("SELECT {function}({file}, {position}, 1, {channel}) >= 0 AS reached"))
}

/// A receiver that started from `gtid_current_pos` counts the server's own events as received,
/// while `MASTER_GTID_WAIT` looks at what the applier has seen: own events, executed by
/// definition, would be waited for in vain.
pub(super) fn others_events(received: &str, server_id: u32) -> String {
    let own = server_id.to_string();
    received
        .split(',')
        .filter(|gtid| gtid.split('-').nth(1) != Some(own.as_str()))
        .collect::<Vec<_>>()
        .join(",")
}

/// A text as a literal that no sql_mode and no character set can break.
pub(super) fn text_literal(text: &str) -> String {
    use std::fmt::Write;
    if text.is_empty() {
        return "''".to_owned();
    }
    let mut literal = String::with_capacity(2 * text.len() + 24);
    literal.push_str("CONVERT(X'");
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        let _ = write!(literal, "{byte:02X}");
    }
    literal.push_str("' USING utf8mb4)");
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_events_are_not_waited_for() {
        assert_eq!(others_events("1-1-10,2-2-3", 2), "1-1-10");
        assert_eq!(others_events("2-2-3", 2), "");
        assert_eq!(others_events("1-12-10,2-21-3", 2), "1-12-10,2-21-3");
    }

    #[test]
    fn literals_cannot_be_broken_out_of() {
        assert_eq!(text_literal("a'"), "CONVERT(X'6127' USING utf8mb4)");
        assert_eq!(text_literal(""), "''");
    }
}
