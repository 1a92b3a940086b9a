//! What sessions and the listener count.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Handles of the data path; clones count into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct SessionMetrics {
    /// Client sessions that are open.
    pub open: Gauge,
    /// Commands that clients sent.
    pub commands: Counter,
    /// Statements that had to wait for an active master.
    pub held: Counter,
    /// Statements that wait for an active master now.
    pub held_now: Gauge,
    /// Statements that were sent once more, to the master that is active then.
    pub retried: Counter,
    /// Writes that waited for the standby to stay close, or to get there.
    pub paced: Counter,
    /// For how long, all together.
    pub paced_seconds: Counter<f64, AtomicU64>,
    /// Sessions that were moved to another server.
    pub migrations_done: Counter,
    /// Sessions that were to be moved and could not be.
    pub migrations_failed: Counter,
    /// Transactions that clients were told to restart.
    pub rolled_back: Counter,
    /// Statements whose outcome could not be told to the client.
    pub outcome_unknown: Counter,
    /// Keys of another master's class that were seen; of each session one a second at most.
    pub foreign_keys: Counter,
    /// Logins that a master refused, or that did not come to an end.
    pub login_failures: Counter,
    standby_refusals: Family<Standby, Gauge>,
    unfenced_users: Family<Standby, Gauge>,
    ended: Family<Reason, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standby {
    server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MigrationResult {
    result: &'static str,
}

impl SessionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("session");
        let migrations = Family::<MigrationResult, Counter>::default();
        let metrics = Self {
            migrations_done: migrations.get_or_create_owned(&MigrationResult { result: "done" }),
            migrations_failed: migrations
                .get_or_create_owned(&MigrationResult { result: "failed" }),
            ..Self::default()
        };
        let this = metrics.clone();
        registry.register("open", "Client sessions that are open", this.open);
        registry.register("ended", "Client sessions that ended, by reason", this.ended);
        registry.register("commands", "Commands that clients sent", this.commands);
        registry.register("held", "Statements that waited for an active master", this.held);
        registry.register(
            "held_now",
            "Statements that wait for an active master now",
            this.held_now,
        );
        registry.register(
            "retried",
            "Statements sent again after a failover: not executed before, or without effects",
            this.retried,
        );
        registry.register("paced", "Writes that were slowed down", this.paced);
        registry.register_with_unit(
            "paced",
            "For how long writes were slowed down, all together",
            Unit::Seconds,
            this.paced_seconds,
        );
        registry.register("migrations", "Sessions moved to another server", migrations);
        registry.register(
            "rolled_back",
            "Transactions that a failover rolled back, and clients were told to restart",
            this.rolled_back,
        );
        registry.register(
            "outcome_unknown",
            "Statements whose outcome could not be told to the client",
            this.outcome_unknown,
        );
        registry.register(
            "login_failures",
            "Logins that were refused or did not come to an end",
            this.login_failures,
        );
        registry.register(
            "foreign_keys",
            "Keys seen that are of another master's class, one a second of each session at most",
            this.foreign_keys,
        );
        registry.register(
            "standby_refusals",
            "Users of the active master that a standby refuses, each schema counted",
            this.standby_refusals,
        );
        registry.register(
            "unfenced_users",
            "Users who may write to this standby although it is read-only, each schema counted",
            this.unfenced_users,
        );
        metrics
    }

    /// How many users of the active master this one refuses.
    #[must_use]
    pub fn standby_refusals(&self, server: &str) -> Gauge {
        self.standby_refusals.get_or_create_owned(&Standby { server: server.to_owned() })
    }

    /// How many users may write to this standby although it is read-only.
    #[must_use]
    pub fn unfenced_users(&self, server: &str) -> Gauge {
        self.unfenced_users.get_or_create_owned(&Standby { server: server.to_owned() })
    }

    /// Sessions that ended for this reason, a name from a closed list. Looked up once a session.
    #[must_use]
    pub fn ended(&self, reason: &'static str) -> Counter {
        self.ended.get_or_create_owned(&Reason { reason })
    }
}
