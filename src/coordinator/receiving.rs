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
//!
//! A receiver that resolves its master's name cannot be interrupted: with a resolver that did not
//! answer `STOP SLAVE IO_THREAD` took 9.5 s. (In `connect()` and in the login it can: MariaDB 10.11
//! stopped at once, with an address that swallowed packets and with one that accepted and was
//! silent.) Such a receiver receives nothing, nor will it: both families set the flag that ends it
//! before they wait for it, and look at the flag before they read an event and once more before
//! they write it to the relay log (`terminate_slave_threads` and `handle_slave_io` in their
//! sources). So nobody waits for a stop whose receiver is seen `Connecting`, or has been told to end and
//! is still there. It finishes by itself, on its own connection, and only a start waits for it: it would
//! find the receiver still there.
//! Half a transaction must wait as well, because the server stops and starts one thread at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::task::JoinError;
use tokio::time::timeout;
use tracing::{info, warn};

use super::catch_up::{catch_up, read_status};
use super::failure::failure;
use super::warm::WarmConnections;
use crate::failover::OrderFailure;
use crate::monitor::{Answers, Columns, Connection, ReplicationChannel};
use crate::topology::grants::Privilege;
use crate::topology::{Dialect, Flavor, ServerAddress, ServerId, ThreadState};

/// What arrived while the receiver was being stopped is little.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// After this a stop may hang: others return within a few milliseconds.
const MAY_HANG_AFTER: Duration = Duration::from_millis(100);

/// The stops that run on one server: each holds this shared, until the server has answered it.
pub(super) type Stops = Arc<RwLock<()>>;

