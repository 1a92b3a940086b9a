//! The claims that this process holds: locks on two masters, by connections of their own.
//!
//! A claim tells everybody that somebody is at work, and has to end with him. The end of a process closes
//! its connections. That of a machine that loses its power does not: so the server is told to end the
//! connection after a few seconds of silence, and the holder breaks the silence each second.
//!
//! The connection that holds the lock on the master that is to be active is lent to the order that writes
//! the term there. When it breaks, that order fails: nobody writes a planned term without a claim.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::warn;

use super::failure::not_connected;
use super::other_proxies::{self, Waiting};
use super::switchover::{claim, end_with_silence};
use super::warm::WarmConnections;
use crate::failover::{OrderFailure, OtherProxies};
use crate::monitor::Connection;
use crate::topology::ServerId;

/// How often the holder shows that it lives. Three of these are missed before the server ends the
/// connection ([`CLAIM_SECONDS`](super::switchover::CLAIM_SECONDS)).
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);

/// A connection that holds a lock; `None` when it broke, or is lent.
type Held = tokio::sync::Mutex<Option<Connection>>;

/// What this process has claimed.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By the server that is left.
    held: Mutex<HashMap<ServerId, Claim>>,
    /// The connection by which each server was claimed last. It may be there for some moments after it
    /// was let go.
    last: Mutex<HashMap<ServerId, u32>>,
    /// Where another proxy was told that nothing of ours is open.
    agreed: Mutex<HashMap<ServerId, Arc<Held>>>,
}

/// The locks of one switchover.
#[derive(Debug)]
struct Claim {
    /// On the master that is left. Held for as long as this lives.
    left: Arc<Held>,
    /// On the one that is to be active by plan.
    next: Option<Arc<Held>>,
}

impl Claims {
    /// Takes the locks on `left` and then on `next`.
    pub(super) async fn take(
        &self,
        connections: &WarmConnections,
        left: ServerId,
        next: Option<ServerId>,
    ) -> Result<(), OrderFailure> {
        let left_held = self.hold(connections, left).await?;
        let next_held = match next {
            Some(next) => Some(self.hold(connections, next).await?),
            None => None,
        };
        self.all().insert(left, Claim { left: left_held, next: next_held });
        Ok(())
    }

    /// Has other proxies drain `left`, by the connection that holds the lock there.
    pub(super) async fn drain_others(
        &self,
        left: ServerId,
        waiting: Waiting,
    ) -> Result<OtherProxies, OrderFailure> {
        let held = self.all().get(&left).map(|claim| Arc::clone(&claim.left)).ok_or_else(lost)?;
        // Meanwhile the questions are its signs of life.
        let mut held = held.lock().await;
        let mut connection = held.take().ok_or_else(lost)?;
        let others = other_proxies::drain_others(&mut connection, waiting).await?;
        *held = Some(connection);
        Ok(others)
    }

    /// Tells whoever drains `server` by the connection `drain` that nothing of ours is open there.
    pub(super) async fn agree(
        &self,
        connections: &WarmConnections,
        server: ServerId,
        drain: u32,
        known_by: u32,
    ) -> Result<(), OrderFailure> {
        let connection = connections.take(server).await;
        let mut connection =
            connection.map_err(|error| not_connected(error, connections.user()))?;
        end_with_silence(&mut connection).await?;
        other_proxies::agree(&mut connection, drain, known_by).await?;
        let held = keep(connections.servers().name(server), connection);
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).insert(server, held);
        Ok(())
    }

    /// Takes that back.
    pub(super) fn withdraw(&self, server: ServerId) {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).remove(&server);
    }

    /// The connection by which this process has claimed `server` last.
    pub(super) fn own(&self, server: ServerId) -> Option<u32> {
        self.last().get(&server).copied()
    }

    /// Lets go of them: with their connections go the locks.
    pub(super) fn let_go(&self, left: ServerId) {
        self.all().remove(&left);
    }

    /// The connection that holds the lock on the master that is to be active, if it still does.
    pub(super) async fn lend(&self, left: ServerId) -> Result<Connection, OrderFailure> {
        let held = self.all().get(&left).and_then(|claim| claim.next.clone());
        let connection = match held {
            Some(held) => held.lock().await.take(),
            None => None,
        };
        connection.ok_or_else(lost)
    }

    /// Takes back what was lent.
    pub(super) async fn take_back(&self, left: ServerId, connection: Connection) {
        let held = self.all().get(&left).and_then(|claim| claim.next.clone());
        if let Some(held) = held {
            *held.lock().await = Some(connection);
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<ServerId, Claim>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, HashMap<ServerId, u32>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hold(
        &self,
        connections: &WarmConnections,
        server: ServerId,
    ) -> Result<Arc<Held>, OrderFailure> {
        let connection = connections.take(server).await;
        let mut connection =
            connection.map_err(|error| not_connected(error, connections.user()))?;
        claim(&mut connection, self.own(server)).await?;
        self.last().insert(server, connection.id());
        Ok(keep(connections.servers().name(server), connection))
    }
}

fn lost() -> OrderFailure {
    OrderFailure::Unreachable("the claim of the switchover was lost".to_owned())
}

/// Holds what `connection` has locked for as long as the result lives.
fn keep(server: &str, connection: Connection) -> Arc<Held> {
    let held = Arc::new(Held::new(Some(connection)));
    tokio::spawn(show_life(server.to_owned(), Arc::downgrade(&held)));
    held
}

/// For as long as somebody else holds it.
async fn show_life(server: String, held: Weak<Held>) {
    loop {
        sleep(SIGN_OF_LIFE_EVERY).await;
        let Some(held) = held.upgrade() else { return };
        let mut held = held.lock().await;
        let Some(mut connection) = held.take() else { return };
        match timeout(SIGN_OF_LIFE_EVERY, connection.ask("DO 0")).await {
            Ok(Ok(_)) => *held = Some(connection),
            failed => {
                warn!(server, ?failed, "the claim of the switchover is lost");
                return;
            }
        }
    }
}
