//! Making a master refuse writes.
//!
//! `SET GLOBAL read_only=1` returns although transactions are open; their next write and their
//! COMMIT fail with 1290, and their work is rolled back. Only a `LOCK TABLES` or a commit that hangs
//! stands in its way, and `lock_wait_timeout` bounds that (`DESIGN.md` 5).
//!
//! Commits do hang on a semi-synchronous master that nobody receives from: one that was frozen and
//! thaws has them, and would stay open for the ten seconds of its `rpl_semi_sync_master_timeout`. Who
//! waits there is disconnected, so that nobody is told that a commit which no other master has is
//! done, and semi-synchronous replication is let go until somebody receives again.
//!
//! They hang as well on a master whose disk is full, until somebody makes room, and then they are
//! acknowledged: by a master that was left long ago. Who waits there is disconnected, and the commit
//! fails; MySQL ends itself over it, which is as good.

use tracing::debug;

use super::failure::failure;
use super::semi_sync::{Switch, release_applier, would_hang};
use crate::failover::OrderFailure;
use crate::monitor::{Answers, Columns, Connection, ConnectionError, WaitingForRoom};
use crate::topology::Flavor;
use crate::topology::grants::Privilege;

/// Makes the server refuse writes. `acknowledged`: whether its replicas can be relied on to acknowledge
/// the commits that wait for them. Returns the switch of semi-synchronous replication if it had to be
/// turned off.
pub(super) async fn fence(
    connection: &mut Connection,
    server: &str,
    acknowledged: bool,
) -> Result<Option<Switch>, OrderFailure> {
    let statement = closing(connection.dialect().flavor);
    // A refusal here is no reason to leave the door open.
    let switch = clear_the_way(connection, server, acknowledged).await.unwrap_or_else(|error| {
        debug!(server, %error, "commits that hang are left as they are");
        None
    });
    if let Err(error) = end_commits_without_room(connection).await {
        debug!(server, %error, "commits that wait for room are left as they are");
    }
    match connection.ask(statement).await.and_then(Answers::all) {
        Ok(_) => Ok(switch),
        Err(error) => Err(failure(error, connection, Privilege::ReadOnly)),
    }
}

/// What makes the server refuse writes.
pub(super) fn closing(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MariaDb => "SET SESSION lock_wait_timeout=2; SET GLOBAL read_only=1",
        // Sets read_only too, and stops even those whom read_only lets write.
        Flavor::MySql => "SET SESSION lock_wait_timeout=2; SET GLOBAL super_read_only=1",
    }
}

/// Ends the commits that wait for an acknowledgement which will not come.
///
/// The server's own count of its replicas does not tell that in any case: right after a thaw it still
/// counts those that left long ago, until it next sends them something.
async fn clear_the_way(
    connection: &mut Connection,
    server: &str,
    acknowledged: bool,
) -> Result<Option<Switch>, ConnectionError> {
    if !would_hang(connection, acknowledged).await? {
        return Ok(None);
    }
    let waiting = connection.ask(WAITING).await?.all()?;
    for row in waiting.first().into_iter().flatten().map(Columns) {
        end(connection, row.number(&["id"])?).await?;
    }
    release_applier(connection, server, acknowledged).await
}

/// Ends the commits that wait for room on the disk.
async fn end_commits_without_room(connection: &mut Connection) -> Result<(), ConnectionError> {
    let waiting = WaitingForRoom::on(connection).await?;
    for id in waiting.into_iter().flat_map(|waiting| waiting.commits) {
        end(connection, id).await?;
    }
    Ok(())
}

/// Disconnects somebody. One that has gone by itself (1094) needs no end.
async fn end(connection: &mut Connection, id: u64) -> Result<(), ConnectionError> {
    connection.ask(&format!("KILL {id}")).await.map(drop)
}

/// The state is "... from slave" on MariaDB and "... from replica" on MySQL.
const WAITING: &str = "SELECT id AS id FROM information_schema.processlist \
                       WHERE state LIKE 'Waiting for semi-sync ACK%' AND user <> 'system user'";
