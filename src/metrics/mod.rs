//! Metrics: a struct of handles per part of the process, each registered once.
//!
//! A part gets its struct in its constructor and counts with it; nobody looks a metric up by name
//! or by label while a client waits. Where a metric has labels, the handles of all label values that
//! the data path needs are resolved beforehand, so that counting is one atomic addition. Labels
//! take only values from a closed list (server names, reasons from enums): nothing that a client
//! sends becomes a label.
//!
//! Nothing here knows the other modules; names come in as texts. Serving them is up to `http`,
//! showing them to `console`.

mod check;
mod failover;
mod monitor;
mod reads;
mod replication;
mod session;

pub use check::CheckMetrics;
pub use failover::{ChangeKind, FailoverMetrics};
pub use monitor::{MonitorMetrics, ServerMetrics};
pub use prometheus_client::registry::Registry;
pub use reads::ReadsMetrics;
pub use replication::ReplicationMetrics;
pub use session::SessionMetrics;

use prometheus_client::encoding::text;

/// All handles and the registry that they are in.
#[derive(Debug)]
pub struct Metrics {
    /// What is served at `/metrics`.
    pub registry: Registry,
    /// For sessions and the listener.
    pub session: SessionMetrics,
    /// For the monitor.
    pub monitor: MonitorMetrics,
    /// For the coordinator.
    pub failover: FailoverMetrics,
    /// For whoever watches replication.
    pub replication: ReplicationMetrics,
    /// For the reads listener.
    pub reads: ReadsMetrics,
    /// For whoever checks the servers.
    pub check: CheckMetrics,
}

impl Metrics {
    /// Registers everything, for servers of these names.
    #[must_use]
    pub fn new<'a>(servers: impl IntoIterator<Item = &'a str>) -> Self {
        let servers: Vec<&str> = servers.into_iter().collect();
        let mut registry = Registry::with_prefix("tandem");
        let session = SessionMetrics::register(&mut registry);
        let monitor = MonitorMetrics::register(&mut registry);
        let failover = FailoverMetrics::register(&mut registry, &servers);
        let replication = ReplicationMetrics::register(&mut registry);
        let reads = ReadsMetrics::register(&mut registry);
        let check = CheckMetrics::register(&mut registry);
        Self { registry, session, monitor, failover, replication, reads, check }
    }
}

