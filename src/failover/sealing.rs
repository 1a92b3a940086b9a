//! Sealing: the candidate stops receiving from the old master, so that nothing trickles in behind
//! the decision, and executes what came in during the first catch-up. Other standbys stop as well. If
//! that took too long and the configuration or an operator accepts the loss, it throws away what it
//! has not executed instead.

use std::time::Instant;

use super::action::{Order, OrderId, OrderResult};
use super::catching_up::caught_up;
use super::comparing::{Comparing, seal_others};
use super::context::Context;
use super::phase::{Input, Phase};
use super::policy::{DROP_PATIENCE, ORDER_PATIENCE};
use super::takeover::{Backlog, Takeover};
use crate::topology::ServerId;

#[derive(Clone, Debug)]
pub(super) struct Sealing {
    takeover: Takeover,
    old: ServerId,
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
        let candidate = cx.name(takeover.candidate);
        let reason = match takeover.backlog {
            Backlog::ToBeDropped => too_long(cx, candidate),
            _ => format!("{candidate} has executed what its applier will"),
        };
        cx.because(reason, Some(takeover.candidate));
        seal_others(cx, &takeover, old);
        Self::stop(cx, takeover, old)
    }

    /// Ends what the candidate receives from the old master.
    fn stop(cx: &mut Context, takeover: Takeover, old: ServerId) -> Phase {
        let (server, source) = (takeover.candidate, old);
        let (order, patience) = match takeover.backlog {
            Backlog::ToBeDropped => (Order::DropBacklog { server, source }, DROP_PATIENCE),
            _ => (Order::StopReceiving { server, source }, ORDER_PATIENCE),
        };
        let step = Step::Stopping(cx.run(order));
        let until = cx.now + patience;
        Phase::Sealing(Self { takeover, old, step, until })
    }

    pub(super) fn handle(self, cx: &mut Context, input: Input<'_>) -> Phase {
        if self.takeover.is_off(cx, input) {
            return self.takeover.call_off(cx);
        }
        if cx.now >= self.until {
            let reason =
                format!("{} takes too long over its orders", cx.name(self.takeover.candidate));
            return self.takeover.give_up(cx, reason);
        }
        match (self.step, input) {
            (Step::Stopping(order), Input::Finished { id, result }) if order == id => {
                self.stopped(cx, result)
            }
            (Step::Draining(order), Input::Finished { id, result }) if order == id => {
                let reason = caught_up(cx, &self.takeover, result);
                self.drained(cx, result, reason)
            }
            _ => Phase::Sealing(self),
        }
    }

    fn stopped(mut self, cx: &mut Context, result: &OrderResult) -> Phase {
        let candidate = self.takeover.candidate;
        if let OrderResult::Dropped(dropped) = result {
            self.takeover.backlog = Backlog::Dropped(dropped.clone());
        }
        if let OrderResult::Failed(failure) = result {
            let reason = format!("{} cannot stop receiving: {failure}", cx.name(candidate));
            return self.drained(cx, result, Some(reason));
        }
        let timeout = cx.policy.catch_up;
        let order = cx.run(Order::CatchUp { server: candidate, timeout });
        self.step = Step::Draining(order);
        self.until = cx.now + timeout + ORDER_PATIENCE;
        Phase::Sealing(self)
    }

    /// All is executed, or this is what is in the way of that.
    fn drained(
        mut self,
        cx: &mut Context,
        result: &OrderResult,
        in_the_way: Option<String>,
    ) -> Phase {
        let Some(reason) = in_the_way else {
            return Comparing::enter(cx, self.takeover, self.old);
        };
        if !self.takeover.goes_on_after(cx, result) {
            return self.takeover.give_up(cx, reason);
        }
        match self.takeover.backlog {
            Backlog::ToBeDropped => Self::stop(cx, self.takeover, self.old),
            _ => Comparing::enter(cx, self.takeover, self.old),
        }
    }
}

fn too_long(cx: &Context, candidate: &str) -> String {
    let within = humantime::format_duration(cx.policy.catch_up);
    format!(
        "{candidate} has not executed within {within} what it received, and throws the rest away"
    )
}
