//! Carrying orders out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use tracing::debug;

use super::backlog::drop_backlog;
use super::catch_up::catch_up;
use super::claims::Claims;
use super::discarding::{DISCARD_WITHIN, discard, pass_over};
use super::failure::{failure, not_connected};
use super::fence::fence;
use super::inspecting::{Returned, inspect};
use super::other_proxies::Waiting;
use super::promotion::{Decision, open, promote};
use super::receiving::{Receiver, Sender, Stops, start_receiving, stop_receiving};
use super::semi_sync::{Switch, release_applier, restore};
use super::switchover::{freeze, reach};
use super::warm::WarmConnections;
use crate::failover::{Order, OrderFailure, OrderResult};
use crate::monitor::Connection;
use crate::topology::grants::Privilege;
use crate::topology::{Role, ServerId, Topology};

/// Something that carries orders out. The real one writes SQL; tests have a scripted one.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Carries one order out, within a bounded time.
    async fn carry_out(&self, order: &Order, surroundings: Surroundings) -> OrderResult;

    /// A master was seen to receive from `server`: what was switched off on `server` because
    /// nobody received may be switched on again.
    async fn received_again(&self, server: ServerId);
}

/// What is known of the other servers when an order is given, as far as it matters for how it is
/// carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `@@server_id` of the order's source, where it was ever seen.
    pub source_server_id: Option<u32>,
    /// Whether the order's own server answered its last probe.
    pub answers: bool,
    /// Whether every other master answered its last probe.
    pub peers_answer: bool,
}

impl Surroundings {
    /// What `topology` knows around `order`.
    #[must_use]
    pub fn of(order: &Order, topology: &Topology) -> Self {
        let source = match order {
            Order::StopReceiving { source, .. }
            | Order::DropBacklog { source, .. }
            | Order::StartReceiving { source, .. }
            | Order::PassOver { source, .. } => Some(*source),
            _ => None,
        };
        let mut peers = topology
            .servers()
            .iter()
            .filter(|peer| peer.role == Role::Master && peer.id != order.server());
        Self {
            source_server_id: source
                .and_then(|source| topology.facts(source))
                .map(|facts| facts.server_id),
            answers: topology.seen(order.server()).answers(),
            peers_answer: peers.all(|peer| topology.seen(peer.id).answers()),
        }
    }
}

/// Carries orders out as SQL, over warm connections.
#[derive(Debug)]
pub struct SqlExecutor {
    connections: Arc<WarmConnections>,
    decided_by: String,
    /// Masters that go on asynchronously, and by which switch.
    asynchronous: Mutex<HashMap<ServerId, Switch>>,
    claims: Claims,
    /// By server.
    stops: Vec<Stops>,
}

/// `lock_wait_timeout` is 2 s; the statement is given a little more to answer.
const FENCE_WITHIN: Duration = Duration::from_secs(3);
/// Threads are stopped in milliseconds, unless they are inside a transaction of a table that cannot
/// roll back.
const RECEIVING_WITHIN: Duration = Duration::from_secs(10);
/// The applier rolls back what it is in the middle of.
const DROP_WITHIN: Duration = Duration::from_secs(25);
/// A lock wait of 2 s, and an INSERT.
const PROMOTE_WITHIN: Duration = Duration::from_secs(10);
/// A log may be long, and is read from what the active master has to its end.
const INSPECT_WITHIN: Duration = Duration::from_secs(60);
/// A thousand empty transactions, each of them synced.
const PASS_OVER_WITHIN: Duration = Duration::from_secs(60);
/// A catch-up has its own bound; this is what its last question may take beyond it.
const CATCH_UP_GRACE: Duration = Duration::from_secs(2);

impl SqlExecutor {
    /// An executor whose decisions are signed `host:pid`.
    #[must_use]
    pub fn new(connections: Arc<WarmConnections>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let decided_by = format!("{}:{}", host.trim(), std::process::id());
        Self::signed(connections, decided_by)
    }

    /// An executor whose decisions are signed `decided_by`.
    #[must_use]
    pub fn signed(connections: Arc<WarmConnections>, decided_by: String) -> Self {
        let stops = connections.servers().iter().map(|_| Stops::default()).collect();
        let (asynchronous, claims) = (Mutex::default(), Claims::default());
        Self { connections, decided_by, asynchronous, claims, stops }
    }