/// All samples in the OpenMetrics text format.
#[must_use]
pub fn encode(registry: &Registry) -> String {
    let mut samples = String::new();
    text::encode(&mut samples, registry).unwrap_or_default();
    samples
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_is_counted_is_encoded_under_its_name() {
        let metrics = Metrics::new(["m1", "m2"]);
        metrics.session.open.inc();
        metrics.session.commands.inc_by(3);
        metrics.session.ended("client_quit").inc();
        metrics.session.held.inc();
        metrics.session.held_now.set(1);
        metrics.session.migrations_done.inc();
        metrics.session.outcome_unknown.inc();
        metrics.session.login_failures.inc();
        let m1 = metrics.monitor.server("m1");
        m1.probed("alive", Duration::from_millis(2), true);
        m1.probed("refused", Duration::from_millis(1), false);
        metrics.failover.term.set(5);
        metrics.failover.generation.set(7);
        metrics.failover.set_active(Some("m2"));
        metrics.failover.transitioned("steady", "holding");
        metrics.failover.lost(Some(12));
        metrics.failover.lost(None);
        metrics.failover.set_at_risk([("m1", 3), ("m2", 4)].into_iter());
        metrics.failover.set_at_risk([("m2", 5)].into_iter());
        metrics.replication.seen("m1", None, Some(false));
        metrics.replication.seen("m2", Some(Duration::from_millis(1500)), Some(true));
        metrics.replication.seen("m2", Some(Duration::from_millis(250)), None);
        metrics.reads.seen("r1", true, Some(Duration::from_millis(500)));
        metrics.reads.sessions("r1").set(3);
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_250);
        metrics.failover.set_active_since(Some(since));
        let (ms, failover) = (Duration::from_millis, ChangeKind::Failover);
        metrics.failover.changed(failover, ms(25), &[("held", ms(90)), ("suspect", ms(5))]);
        metrics.failover.changed(failover, ms(20), &[("suspect", ms(5)), ("promoting", ms(15))]);
        let samples = encode(&metrics.registry);
        let mut lines: Vec<&str> = samples
            .lines()
            .filter(|line| !line.starts_with("# ") && !line.contains("_bucket{"))
            .collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        tandem_check_last_run_seconds 0.0
        tandem_check_last_run_timestamp_seconds 0
        tandem_check_runs_total 0
        tandem_failover_active_since_timestamp_seconds 1790000000.25
        tandem_failover_active{server="m1"} 0
        tandem_failover_active{server="m2"} 1
        tandem_failover_at_risk_writes{server="m2"} 5
        tandem_failover_backlog_seconds 0.0
        tandem_failover_changes_total{kind="failover"} 2
        tandem_failover_changes_total{kind="followed"} 0
        tandem_failover_changes_total{kind="switchover"} 0
        tandem_failover_generation 7
        tandem_failover_last_gap_seconds{kind="failover"} 0.02
        tandem_failover_last_phase_seconds{kind="failover",phase="promoting"} 0.015
        tandem_failover_last_phase_seconds{kind="failover",phase="suspect"} 0.005
        tandem_failover_lost_writes_total 12
        tandem_failover_term 5
        tandem_failover_transitions_total{from="steady",to="holding"} 1
        tandem_failover_unaccounted_changes_total 1
        tandem_monitor_abstained_total{server="m1"} 0
        tandem_monitor_probe_duration_seconds_count{server="m1"} 2
        tandem_monitor_probe_duration_seconds_sum{server="m1"} 0.003
        tandem_monitor_probes_total{server="m1",outcome="alive"} 1
        tandem_monitor_probes_total{server="m1",outcome="refused"} 1
        tandem_monitor_server_up{server="m1"} 0
        tandem_pace_seconds 0.0
        tandem_reads_age_seconds{server="r1"} 0.5
        tandem_reads_causal_timeouts_total 0
        tandem_reads_causal_waits_total 0
        tandem_reads_serving{server="r1"} 1
        tandem_reads_sessions{server="r1"} 3
        tandem_reads_split_back_total 0
        tandem_reads_split_total 0
        tandem_replication_lag_seconds{server="m2"} 0.25
        tandem_replication_semi_sync{server="m1"} 0
        tandem_session_commands_total 3
        tandem_session_ended_total{reason="client_quit"} 1
        tandem_session_foreign_keys_total 0
        tandem_session_held_now 1
        tandem_session_held_total 1
        tandem_session_login_failures_total 1
        tandem_session_migrations_total{result="done"} 1
        tandem_session_migrations_total{result="failed"} 0
        tandem_session_open 1
        tandem_session_outcome_unknown_total 1
        tandem_session_paced_seconds_total 0.0
        tandem_session_paced_total 0
        tandem_session_retried_total 0
        tandem_session_rolled_back_total 0
        "#);
    }

    #[test]
    fn one_server_at_most_is_active() {
        let metrics = Metrics::new(["m1", "m2"]);
        let active = |metrics: &Metrics| -> Vec<String> {
            encode(&metrics.registry)
                .lines()
                .filter(|line| line.starts_with("tandem_failover_active{"))
                .map(str::to_owned)
                .collect()
        };
        metrics.failover.set_active(Some("m1"));
        metrics.failover.set_active(Some("m2"));
        let mut lines = active(&metrics);
        lines.sort();
        assert_eq!(
            lines,
            ["tandem_failover_active{server=\"m1\"} 0", "tandem_failover_active{server=\"m2\"} 1"]
        );
        metrics.failover.set_active(None);
        assert!(active(&metrics).iter().all(|line| line.ends_with(" 0")));
    }
}
