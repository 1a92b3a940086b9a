//! The task behind the accounts: takes the acknowledged writes away from the sessions, and tells what
//! became of them in the log, the journal, the metrics and to whoever shows them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::accounting::{Accounting, News};
use super::journal::Journal;
use super::lost_writes::{Accounts, Finding, LostWrites};
use crate::failover::Transition;
use crate::metrics::Metrics;
use crate::monitor::ProbeRequests;
use crate::routing::RoutingTable;
use crate::session::Shared;
use crate::topology::{Servers, Topology};

/// Between two looks at what sessions have noted.
const TICK: Duration = Duration::from_millis(100);

/// What the accountant listens to and tells.
#[derive(Debug)]
pub struct Ledgers {
    /// Who acknowledges writes.
    pub sessions: Arc<Shared>,
    /// Whom sessions follow.
    pub routes: watch::Receiver<Arc<RoutingTable>>,
    /// What probes saw.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// Has a new active master looked at.
    pub probes: ProbeRequests,
    /// What happened.
    pub journal: Arc<Journal>,
    /// The same, as numbers.
    pub metrics: Arc<Metrics>,
    /// What there is to be shown.
    pub accounts: watch::Sender<Arc<Accounts>>,
}

/// Accounts for acknowledged writes.
#[derive(Debug)]
pub struct Accountant {
    ledgers: Ledgers,
    accounting: Accounting,
}

impl Accountant {
    /// One who knows of no writes yet.
    #[must_use]
    pub fn new(ledgers: Ledgers) -> Self {
        Self { ledgers, accounting: Accounting::new() }
    }

    /// Accounts until the coordinator ends.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.ledgers.routes.mark_changed();
        loop {
            let ended = tokio::select! {
                _ = ticks.tick() => false,
                changed = self.ledgers.routes.changed() => changed.is_err(),
                changed = self.ledgers.topology.changed() => changed.is_err(),
            };
            if ended {
                return;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut news = Vec::new();
        let table = Arc::clone(&self.ledgers.routes.borrow_and_update());
        let (look_at, unfinished) = self.accounting.follow(now, wall, &table);
        news.extend(unfinished);
        if let Some(active) = look_at {
            self.ledgers.probes.probe_now(active);
        }
        // Whoever is not there any more has noted before what it was told there.
        let old = self.accounting.leaving();
        let sessions = old.map_or(0, |old| self.ledgers.sessions.sessions_on(old));
        self.accounting.take(self.ledgers.sessions.take_acknowledged());
        let topology = Arc::clone(&self.ledgers.topology.borrow_and_update());
        news.extend(self.accounting.look(&topology));
        news.extend(self.accounting.settle(now, wall, &topology, sessions));
        let accounts = self.accounting.accounts(&topology);
        self.measure(&accounts, &table.servers);
        self.ledgers.accounts.send_if_modified(|published| {
            let changed = **published != accounts;
            if changed {
                *published = Arc::new(accounts);
            }
            changed
        });
        // Whoever hears of it finds it wherever he looks.
        news.into_iter().for_each(|news| self.tell(&news, &table.servers));
    }

    fn measure(&self, accounts: &Accounts, servers: &Servers) {
        let standbys = accounts.at_risk.standbys.iter();
        let standbys = standbys.map(|(standby, count, _)| (servers.name(*standby), *count));
        self.ledgers.metrics.failover.set_at_risk(standbys);
    }

    fn tell(&self, news: &News, servers: &Servers) {
        match news {
            News::Lost(loss, more) => {
                self.ledgers.metrics.failover.lost(loss.count().map(|_| *more));
                log(loss, servers);
                let to = match &loss.finding {
                    Finding::Unknown(_) => "unknown",
                    Finding::Counted(missing) if !missing.writes.is_empty() => "lost",
                    Finding::Counted(missing) if missing.at_least => "unknown",
                    Finding::Counted(_) => "nothing lost",
                };
                self.record(to, loss.sentence(servers), loss);
            }
            News::CameBack(loss) => {
                let (from, to) = (servers.name(loss.from), servers.name(loss.to));
                let count = loss.number();
                info!(from, to, count, "the writes that were lost have come back");
                let reason =
                    format!("{to} has received the {count} writes of {from} that it lacked");
                self.record("came back", reason, loss);
            }
        }
    }

    fn record(&self, to: &'static str, reason: String, loss: &LostWrites) {
        let transition = Transition { from: "acknowledged", to, reason, server: Some(loss.from) };
        self.ledgers.journal.record(Instant::now(), SystemTime::now(), transition);
    }
}

fn log(loss: &LostWrites, servers: &Servers) {
    let told = loss.told(servers);
    let (lost, users, term) = (loss.number(), loss.users(), told.term);
    let (from, to, is_final) = (&*told.from, &*told.to, told.is_final);
    let (gtids, first, last) = (told.gtids, told.first, told.last);
    let unknown = told.unknown;
    if lost == "0" {
        info!(from, to, term, lost, is_final, "no acknowledged write is lost");
    } else {
        warn!(
            from,
            to,
            term,
            lost,
            gtids,
            first,
            last,
            users,
            unknown,
            is_final,
            "acknowledged writes that the new active master lacks"
        );
    }
}
