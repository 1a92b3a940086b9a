//! Semi-synchronous replication must not make a survivor wait for the dead.
//!
//! Both members of a semi-synchronous pair are master and slave. When one dies, every commit on the
//! other waits for an acknowledgement until `rpl_semi_sync_master_timeout`, and so would the INSERT
//! of the term itself, and before it the commits of the applier that is to catch up (they are
//! passed on, `log_slave_updates`, and wait like a client's). Tried on MariaDB 10.11 with a commit
//! already waiting:
//!
//! | statement on the survivor | other killed | other frozen |
//! |---|---|---|
//! | `rpl_semi_sync_master_wait_no_slave=0` | released | **not** released: its connection is still there |
//! | `rpl_semi_sync_master_timeout=0` | released | released |
//! | `rpl_semi_sync_master_enabled=0` | released | released |
//!
//! On MySQL the last one releases the commits at once as well, but the statement returns only when a thread
//! has ended that looks up once a second (`Ack_receiver::stop` in `plugin/semisync`), with the lock of the
//! global variables held: `read_only=0` waits for it. The first one has no effect there as long as the dead
//! replica's dump thread has not noticed, and to kill that one waits for the same thread.
//!
//! The last one is used: it says what it does in the server's own variables. It is undone when the
//! other master receives again; a Tandem that is restarted in between does not know of it, which is
//! why it is logged as a warning with the statement that undoes it.

use tracing::{info, warn};

use crate::monitor::{Answers, Columns, Connection, ConnectionError};
use crate::topology::grants::Privilege;

/// What to ask, as the answers that [`SemiSync::read`] takes.
/// (`LIKE`: with `WHERE` a server first evaluates all that it could show.)
pub(super) const QUESTIONS: &str = "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%_enabled'; \
     SHOW SESSION STATUS LIKE 'Rpl_semi_sync_%_clients'";

/// Which of the two names the server has for the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// MariaDB, and MySQL with the plugin of before 8.0.26.
    Master,
    /// MySQL since 8.0.26.
    Source,
}

impl Switch {
    fn variable(self) -> &'static str {
        match self {
            Self::Master => "rpl_semi_sync_master_enabled",
            Self::Source => "rpl_semi_sync_source_enabled",
        }
    }
}

/// The master's side of semi-synchronous replication, where it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SemiSync {
    switch: Switch,
    /// How many replicas are there to acknowledge, as far as the server knows.
    clients: u32,
}

impl SemiSync {
    /// `None` where it is off or not there at all.
    pub(super) fn read(
        variables: &[mysql_async::Row],
        status: &[mysql_async::Row],
    ) -> Option<Self> {
        let switch = variables.iter().map(Columns).find_map(|row| {
            let on = matches!(row.find(&["Value"])?.as_str(), "ON" | "1");
            // The other ones are of the receiver's side.
            let switch = match row.find(&["Variable_name"])?.as_str() {
                "rpl_semi_sync_source_enabled" => Switch::Source,
                "rpl_semi_sync_master_enabled" => Switch::Master,
                _ => return None,
            };
            on.then_some(switch)
        })?;
        let clients = status.iter().find_map(|row| Columns(row).number(&["Value"]).ok());
        Some(Self { switch, clients: clients.unwrap_or(0) })
    }

    /// Whether commits may hang: nobody is there to acknowledge, or one of those who should be does
    /// not answer (the server counts a frozen replica until its connection times out).
    pub(super) fn would_hang(self, peers_answer: bool) -> bool {
        self.clients == 0 || !peers_answer
    }

    /// Lets the server go on alone. An account that may not is no reason to have no master: commits
    /// then wait for the server's own timeout.
    pub(super) async fn release(
        self,
        connection: &mut Connection,
        server: &str,
    ) -> Result<Option<Switch>, ConnectionError> {
        let variable = self.switch.variable();
        match connection.ask(&format!("SET GLOBAL {variable}=0")).await?.all() {
            Ok(_) => {
                warn!(
                    server,
                    "goes on without semi-synchronous replication, because the other master would \
                     not acknowledge; it is restored when that one receives again (by hand: \
                     SET GLOBAL {variable}=1)"
                );
                Ok(Some(self.switch))
            }
            Err(error) => {
                let grant = connection.grant(Privilege::SemiSync);
                warn!(server, %error, "commits wait for a master that does not answer; {grant}");
                Ok(None)
            }
        }
    }
}

/// Lets the server go on alone if its commits, those of its applier as well, would wait for the dead.
pub(super) async fn release_applier(
    connection: &mut Connection,
    server: &str,
    peers_answer: bool,
) -> Result<Option<Switch>, ConnectionError> {
    match ask(connection).await? {
        Some(semi_sync) if semi_sync.would_hang(peers_answer) => {
            semi_sync.release(connection, server).await
        }
        _ => Ok(None),
    }
}

/// Whether commits on the server may hang now.
pub(super) async fn would_hang(
    connection: &mut Connection,
    peers_answer: bool,
) -> Result<bool, ConnectionError> {
    Ok(ask(connection).await?.is_some_and(|semi_sync| semi_sync.would_hang(peers_answer)))
}

async fn ask(connection: &mut Connection) -> Result<Option<SemiSync>, ConnectionError> {
    let sets = connection.ask(QUESTIONS).await?.all()?;
    let rows = |place: usize| sets.get(place).map_or(&[][..], Vec::as_slice);
    Ok(SemiSync::read(rows(0), rows(1)))
}

/// Turns it on again.
pub(super) async fn restore(
    connection: &mut Connection,
    switch: Switch,
    server: &str,
) -> Result<(), ConnectionError> {
    let statement = format!("SET GLOBAL {}=1", switch.variable());
    connection.ask(&statement).await.and_then(Answers::all)?;
    info!(server, "semi-synchronous replication is on again");
    Ok(())
}
