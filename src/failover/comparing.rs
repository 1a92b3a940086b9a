//! Comparing: with three masters or more, whether another standby has received what the candidate
//! has not.
//!
//! The candidate was chosen by preference. By now it receives nothing more from the old master, has
//! executed what it had, and the other standbys were told to stop receiving as well
//! ([`seal_others`]), so that what each of them has is final. All are looked at once more. If one of
//! them received more, it takes the candidate's place, and begins where that one began; if it cannot
//! be active itself, but passes on what it executed, the candidate waits for that. Only then may
//! anybody be promoted: what one of the standbys received is not lost.

use std::time::Instant;

use super::action::Order;
use super::assessment::Verdict;
use super::candidate::{channel_from, objection};
use super::catching_up::CatchingUp;
use super::context::Context;
use super::delivery::{executed, has, received, way};
use super::phase::{Input, Phase};
use super::promoting::Promoting;
use super::takeover::{Backlog, Takeover};
use crate::topology::{GtidSet, ServerId, ThreadState};

#[derive(Clone, Debug)]
pub(super) struct Comparing {
    takeover: Takeover,
    old: ServerId,
    /// Who was found to receive all the same, and was told once more: it may have come back meanwhile, and a
    /// server starts its receivers with itself.
    told_again: Vec<ServerId>,
    /// Only a look that began later shows what there is to be had.
    since: Instant,
    /// What is on its way to the candidate must have come by then.
    give_up_at: Instant,
    pub(super) until: Instant,
}

/// What the looks came to.
enum Found {
    /// The candidate has all that anybody received.
    Enough,
    /// This one has more.
    Better(ServerId),
    /// The candidate lacks this of that one, which passes it on, or cannot.
    Lacks { of: ServerId, what: GtidSet, comes: bool },
}

/// Has all standbys but the candidate stop receiving from `old`: nothing is to reach any of them
/// behind the decision, neither now nor when `old` is back.
pub(super) fn seal_others(cx: &mut Context, takeover: &Takeover, old: ServerId) {
    for server in who_receives(cx, takeover, old) {
        cx.run(Order::StopReceiving { server, source: old });
    }
}

/// The standbys but the candidate that receive from `old`, as far as known.
fn who_receives(cx: &Context, takeover: &Takeover, old: ServerId) -> Vec<ServerId> {
    let receives = |server: &ServerId| {
        let server = *server;
        // One that answers with errors only, ever since we were started, may do so as well.
        let unknown = cx.topology.facts(server).is_none();
        let channel = channel_from(&cx.topology, server, old);
        let receives = unknown
            || channel.is_some_and(|channel| channel.io != ThreadState::No)
            || cx.errands.was_started(server, old, cx.now);
        // Also one whose last answer was late or an error: it may well receive.
        let lives = matches!(
            cx.verdict(server),
            Verdict::Alive | Verdict::Suspect(_) | Verdict::SaysNo { .. }
        );
        receives && lives
    };
    others(cx, takeover, old).into_iter().filter(receives).collect()
}

/// The masters that are neither replaced nor to be active.
fn others(cx: &Context, takeover: &Takeover, old: ServerId) -> Vec<ServerId> {
    let mut masters = cx.masters();
    masters.retain(|master| *master != old && *master != takeover.candidate);
    masters
}

impl Comparing {
    /// Promotes the candidate of `takeover` in the place of `old`, once it is known that nobody has
    /// more (of two masters none can), and that an old one which lives is still closed: it may have
    /// restarted, and another proxy may have found and opened it.
    pub(super) fn enter(cx: &mut Context, takeover: Takeover, old: ServerId) -> Phase {
        if others(cx, &takeover, old).is_empty() && !takeover.must_be_closed(cx, old) {
            return Promoting::enter(cx, takeover);
        }
        let reason = format!(
            "{} has executed all that it has; all are looked at",
            cx.name(takeover.candidate)
        );
        cx.because(reason, Some(takeover.candidate));
        let give_up_at = cx.now + cx.policy.catch_up;
        let phase = Self {
            takeover,
            old,
            told_again: Vec::new(),
            since: cx.now,
            give_up_at,
            until: cx.now,
        };
        phase.look(cx)
    }

    fn look(mut self, cx: &mut Context) -> Phase {
        self.since = cx.now;
        // Whoever does not answer within its time is not waited for.
        self.until = cx.now + cx.policy.timeout;
        for server in self.asked(cx) {
            cx.ask_probe(server);
        }
        Phase::Comparing(self)
    }

