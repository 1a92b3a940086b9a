//! Who serves reads: a pure function of what probes saw, with time as an argument.
//!
//! **How old a server's data is.** When the active master is looked at it says what it has executed.
//! Whoever has all of that has everything that was committed before the look began. So the latest such
//! look of which a server has everything is the moment that its data is *as of*; a read from it at
//! `t` finds everything that was committed `t - as of` before. No server's clock is read for that, and
//! none has to agree with another: both moments are of our own. What a server has, it keeps; so one
//! look proves something for a while, and its end is known beforehand: `as of + max_lag`.
//!
//! **Who serves.** Replicas that are recent enough, answer, and replicate by both threads of some
//! channel; if there are none, standby masters of which the same is true; if there are none, the
//! active master. Of those of a rank each is as good as another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::table::{RoutingTable, Writer};
use crate::topology::{
    Channel, Facts, GtidSet, Numbering, Outcome, Role, Server, ServerId, ThreadState, Topology,
};

/// `[reads]`, as far as it decides who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPolicy {
    /// No read is older than this.
    pub max_lag: Duration,
    /// Whether standby masters serve when no replica can.
    pub standbys: bool,
    /// Whether the active master serves when nobody else can.
    pub active: bool,
    /// So many probes in a row without an answer, and a server is not waited for any more.
    pub fall: u32,
}

/// What a look at the active master found.
#[derive(Clone, Debug)]
struct Milestone {
    /// When it began: what was committed before is in `executed`.
    began: Instant,
    executed: GtidSet,
}

/// As many looks at the active master as are probes in two `max_lag`.
const MILESTONES: usize = 16;

/// Who serves reads, as it becomes known.
#[derive(Clone, Debug)]
pub struct Readers {
    policy: ReadPolicy,
    /// Newest last.
    milestones: VecDeque<Milestone>,
    /// Who is active, and since when that is known.
    active: Option<(ServerId, Instant)>,
    /// What each server's data is as of.
    as_of: Vec<Option<Instant>>,
    /// Who served at the last decision.
    serving: Vec<bool>,
}

/// How one server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub server: ServerId,
    /// Until when it may be read from, or why it may not: "is 5.0 s behind".
    pub until: Result<Instant, String>,
    /// How old its data is at most; `None` when nothing is known of that.
    pub age: Option<Duration>,
    /// It does not answer, for some time.
    pub down: bool,
}

/// Who serves reads at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// For the table: each as good as any other.
    pub readers: Arc<[ServerId]>,
    /// Why there is none; empty while there is one.
    pub reason: Arc<str>,
    /// Every server that could serve, in order of rank.
    pub standings: Vec<Standing>,
    /// When it is to be decided anew, if nothing is seen before.
    pub next: Option<Instant>,
}

impl Readers {
    /// Nothing is known yet of `servers` servers.
    #[must_use]
    pub fn new(policy: ReadPolicy, servers: usize) -> Self {
        Self {
            policy,
            milestones: VecDeque::new(),
            active: None,
            as_of: vec![None; servers],
            serving: vec![false; servers],
        }
    }

