//! What the reads listener counts.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Handles; clones count into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct ReadsMetrics {
    /// Reads that waited until their server had what clients had been told is committed.
    pub causal_waits: Counter,
    /// Of those, how many waited in vain and went to the active master.
    pub causal_timeouts: Counter,
    /// Reads of the main port that a reader answered.
    pub split: Counter,
    /// Reads of the main port that a reader was asked for, and the active master answered.
    pub split_back: Counter,
    serving: Family<Server, Gauge>,
    sessions: Family<Server, Gauge>,
    age: Family<Server, Gauge<f64, AtomicU64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Server {
    server: String,
}

impl ReadsMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("reads");
        let metrics = Self::default();
        let this = metrics.clone();
        registry.register(
            "serving",
            "1 while sessions of the reads listener go there",
            this.serving,
        );
        registry.register(
            "sessions",
            "Sessions of the reads listener that are there",
            this.sessions,
        );
        registry.register_with_unit(
            "age",
            "How old the data of a server is at most, by what was last seen",
            Unit::Seconds,
            this.age,
        );
        registry.register(
            "causal_waits",
            "Reads that waited for a write that had been acknowledged before",
            this.causal_waits,
        );
        registry.register(
            "causal_timeouts",
            "Reads that waited for such a write in vain and went to the active master",
            this.causal_timeouts,
        );
        registry.register("split", "Reads of the main port that a reader answered", this.split);
        registry.register(
            "split_back",
            "Reads of the main port that a reader did not answer and the active master did",
            this.split_back,
        );
        metrics
    }

    /// How many sessions are on a server: counted there.
    #[must_use]
    pub fn sessions(&self, server: &str) -> Gauge {
        self.sessions.get_or_create_owned(&Server { server: server.to_owned() })
    }

    /// How a server stands. An age that is not known has no sample.
    pub fn seen(&self, server: &str, serves: bool, age: Option<Duration>) {
        let label = Server { server: server.to_owned() };
        self.serving.get_or_create(&label).set(i64::from(serves));
        match age {
            Some(age) => {
                self.age.get_or_create(&label).set(age.as_secs_f64());
            }
            None => {
                self.age.remove(&label);
            }
        }
    }
}