    /// Whom it is worth asking: who is known to be down has no say.
    fn asked(&self, cx: &Context) -> Vec<ServerId> {
        let mut asked = others(cx, &self.takeover, self.old);
        asked.retain(|server| matches!(cx.verdict(*server), Verdict::Alive | Verdict::Suspect(_)));
        asked.push(self.takeover.candidate);
        if self.takeover.must_be_closed(cx, self.old) {
            asked.push(self.old);
        }
        asked
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        if self.takeover.is_off(cx, input) {
            return self.takeover.call_off(cx);
        }
        let all = self.asked(cx).into_iter().all(|server| cx.looked_since(server, self.since));
        if !all && cx.now < self.until {
            return Phase::Comparing(self);
        }
        let candidate = self.takeover.candidate;
        if !cx.looked_since(candidate, self.since) {
            let reason = format!("{} is not looked at", cx.name(candidate));
            return self.takeover.give_up(cx, reason);
        }
        if self.takeover.must_be_closed(cx, self.old)
            && cx.writability.read_only(self.old) != Some(true)
        {
            let reason = format!("{} was opened again by somebody else", cx.name(self.old));
            return self.takeover.give_up(cx, reason);
        }
        let mut receiving = who_receives(cx, &self.takeover, self.old);
        receiving.retain(|server| !self.told_again.contains(server));
        if !receiving.is_empty() {
            for server in &receiving {
                cx.run(Order::StopReceiving { server: *server, source: self.old });
            }
            self.told_again.extend(receiving);
            return self.look(cx);
        }
        match self.judge(cx) {
            Found::Enough => Promoting::enter(cx, self.takeover),
            Found::Better(server) => self.pass_on(cx, server),
            Found::Lacks { of, what, comes } => {
                if comes && cx.now < self.give_up_at {
                    return self.look(cx);
                }
                let (name, of) = (cx.name(candidate), cx.name(of));
                let why = &self.takeover.why;
                let reason = format!("{why}; {name} lacks {what}, which {of} has received");
                self.takeover.give_up(cx, reason)
            }
        }
    }

    fn judge(&self, cx: &Context) -> Found {
        let candidate = self.takeover.candidate;
        if self.takeover.is_forced() {
            return Found::Enough;
        }
        let topology = &cx.topology;
        let mut found = Found::Enough;
        for server in others(cx, &self.takeover, self.old) {
            // What one that is dead has received comes from nobody; one whose answer is only late counts
            // with what it had.
            if matches!(cx.verdict(server), Verdict::Down(_)) || cx.quarantine.holds(server) {
                continue;
            }
            let able = self.may_be_active(cx, server);
            let got = received(topology, server);
            // What its applier will not execute it passes on to nobody.
            let got =
                if able { got } else { got.subtract(&got.subtract(&executed(topology, server))) };
            let what = got.subtract(&has(topology, candidate));
            if what.is_empty() {
                continue;
            }
            let behind = !received(topology, candidate).subtract(&has(topology, server)).is_empty();
            if able && !behind {
                return Found::Better(server);
            }
            found = Found::Lacks { of: server, what, comes: is_followed(cx, candidate, server) };
        }
        found
    }

    fn may_be_active(&self, cx: &Context, server: ServerId) -> bool {
        let old = Some(self.old);
        objection(&cx.topology, &cx.links, &cx.quarantine, &cx.policy, server, old).is_none()
    }

    /// Goes on with `better`, unless an operator named the candidate.
    fn pass_on(mut self, cx: &mut Context, better: ServerId) -> Phase {
        let (name, other) = (cx.name(self.takeover.candidate), cx.name(better));
        if self.takeover.is_ordered() {
            let reason = format!("{other} has received more than {name}");
            return self.takeover.give_up(cx, reason);
        }
        let reason = format!("{other} has received more than {name}, and takes over in its place");
        cx.because(reason, Some(better));
        self.takeover.candidate = better;
        self.takeover.backlog = Backlog::Executed;
        CatchingUp::enter(cx, self.takeover, std::collections::BTreeMap::new())
    }
}

/// Whether what `source` has comes to `receiver` by itself.
fn is_followed(cx: &Context, receiver: ServerId, source: ServerId) -> bool {
    let topology = &cx.topology;
    let alive = |server| matches!(cx.verdict(server), Verdict::Alive);
    way(topology, receiver, source, alive).is_some_and(|way| {
        way.into_iter().all(|(receiver, source)| {
            channel_from(topology, receiver, source)
                .is_some_and(|channel| channel.io == ThreadState::Yes)
        })
    })
}
