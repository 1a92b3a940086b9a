//! Control connections that are kept open, one per server.
//!
//! An order takes the connection of its server and gives it back; one that comes while it is taken
//! gets a new one, so that orders never wait for each other. A connection that has not answered within
//! the last second is asked for a sign of life before it is handed out: what fails after that is the
//! order's own failure, and nothing has to be tried twice.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::debug;

use crate::monitor::{Connection, ConnectionError, Dialer};
use crate::topology::{ServerId, Servers, UnreachableKind};

/// What answered within this is taken to be alive: in the middle of a failover a round trip counts.
const FRESH: Duration = Duration::from_secs(1);

/// How often idle connections are looked after.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// One idle connection per server, or none yet.
#[derive(Debug)]
pub struct WarmConnections {
    servers: Servers,
    dialer: Dialer,
    /// How long reaching a server may take.
    within: Duration,
    idle: Vec<Mutex<Option<Idle>>>,
}

/// A connection that nobody uses.
#[derive(Debug)]
struct Idle {
    connection: Connection,
    /// When it was given back, having answered.
    since: Instant,
}

impl WarmConnections {
    /// None open yet.
    #[must_use]
    pub fn new(servers: Servers, dialer: Dialer, within: Duration) -> Self {
        let idle = servers.iter().map(|_| Mutex::default()).collect();
        Self { servers, dialer, within, idle }
    }

    /// The servers that it connects to.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// For connections of one's own.
    #[must_use]
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// The account's name.
    #[must_use]
    pub fn user(&self) -> &str {
        self.dialer.user()
    }

    /// A connection to `server` that has answered just now, or almost.
    ///
    /// # Errors
    /// When the server cannot be reached within the bound, or refuses the login.
    pub async fn take(&self, server: ServerId) -> Result<Connection, ConnectionError> {
        let idle = self.slot(server).take();
        if let Some(Idle { mut connection, since }) = idle
            && (since.elapsed() < FRESH
                || matches!(timeout(self.within / 2, connection.ask("DO 0")).await, Ok(Ok(_))))
        {
            return Ok(connection);
        }
        let address = &self.servers.get(server).address;
        timeout(self.within, self.dialer.connect(address, self.within)).await.unwrap_or_else(|_| {
            Err(ConnectionError::Unreachable {
                kind: UnreachableKind::Silent,
                detail: format!("no answer within {}", humantime::format_duration(self.within)),
            })
        })
    }

    /// Gives a connection back for the next order. Only one that is in a clean state: no user
    /// lock held, no statement running.
    pub fn give_back(&self, server: ServerId, connection: Connection) {
        *self.slot(server) = Some(Idle { connection, since: Instant::now() });
    }

    fn slot(&self, server: ServerId) -> std::sync::MutexGuard<'_, Option<Idle>> {
        self.idle[server.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection to every server open, for as long as somebody else holds this.
    pub async fn keep(self: Arc<Self>) {
        let mut ticks = interval(KEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let weak = Arc::downgrade(&self);
        drop(self);
        loop {
            ticks.tick().await;
            let Some(warm) = weak.upgrade() else { return };
            for server in warm.servers.iter() {
                match warm.take(server.id).await {
                    Ok(connection) => warm.give_back(server.id, connection),
                    Err(error) => debug!(server = server.name, %error, "no control connection"),
                }
            }
        }
    }
}
