//! What the monitor counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// From a healthy probe on the same machine to one that ran into a generous timeout, in seconds.
const DURATIONS: [f64; 11] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// Handles of the monitor; clones count into the same numbers.
#[derive(Clone, Debug)]
pub struct MonitorMetrics {
    probes: Family<Probe, Counter>,
    durations: Family<Server, Histogram, fn() -> Histogram>,
    up: Family<Server, Gauge>,
    abstained: Family<Server, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Server {
    server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Probe {
    server: String,
    outcome: &'static str,
}

impl MonitorMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("monitor");
        let histogram: fn() -> Histogram = || Histogram::new(DURATIONS);
        let metrics = Self {
            probes: Family::default(),
            durations: Family::new_with_constructor(histogram),
            up: Family::default(),
            abstained: Family::default(),
        };
        let this = metrics.clone();
        registry.register("probes", "Probes of a server, by outcome", this.probes);
        registry.register_with_unit(
            "probe_duration",
            "How long a probe of a server took",
            Unit::Seconds,
            this.durations,
        );
        registry.register("server_up", "Whether the last probe of a server was answered", this.up);
        registry.register(
            "abstained",
            "Probes of a server that were not counted because this process was at fault",
            this.abstained,
        );
        metrics
    }

    /// The handles of one server.
    #[must_use]
    pub fn server(&self, name: &str) -> ServerMetrics {
        let label = Server { server: name.to_owned() };
        ServerMetrics {
            duration: self.durations.get_or_create_owned(&label),
            up: self.up.get_or_create_owned(&label),
            abstained: self.abstained.get_or_create_owned(&label),
            probes: self.probes.clone(),
            server: label.server,
        }
    }
}

/// The handles of one server.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    server: String,
    probes: Family<Probe, Counter>,
    duration: Histogram,
    up: Gauge,
    abstained: Counter,
}

impl ServerMetrics {
    /// Counts a probe that says nothing about the server.
    pub fn abstained(&self) {
        self.abstained.inc();
    }

    /// Counts a probe. `outcome` is a name from a closed list (`alive`, `says_no`, `refused`, …), `up`
    /// whether the server answered.
    pub fn probed(&self, outcome: &'static str, took: Duration, up: bool) {
        let label = Probe { server: self.server.clone(), outcome };
        self.probes.get_or_create(&label).inc();
        self.duration.observe(took.as_secs_f64());
        self.up.set(i64::from(up));
    }
}
