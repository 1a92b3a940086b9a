//! The heartbeat row of the active master: `tandem.heartbeat`, one row per master, with the moment at
//! which it was last written by that master's own clock.
//!
//! It serves three ends. A master whose disk is full still answers what a probe asks; that it cannot
//! write shows only when somebody writes. How old the row is that a standby has executed tells
//! how far behind it is, in milliseconds and by one clock. And a row that somebody writes all the time
//! is what arrives at a standby while its master lives (`topology::Hearing`).
//!
//! However many proxies watch a pair, the row is written about once or twice per interval: a proxy
//! writes when its own probe has just found the row older than half of the interval, and the
//! statement changes nothing if somebody was faster. Only then does it connect for that, so that a
//! write that hangs (a backup holds the global lock, semi-synchronous replication waits) delays no
//! probe; and as long as one hangs there is no other. A hanging write is no evidence: whoever paused
//! the server on purpose wants no failover. But while it hangs the server is asked whether some write
//! waits for room on the disk, and that is.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::connection::{Connection, ConnectionError, Dialer};
use super::waiting_for_room::WaitingForRoom;
use crate::config;
use crate::routing::RoutingTable;
use crate::topology::grants::Privilege;
use crate::topology::schema;
use crate::topology::{Observation, Outcome, ServerAddress, ServerId, Source, TermStore, Topology};

/// After a refusal: somebody has to GRANT something first.
const DENIED_PAUSE: Duration = Duration::from_secs(60);

/// Writes the row of the active master.
pub struct HeartbeatWriter {
    dialer: Dialer,
    interval: Duration,
    timeout: Duration,
    routes: watch::Receiver<Arc<RoutingTable>>,
    topology: watch::Receiver<Arc<Topology>>,
    observations: mpsc::Sender<Observation>,
    connection: Option<(ServerId, Connection)>,
    /// The look that was judged last: each calls for one write at most.
    judged: Option<Instant>,
    not_before: Option<Instant>,
}

/// A row that is to be written.
struct Due {
    server: ServerId,
    address: ServerAddress,
    server_id: u32,
}

impl HeartbeatWriter {
    /// For the active master of `routes`, as it is seen in `topology`; what speaks against a master
    /// goes to `observations`.
    #[must_use]
    pub fn new(
        dialer: Dialer,
        settings: &config::Monitor,
        routes: watch::Receiver<Arc<RoutingTable>>,
        topology: watch::Receiver<Arc<Topology>>,
        observations: mpsc::Sender<Observation>,
    ) -> Self {
        Self {
            dialer,
            interval: settings.interval,
            timeout: settings.timeout,
            routes,
            topology,
            observations,
            connection: None,
            judged: None,
            not_before: None,
        }
    }

    /// Writes until nobody looks any more.
    pub async fn run(mut self) {
        while self.topology.changed().await.is_ok() {
            let Some(due) = self.due() else { continue };
            let began = tokio::time::Instant::now();
            let Err(failure) = self.beat(&due).await else { continue };
            match failure {
                Failure::CannotWrite(reason) => {
                    self.tell(due.server, began, reason).await;
                }
                Failure::Denied(why) => {
                    warn!("no heartbeats are written: {why}");
                    self.not_before = Some((tokio::time::Instant::now() + DENIED_PAUSE).into_std());
                }
                Failure::Broken(error) => debug!(%error, "no heartbeat was written"),
            }
        }
    }

    /// The row that has to be written by what the last probe of the active master found.
    fn due(&mut self) -> Option<Due> {
        let topology = self.topology.borrow_and_update().clone();
        let routes = self.routes.borrow().clone();
        let server = routes.active()?;
        let (at, facts) = topology.seen(server).facts.as_ref()?;
        if self.judged.replace(*at) == Some(*at) || self.not_before.is_some_and(|then| *at < then) {
            return None;
        }
        if facts.read_only || !matches!(facts.terms, TermStore::Present(Some(_))) {
            return None;
        }
        let age = facts.beats.as_ref().and_then(|beats| {
            let at = beats.of(facts.server_id)?;
            Some(Duration::from_micros(beats.clock.saturating_sub(at)))
        });
        if age.is_some_and(|age| age < self.interval / 2) {
            return None;
        }
        let address = routes.servers.get(server).address.clone();
        Some(Due { server, address, server_id: facts.server_id })
    }

    async fn beat(&mut self, due: &Due) -> Result<(), Failure> {
        let known = self.connection.take().filter(|(of, _)| *of == due.server);
        let mut connection = match known {
            Some((_, connection)) => connection,
            None => self.dialer.connect(&due.address, self.timeout).await?,
        };
        let statement = statement(due.server_id, self.interval / 2);
        let Some(written) = self.wait(due, write(&mut connection, &statement)).await else {
            return Ok(());
        };
        if !matches!(written, Err(Failure::Broken(_))) {
            self.connection = Some((due.server, connection));
        }
        written
    }

    /// Waits for a write for as long as its server is active: there is no second one beside it. That the
    /// disk is full is told as often as a write would fail that does not wait.
    async fn wait<T>(&self, due: &Due, writing: impl Future<Output = T>) -> Option<T> {
        let mut writing = pin!(writing);
        let mut told = false;
        let mut asking = None;
        loop {
            if let Ok(written) = timeout(self.timeout, &mut writing).await {
                return Some(written);
            }
            if self.routes.borrow().active() != Some(due.server) {
                return None;
            }
            if !std::mem::replace(&mut told, true) {
                let address = &due.address;
                info!(%address, "a heartbeat cannot be written at present: the write waits");
            }
            let asked = tokio::time::Instant::now();
            match timeout(self.timeout, self.why(due, &mut asking)).await {
                Ok(Ok(Some(reason))) => self.tell(due.server, asked, reason).await,
                Ok(Ok(None)) => {}
                Ok(Err(error)) => debug!(%error, "why a heartbeat waits is not known"),
                Err(_) => debug!("why a heartbeat waits is not answered"),
            }
        }
    }

