//! What the coordinator sees and decides, as metrics.
//!
//! Counted where each of them passes: whoever watches only the latest picture misses what came
//! between two looks.

use crate::metrics::Metrics;
use crate::routing::RoutingTable;
use crate::topology::{Observation, Outcome, Servers, Source, UnreachableKind};

/// Counts a probe. What sessions report is no measurement.
pub(super) fn observed(metrics: &Metrics, servers: &Servers, observation: &Observation) {
    if observation.source != Source::Probe {
        return;
    }
    let answered = !matches!(observation.outcome, Outcome::Unreachable { .. });
    let server = metrics.monitor.server(servers.name(observation.server));
    server.probed(label(&observation.outcome), observation.took, answered);
}

/// Follows a routing table.
pub(super) fn published(metrics: &Metrics, table: &RoutingTable) {
    metrics.failover.term.set(table.term.0);
    metrics.failover.generation.set(table.generation);
    metrics.failover.set_active(table.active().map(|active| table.servers.name(active)));
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Alive(_) => "alive",
        Outcome::SaysNo { .. } => "says_no",
        Outcome::CannotWrite { .. } => "cannot_write",
        Outcome::Unreachable { kind, .. } => match kind {
            UnreachableKind::Refused => "refused",
            UnreachableKind::Reset => "reset",
            UnreachableKind::Silent => "silent",
            UnreachableKind::NoRoute => "no_route",
            UnreachableKind::Unresolvable => "unresolvable",
        },
    }
}
