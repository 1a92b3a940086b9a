//! Sealing: the candidate stops receiving from the old master, so that nothing trickles in behind
//! the decision, and executes what came in during the first catch-up.

use std::time::Instant;

use super::action::{Order, OrderId, OrderResult};
use super::catching_up::caught_up;
use super::context::Context;
use super::phase::{Input, Phase};
use super::policy::ORDER_PATIENCE;
use super::promoting::Promoting;
use super::takeover::Takeover;
use crate::topology::ServerId;

#[derive(Clone, Debug)]
pub(super) struct Sealing {
    takeover: Takeover,
    step: Step,
    pub(super) until: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Stopping(OrderId),
    Draining(OrderId),
}

impl Sealing {
    pub(super) fn enter(cx: &mut Context, takeover: Takeover, old: ServerId) -> Phase {
        let reason = format!("{} has executed what its applier will", cx.name(takeover.candidate));
        cx.because(reason, Some(takeover.candidate));
        let order = cx.run(Order::StopReceiving { server: takeover.candidate, source: old });
        let until = cx.now + ORDER_PATIENCE;
        Phase::Sealing(Self { takeover, step: Step::Stopping(order), until })
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        if self.takeover.is_off(cx, input) {
            return self.takeover.call_off(cx);
        }
        let candidate = self.takeover.candidate;
        if cx.now >= self.until {
            let reason = format!("{} takes too long over its orders", cx.name(candidate));
            return self.takeover.give_up(cx, reason);
        }
        let Input::Finished { id, result } = input else {
            return Phase::Sealing(self);
        };
        match self.step {
            Step::Stopping(order) if order == id => {
                if let OrderResult::Failed(failure) = result {
                    let reason = format!("{} cannot stop receiving: {failure}", cx.name(candidate));
                    return self.takeover.give_up(cx, reason);
                }
                let timeout = cx.policy.catch_up;
                let order = cx.run(Order::CatchUp { server: candidate, timeout });
                self.step = Step::Draining(order);
                self.until = cx.now + timeout + ORDER_PATIENCE;
                Phase::Sealing(self)
            }
            Step::Draining(order) if order == id => {
                let reason = caught_up(cx, &self.takeover, result);
                if let Some(reason) = reason.filter(|_| !self.takeover.may_lose(result)) {
                    return self.takeover.give_up(cx, reason);
                }
                Promoting::enter(cx, self.takeover)
            }
            Step::Stopping(_) | Step::Draining(_) => Phase::Sealing(self),
        }
    }
}
