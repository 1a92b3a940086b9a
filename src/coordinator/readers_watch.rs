//! Keeps the table of the reads listener: who serves reads, by what the probes see.
//!
//! Each look at a server, each routing table and each moment at which something that was proven ends
//! lets [`Readers`] decide anew. A new decision is published as a table with a generation of its own;
//! how far each server may be trusted goes to [`Freshness`], which sessions look at before every read.
//!
//! What a look proves lasts for `max_lag`, so looks have to come more often than that: the servers that
//! matter are probed four times in it, whatever `[monitor] interval` says. A master that is not well is
//! left to the failover machine's own rhythm.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::info;

use crate::metrics::ReadsMetrics;
use crate::monitor::ProbeRequests;
use crate::routing::{Decision, Freshness, Positions, ReadPolicy, Readers, RoutingTable, Writer};
use crate::topology::{Role, Server, ServerId, Servers, Topology};

/// Looks within `max_lag`.
const LOOKS: u32 = 4;

/// What it goes by, and whom it tells.
#[derive(Debug)]
pub struct ReadersInputs {
    /// Who is active.
    pub routes: watch::Receiver<Arc<RoutingTable>>,
    /// What was seen.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// Has servers looked at.
    pub probes: ProbeRequests,
    /// Until when each server may be read from.
    pub freshness: Freshness,
    /// A server did not take a session.
    pub suspicion: Arc<Notify>,
    /// What servers are seen to have is told there.
    pub positions: Option<Positions>,
    /// What is shown of it.
    pub metrics: ReadsMetrics,
}

/// Keeps the table of the reads listener.
#[derive(Debug)]
pub struct ReadersWatch {
    readers: Readers,
    every: Duration,
    /// So many answers in a row, and a master is well.
    rise: u32,
    inputs: ReadersInputs,
    tables: watch::Sender<Arc<RoutingTable>>,
    decisions: watch::Sender<Arc<Decision>>,
}

impl ReadersWatch {
    /// By `policy`, where masters are well after `rise` answers. Also returns where the tables and the
    /// decisions behind them are seen.
    #[must_use]
    pub fn new(
        policy: ReadPolicy,
        rise: u32,
        inputs: ReadersInputs,
    ) -> (Self, watch::Receiver<Arc<RoutingTable>>, watch::Receiver<Arc<Decision>>) {
        let servers = inputs.routes.borrow().servers.clone();
        let readers = Readers::new(policy, servers.len());
        let starting = RoutingTable::starting(servers, Instant::now().into_std());
        let (tables, table) = watch::channel(Arc::new(starting));
        let (decisions, decision) = watch::channel(Arc::default());
        let every = policy.max_lag / LOOKS;
        (Self { readers, every, rise, inputs, tables, decisions }, table, decision)
    }

    /// Runs until nobody looks any more.
    pub async fn run(mut self) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let suspicion = Arc::clone(&self.inputs.suspicion);
        let mut next = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look(),
                () = suspicion.notified() => self.look(),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                changed = self.inputs.topology.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                changed = self.inputs.routes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            next = self.decide().map(Instant::from_std);
        }
    }

    /// Has everybody looked at that matters.
    fn look(&self) {
        let table = self.inputs.routes.borrow().clone();
        let topology = self.inputs.topology.borrow().clone();
        for server in self.readers.watched(&table) {
            let seen = topology.seen(server.id);
            if server.role == Role::Replica || seen.failures == 0 && seen.successes >= self.rise {
                self.inputs.probes.probe_now(server.id);
            }
        }
    }

    /// Decides, and publishes what is new. Returns when something ends.
    fn decide(&mut self) -> Option<std::time::Instant> {
        let main = self.inputs.routes.borrow_and_update().clone();
        let topology = self.inputs.topology.borrow_and_update().clone();
        let now = Instant::now().into_std();
        self.readers.observe(&topology, &main, now);
        let decision = self.readers.decide(&topology, &main, now);
        let before = self.decisions.borrow().clone();
        for standing in &decision.standings {
            let known = before.standings.iter().find(|known| known.server == standing.server);
            let until = standing.until.as_ref().ok().copied();
            let told = known.map(|known| (known.until.as_ref().ok().copied(), known.down));
            // Told once: sessions may have found out something worse since.
            if told != Some((until, standing.down)) {
                match until {
                    None if standing.down => self.inputs.freshness.set_down(standing.server),
                    until => self.inputs.freshness.set(standing.server, until),
                }
            }
        }
        if let Some(positions) = &self.inputs.positions {
            for server in main.servers.iter() {
                if let Some(facts) = topology.facts(server.id) {
                    positions.observed(server.id, &facts.executed);
                }
            }
            if let Some((active, executed)) = self.readers.active_has() {
                positions.lost_without(active, executed);
            }
        }
        self.measure(&main, &decision);
        self.publish(&main, &before, &decision);
        let next = decision.next;
        self.decisions.send_replace(Arc::new(decision));
        next
    }

    fn publish(&self, main: &RoutingTable, before: &Decision, decision: &Decision) {
        let table = self.tables.borrow().clone();
        let down = |decision: &Decision| -> Vec<ServerId> {
            let down = decision.standings.iter().filter(|standing| standing.down);
            down.map(|standing| standing.server).collect()
        };
        let same_readers = table.readers == decision.readers;
        let refuge = main.active().filter(|_| self.readers.ends_at_the_active());
        let same = same_readers
            && table.identity == main.identity
            && table.next == refuge
            && down(before) == down(decision);
        let (since, known) = match &table.writer {
            Writer::Held { since, reason } => (*since, Some(reason)),
            Writer::Active(_) => (Instant::now().into_std(), None),
        };
        if same && (known == Some(&decision.reason) || !decision.readers.is_empty()) {
            return;
        }
        if !same_readers {
            let names = |servers: &[ServerId]| {
                let names: Vec<&str> = servers.iter().map(|id| main.servers.name(*id)).collect();
                names.join(", ")
            };
            let (from, to) = (names(&table.readers), names(&decision.readers));
            info!(from, to, why = why_not(decision, &main.servers), "who serves reads");
        }
        let since = if same_readers { since } else { Instant::now().into_std() };
        self.tables.send_replace(Arc::new(RoutingTable {
            // Another reason alone is no reason to look up.
            generation: table.generation + u64::from(!same),
            term: main.term,
            writer: Writer::Held { since, reason: Arc::clone(&decision.reason) },
            readers: Arc::clone(&decision.readers),
            next: refuge,
            identity: main.identity.clone(),
            ..(*table).clone()
        }));
    }

    fn measure(&self, main: &RoutingTable, decision: &Decision) {
        for server in main.servers.iter() {
            let Server { id, name, .. } = server;
            let standing = decision.standings.iter().find(|standing| standing.server == *id);
            let age = standing.and_then(|standing| standing.age);
            let serves = decision.readers.contains(id);
            self.inputs.metrics.seen(name, serves, age);
        }
    }
}

/// "r1 may be 2.3 s behind (reads.max_lag); …"
fn why_not(decision: &Decision, servers: &Servers) -> String {
    let unfit = decision.standings.iter().filter_map(|standing| {
        let why = standing.until.as_ref().err()?;
        Some(format!("{} {why}", servers.name(standing.server)))
    });
    unfit.collect::<Vec<_>>().join("; ")
}