/// The server whose receivers are stopped or started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiver<'a> {
    pub(super) id: ServerId,
    pub(super) connections: &'a WarmConnections,
    pub(super) stops: &'a Stops,
}

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
    pub(super) fn is_source_of(self, status: &ReplicationChannel) -> bool {
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
/// Returns a connection to go on with.
pub(super) async fn stop_receiving(
    connection: Connection,
    receiver: Receiver<'_>,
    source: Sender<'_>,
) -> Result<Connection, OrderFailure> {
    let (mut connection, receives) = end_receiving(connection, receiver, source).await?;
    if !receives {
        return Ok(connection);
    }
    catch_up(&mut connection, DRAIN_WITHIN).await?;
    let (_, channels) = read_status(&mut connection).await?;
    for status in channels.iter().filter(|status| source.is_source_of(status)) {
        if status.channel.uses_gtid && stands_before_the_end(status) {
            let (dialect, name) = (connection.dialect(), &status.channel.name);
            run(&mut connection, &thread(dialect, "STOP", "SQL_THREAD", name)).await?;
            run(&mut connection, &thread(dialect, "START", "SQL_THREAD", name)).await?;
        }
    }
    Ok(connection)
}

/// Stops receiving from that master. Returns a connection to go on with, and whether there is a channel
/// from there at all.
pub(super) async fn end_receiving(
    mut connection: Connection,
    receiver: Receiver<'_>,
    source: Sender<'_>,
) -> Result<(Connection, bool), OrderFailure> {
    let (_, channels) = read_status(&mut connection).await?;
    let only = channels.len() == 1;
    let ours: Vec<_> = channels.into_iter().filter(|status| source.is_source_of(status)).collect();
    if ours.is_empty() {
        return Ok((connection, false));
    }
    let dialect = connection.dialect();
    let logged_in = ours.iter().any(|status| status.channel.io == ThreadState::Yes);
    if dialect.flavor == Flavor::MariaDb && only && logged_in {
        send_off(&mut connection).await?;
    }
    for status in ours.iter().filter(|status| status.channel.io != ThreadState::No) {
        let name = &status.channel.name;
        let statement = thread(dialect, "STOP", "IO_THREAD", name);
        connection = receiver.stop(connection, statement, name).await?;
    }
    Ok((connection, true))
}

/// Whether the applier has not come to the end of what was received. MySQL shows a channel that has
/// never received anything with other numbers on the two sides (4 and 0), and no file.
fn stands_before_the_end(status: &ReplicationChannel) -> bool {
    let (file, _) = &status.received_position;
    !file.is_empty() && status.received_position != status.executed_position
}

/// Has the one receiver of a semi-synchronous MariaDB end. Before it does it logs in to its master, to
/// end the thread that serves it there, and a frozen master does not answer. STOP SLAVE wakes it in that
/// login, but only once in two seconds (`terminate_slave_thread` in `sql/slave.cc`), and the first time
/// is wasted on a receiver that has not come to it: tried on 10.11, 2000 ms in each of 21 rounds, and
/// 1 ms where KILL had sent it there before. What it has received stays received.
async fn send_off(connection: &mut Connection) -> Result<(), OrderFailure> {
    let answers = connection.ask(ACKNOWLEDGING).await.and_then(Answers::all);
    let sets = answers.map_err(|e| failure(e, connection, Privilege::ReplicationStatus))?;
    let id = sets.first().and_then(|rows| rows.first()).map(Columns);
    let Some(id) = id.and_then(|row| row.number::<u64>(&["id"]).ok()) else { return Ok(()) };
    // A refusal leaves it to STOP SLAVE, which only takes longer.
    if connection.ask(&format!("KILL {id}")).await.and_then(Answers::all).is_ok() {
        tokio::time::sleep(ON_ITS_WAY).await;
    }
    Ok(())
}

const ACKNOWLEDGING: &str = "SELECT id AS id FROM information_schema.processlist \
     WHERE command = 'Slave_IO' AND @@GLOBAL.rpl_semi_sync_slave_enabled";
/// The server shows nothing of where it is. One in twenty took longer than 3 ms on a busy machine.
const ON_ITS_WAY: Duration = Duration::from_millis(5);
/// A receiver that is told to end, and has not.
const ENDING: &str = "SELECT id AS id FROM information_schema.processlist \
     WHERE command = 'Killed' AND state = 'Waiting for master to send event'";

/// Receives from that master again.
pub(super) async fn start_receiving(
    connection: &mut Connection,
    stops: &Stops,
    source: Sender<'_>,
) -> Result<(), OrderFailure> {
    let _all_finished = stops.write().await;
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

impl Receiver<'_> {
    /// Stops the receiver of `channel`, and waits for that as long as it may receive something. Returns
    /// a connection that is free.
    async fn stop(
        self,
        mut connection: Connection,
        statement: String,
        channel: &str,
    ) -> Result<Connection, OrderFailure> {
        let running = Arc::clone(self.stops).read_owned().await;
        // A task, so that the statement outlives this order.
        let mut stopping = tokio::spawn(async move {
            let stopped = run(&mut connection, &statement).await;
            drop(running);
            stopped.map(|()| connection)
        });
        if let Ok(stopped) = timeout(MAY_HANG_AFTER, &mut stopping).await {
            return joined(stopped);
        }
        let other = tokio::select! {
            stopped = &mut stopping => return joined(stopped),
            Some(other) = self.while_it_receives_nothing(channel) => other,
        };
        let server = self.connections.servers().name(self.id).to_owned();
        info!(server, channel, "the receiver receives nothing more, and ends later");
        tokio::spawn(async move {
            if let Err(error) = joined(stopping.await) {
                warn!(server, %error, "the receiver was not stopped");
            }
        });
        Ok(other)
    }

    /// Another connection, if it sees that the receiver of `channel` will receive nothing more: it is
    /// connecting, or (MariaDB) logs in to its master before it ends.
    async fn while_it_receives_nothing(self, channel: &str) -> Option<Connection> {
        let mut other = self.connections.take(self.id).await.ok()?;
        let (_, channels) = read_status(&mut other).await.ok()?;
        let status = channels.iter().find(|status| status.channel.name == channel)?;
        let nothing = status.channel.io == ThreadState::Connecting
            || other.dialect().flavor == Flavor::MariaDb && is_ending(&mut other).await;
        nothing.then_some(other)
    }
}

async fn is_ending(connection: &mut Connection) -> bool {
    let sets = connection.ask(ENDING).await.and_then(Answers::all);
    sets.is_ok_and(|sets| sets.first().is_some_and(|rows| !rows.is_empty()))
}

/// The task is never aborted, so that it can only have panicked.
fn joined<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

pub(super) async fn run(connection: &mut Connection, statement: &str) -> Result<(), OrderFailure> {
    match connection.ask(statement).await.and_then(Answers::all) {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(error, connection, Privilege::ReplicationControl)),
    }
}

/// `STOP SLAVE 'name' IO_THREAD`, or the same in MySQL's words. A channel's name is an identifier
/// that the server itself has shown; a quote in it is doubled all the same.
pub(super) fn thread(dialect: Dialect, verb: &str, thread: &str, channel: &str) -> String {
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
