//! What the coordinator counts.

use std::fmt::{self, Write as _};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
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
    active_since: Seconds,
    pace: Seconds,
    backlog: Seconds,
    changes: Family<Kind, Counter>,
    gap: Family<Kind, Seconds>,
    phases: Family<KindAndPhase, Seconds>,
    transitions: Family<Change, Counter>,
    lost_writes: Counter,
    unaccounted: Counter,
    at_risk: Family<Server, Number>,
}

/// How it came that another master is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// This proxy decided so, because the old one was gone or an operator insisted.
    Failover,
    /// This proxy carried a switchover out.
    Switchover,
    /// It follows a decision of another proxy.
    Followed,
}

impl EncodeLabelValue for ChangeKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Self::Failover => "failover",
            Self::Switchover => "switchover",
            Self::Followed => "followed",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Server {
    server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: ChangeKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindAndPhase {
    kind: ChangeKind,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Change {
    from: &'static str,
    to: &'static str,
}

impl FailoverMetrics {
    pub(super) fn register(registry: &mut Registry, servers: &[&str]) -> Self {
        let whole = registry;
        let registry = whole.sub_registry_with_prefix("failover");
        let active = Family::<Server, Gauge>::default();
        let handle = |name: &&str| {
            let label = Server { server: (*name).to_owned() };
            ((*name).to_owned(), active.get_or_create_owned(&label))
        };
        let active_of = servers.iter().map(handle).collect();
        let metrics = Self { active: active_of, ..Self::default() };
        let this = metrics.clone();
        registry.register("term", "The term that is followed", this.term);
        registry.register("generation", "Generation of the routing table", this.generation);
        registry.register("active", "1 for the active master", active);
        registry.register_with_unit(
            "active_since_timestamp",
            "When the active master became active for this proxy, in Unix time; 0 while nobody is",
            Unit::Seconds,
            this.active_since,
        );
        for kind in [ChangeKind::Failover, ChangeKind::Switchover, ChangeKind::Followed] {
            // There from the start, so that the first one is an increase.
            drop(this.changes.get_or_create(&Kind { kind }));
        }
        registry.register("changes", "How often another master became active", this.changes);
        registry.register_with_unit(
            "last_gap",
            "How long nobody took writes in the last change of this kind",
            Unit::Seconds,
            this.gap,
        );
        registry.register_with_unit(
            "last_phase",
            "What the last change took in each phase",
            Unit::Seconds,
            this.phases,
        );
        registry.register("transitions", "Changes of phase", this.transitions);
        registry.register(
            "lost_writes",
            "Writes that clients were told are committed and that the new active master lacked",
            this.lost_writes,
        );
        registry.register(
            "unaccounted_changes",
            "Changes of the active master of which it is not known what they lost",
            this.unaccounted,
        );
        registry.register(
            "at_risk_writes",
            "Acknowledged writes that a standby had not received when it was last looked at: what a \
             failover to it would lose",
            this.at_risk,
        );
        registry.register_with_unit(
            "backlog",
            "How long the closest standby would take for what it has received; with [failover] pace",
            Unit::Seconds,
            this.backlog,
        );
        whole.register_with_unit(
            "pace",
            "How long each write waits now, by [failover] pace",
            Unit::Seconds,
            this.pace,
        );
        metrics
    }

    /// Notes who is active now; nobody, for a name that is not configured.
    pub fn set_active(&self, server: Option<&str>) {
        for (name, gauge) in &self.active {
            gauge.set(i64::from(server == Some(name.as_str())));
        }
    }

    /// Notes how long writes wait for the standby to stay close, and how far it is behind where that
    /// is known.
    pub fn set_pace(&self, pace: Duration, behind: Option<Duration>) {
        self.pace.set(pace.as_secs_f64());
        if let Some(behind) = behind {
            self.backlog.set(behind.as_secs_f64());
        }
    }

    /// Notes since when somebody is active; `None` while nobody is.
    pub fn set_active_since(&self, since: Option<SystemTime>) {
        let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        self.active_since.set(since.map_or(0.0, |since| since.as_secs_f64()));
    }

    /// Counts a change of the active master: nobody took writes for `gap`, and the machine went
    /// through `phases`.
    pub fn changed(&self, kind: ChangeKind, gap: Duration, phases: &[(&'static str, Duration)]) {
        self.changes.get_or_create(&Kind { kind }).inc();
        self.gap.get_or_create(&Kind { kind }).set(gap.as_secs_f64());
        // Those of an earlier change are none of this one.
        self.phases.clear();
        for (phase, took) in phases {
            self.phases.get_or_create(&KindAndPhase { kind, phase }).set(took.as_secs_f64());
        }
    }

    /// Counts what a change lost; `None` where nobody knows.
    pub fn lost(&self, writes: Option<u64>) {
        match writes {
            Some(writes) => self.lost_writes.inc_by(writes),
            None => self.unaccounted.inc(),
        };
    }

    /// Notes what a failover to each of these would lose.
    pub fn set_at_risk<'a>(&self, standbys: impl Iterator<Item = (&'a str, u64)> + Clone) {
        let mut known = standbys.clone();
        for (server, _) in &self.active {
            if !known.any(|(name, _)| name == server) {
                self.at_risk.remove(&Server { server: server.clone() });
            }
            known = standbys.clone();
        }
        for (server, writes) in standbys {
            self.at_risk.get_or_create(&Server { server: server.to_owned() }).set(writes);
        }
    }

    /// Counts a change of phase, by the names of the phases.
    pub fn transitioned(&self, from: &'static str, to: &'static str) {
        self.transitions.get_or_create(&Change { from, to }).inc();
    }
}
