//! Paused: an operator wants nobody to take writes. What sessions have open on the active master may
//! end there; everything else waits until the operator says otherwise. Nothing is decided meanwhile.

use std::time::Instant;

use super::context::Context;
use super::phase::{Phase, decide};
use super::yielding::Yielding;

#[derive(Clone, Debug)]
pub(super) struct Paused {
    pub(super) until: Instant,
}

impl Paused {
    pub(super) fn enter(cx: &mut Context) -> Phase {
        let reason = "paused by an operator; RESUME on the console ends it";
        match cx.table.active().or(cx.table.draining) {
            Some(active) => cx.drain(active, None, reason),
            None => cx.hold(reason),
        }
        cx.because(reason, None);
        Phase::Paused(Self { until: cx.now + cx.policy.one_round() })
    }

    pub(super) fn handle(mut self, cx: &mut Context) -> Phase {
        if !cx.paused {
            return decide(cx);
        }
        if let Some(asked) = Yielding::asked(cx) {
            return Yielding::enter(cx, asked);
        }
        self.until = cx.now + cx.policy.one_round();
        Phase::Paused(self)
    }
}
