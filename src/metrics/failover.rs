//! What the coordinator counts.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Terms and generations are unsigned 64-bit numbers.
type Number = Gauge<u64, AtomicU64>;
type Seconds = Gauge<f64, AtomicU64>;

/// Handles of the coordinator; clones count into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct FailoverMetrics {
    /// The term that is followed.
    pub term: Number,
    /// The generation of the routing table.
    pub generation: Number,
    active: Vec<(String, Gauge)>,
    failovers: Counter,
    gap: Family<Part, Seconds>,
    transitions: Family<Change, Counter>,
}

/// How long nobody took writes in one failover, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From the last sign of life of the old master to the decision.
    pub noticing: Duration,
    /// Waiting for the standby to apply what it had received.
    pub catch_up: Duration,
    /// Everything else: fencing, the term, opening, publishing.
    pub other: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Server {
    server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Change {
    from: &'static str,
    to: &'static str,
}

impl FailoverMetrics {
    pub(super) fn register(registry: &mut Registry, servers: &[&str]) -> Self {
        let failovers = Counter::default();
        registry.register("failovers", "Failovers that were carried out", failovers.clone());
        let registry = registry.sub_registry_with_prefix("failover");
        let active = Family::<Server, Gauge>::default();
        let handle = |name: &&str| {
            let label = Server { server: (*name).to_owned() };
            ((*name).to_owned(), active.get_or_create_owned(&label))
        };
        let active_of = servers.iter().map(handle).collect();
        let metrics = Self { active: active_of, failovers, ..Self::default() };
        let this = metrics.clone();
        registry.register("term", "The term that is followed", this.term);
        registry.register("generation", "Generation of the routing table", this.generation);
        registry.register("active", "1 for the active master", active);
        registry.register_with_unit(
            "last_gap",
            "How long nobody took writes in the last failover, in its parts",
            Unit::Seconds,
            this.gap,
        );
        registry.register("transitions", "Changes of phase", this.transitions);
        metrics
    }

    /// Notes who is active now; nobody, for a name that is not configured.
    pub fn set_active(&self, server: Option<&str>) {
        for (name, gauge) in &self.active {
            gauge.set(i64::from(server == Some(name.as_str())));
        }
    }

    /// Counts a failover and keeps the parts of its gap.
    pub fn failed_over(&self, gap: Gap) {
        self.failovers.inc();
        let parts = [("noticing", gap.noticing), ("catch_up", gap.catch_up), ("other", gap.other)];
        for (part, took) in parts {
            self.gap.get_or_create(&Part { part }).set(took.as_secs_f64());
        }
    }

    /// Counts a change of phase, by the names of the phases.
    pub fn transitioned(&self, from: &'static str, to: &'static str) {
        self.transitions.get_or_create(&Change { from, to }).inc();
    }
}
