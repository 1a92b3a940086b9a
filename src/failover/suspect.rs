//! Suspect: something speaks against the active master. It is probed without pause until it answers
//! or has failed `fall` times; until then nothing is published. One thing is done already, because
//! it costs nothing if the suspicion was wrong: the standbys may execute what they have received
//! without waiting for a master that is silent.

use std::time::Instant;

use super::action::Order;
use super::assessment::Verdict;
use super::context::Context;
use super::phase::{Input, Phase, decide};
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
}

impl Suspect {
    pub(super) fn enter(cx: &mut Context, active: ServerId) -> Phase {
        let reason = match cx.verdict(active) {
            Verdict::Alive | Verdict::SaysNo { .. } | Verdict::Unseen => {
                format!("a session lost {}", cx.name(active))
            }
            Verdict::Suspect(_) | Verdict::Down(_) => cx.describe(active),
        };
        // A new term may name a master that is failing just now; the one before it is not active.
        if cx.table.active().is_some_and(|served| served != active) {
            cx.hold(&reason);
        }
        cx.because(reason, Some(active));
        cx.ask_probe(active);
        let mut phase = Self { active, since: cx.now, until: Self::patience(cx), freed: false };
        phase.free_appliers(cx);
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

    fn patience(cx: &Context) -> Instant {
        cx.now + cx.policy.one_round()
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        let named = cx.highest.as_ref().and_then(|(_, name)| cx.servers.by_name(name));
        if named.is_none_or(|named| named.id != self.active) {
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
                Outcome::Alive(_) | Outcome::SaysNo { .. } => {}
                Outcome::Unreachable { kind, .. } => {
                    if let Verdict::Down(_) = cx.verdict(self.active) {
                        return decide(cx);
                    }
                    match kind {
                        // The probe's own timeout keeps them apart.
                        UnreachableKind::Silent => cx.ask_probe(self.active),
                        _ => cx.ask_probe_soon(self.active),
                    }
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
