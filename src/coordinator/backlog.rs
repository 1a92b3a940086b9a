//! Throwing away what a standby has received and not executed.
//!
//! It is what `catch_up_expired = "promote"` and a forced failover ask for. To stop the applier is not
//! enough: the events stay in the relay log, and whoever starts the applier later (MySQL by itself, when
//! the server restarts) would execute them into rows that have gone on. So the relay log goes, and the
//! applier runs again, with nothing to do. The channel then stands where a channel stands after
//! every failover: it can be started when the old master is back, and fetches from what was executed.
//!
//! A change of any coordinate deletes the relay logs of a channel, of which neither thread runs, in both
//! families; here it is one that sets the coordinate to what it is
//! (<https://dev.mysql.com/doc/refman/8.4/en/change-replication-source-to.html>, "relay logs";
//! <https://mariadb.com/kb/en/change-master-to/>, `MASTER_USE_GTID`). With file and position, where nothing
//! tells which transactions were thrown away, it is refused.

use super::catch_up::{others_events, read_status};
use super::failure::failure;
use super::receiving::{Receiver, Sender, end_receiving, run, thread};
use crate::failover::OrderFailure;
use crate::monitor::{Answers, Columns, Connection, ReplicationChannel};
use crate::topology::grants::Privilege;
use crate::topology::{Dialect, Flavor, GtidSet};

/// Ends what `source` sends, and throws away what of it was not executed. Returns a connection to go on
/// with, and what that was.
pub(super) async fn drop_backlog(
    connection: Connection,
    receiver: Receiver<'_>,
    source: Sender<'_>,
) -> Result<(Connection, GtidSet), OrderFailure> {
    let (mut connection, _) = end_receiving(connection, receiver, source).await?;
    // One that was merely connecting ends in its own time, and keeps the relay log until then.
    let _ended = receiver.stops.write().await;
    let (server_id, channels) = read_status(&mut connection).await?;
    let dialect = connection.dialect();
    let mut dropped = GtidSet::empty();
    for status in channels.iter().filter(|status| source.is_source_of(status)) {
        if !status.channel.uses_gtid {
            return Err(OrderFailure::Refused {
                code: 0,
                message:
                    "it replicates by file and position: what it has received and not executed \
                          cannot be told, and is not thrown away"
                        .to_owned(),
            });
        }
        let name = &status.channel.name;
        run(&mut connection, &thread(dialect, "STOP", "SQL_THREAD", name)).await?;
        let executed = executed(&mut connection).await;
        let deleted = run(&mut connection, &delete_relay_log(dialect, status)).await;
        // Whatever came of that: an applier that stands still keeps everybody from promoting it.
        let started = run(&mut connection, &thread(dialect, "START", "SQL_THREAD", name)).await;
        deleted.and(started)?;
        dropped = dropped.union(&received(dialect, status, server_id).subtract(&executed?));
    }
    Ok((connection, dropped))
}

/// What of the received events is not the server's own.
fn received(dialect: Dialect, status: &ReplicationChannel, server_id: u32) -> GtidSet {
    let received = &status.channel.received;
    match dialect.flavor {
        Flavor::MariaDb => {
            let others = others_events(&received.to_string(), server_id);
            GtidSet::parse(Flavor::MariaDb, &others).unwrap_or_else(|_| received.clone())
        }
        Flavor::MySql => received.clone(),
    }
}

/// What the server has executed, by itself and as a slave.
async fn executed(connection: &mut Connection) -> Result<GtidSet, OrderFailure> {
    let flavor = connection.dialect().flavor;
    let question = match flavor {
        Flavor::MariaDb => "SELECT @@GLOBAL.gtid_current_pos AS executed",
        Flavor::MySql => "SELECT @@GLOBAL.gtid_executed AS executed",
    };
    let answers = connection.ask(question).await.and_then(Answers::all);
    let sets = answers.map_err(|e| failure(e, connection, Privilege::ReplicationStatus))?;
    let row = sets.first().and_then(|rows| rows.first()).map(Columns);
    let text = row.map(|row| row.text_or_empty(&["executed"])).unwrap_or_default();
    GtidSet::parse(flavor, &text).map_err(|error| OrderFailure::Refused {
        code: 0,
        message: format!("its position is no GTID set: {error}"),
    })
}

/// Sets the channel's way of positioning to what it is.
fn delete_relay_log(dialect: Dialect, status: &ReplicationChannel) -> String {
    let channel = status.channel.name.replace('\'', "''");
    match dialect.flavor {
        Flavor::MariaDb => {
            let from = if status.starts_from_own { "current_pos" } else { "slave_pos" };
            format!("CHANGE MASTER '{channel}' TO MASTER_USE_GTID = {from}")
        }
        Flavor::MySql if dialect.version >= (8, 0, 23) => {
            format!("CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1 FOR CHANNEL '{channel}'")
        }
        Flavor::MySql => {
            format!("CHANGE MASTER TO MASTER_AUTO_POSITION = 1 FOR CHANNEL '{channel}'")
        }
    }
}
