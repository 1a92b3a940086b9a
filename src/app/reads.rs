//! The reads listener's part of the control plane: who serves, and what its sessions share.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::ReadsHandles;
use crate::config::Config;
use crate::coordinator::{ReadersInputs, ReadersWatch};
use crate::metrics::Metrics;
use crate::monitor::ProbeRequests;
use crate::routing::{Freshness, ReadPolicy, RoutingTable};
use crate::session::{Causal, Channels, Reading, Seats, Shared};
use crate::topology::Topology;

/// Starts it beside the sessions of the main port, whose `channels` it takes but for the table.
pub(super) fn start(
    config: &Config,
    channels: Channels,
    main: &Arc<Shared>,
    topology: &watch::Receiver<Arc<Topology>>,
    probes: ProbeRequests,
    metrics: &Metrics,
    tasks: &mut JoinSet<()>,
) -> ReadsHandles {
    let servers = config.servers.len();
    let reading = Reading {
        freshness: Freshness::new(servers, Instant::now()),
        seats: Seats::new(
            config.servers.iter().map(|server| metrics.reads.sessions(&server.name)).collect(),
        ),
        suspicion: Arc::new(Notify::new()),
        causal: main
            .positions
            .clone()
            .map(|positions| Causal { positions, patience: config.reads.max_lag }),
        metrics: metrics.reads.clone(),
    };
    let policy = ReadPolicy {
        max_lag: config.reads.max_lag,
        standbys: config.reads.standbys,
        active: config.reads.active,
        fall: config.monitor.fall,
    };
    let inputs = ReadersInputs {
        routes: channels.routes.clone(),
        topology: topology.clone(),
        probes,
        freshness: reading.freshness.clone(),
        suspicion: Arc::clone(&reading.suspicion),
        positions: main.positions.clone(),
        metrics: metrics.reads.clone(),
    };
    let (watch, routes, decisions) = ReadersWatch::new(policy, config.monitor.rise, inputs);
    tasks.spawn(watch.run());
    let sessions = sessions_of(channels, routes.clone(), main, reading, metrics);
    tasks.spawn(Arc::clone(&sessions).follow_routes());
    ReadsHandles { routes, decisions, sessions }
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