    /// The servers whose looks matter: all that could serve, and the active master.
    pub fn watched<'a>(&self, table: &'a RoutingTable) -> impl Iterator<Item = &'a Server> {
        let (standbys, active) = (self.policy.standbys, table.active());
        table.servers.iter().filter(move |server| {
            server.role == Role::Replica || standbys || Some(server.id) == active
        })
    }

    /// Whether the active master serves where nobody else suffices.
    #[must_use]
    pub fn ends_at_the_active(&self) -> bool {
        self.policy.active
    }

    /// The active master, and what it had executed at the last look that began since that is known.
    #[must_use]
    pub fn active_has(&self) -> Option<(ServerId, &GtidSet)> {
        let (active, since) = self.active?;
        let last = self.milestones.back().filter(|milestone| milestone.began >= since)?;
        Some((active, &last.executed))
    }

    /// Takes in what is seen now, while `table` says who is active.
    pub fn observe(&mut self, topology: &Topology, table: &RoutingTable, now: Instant) {
        if let Some(active) = table.active() {
            let known = self.active.filter(|(server, _)| *server == active);
            let (_, since) = *self.active.insert(known.unwrap_or((active, now)));
            self.note_milestone(topology, active, since);
        }
        for server in table.servers.iter() {
            let Some(facts) = topology.facts(server.id) else { continue };
            let has = |milestone: &&Milestone| facts.executed.contains(&milestone.executed);
            let as_of = self.milestones.iter().rev().find(has).map(|milestone| milestone.began);
            // What it has, it keeps; a server that was set back has lost it.
            let kept = self.as_of[server.id.index()]
                .filter(|known| self.milestones.front().is_none_or(|oldest| *known < oldest.began));
            self.as_of[server.id.index()] = as_of.or(kept);
        }
    }

    /// What a look found before its server was known to be active proves nothing: it may have lacked
    /// what the one before it had acknowledged.
    fn note_milestone(&mut self, topology: &Topology, active: ServerId, since: Instant) {
        let seen = topology.seen(active);
        let (Some((at, facts)), Some(last)) = (&seen.facts, &seen.last) else { return };
        // Only the last look says how long it took.
        if *at != last.at || !tells_what_it_executed(facts) {
            return;
        }
        let Some(began) = last.at.checked_sub(last.took).filter(|began| *began >= since) else {
            return;
        };
        if self.milestones.back().is_some_and(|latest| latest.began >= began) {
            return;
        }
        if self.milestones.len() == MILESTONES {
            self.milestones.pop_front();
        }
        self.milestones.push_back(Milestone { began, executed: facts.executed.clone() });
    }

    /// Who serves at `now`.
    pub fn decide(&mut self, topology: &Topology, table: &RoutingTable, now: Instant) -> Decision {
        let active = table.active();
        let replicas = table.servers.replicas();
        let standbys = table.servers.masters().filter(|master| Some(master.id) != active);
        let standbys = standbys.filter(|_| self.policy.standbys);
        let ranks: [Vec<Standing>; 2] = [
            replicas.map(|server| self.standing(topology, server, now)).collect(),
            standbys.map(|server| self.standing(topology, server, now)).collect(),
        ];
        for standing in ranks.iter().flatten() {
            self.serving[standing.server.index()] = standing.until.is_ok();
        }
        let fit = |rank: &[Standing]| -> Option<Arc<[ServerId]>> {
            let fit = rank.iter().filter(|standing| standing.until.is_ok());
            let fit: Arc<[ServerId]> = fit.map(|standing| standing.server).collect();
            (!fit.is_empty()).then_some(fit)
        };
        let last_resort = active.filter(|_| self.policy.active);
        let last_resort = last_resort.map(|active| self.last_resort(topology, active, now));
        let readers = ranks.iter().find_map(|rank| fit(rank));
        let readers = readers.or_else(|| fit(last_resort.as_slice()));
        let [mut standings, standbys] = ranks;
        standings.extend(standbys);
        standings.extend(last_resort);
        let reason = match &readers {
            Some(_) => Arc::default(),
            None => self.reason(table, &standings).into(),
        };
        let readers = readers.unwrap_or_default();
        let next = standings.iter().filter_map(|standing| standing.until.as_ref().ok());
        let next = next.min().copied();
        Decision { readers, reason, standings, next }
    }

    fn standing(&self, topology: &Topology, server: &Server, now: Instant) -> Standing {
        let seen = topology.seen(server.id);
        let as_of = self.as_of[server.id.index()];
        let age = as_of.map(|as_of| now.saturating_duration_since(as_of));
        let down = seen.failures >= self.policy.fall;
        let until = match (topology.facts(server.id), &seen.last) {
            (_, Some(last)) if seen.failures > 0 => Err(last.outcome.to_string()),
            (None, Some(last)) => Err(last.outcome.to_string()),
            (Some(facts), Some(_)) => self.until(server.id, facts, as_of, now),
            (_, None) => Err("has not been seen yet".to_owned()),
        };
        Standing { server: server.id, until, age, down }
    }

    /// How the active master stands: while it was open for writes nobody else was, so that it has
    /// everything that was committed before a look at it began.
    fn last_resort(&self, topology: &Topology, active: ServerId, now: Instant) -> Standing {
        let seen = topology.seen(active);
        let down = seen.failures >= self.policy.fall;
        let look = seen.last.as_ref().map(|last| (last, &last.outcome));
        let began = match look {
            Some((last, Outcome::Alive(facts))) if !facts.read_only => {
                Ok(last.at.checked_sub(last.took).unwrap_or(last.at))
            }
            Some((_, Outcome::Alive(_))) => Err("takes no writes".to_owned()),
            Some((_, outcome)) => Err(outcome.to_string()),
            None => Err("has not been seen yet".to_owned()),
        };
        let age = began.as_ref().ok().map(|began| now.saturating_duration_since(*began));
        let until = began.and_then(|began| {
            let until = began + self.policy.max_lag;
            let unseen = "was not seen in time".to_owned();
            if now < until { Ok(until) } else { Err(unseen) }
        });
        Standing { server: active, until, age, down }
    }

    /// Until when a server that answers may be read from, or why it may not.
    fn until(
        &self,
        server: ServerId,
        facts: &Facts,
        as_of: Option<Instant>,
        now: Instant,
    ) -> Result<Instant, String> {
        let runs =
            |channel: &Channel| channel.io == ThreadState::Yes && channel.sql == ThreadState::Yes;
        if !facts.channels.iter().any(runs) {
            return Err(why_it_stands_still(facts));
        }
        let Some(as_of) = as_of else {
            return Err("is not known to have what the active master has".to_owned());
        };
        let until = as_of + self.policy.max_lag;
        // Whoever is out comes back when it is well within, so that sessions do not go to and fro.
        let margin =
            if self.serving[server.index()] { Duration::ZERO } else { self.policy.max_lag / 8 };
        if now + margin < until {
            return Ok(until);
        }
        let behind = now.saturating_duration_since(as_of).as_secs_f64();
        Err(format!("may be {behind:.1} s behind (reads.max_lag)"))
    }

    /// "r1 may be 5.0 s behind (reads.max_lag); m2 refuses connections (…); nobody is active: …"
    fn reason(&self, table: &RoutingTable, standings: &[Standing]) -> String {
        let unfit = standings.iter().filter_map(|standing| {
            let why = standing.until.as_ref().err()?;
            Some(format!("{} {why}", table.servers.name(standing.server)))
        });
        let mut reasons: Vec<String> = unfit.collect();
        match &table.writer {
            Writer::Held { reason, .. } => reasons.push(format!("nobody is active: {reason}")),
            Writer::Active(_) if self.policy.active => {}
            Writer::Active(_) => {
                reasons.push("the active master does not serve reads (reads.active)".to_owned())
            }
        }
        reasons.join("; ")
    }
}

/// Whether what a master says it has executed covers what its clients wrote: without GTIDs it says
/// nothing, and everybody would have all of that.
fn tells_what_it_executed(facts: &Facts) -> bool {
    matches!(facts.sending.numbering, Numbering::Own | Numbering::Domain(_))
}

fn why_it_stands_still(facts: &Facts) -> String {
    let Some(channel) = facts.channels.first() else {
        return "receives from nobody".to_owned();
    };
    let Channel { io, io_error, sql, sql_error, .. } = channel;
    let errors = [io_error, sql_error].into_iter().filter(|(code, _)| *code != 0);
    let errors: Vec<String> =
        errors.map(|(code, words)| format!(" (error {code}: {words})")).collect();
    format!("does not replicate: receiver {io}, applier {sql}{}", errors.concat())
}

#[cfg(test)]
#[path = "readers_tests.rs"]
mod tests;
