//! The admin console: a MySQL server inside the process, so that any MySQL client is the admin tool.
//!
//! It is a backend like any other: Tandem's own front half does handshake, login and TLS, as it does
//! before a master, and hands over a stream whose login has been decided. What is behind that
//! stream accepts everybody. The reason is opensrv-mysql, which can only do `mysql_native_password`,
//! while new clients no longer have it.
//!
//! `statement.rs` understands what was typed, `answer.rs` finds the answer to a question, `tables.rs`
//! renders it; all three are pure. Orders, which change something, are `orders.rs`: it hands them to
//! the coordinator and waits for what they come to. `client.rs` is the other end, for the commands that
//! ask a running proxy. `shim.rs` is the only file that names opensrv.

mod answer;
mod checks;
mod client;
mod losses;
mod orders;
mod reads;
mod shim;
mod statement;
mod tables;

use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, watch};

use crate::config::Setting;
use crate::coordinator::{Accounts, Asked, Journal};
use crate::failover::Status;
use crate::metrics::{self, Metrics};
use crate::pair::check::Checked;
use crate::routing::{Decision, RoutingTable};
use crate::session::StandbyLogin;
use crate::topology::Topology;
use answer::Picture;
pub(crate) use client::{AskError, Client, Row};

/// What the answers are made from.
#[derive(Clone)]
pub struct Handles {
    /// The latest routing table.
    pub routing: watch::Receiver<Arc<RoutingTable>>,
    /// The latest picture of the servers.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The effective configuration.
    pub settings: Arc<[Setting]>,
    /// The console's user, for `USER()`.
    pub admin: String,
    /// Who is connected.
    pub sessions: Arc<dyn SessionList>,
    /// How the users fare on the standby masters.
    pub logins: watch::Receiver<Arc<[StandbyLogin]>>,
    /// Who serves reads; `None` without a reads listener.
    pub reads: Option<watch::Receiver<Arc<Decision>>>,
    /// What the machine is at.
    pub status: watch::Receiver<Arc<Status>>,
    /// What happened.
    pub journal: Arc<Journal>,
    /// The acknowledged writes, and what became of them.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// What the checks of the servers came to.
    pub checks: watch::Receiver<Arc<Checked>>,
    /// Where requests of operators go.
    pub ask: mpsc::Sender<Asked>,
    /// Ends the proxy.
    pub shutdown: Arc<Notify>,
}

impl Handles {
    /// Everything as it is now.
    fn picture(&self) -> Picture {
        Picture {
            now: Instant::now(),
            routing: self.routing.borrow().clone(),
            topology: self.topology.borrow().clone(),
            settings: self.settings.clone(),
            sessions: self.sessions.sessions(),
            logins: self.logins.borrow().clone(),
            reads: self.reads.as_ref().map(|reads| reads.borrow().clone()).unwrap_or_default(),
            status: self.status.borrow().clone(),
            events: self.journal.rows_after(0),
            accounts: self.accounts.borrow().clone(),
            checks: self.checks.borrow().clone(),
            samples: metrics::encode(&self.metrics.registry),
        }
    }
}

/// Whoever knows the client sessions.
pub trait SessionList: Send + Sync {
    /// The open ones, in any order.
    fn sessions(&self) -> Vec<SessionRow>;
    /// Ends the one of this id. False if there is none.
    fn kill(&self, id: u64) -> bool;
}

/// One client session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The connection id that the client knows.
    pub id: u64,
    /// Who logged in.
    pub user: String,
    /// Which listener it came by: `main` or `reads`.
    pub port: &'static str,
    /// Where it came from.
    pub client: String,
    /// The name of the server that it is on; empty while it is on none.
    pub server: String,
    /// What it does, in a word or two ("idle", "held").
    pub state: String,
    /// Why it cannot be moved to another server now, to follow "it" ("is in a transaction"); `None` when
    /// it can.
    pub tied_by: Option<String>,
    /// Since when it is open.
    pub since: Instant,
}

/// Why a console session ended, other than by the client's leave.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The stream broke, or carried what is not the MySQL protocol.
    #[error("the console's stream broke: {0}")]
    Stream(#[from] std::io::Error),
    /// No random numbers for the greeting.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

/// Speaks the protocol on `stream` until the client leaves. Any login is accepted: whoever may use the
/// console has been decided before. `id` is the connection id of the greeting.
///
/// # Errors
/// When the stream breaks.
pub async fn serve<S>(stream: S, id: u32, handles: Handles) -> Result<(), ConsoleError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    shim::serve(stream, id, handles).await
}

#[cfg(test)]
mod tests;
