//! The part of the control plane that reads have: who serves them, and what the sessions that read share.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::ReadsHandles;
use crate::config::Config;
use crate::coordinator::{ReadersInputs, ReadersWatch};
use crate::metrics::Metrics;
use crate::monitor::ProbeRequests;
use crate::routing::{Decision, Freshness, Positions, ReadPolicy, RoutingTable};
use crate::session::{Causal, Channels, Reading, Seats, Shared, Splitting};
use crate::topology::Topology;

/// Who serves reads: for the sessions of the reads listener, and for those of the main port whose reads are
/// split.
pub(super) struct Readers {
    reading: Reading,
    routes: watch::Receiver<Arc<RoutingTable>>,
    decisions: watch::Receiver<Arc<Decision>>,
}

impl Readers {
    /// Begins to watch the servers, by the table that `routes` follow.
    pub(super) fn start(
        config: &Config,
        routes: watch::Receiver<Arc<RoutingTable>>,
        topology: &watch::Receiver<Arc<Topology>>,
        probes: ProbeRequests,
        metrics: &Metrics,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let servers = config.servers.len();
        let finds_writes = config.reads.causal || config.reads.split;
        let positions = finds_writes.then(|| Positions::new(servers));
        let reading = Reading {
            freshness: Freshness::new(servers, Instant::now()),
            seats: Seats::new(
                config.servers.iter().map(|server| metrics.reads.sessions(&server.name)).collect(),
            ),
            suspicion: Arc::new(Notify::new()),
            causal: positions.map(|positions| Causal { positions, patience: config.reads.max_lag }),
            metrics: metrics.reads.clone(),
        };
        let policy = ReadPolicy {
            max_lag: config.reads.max_lag,
            standbys: config.reads.standbys,
            active: config.reads.active,
            fall: config.monitor.fall,
        };
        let inputs = ReadersInputs {
            routes,
            topology: topology.clone(),
            probes,
            freshness: reading.freshness.clone(),
            suspicion: Arc::clone(&reading.suspicion),
            positions: reading.causal.as_ref().map(|causal| causal.positions.clone()),
            metrics: metrics.reads.clone(),
        };
        let (watch, routes, decisions) = ReadersWatch::new(policy, config.monitor.rise, inputs);
        tasks.spawn(watch.run());
        Self { reading, routes, decisions }
    }

    /// Where sessions say what they acknowledge, if reads are to find it.
    pub(super) fn positions(&self) -> Option<Positions> {
        self.reading.causal.as_ref().map(|causal| causal.positions.clone())
    }

    /// For the sessions of the main port.
    pub(super) fn splitting(&self) -> Splitting {
        Splitting { reading: self.reading.clone(), routes: self.routes.clone() }
    }

    /// Starts the sessions of the reads listener beside those of the main port, whose `channels` they take
    /// but for the table.
    pub(super) fn serve(
        self,
        causal: bool,
        channels: Channels,
        main: &Arc<Shared>,
        metrics: &Metrics,
        tasks: &mut JoinSet<()>,
    ) -> ReadsHandles {
        let Self { mut reading, routes, decisions } = self;
        if !causal {
            reading.causal = None;
        }
        let sessions = sessions_of(channels, routes.clone(), main, reading, metrics);
        tasks.spawn(Arc::clone(&sessions).follow_routes());
        ReadsHandles { routes, decisions, sessions }
    }
}

fn sessions_of(
    channels: Channels,
    routes: watch::Receiver<Arc<RoutingTable>>,
    main: &Shared,
    reading: Reading,
    metrics: &Metrics,
) -> Arc<Shared> {
    // Nobody waits for these sessions to let go of a master: they have written nothing there.
    let (drains, _) = mpsc::channel(1);
    let shared = Shared::new(
        Channels { routes, drains, ..channels },
        main.hold,
        main.connect_timeout,
        main.max_connections,
        main.master_tls.clone(),
        metrics.session.clone(),
    );
    Arc::new(shared.reading_beside(main, reading))
}
