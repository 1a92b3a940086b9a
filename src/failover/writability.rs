//! Whether a server takes writes, and why it does not although it should.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::policy::Policy;
use crate::topology::{Facts, Observation, Outcome, ServerId, Term, UnreachableKind};

/// `uptime` is given in whole seconds, and a look takes time.
const UPTIME_BLUR: Duration = Duration::from_millis(1500);

/// What is known of `read_only`, per server.
#[derive(Clone, Debug, Default)]
pub(super) struct Writability(BTreeMap<ServerId, Entry>);

#[derive(Clone, Debug, Default)]
struct Entry {
    /// What the last look found, and when that look began.
    looked: Option<(Instant, bool)>,
    /// What Tandem itself made it last, and when that was known.
    ordered: Option<(Instant, bool)>,
    /// The last look that found it open.
    open: Option<Open>,
    /// When it last refused a connection.
    refused: Option<Instant>,
    /// Since when it is closed, under which term.
    closed: Option<(Instant, Term)>,
    /// The first and the last of the looks in a row that found it claimed. The row is not ended by a look
    /// that finds it closed: that is how a claim ends whose holder has died.
    claimed: Option<(Instant, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    at: Instant,
    uptime: Duration,
    term: Term,
}

/// Why the active master is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// By our own fence, which was then not followed by a promotion.
    ByUs,
    /// It restarted, and its my.cnf says `read_only=1`.
    ByRestart,
    /// The promotion that a new term announces has not got to the end.
    NotOpenedYet,
    /// By another proxy that is still at work on it.
    BySomebody,
    /// By a switchover of another proxy, whose claim was seen, and has ended.
    LetGo,
    /// By another proxy that died over it, or by an operator, who would have had PAUSE.
    Abandoned,
}

impl Closed {
    /// How long it is left to whoever closed it.
    /// `all_told` says whether every other master can be asked for its terms and claims.
    pub(super) fn patience(self, policy: &Policy, all_told: bool) -> Duration {
        match self {
            Self::ByUs | Self::ByRestart => Duration::ZERO,
            Self::LetGo if all_told => Duration::ZERO,
            // By then whoever fenced it in a failover has looked at it, and seen that it lives.
            Self::NotOpenedYet | Self::Abandoned if all_told => policy.interval,
            Self::NotOpenedYet | Self::Abandoned | Self::LetGo => policy.one_round(),
            Self::BySomebody => policy.others(),
        }
    }
}

impl Writability {
    /// Takes a probe in that was answered under `term`.
    pub(super) fn record(&mut self, look: &Observation, term: Term) {
        let entry = self.0.entry(look.server).or_default();
        if let Outcome::Unreachable { kind: UnreachableKind::Refused, .. } = &look.outcome {
            entry.refused = Some(look.at);
        }
        let Outcome::Alive(facts) = &look.outcome else {
            return;
        };
        let began = look.at.checked_sub(look.took).unwrap_or(look.at);
        entry.looked = Some((began, facts.read_only));
        if facts.claimed {
            let first = entry.claimed.map_or(look.at, |(first, _)| first);
            entry.claimed = Some((first, look.at));
        } else if !facts.read_only {
            entry.claimed = None;
        }
        if facts.read_only {
            if entry.closed.is_none_or(|(_, closed_under)| closed_under != term) {
                entry.closed = Some((look.at, term));
            }
        } else {
            // What we once closed and somebody opened since is no longer closed by us.
            if entry.ordered.is_some_and(|(at, _)| began >= at) {
                entry.ordered = None;
            }
            entry.closed = None;
            entry.open = Some(Open { at: look.at, uptime: facts.uptime, term });
        }
    }

    /// Takes the success of an order of ours in.
    pub(super) fn ordered(&mut self, server: ServerId, read_only: bool, now: Instant) {
        self.0.entry(server).or_default().ordered = Some((now, read_only));
    }

    /// Whether it refuses writes, as far as known. A look that began before our own last change
    /// ended says nothing about what came after it.
    pub(super) fn read_only(&self, server: ServerId) -> Option<bool> {
        let entry = self.0.get(&server)?;
        match (entry.looked, entry.ordered) {
            (Some((began, found)), Some((at, made))) => Some(if began < at { made } else { found }),
            (Some((_, found)), None) => Some(found),
            (None, ordered) => ordered.map(|(_, made)| made),
        }
    }

    /// For how long looks have found `server` claimed.
    pub(super) fn claimed_for(&self, server: ServerId) -> Duration {
        let claimed = self.0.get(&server).and_then(|entry| entry.claimed);
        claimed.map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first))
    }

    /// Whether `server` was found claimed at `moment` or later.
    pub(super) fn was_claimed_since(&self, server: ServerId, moment: Instant) -> bool {
        let claimed = self.0.get(&server).and_then(|entry| entry.claimed);
        claimed.is_some_and(|(_, last)| last >= moment)
    }

    /// Why the master that `term` names is closed, and since when, as far as nobody claims it. `first` is
    /// the term that was found at the start: nobody knows what went on around that one.
    pub(super) fn closed(
        &self,
        server: ServerId,
        facts: Option<&Facts>,
        term: Term,
        first: Term,
        policy: &Policy,
        now: Instant,
    ) -> (Closed, Instant) {
        let entry = self.0.get(&server).cloned().unwrap_or_default();
        let since = entry.closed.map_or(now, |(since, _)| since);
        if entry.ordered.is_some_and(|(_, read_only)| read_only) {
            return (Closed::ByUs, since);
        }
        let uptime = facts.map_or(Duration::ZERO, |facts| facts.uptime);
        let why = match entry.open.filter(|open| open.term == term) {
            Some(open) => {
                let passed = since.saturating_duration_since(open.at);
                // One that had just started cannot be told from one that starts again by its
                // uptime alone; that nobody listened in between tells them apart.
                let refused = entry.refused.is_some_and(|at| at > open.at);
                let young = refused && uptime <= passed + UPTIME_BLUR;
                if uptime < open.uptime || uptime + UPTIME_BLUR < open.uptime + passed || young {
                    Closed::ByRestart
                } else {
                    Closed::Abandoned
                }
            }
            // We opened it, and it was gone before anybody looked.
            None if term > first => match entry.ordered {
                Some((at, false)) if uptime + UPTIME_BLUR < since.saturating_duration_since(at) => {
                    Closed::ByRestart
                }
                _ => Closed::NotOpenedYet,
            },
            None if uptime < policy.others() => Closed::ByRestart,
            None => Closed::Abandoned,
        };
        (why, since)
    }
}
