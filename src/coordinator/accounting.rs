//! Accounting for acknowledged writes: what a failover has cost, and what one would cost now.
//!
//! Sessions say which transactions their clients were told are committed. They are kept until probes have
//! seen that every other master has executed them. When another master becomes active it is looked at once
//! more, from then on, and what it had executed is compared: it had executed all it would when it was promoted, and
//! from the old master it gets nothing more until somebody releases that.
//!
//! The old one may still answer statements that it had, if it is not dead but out of sight. So the
//! numbers are final when no session is there any more.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use super::lost_writes::{Accounts, AtRisk, Finding, LostWrites, Missing, Unaccountable};
use crate::routing::RoutingTable;
use crate::topology::{
    AcknowledgedWrites, Bounds, GtidSet, Lacking, Outcome, ServerId, Term, Told, Topology,
};

/// After this long it is told what is known by then, though sessions are still on the old master.
const NOT_FINAL: Duration = Duration::from_secs(2);
/// So many changes are remembered.
const KEPT: usize = 20;

/// Follows the acknowledged writes. Pure: it is told what is to be known.
#[derive(Debug)]
pub(super) struct Accounting {
    writes: AcknowledgedWrites,
    served: Option<ServerId>,
    change: Option<Change>,
    losses: VecDeque<LostWrites>,
    /// What each master had executed when it was last seen.
    executed: BTreeMap<ServerId, GtidSet>,
}

/// Another master became active, and it is not told yet what that cost.
#[derive(Debug)]
struct Change {
    from: ServerId,
    to: ServerId,
    term: Term,
    since: Instant,
    /// What the new one had executed.
    executed: Option<GtidSet>,
    /// What was told while sessions were still on the old one.
    told: Option<usize>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// What a change cost, and how much of that is told for the first time.
    Lost(LostWrites, u64),
    /// All that a change cost came back.
    CameBack(LostWrites),
}

impl Accounting {
    pub(super) fn new() -> Self {
        Self {
            writes: AcknowledgedWrites::new(Bounds::default()),
            served: None,
            change: None,
            losses: VecDeque::new(),
            executed: BTreeMap::new(),
        }
    }

    /// The master that is left, until it is told what that cost.
    pub(super) fn leaving(&self) -> Option<ServerId> {
        self.change.as_ref().map(|change| change.from)
    }

    /// Takes in what sessions told.
    pub(super) fn take(&mut self, told: Vec<Told>) {
        told.into_iter().for_each(|told| self.writes.take(told));
    }

