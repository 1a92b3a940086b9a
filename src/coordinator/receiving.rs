//! Stopping and starting what a standby receives from another master.
//!
//! Stopping ends with a drain: what arrived between the last look and the stop is executed before
//! the standby takes writes, not after. And it clears away half a transaction: a master that died
//! while it sent one leaves the applier waiting inside it, with its row locks held, and every
//! write of a client to those rows would wait with it. When everything complete has been executed
//! and the applier still stands before the end of what was received, that is what it stands in;
//! restarting it rolls the half back. Tried on MariaDB 10.11 with a master that was killed 45 MB into
//! a transaction: the survivor's status said "has read all relay log", every complete GTID was
//! executed, and yet a transaction with four modified rows stayed open on it, until the applier was
//! restarted; on an idle pair both positions are equal, and nothing is restarted.

use std::time::Duration;

use super::catch_up::{catch_up, read_status};
use super::failure::failure;
use crate::failover::OrderFailure;
use crate::monitor::{Answers, Columns, Connection, ReplicationChannel};
use crate::topology::grants::Privilege;
use crate::topology::{Dialect, Flavor, ServerAddress, ThreadState};

/// What arrived while the receiver was being stopped is little.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// A master as the receiver's status names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    /// Its `@@server_id`, where it has ever been seen.
    pub(super) server_id: Option<u32>,
    /// Its configured address.
    pub(super) address: &'a ServerAddress,
}

impl Sender<'_> {
    /// Whether this channel receives from that master. The servers may know each other by other
    /// addresses than Tandem does, so the id counts first; a channel that never had contact has
    /// none, and is then taken for it.
    fn is_source_of(self, status: &ReplicationChannel) -> bool {
        let channel = &status.channel;
        if channel.source_server_id != 0 && self.server_id.is_some() {
            return self.server_id == Some(channel.source_server_id);
        }
        channel.source_server_id == 0
            || matches!(
                self.address,
                ServerAddress::Tcp { host, port }
                    if *host == channel.source_host && *port == channel.source_port
            )
    }
}

/// Stops receiving from that master, executes what is left, and clears away half a transaction.
pub(super) async fn stop_receiving(
    connection: &mut Connection,
    source: Sender<'_>,
) -> Result<(), OrderFailure> {
    let (_, channels) = read_status(connection).await?;
    let only = channels.len() == 1;
    let ours: Vec<_> = channels.into_iter().filter(|status| source.is_source_of(status)).collect();
    let dialect = connection.dialect();
    if dialect.flavor == Flavor::MariaDb && only {
        end_acknowledging(connection).await?;
    }
    for status in ours.iter().filter(|status| status.channel.io != ThreadState::No) {
        run(connection, &thread(dialect, "STOP", "IO_THREAD", &status.channel.name)).await?;
    }
    if ours.is_empty() {
        return Ok(());
    }
    catch_up(connection, DRAIN_WITHIN).await?;
    let (_, channels) = read_status(connection).await?;
    for status in channels.iter().filter(|status| source.is_source_of(status)) {
        if status.channel.uses_gtid && status.received_position != status.executed_position {
            let name = &status.channel.name;
            run(connection, &thread(dialect, "STOP", "SQL_THREAD", name)).await?;
            run(connection, &thread(dialect, "START", "SQL_THREAD", name)).await?;
        }
    }
    Ok(())
}

/// Ends the one receiver of a semi-synchronous MariaDB. Left to STOP SLAVE it logs in to its master
/// first, to end the thread that serves it there, and with a frozen master that takes two seconds;
/// KILL cuts it short (tried on 10.11: 2000 ms and 20 ms). What it has received stays received.
async fn end_acknowledging(connection: &mut Connection) -> Result<(), OrderFailure> {
    for _ in 0..KILLS {
        let answers = connection.ask(ACKNOWLEDGING).await.and_then(Answers::all);
        let sets = answers.map_err(|e| failure(e, connection, Privilege::ReplicationStatus))?;
        let id = sets.first().and_then(|rows| rows.first()).map(Columns);
        let Some(id) = id.and_then(|row| row.number::<u64>(&["id"]).ok()) else { return Ok(()) };
        // A refusal leaves it to STOP SLAVE, which only takes longer.
        if connection.ask(&format!("KILL {id}")).await.and_then(Answers::all).is_err() {
            return Ok(());
        }
        tokio::time::sleep(KILL_AGAIN).await;
    }
    Ok(())
}

const ACKNOWLEDGING: &str = "SELECT id AS id FROM information_schema.processlist \
     WHERE command = 'Slave_IO' AND @@GLOBAL.rpl_semi_sync_slave_enabled";
/// It may be on its way into the wait that the first one was to end.
const KILLS: usize = 40;
const KILL_AGAIN: Duration = Duration::from_millis(5);

/// Receives from that master again.
pub(super) async fn start_receiving(
    connection: &mut Connection,
    source: Sender<'_>,
) -> Result<(), OrderFailure> {
    let (_, channels) = read_status(connection).await?;
    let dialect = connection.dialect();
    let stopped = |status: &&ReplicationChannel| {
        source.is_source_of(status) && status.channel.io == ThreadState::No
    };
    for status in channels.iter().filter(stopped) {
        run(connection, &thread(dialect, "START", "IO_THREAD", &status.channel.name)).await?;
    }
    Ok(())
}

async fn run(connection: &mut Connection, statement: &str) -> Result<(), OrderFailure> {
    match connection.ask(statement).await.and_then(Answers::all) {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(error, connection, Privilege::ReplicationControl)),
    }
}

/// `STOP SLAVE 'name' IO_THREAD`, or the same in MySQL's words. A channel's name is an identifier
/// that the server itself has shown; a quote in it is doubled all the same.
fn thread(dialect: Dialect, verb: &str, thread: &str, channel: &str) -> String {
    let channel = channel.replace('\'', "''");
    match dialect.flavor {
        Flavor::MariaDb => format!("{verb} SLAVE '{channel}' {thread}"),
        Flavor::MySql if dialect.version >= (8, 0, 22) => {
            format!("{verb} REPLICA {thread} FOR CHANNEL '{channel}'")
        }
        Flavor::MySql => format!("{verb} SLAVE {thread} FOR CHANNEL '{channel}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_words() {
        let mariadb = Dialect { flavor: Flavor::MariaDb, version: (10, 11, 19) };
        let mysql = |version| Dialect { flavor: Flavor::MySql, version };
        assert_eq!(thread(mariadb, "STOP", "IO_THREAD", ""), "STOP SLAVE '' IO_THREAD");
        assert_eq!(
            thread(mysql((9, 7, 4)), "START", "IO_THREAD", "a'b"),
            "START REPLICA IO_THREAD FOR CHANNEL 'a''b'"
        );
        assert_eq!(
            thread(mysql((5, 7, 44)), "STOP", "SQL_THREAD", ""),
            "STOP SLAVE SQL_THREAD FOR CHANNEL ''"
        );
    }
}
