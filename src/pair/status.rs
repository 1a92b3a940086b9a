//! How the members' replication is doing, as far as making a pair must know.

use std::fmt;
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use super::dialect::Columns;
use super::making::Connected;
use super::{LastSaid, Member, PairError};
use crate::topology::ThreadState;

/// Between two looks at a member that does not replicate yet. There is nothing to subscribe to.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a member says of one of its replication channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// The channel's name, MariaDB's connection name; empty for the one without.
    pub channel: String,
    /// Whom it follows.
    pub source: String,
    /// `Slave_IO_Running`.
    pub io: ThreadState,
    /// Why the receiver stopped or cannot connect; empty for no reason.
    pub io_error: String,
    /// `Slave_SQL_Running`.
    pub sql: ThreadState,
    /// Why the applier stopped; empty for no reason.
    pub sql_error: String,
}

impl Replication {
    /// Whether both threads run.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.io == ThreadState::Yes && self.sql == ThreadState::Yes
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, io, io_error, sql, sql_error, .. } = self;
        write!(f, "source {source}, Slave_IO_Running: {io}, Slave_SQL_Running: {sql}")?;
        for error in [io_error, sql_error].into_iter().filter(|error| !error.is_empty()) {
            write!(f, " ({error})")?;
        }
        Ok(())
    }
}

/// Asks a member how its replication is doing, channel by channel; nothing when it follows nobody.
///
/// # Errors
/// When it cannot be reached or does not say.
pub async fn status(member: &Member, timeout: Duration) -> Result<Vec<Replication>, PairError> {
    look(&mut Connected::to(member, timeout).await?).await
}

/// Waits until both threads of every channel of every member run.
///
/// # Errors
/// When a member cannot be reached, or does not replicate within `timeout`: with what it said last.
pub async fn await_running(members: &[Member], timeout: Duration) -> Result<(), PairError> {
    let deadline = Instant::now() + timeout;
    for member in members {
        let mut said = LastSaid::Nothing;
        let running = async {
            let mut server = Connected::to(member, timeout).await?;
            loop {
                let channels = look(&mut server).await?;
                said = match channels.iter().find(|channel| !channel.runs()) {
                    Some(stopped) => LastSaid::Status(Box::new(stopped.clone())),
                    None if channels.is_empty() => LastSaid::NoSource,
                    None => return Ok(()),
                };
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if let Ok(result) = tokio::time::timeout_at(deadline, running).await {
            result?;
        } else {
            let member = member.name.clone();
            return Err(PairError::NotReplicating { member, within: timeout, said });
        }
    }
    Ok(())
}

async fn look(server: &mut Connected<'_>) -> Result<Vec<Replication>, PairError> {
    let rows: Vec<Row> = server
        .connection
        .query(server.dialect.replication_status())
        .await
        .map_err(|error| server.refused("say how it replicates", &error))?;
    let columns = Columns::of(server.dialect.flavor);
    let channel = |row: &Row| Replication {
        channel: text(row, columns.channel),
        source: format!("{}:{}", text(row, columns.source_host), text(row, columns.source_port)),
        io: thread_state(&text(row, columns.io_running)),
        io_error: text(row, "Last_IO_Error"),
        sql: thread_state(&text(row, columns.sql_running)),
        sql_error: text(row, "Last_SQL_Error"),
    };
    Ok(rows.iter().map(channel).collect())
}

fn text(row: &Row, column: &str) -> String {
    row.get_opt::<Option<String>, _>(column).and_then(Result::ok).flatten().unwrap_or_default()
}

/// MariaDB has a fourth word, `Preparing`, for a thread that was started and does nothing yet.
fn thread_state(word: &str) -> ThreadState {
    match word {
        "Yes" => ThreadState::Yes,
        "Connecting" | "Preparing" => ThreadState::Connecting,
        _ => ThreadState::No,
    }
}
