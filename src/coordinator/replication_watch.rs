//! How replication fares, as probes see it: as numbers, and in the log and the journal when
//! semi-synchronous replication is not what it was.
//!
//! A master that waits for a standby and does not hear from it goes on without after a while
//! (`rpl_semi_sync_master_timeout`), and nothing fails: from then on a failover may lose writes. It is told
//! of the active master, because only there it matters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::watch;
use tracing::{info, warn};

use super::journal::Journal;
use crate::failover::Transition;
use crate::metrics::Metrics;
use crate::routing::RoutingTable;
use crate::topology::{SemiSync, ServerId, Topology};

/// Watches replication.
#[derive(Debug)]
pub struct ReplicationWatch {
    routes: watch::Receiver<Arc<RoutingTable>>,
    topology: watch::Receiver<Arc<Topology>>,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
    told: Told,
}

/// What was last told of each master.
#[derive(Debug, Default)]
struct Told(BTreeMap<ServerId, SemiSync>);

impl Told {
    /// What is new of the active master, if anything is. That it does not wait at all is how many are set
    /// up.
    fn news(&mut self, active: ServerId, now: SemiSync) -> Option<(&'static str, &'static str)> {
        let before = self.0.insert(active, now);
        if before == Some(now) {
            return None;
        }
        let reason = match now {
            SemiSync::FellBack => {
                "commits are acknowledged although no standby has received them: \
                 semi-synchronous replication has fallen back to asynchronous"
            }
            SemiSync::Off if before.is_some() => "semi-synchronous replication was switched off",
            SemiSync::Waiting if before.is_some() => {
                "semi-synchronous replication works: commits wait for a standby"
            }
            SemiSync::Off | SemiSync::Waiting => return None,
        };
        let to = if now == SemiSync::Waiting { "semi-synchronous" } else { "asynchronous" };
        Some((to, reason))
    }
}

impl ReplicationWatch {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(
        routes: watch::Receiver<Arc<RoutingTable>>,
        topology: watch::Receiver<Arc<Topology>>,
        journal: Arc<Journal>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { routes, topology, journal, metrics, told: Told::default() }
    }

    /// Watches until nobody looks any more.
    pub async fn run(mut self) {
        while self.topology.changed().await.is_ok() {
            let topology = Arc::clone(&self.topology.borrow_and_update());
            let active = self.routes.borrow().active();
            self.measure(&topology, active);
            let Some(active) = active.filter(|active| topology.seen(*active).answers()) else {
                continue;
            };
            let Some(facts) = topology.facts(active) else { continue };
            if let Some((to, reason)) = self.told.news(active, facts.sending.semi_sync) {
                self.tell(topology.servers().name(active), active, to, reason);
            }
        }
    }

    fn measure(&self, topology: &Topology, active: Option<ServerId>) {
        let source = active.and_then(|active| topology.facts(active)).map(|facts| facts.server_id);
        for server in topology.servers().iter() {
            let answers = topology.seen(server.id).answers();
            let facts = topology.facts(server.id).filter(|_| answers);
            let lag = source.filter(|_| answers).and_then(|id| topology.lag(server.id, id));
            let semi_sync = facts.map(|facts| facts.sending.semi_sync);
            let works = semi_sync.filter(|semi_sync| *semi_sync != SemiSync::Off);
            let works = works.map(|semi_sync| semi_sync == SemiSync::Waiting);
            self.metrics.replication.seen(&server.name, lag, works);
        }
    }

    fn tell(&self, name: &str, server: ServerId, to: &'static str, reason: &'static str) {
        let from = if to == "asynchronous" { "semi-synchronous" } else { "asynchronous" };
        if to == "asynchronous" {
            warn!(server = name, "{reason}");
        } else {
            info!(server = name, "{reason}");
        }
        let transition = Transition { from, to, reason: reason.to_owned(), server: Some(server) };
        self.journal.record(Instant::now(), SystemTime::now(), transition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixture::{M1, M2};

    #[test]
    fn a_change_is_told_once() {
        let mut told = Told::default();
        assert_eq!(told.news(M1, SemiSync::Waiting), None, "as it should be");
        assert_eq!(told.news(M1, SemiSync::Waiting), None);
        let (to, reason) = told.news(M1, SemiSync::FellBack).expect("news");
        assert!(to == "asynchronous" && reason.contains("fallen back"), "{reason}");
        assert_eq!(told.news(M1, SemiSync::FellBack), None);
        assert_eq!(told.news(M2, SemiSync::Off), None, "set up so");
        let (to, _) = told.news(M1, SemiSync::Waiting).expect("news");
        assert_eq!(to, "semi-synchronous");
        assert_eq!(told.news(M1, SemiSync::Off).expect("news").0, "asynchronous");
    }

    #[test]
    fn one_that_was_never_seen_to_wait_is_told_if_it_should() {
        let mut told = Told::default();
        assert_eq!(told.news(M1, SemiSync::FellBack).expect("news").0, "asynchronous");
    }
}
