//! What the checks of the servers found.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Handles; clones count into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct CheckMetrics {
    findings: Family<Severity, Gauge>,
    runs: Counter,
    last_run: Gauge,
    last_took: Gauge<f64, std::sync::atomic::AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Severity {
    severity: &'static str,
}

impl CheckMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("check");
        let metrics = Self::default();
        let this = metrics.clone();
        registry.register(
            "findings",
            "What the last look at the servers found not to be as it should be, by severity",
            this.findings,
        );
        registry.register("runs", "Looks at the servers that came to an end", this.runs);
        registry.register(
            "last_run_timestamp_seconds",
            "When the last look at the servers came to an end; 0 before the first",
            this.last_run,
        );
        registry.register_with_unit(
            "last_run",
            "How long the last look at the servers took",
            Unit::Seconds,
            this.last_took,
        );
        metrics
    }

    /// A look came to this: how many findings of each severity, names from a closed list.
    pub fn looked(&self, found: &[(&'static str, usize)], at: SystemTime, took: Duration) {
        for (severity, count) in found {
            let gauge = self.findings.get_or_create_owned(&Severity { severity });
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.last_run.set(i64::try_from(at).unwrap_or(i64::MAX));
        self.last_took.set(took.as_secs_f64());
        self.runs.inc();
    }
}
