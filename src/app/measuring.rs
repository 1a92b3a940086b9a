//! What the control plane knows, as metrics.

use std::sync::Arc;

use super::Handles;
use crate::metrics::Metrics;
use crate::routing::RoutingTable;
use crate::topology::{Outcome, Topology, UnreachableKind};

/// Keeps the metrics up to date until the coordinator ends.
pub(super) async fn measure(mut handles: Handles) {
    let metrics = Arc::clone(&handles.metrics);
    let mut probes = Probes::default();
    let mut recorded = 0;
    loop {
        let table = handles.routes.borrow_and_update().clone();
        follow(&table, &metrics);
        let topology = handles.topology.borrow_and_update().clone();
        probes.count(&topology, &metrics);
        for row in handles.journal.rows_after(recorded) {
            recorded = row.number;
            metrics.failover.transitioned(row.transition.from, row.transition.to);
        }
        let changed = tokio::select! {
            changed = handles.routes.changed() => changed,
            changed = handles.topology.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn follow(table: &RoutingTable, metrics: &Metrics) {
    metrics.failover.term.set(table.term.0);
    metrics.failover.generation.set(table.generation);
    metrics.failover.set_active(table.active().map(|active| table.servers.name(active)));
}

/// The last probe of each server that was counted.
#[derive(Default)]
struct Probes {
    counted: Vec<Option<std::time::Instant>>,
}

impl Probes {
    fn count(&mut self, topology: &Topology, metrics: &Metrics) {
        self.counted.resize(topology.servers().len(), None);
        for (server, counted) in topology.servers().iter().zip(&mut self.counted) {
            let seen = topology.seen(server.id);
            let Some(last) = &seen.last else { continue };
            if *counted == Some(last.at) {
                continue;
            }
            *counted = Some(last.at);
            let handles = metrics.monitor.server(&server.name);
            handles.probed(label(&last.outcome), last.took, seen.answers());
        }
    }
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Alive(_) => "alive",
        Outcome::SaysNo { .. } => "says_no",
        Outcome::Unreachable { kind, .. } => match kind {
            UnreachableKind::Refused => "refused",
            UnreachableKind::Reset => "reset",
            UnreachableKind::Silent => "silent",
            UnreachableKind::NoRoute => "no_route",
            UnreachableKind::Unresolvable => "unresolvable",
        },
    }
}
