//! How replication fares.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Handles; clones count into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct ReplicationMetrics {
    lag: Family<Server, Gauge<f64, AtomicU64>>,
    semi_sync: Family<Server, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Server {
    server: String,
}

impl ReplicationMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("replication");
        let metrics = Self::default();
        let this = metrics.clone();
        registry.register_with_unit(
            "lag",
            "How far a server is behind the active master, by the heartbeat row",
            Unit::Seconds,
            this.lag,
        );
        registry.register(
            "semi_sync",
            "Of a master with semi-synchronous replication: 1 while commits wait for a standby, \
             0 while it has fallen back to asynchronous",
            this.semi_sync,
        );
        metrics
    }

    /// What was seen of a server. What is not known now has no sample.
    pub fn seen(&self, server: &str, lag: Option<Duration>, semi_sync: Option<bool>) {
        let label = Server { server: server.to_owned() };
        match lag {
            Some(lag) => {
                self.lag.get_or_create(&label).set(lag.as_secs_f64());
            }
            None => {
                self.lag.remove(&label);
            }
        }
        match semi_sync {
            Some(works) => {
                self.semi_sync.get_or_create(&label).set(i64::from(works));
            }
            None => {
                self.semi_sync.remove(&label);
            }
        }
    }
}