    /// Comes back with a connection for the next order: one that still carries a statement is not.
    async fn run(
        &self,
        mut connection: Connection,
        order: &Order,
        around: &Surroundings,
    ) -> Result<(OrderResult, Connection), OrderFailure> {
        let stops = &self.stops[order.server().index()];
        let servers = self.connections.servers();
        let from = |source: ServerId| Sender {
            server_id: around.source_server_id,
            address: &servers.get(source).address,
        };
        match order {
            Order::Fence { server } => {
                let name = servers.name(*server);
                // One that is frozen reads this when it thaws, and does not know then that its replicas
                // have gone.
                let acknowledged = around.peers_answer && around.answers;
                let switch = fence(&mut connection, name, acknowledged).await?;
                self.remember(*server, switch);
            }
            Order::Freeze { .. } => {
                let position = freeze(&mut connection).await?;
                return Ok((OrderResult::Frozen(position), connection));
            }
            Order::Reach { position, timeout, .. } => {
                reach(&mut connection, position, *timeout).await?;
            }
            // These have a connection of their own, which outlives them.
            Order::Claim { .. }
            | Order::Unclaim { .. }
            | Order::DrainOthers { .. }
            | Order::Agree { .. }
            | Order::Withdraw { .. } => {}
            Order::FreeApplier { server } => {
                self.free_applier(&mut connection, *server, around.peers_answer).await?;
            }
            Order::CatchUp { server, timeout } => {
                self.free_applier(&mut connection, *server, around.peers_answer).await?;
                catch_up(&mut connection, *timeout).await?;
            }
            Order::StopReceiving { server, source } => {
                let receiver = Receiver { id: *server, connections: &self.connections, stops };
                connection = stop_receiving(connection, receiver, from(*source)).await?;
            }
            Order::DropBacklog { server, source } => {
                let receiver = Receiver { id: *server, connections: &self.connections, stops };
                let (connection, dropped) =
                    drop_backlog(connection, receiver, from(*source)).await?;
                return Ok((OrderResult::Dropped(dropped), connection));
            }
            Order::StartReceiving { source, .. } => {
                start_receiving(&mut connection, stops, from(*source)).await?;
            }
            Order::Inspect { active, .. } => {
                let active = &servers.get(*active).address;
                let returned = Returned {
                    connection: &connection,
                    address: &servers.get(order.server()).address,
                };
                let found = inspect(self.connections.dialer(), returned, active).await?;
                return Ok((OrderResult::Inspected(Arc::new(found)), connection));
            }
            Order::Discard { server, active, term } => {
                let (returned, active) = (servers.get(*server), servers.get(*active));
                let addresses = (&returned.address, &active.address);
                let dialer = self.connections.dialer();
                return Ok((discard(dialer, &mut connection, addresses, *term).await?, connection));
            }
            Order::PassOver { source, discarded, .. } => {
                pass_over(&mut connection, from(*source), discarded).await?;
            }
            Order::Promote { server, seen, reason, planned_from } => {
                let decision = Decision {
                    active: servers.name(*server),
                    seen: *seen,
                    reason,
                    planned: planned_from.is_some(),
                    decided_by: &self.decided_by,
                };
                let (result, switch) =
                    promote(&mut connection, decision, around.peers_answer).await?;
                self.remember(*server, switch);
                return Ok((result, connection));
            }
            Order::Open { server, term } => {
                let name = servers.name(*server);
                let (result, switch) = open(
                    &mut connection,
                    name,
                    *term,
                    around.peers_answer,
                    self.claims.own(*server),
                )
                .await?;
                self.remember(*server, switch);
                return Ok((result, connection));
            }
        }
        Ok((OrderResult::Done, connection))
    }

    async fn free_applier(
        &self,
        connection: &mut Connection,
        server: ServerId,
        peers_answer: bool,
    ) -> Result<(), OrderFailure> {
        let name = self.connections.servers().name(server);
        let released = release_applier(connection, name, peers_answer).await;
        let switch = released.map_err(|error| failure(error, connection, Privilege::SemiSync))?;
        self.remember(server, switch);
        Ok(())
    }

    /// Takes the claim on both masters.
    async fn claim(&self, server: ServerId, next: Option<ServerId>) -> OrderResult {
        let taken = self.claims.take(&self.connections, server, next);
        match timeout(FENCE_WITHIN, taken).await {
            Ok(Ok(())) => {
                // Others for the next orders, which will be given while statements wait.
                for server in [Some(server), next].into_iter().flatten() {
                    if let Ok(connection) = self.connections.take(server).await {
                        self.connections.give_back(server, connection);
                    }
                }
                OrderResult::Done
            }
            Ok(Err(failure)) => OrderResult::Failed(failure),
            Err(_) => OrderResult::Failed(OrderFailure::TimedOut("the claim".to_owned())),
        }
    }

    /// What proxies tell each other, over connections that hold locks.
    async fn drain_others(&self, server: ServerId, waiting: Waiting) -> OrderResult {
        let within = waiting.timeout + CATCH_UP_GRACE;
        match timeout(within, self.claims.drain_others(server, waiting)).await {
            Ok(Ok(others)) => OrderResult::Others(others),
            Ok(Err(failure)) => OrderResult::Failed(failure),
            Err(_) => OrderResult::Failed(OrderFailure::TimedOut("the other proxies".to_owned())),
        }
    }

