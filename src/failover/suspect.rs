//! Suspect: something speaks against the active master. It is probed without pause until it answers
//! or has failed `fall` times; until then nothing is published. One thing is done already, because
//! it costs nothing if the suspicion was wrong: the standbys may execute what they have received
//! without waiting for a master that is silent.
//!
//! A silence counts only when the others were asked (`assess`): those that receive from the silent
//! master are looked at when the suspicion begins, with every probe that fails, and once more before
//! anything is concluded. That last look takes a round trip, and is not waited for for long.

use std::time::Instant;

use super::action::Order;
use super::assessment::{ASSUMED_PERIOD, Verdict, asked_about};
use super::context::Context;
use super::phase::{Input, Phase, decide};
use super::policy::FENCE_PATIENCE;
use crate::topology::{Outcome, ServerId, Source, UnreachableKind};

#[derive(Clone, Debug)]
pub(super) struct Suspect {
    active: ServerId,
    /// An answer from before the suspicion does not dispel it.
    since: Instant,
    /// The probe that was asked for must have ended by now.
    pub(super) until: Instant,
    /// The standbys' appliers do not wait for it any more.
    freed: bool,
    /// It has failed `fall` times, and the others were asked once more at this moment.
    asked: Option<Instant>,
}

impl Suspect {
    pub(super) fn enter(cx: &mut Context, active: ServerId) -> Phase {
        let reason = match cx.verdict(active) {
            Verdict::Alive | Verdict::SaysNo { .. } | Verdict::Unseen => {
                format!("a session lost {}", cx.name(active))
            }
            Verdict::Suspect(_)
            | Verdict::Down(_)
            | Verdict::Isolated { .. }
            | Verdict::Unwritable(_) => cx.describe(active),
        };
        // A new term may name a master that is failing just now; the one before it is not active.
        if cx.table.active().is_some_and(|served| served != active) {
            cx.hold(&reason);
        }
        cx.because(reason, Some(active));
        cx.ask_probe(active);
        let until = Self::patience(cx);
        let mut phase = Self { active, since: cx.now, until, freed: false, asked: None };
        phase.free_appliers(cx);
        phase.ask_others(cx);
        Phase::Suspect(phase)
    }

    /// Once a suspicion, when the active was silent to a probe. (A master that refuses is not waited
    /// for, and the takeover itself does the same.)
    fn free_appliers(&mut self, cx: &mut Context) {
        let Verdict::Suspect(evidence) = cx.verdict(self.active) else {
            return;
        };
        if evidence.kind != UnreachableKind::Silent || std::mem::replace(&mut self.freed, true) {
            return;
        }
        for standby in cx.masters() {
            if standby != self.active && matches!(cx.verdict(standby), Verdict::Alive) {
                cx.run(Order::FreeApplier { server: standby });
            }
        }
    }

    /// Has those looked at that receive from the active master, unless their word does not count.
    fn ask_others(&self, cx: &mut Context) {
        if let Verdict::Suspect(evidence) | Verdict::Down(evidence) = cx.verdict(self.active)
            && !evidence.is_doubtful()
        {
            return;
        }
        for other in asked_about(&cx.topology, self.active) {
            cx.ask_probe(other);
        }
    }

    /// The active master has failed `fall` times. Whether that can be judged: a silence not before
    /// the others have answered, or had the time to.
    fn is_judged(&mut self, cx: &mut Context) -> bool {
        match cx.verdict(self.active) {
            Verdict::Down(evidence) if evidence.is_doubtful() => {}
            Verdict::Down(_) | Verdict::Isolated { .. } => return true,
            _ => return false,
        }
        if self.may_be_heard(cx) {
            return false; // it is probed on, and judged by the next one
        }
        let Some(asked) = self.asked else {
            self.asked = Some(cx.now);
            self.until = cx.now + FENCE_PATIENCE;
            self.ask_others(cx);
            return asked_about(&cx.topology, self.active).is_empty();
        };
        let mut others = asked_about(&cx.topology, self.active).into_iter();
        cx.now >= self.until || others.all(|other| cx.looked_since(other, asked))
    }

    /// Whether a replication heartbeat of the active master may still reach another one within the time
    /// of `fall` probes one after the other. They overlap, and may be through before that: then a proxy
    /// that is cut off alone would not hear of it. A period that is longer than that time is not
    /// waited for in either case.
    fn may_be_heard(&self, cx: &Context) -> bool {
        let Some(since) = cx.topology.seen(self.active).silent_from else { return false };
        let whole = cx.policy.timeout * cx.policy.fall;
        let beats = |other: ServerId| {
            let hearing = cx.topology.hearing(other, self.active);
            hearing.is_some_and(|hearing| hearing.period.unwrap_or(ASSUMED_PERIOD) <= whole)
        };
        cx.now.saturating_duration_since(since) < whole
            && asked_about(&cx.topology, self.active).into_iter().any(beats)
    }

    fn patience(cx: &Context) -> Instant {
        cx.now + cx.policy.one_round()
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        let named = cx.highest.as_ref().and_then(|(_, name)| cx.servers.by_name(name));
        if named.is_none_or(|named| named.id != self.active) {
            return decide(cx);
        }
        if self.asked.is_some() && self.is_judged(cx) {
            return decide(cx);
        }
        if let Input::Observed(look) = input
            && look.server == self.active
            && look.source == Source::Probe
        {
            match &look.outcome {
                Outcome::Alive(_) | Outcome::SaysNo { .. } if look.at >= self.since => {
                    cx.because(cx.describe(self.active), Some(self.active));
                    return decide(cx);
                }
                Outcome::Alive(_) | Outcome::SaysNo { .. } | Outcome::CannotWrite { .. } => {}
                Outcome::Unreachable { kind, .. } => {
                    if self.is_judged(cx) {
                        return decide(cx);
                    }
                    if self.asked.is_some() {
                        return Phase::Suspect(self);
                    }
                    match kind {
                        // The probe's own timeout keeps them apart.
                        UnreachableKind::Silent => cx.ask_probe(self.active),
                        _ => cx.ask_probe_soon(self.active),
                    }
                    self.ask_others(cx);
                    self.until = Self::patience(cx);
                    self.free_appliers(cx);
                }
            }
        }
        if cx.now >= self.until {
            // No answer from the monitor itself: that says nothing about the server. Ask again.
            cx.ask_probe(self.active);
            self.until = Self::patience(cx);
        }
        Phase::Suspect(self)
    }
}
