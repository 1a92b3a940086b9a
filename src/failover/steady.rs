//! Steady: a master is active and takes writes.

use std::time::Instant;

use super::assessment::{Verdict, asked_about};
use super::context::Context;
use super::failback;
use super::phase::{Input, Phase, decide};
use super::suspect::Suspect;
use super::switchover::Switchover;
use super::yielding::{Yielding, Yields};
use crate::topology::{Outcome, ServerId, Source, UnreachableKind};

#[derive(Clone, Debug)]
pub(super) struct Steady {
    pub(super) active: ServerId,
    /// The monitor must have looked at it by then.
    pub(super) until: Instant,
}

impl Steady {
    pub(super) fn enter(cx: &mut Context, active: ServerId) -> Phase {
        let planned = cx.planned == Some(cx.term());
        if cx.last_active.is_some_and(|last| last != active) && !planned {
            cx.damping.failed_over(cx.now);
        }
        cx.last_active = Some(active);
        cx.setback = None;
        cx.to_be_opened = None;
        cx.in_doubt = None;
        cx.activate(active);
        Yields::withdraw(cx);
        let reason = format!("{} is active by term {}", cx.name(active), cx.term());
        cx.because(reason, Some(active));
        let mut phase = Self { active, until: cx.now };
        phase.await_look(cx);
        cx.do_errands(active);
        Phase::Steady(phase)
    }

    fn await_look(&mut self, cx: &Context) {
        self.until = cx.now + cx.policy.one_round() * 2;
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        let active = self.active;
        let named = cx.highest.as_ref().and_then(|(_, name)| cx.servers.by_name(name));
        if named.is_none_or(|named| named.id != active) {
            return decide(cx);
        }
        match cx.verdict(active) {
            Verdict::Suspect(_)
            | Verdict::Down(_)
            | Verdict::Isolated { .. }
            | Verdict::Unwritable(_) => return decide(cx),
            _ if cx.writability.read_only(active) == Some(true) => return decide(cx),
            Verdict::Unseen | Verdict::Alive | Verdict::SaysNo { .. } => {}
        }
        if let Input::Observed(look) = input
            && look.server == active
        {
            match (look.source, &look.outcome) {
                // A session may report late what a probe has refuted since.
                (Source::Session, Outcome::Unreachable { kind, .. })
                    if !cx.answered_since(active, look.at) =>
                {
                    // Slow is not dead, and an ordinary thing: only a probe that is as slow is news.
                    if *kind != UnreachableKind::Silent {
                        return Suspect::enter(cx, active);
                    }
                    let others = asked_about(&cx.topology, active);
                    others.into_iter().chain([active]).for_each(|server| cx.ask_probe(server));
                }
                (Source::Session | Source::Writing, _) => {}
                (Source::Probe, _) => self.await_look(cx),
            }
        }
        if let Some(asked) = Yielding::asked(cx) {
            return Yielding::enter(cx, asked);
        }
        if cx.now >= self.until {
            cx.ask_probe(active);
            self.await_look(cx);
        }
        if cx.is_claimed(active) && cx.writability.claimed_for(active) < cx.policy.watching() {
            cx.watch(active);
        }
        cx.do_errands(active);
        match failback::is_due(cx, active) {
            Some(preferred) => Switchover::begin(cx, active, preferred, false, None),
            None => Phase::Steady(self),
        }
    }
}