    /// Asks, over another connection, for a reason that will not go away by itself.
    async fn why(
        &self,
        due: &Due,
        asking: &mut Option<Connection>,
    ) -> Result<Option<String>, ConnectionError> {
        let mut connection = match asking.take() {
            Some(connection) => connection,
            None => self.dialer.connect(&due.address, self.timeout).await?,
        };
        let waiting = WaitingForRoom::on(&mut connection).await?;
        *asking = Some(connection);
        Ok(waiting.map(|waiting| format!("its disk is full ({})", waiting.words)))
    }

    async fn tell(&self, server: ServerId, began: tokio::time::Instant, reason: String) {
        let now = tokio::time::Instant::now();
        let (at, took, source) = (now.into_std(), now - began, Source::Writing);
        let outcome = Outcome::CannotWrite { reason };
        // Nobody looks at it any more: the end of that ends this as well.
        let _ = self.observations.send(Observation { server, at, took, source, outcome }).await;
    }
}

/// The guard matters for an account that may write under `read_only`, as the monitor's may on MariaDB:
/// nothing is written on a master that was fenced since it was looked at. UTC, because a session's
/// time zone is its own.
fn statement(server_id: u32, half: Duration) -> String {
    format!(
        "INSERT INTO tandem.heartbeat (server_id, at) \
         SELECT {server_id}, UTC_TIMESTAMP(6) FROM DUAL WHERE @@GLOBAL.read_only = 0 \
         ON DUPLICATE KEY UPDATE at = IF(tandem.heartbeat.at < UTC_TIMESTAMP(6) - INTERVAL {} MICROSECOND, \
         UTC_TIMESTAMP(6), tandem.heartbeat.at)",
        half.as_micros()
    )
}

/// Why the row was not written.
enum Failure {
    /// The server says that there is no room, or that its storage does not take anything.
    CannotWrite(String),
    /// The account lacks a privilege: the server's words and the GRANT.
    Denied(String),
    /// Anything else, which says nothing about the server's ability to write.
    Broken(ConnectionError),
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Self::Broken(error)
    }
}

async fn write(connection: &mut Connection, statement: &str) -> Result<(), Failure> {
    let mut error = connection.ask(statement).await?.error;
    // ER_NO_SUCH_TABLE
    if let Some((1146, _)) = error {
        error = connection.ask(schema::HEARTBEAT).await?.error;
        if error.is_none() {
            error = connection.ask(statement).await?.error;
        }
    }
    let Some((code, message)) = error else { return Ok(()) };
    if cannot_write(code, &message) {
        return Err(Failure::CannotWrite(format!("error {code}: {message}")));
    }
    match code {
        // ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR
        1044 | 1142 | 1143 => {
            let grant = connection.grant(Privilege::HeartbeatRow);
            Err(Failure::Denied(format!("{message}; mend it with: {grant}")))
        }
        _ => Err(Failure::Broken(ConnectionError::Server { code, message })),
    }
}

/// Whether an error is the storage's, and will meet every other write as well.
///
/// ER_DISK_FULL 1021, ER_ERROR_ON_WRITE 1026, ER_RECORD_FILE_FULL 1114, ER_INNODB_READ_ONLY 1874, and
/// the file errors 3 (EE_WRITE) and 20 (EE_DISK_FULL): `include/my_sys_err`, `mysqld_error.h` and the
/// server error reference of either vendor. ER_GET_ERRNO 1030 passes an errno on: 28 is ENOSPC, 122
/// EDQUOT, 5 EIO.
fn cannot_write(code: u16, message: &str) -> bool {
    match code {
        3 | 20 | 1021 | 1026 | 1114 | 1874 => true,
        1030 => ["error 28", "error 122", "error 5 "].iter().any(|word| message.contains(word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_storages_own_errors_count() {
        for (code, message) in [
            (1021, "Disk full (/tmp/x); waiting for someone to free some space..."),
            (1114, "The table 'heartbeat' is full"),
            (1030, "Got error 28 \"No space left on device\" from storage engine InnoDB"),
            (1026, "Error writing file 'binlog' (errno: 28)"),
        ] {
            assert!(cannot_write(code, message), "{code}");
        }
        for (code, message) in [
            (1290, "The MariaDB server is running with the --read-only option"),
            (1205, "Lock wait timeout exceeded"),
            (1213, "Deadlock found"),
            (1223, "Can't execute the query because you have a conflicting read lock"),
            (1030, "Got error 140 \"Wrong create options\" from storage engine InnoDB"),
            (1142, "INSERT command denied"),
        ] {
            assert!(!cannot_write(code, message), "{code}");
        }
    }

    #[test]
    fn a_fenced_master_is_not_written() {
        let statement = statement(7, Duration::from_millis(500));
        assert!(statement.contains("SELECT 7,"), "{statement}");
        assert!(statement.contains("@@GLOBAL.read_only = 0"), "{statement}");
        assert!(statement.contains("INTERVAL 500000 MICROSECOND"), "{statement}");
    }
}