    async fn agree(&self, server: ServerId, drain: u32, connection: u32) -> OrderResult {
        let told = self.claims.agree(&self.connections, server, drain, connection);
        match timeout(FENCE_WITHIN, told).await {
            Ok(Ok(())) => OrderResult::Done,
            Ok(Err(failure)) => OrderResult::Failed(failure),
            Err(_) => OrderResult::Failed(OrderFailure::TimedOut("the agreement".to_owned())),
        }
    }

    /// The connection for an order: its own, or the one that holds a claim.
    async fn connect(&self, order: &Order) -> Result<Connection, OrderFailure> {
        if let Order::Promote { planned_from: Some(left), .. } = order {
            return self.claims.lend(*left).await;
        }
        let connection = self.connections.take(order.server()).await;
        connection.map_err(|error| not_connected(error, self.connections.user()))
    }

    async fn give_back(&self, order: &Order, connection: Connection) {
        if let Order::Promote { planned_from: Some(left), .. } = order {
            return self.claims.take_back(*left, connection).await;
        }
        self.connections.give_back(order.server(), connection);
    }

    fn remember(&self, server: ServerId, switch: Option<Switch>) {
        if let Some(switch) = switch {
            self.asynchronous().insert(server, switch);
        }
    }

    fn asynchronous(&self) -> std::sync::MutexGuard<'_, HashMap<ServerId, Switch>> {
        self.asynchronous.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bound(order: &Order) -> Duration {
    match order {
        Order::Fence { .. }
        | Order::Freeze { .. }
        | Order::FreeApplier { .. }
        | Order::Claim { .. }
        | Order::Agree { .. }
        | Order::Withdraw { .. }
        | Order::Unclaim { .. } => FENCE_WITHIN,
        Order::CatchUp { timeout, .. }
        | Order::Reach { timeout, .. }
        | Order::DrainOthers { timeout, .. } => *timeout + CATCH_UP_GRACE,
        Order::StopReceiving { .. } | Order::StartReceiving { .. } => RECEIVING_WITHIN,
        Order::DropBacklog { .. } => DROP_WITHIN,
        Order::Inspect { .. } => INSPECT_WITHIN,
        Order::Discard { .. } => DISCARD_WITHIN,
        Order::PassOver { .. } => PASS_OVER_WITHIN,
        Order::Promote { .. } | Order::Open { .. } => PROMOTE_WITHIN,
    }
}

#[async_trait]
impl Executor for SqlExecutor {
    async fn carry_out(&self, order: &Order, surroundings: Surroundings) -> OrderResult {
        match order {
            Order::Claim { server, next } => return self.claim(*server, *next).await,
            Order::Unclaim { server } => {
                self.claims.let_go(*server);
                return OrderResult::Done;
            }
            Order::DrainOthers { server, own, alive_within, timeout } => {
                let (own, alive_within, timeout) = (*own, *alive_within, *timeout);
                return self.drain_others(*server, Waiting { own, alive_within, timeout }).await;
            }
            Order::Agree { server, drain, connection } => {
                return self.agree(*server, *drain, *connection).await;
            }
            Order::Withdraw { server } => {
                self.claims.withdraw(*server);
                return OrderResult::Done;
            }
            _ => {}
        }
        let connection = match self.connect(order).await {
            Ok(connection) => connection,
            Err(failure) => return OrderResult::Failed(failure),
        };
        let within = bound(order);
        match timeout(within, self.run(connection, order, &surroundings)).await {
            Ok(Ok((result, connection))) => {
                self.give_back(order, connection).await;
                result
            }
            // The connection goes with the failure: whatever it held, a lock or a statement that
            // still runs, the server lets go of.
            Ok(Err(failure)) => OrderResult::Failed(failure),
            Err(_) => OrderResult::Failed(OrderFailure::TimedOut(format!(
                "no answer within {}",
                humantime::format_duration(within)
            ))),
        }
    }

    async fn received_again(&self, server: ServerId) {
        let Some(switch) = self.asynchronous().remove(&server) else { return };
        let name = self.connections.servers().name(server);
        let restored = match self.connections.take(server).await {
            Ok(mut connection) => {
                let restored = timeout(FENCE_WITHIN, restore(&mut connection, switch, name)).await;
                if matches!(restored, Ok(Ok(()))) {
                    self.connections.give_back(server, connection);
                    return;
                }
                format!("{restored:?}")
            }
            Err(error) => error.to_string(),
        };
        debug!(server = name, restored, "semi-synchronous replication is not restored yet");
        self.asynchronous().entry(server).or_insert(switch);
    }
}