    /// Follows a routing table. The master that became active is to be looked at now.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        wall: SystemTime,
        table: &RoutingTable,
    ) -> (Option<ServerId>, Option<News>) {
        let Some(active) = table.active() else { return (None, None) };
        let Some(from) = self.served.replace(active).filter(|from| *from != active) else {
            return (None, None);
        };
        let unfinished = self.change.take().map(|change| {
            let name = table.servers.name(change.to).to_owned();
            let unknown = Finding::Unknown(Unaccountable::NotAsked(name));
            self.tell(wall, &change, unknown, 0)
        });
        // A change that was told and had only to become final is as final as it gets.
        let unfinished = unfinished.flatten();
        let (since, term) = (now, table.term);
        self.change = Some(Change { from, to: active, term, since, executed: None, told: None });
        (Some(active), unfinished)
    }

    /// Takes in what probes saw.
    pub(super) fn look(&mut self, topology: &Topology) -> Vec<News> {
        let masters: Vec<ServerId> = topology.servers().masters().map(|master| master.id).collect();
        for &server in &masters {
            self.see(topology, server);
        }
        for &server in &masters {
            if self.leaving() != Some(server) {
                self.drop_executed(topology, server, &masters);
            }
        }
        self.see_returns(topology)
    }

    fn see(&mut self, topology: &Topology, server: ServerId) {
        let Some((at, facts)) = &topology.seen(server).facts else { return };
        if let Some(change) = &mut self.change
            && change.to == server
            && change.executed.is_none()
            && began(topology, server).is_some_and(|began| began >= change.since)
        {
            change.executed = Some(facts.executed.clone());
        }
        let before = self.executed.get(&server);
        if before == Some(&facts.executed) {
            return;
        }
        if before.is_some_and(|before| !facts.executed.contains(before)) {
            self.writes.renumbered(server, *at);
        }
        self.executed.insert(server, facts.executed.clone());
    }

    fn drop_executed(&mut self, topology: &Topology, server: ServerId, masters: &[ServerId]) {
        let others = masters.iter().filter(|id| **id != server);
        let executed: Option<Vec<&GtidSet>> =
            others.map(|id| topology.facts(*id).map(|facts| &facts.executed)).collect();
        let Some(executed) = executed.filter(|others| !others.is_empty()) else { return };
        self.writes.drop_executed(server, &executed);
        let own = topology.facts(server).map(|facts| &facts.executed);
        if let (Some(own), Some(at)) = (own, began(topology, server))
            && executed.iter().all(|other| other.contains(own))
        {
            self.writes.all_executed(server, at);
        }
    }

    /// What of the last losses the active master has by now.
    fn see_returns(&mut self, topology: &Topology) -> Vec<News> {
        let mut news = Vec::new();
        for loss in &mut self.losses {
            let (Finding::Counted(missing), Some(facts)) = (&loss.finding, topology.facts(loss.to))
            else {
                continue;
            };
            let all = missing.writes.count();
            if loss.came_back == all || loss.sessions_left > 0 {
                continue;
            }
            loss.came_back = all - missing.writes.subtract(&facts.executed).count();
            if loss.came_back == all {
                news.push(News::CameBack(loss.clone()));
            }
        }
        news
    }

    /// Tells what the present change cost, once that is known. `sessions` are still on the old master; they
    /// were counted before what they told was taken in.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        wall: SystemTime,
        topology: &Topology,
        sessions: usize,
    ) -> Option<News> {
        let change = self.change.take()?;
        if let Some(why) = Unaccountable::of(topology, change.from) {
            self.writes.forget(change.from);
            return self.tell(wall, &change, Finding::Unknown(why), 0);
        }
        let late = now.saturating_duration_since(change.since) >= NOT_FINAL;
        let due = sessions == 0 || (late && change.told.is_none());
        let Some(executed) = change.executed.clone().filter(|_| due) else {
            self.change = Some(change);
            return None;
        };
        let lacking = self.writes.lacking(change.from, &executed);
        let finding = Finding::Counted(missing(lacking, now, wall));
        let news = self.tell(wall, &change, finding, sessions);
        if sessions == 0 {
            self.writes.forget(change.from);
        } else {
            self.change = Some(Change { told: Some(sessions), ..change });
        }
        news
    }

    /// Keeps and tells what a change cost; what was told of it before is replaced.
    fn tell(
        &mut self,
        at: SystemTime,
        change: &Change,
        finding: Finding,
        sessions_left: usize,
    ) -> Option<News> {
        let (from, to, term) = (change.from, change.to, change.term);
        let mut before = 0;
        if change.told.is_some() {
            if matches!(finding, Finding::Unknown(_)) {
                return None;
            }
            before = self.losses.pop_back().and_then(|loss| loss.count()).unwrap_or(0);
        }
        let loss = LostWrites { at, from, to, term, finding, sessions_left, came_back: 0 };
        self.losses.push_back(loss.clone());
        while self.losses.len() > KEPT {
            self.losses.pop_front();
        }
        let more = loss.count().map_or(0, |count| count.saturating_sub(before));
        Some(News::Lost(loss, more))
    }

    /// What there is to be shown.
    pub(super) fn accounts(&self, topology: &Topology) -> Accounts {
        let losses = self.losses.iter().cloned().collect();
        Accounts { at_risk: self.at_risk(topology), losses }
    }

    fn at_risk(&self, topology: &Topology) -> AtRisk {
        let Some(active) = self.served else { return AtRisk::default() };
        if let Some(why) = Unaccountable::of(topology, active) {
            return AtRisk { unknown: Some(why.to_string()), standbys: Vec::new() };
        }
        let standbys = topology.servers().masters().filter(|standby| standby.id != active);
        let standbys = standbys.filter_map(|standby| {
            let facts = topology.facts(standby.id)?;
            let from_active = facts
                .channels
                .iter()
                .filter(|channel| topology.source_of(channel) == Some(active))
                .fold(facts.executed.clone(), |have, channel| have.union(&channel.received));
            let until = began(topology, standby.id);
            let (count, at_least) = self.writes.missing(active, &from_active, until);
            Some((standby.id, count, at_least))
        });
        AtRisk { unknown: None, standbys: standbys.collect() }
    }
}

/// When the last look at a server began, if it was answered.
fn began(topology: &Topology, server: ServerId) -> Option<Instant> {
    let last = topology.seen(server).last.as_ref()?;
    matches!(last.outcome, Outcome::Alive(_)).then(|| last.at.checked_sub(last.took))?
}

fn missing(lacking: Lacking, now: Instant, wall: SystemTime) -> Missing {
    let at = |then: Instant| wall - now.saturating_duration_since(then);
    Missing {
        span: lacking.span.map(|(first, last)| (at(first), at(last))),
        users: lacking.users.iter().map(|(user, count)| (user.to_string(), *count)).collect(),
        shared: lacking.shared,
        at_least: lacking.at_least,
        writes: lacking.writes,
    }
}

#[cfg(test)]
#[path = "accounting_tests.rs"]
mod tests;
