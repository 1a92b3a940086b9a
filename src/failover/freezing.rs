//! Freezing: the old master is fenced, which ends its term, and the new one executes exactly what the
//! old one had executed then.

use std::time::Instant;

use super::action::{Order, OrderId, OrderResult};
use super::context::Context;
use super::phase::{Input, Phase};
use super::policy::ORDER_PATIENCE;
use super::promoting::Promoting;
use super::switchover::Switchover;
use super::takeover::{Backlog, Occasion, Takeover};

#[derive(Clone, Debug)]
pub(super) struct Freezing {
    switchover: Switchover,
    step: Step,
    pub(super) until: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Closing(OrderId),
    Reaching(OrderId),
}

impl Freezing {
    pub(super) fn enter(cx: &mut Context, switchover: Switchover) -> Phase {
        let (from, to) = (switchover.from, switchover.to);
        let reason = format!("switching over from {} to {}", cx.name(from), cx.name(to));
        cx.hold_for(to, &reason);
        let reason = match switchover.broken {
            0 => format!("no session has anything open on {}", cx.name(from)),
            count => format!("{count} sessions with something open on {} are left", cx.name(from)),
        };
        cx.because(reason, Some(from));
        let order = cx.run(Order::Freeze { server: from });
        let until = cx.now + ORDER_PATIENCE;
        Phase::Freezing(Self { switchover, step: Step::Closing(order), until })
    }

    pub(super) fn handle(self, cx: &mut Context, input: Input<'_>) -> Phase {
        if let Some(obstacle) = self.switchover.obstacle(cx) {
            return self.switchover.undo(cx, &obstacle);
        }
        if let Input::Finished { id, result } = input {
            match self.step {
                Step::Closing(order) if order == id => return self.closed(cx, result),
                Step::Reaching(order) if order == id => return self.reached(cx, result),
                Step::Closing(_) | Step::Reaching(_) => {}
            }
        }
        if cx.now >= self.until {
            let server = match self.step {
                Step::Closing(_) => self.switchover.from,
                Step::Reaching(_) => self.switchover.to,
            };
            let reason = format!("{} takes too long over its orders", cx.name(server));
            return self.switchover.undo(cx, &reason);
        }
        Phase::Freezing(self)
    }

    fn closed(mut self, cx: &mut Context, result: &OrderResult) -> Phase {
        let position = match result {
            OrderResult::Frozen(position) => position.clone(),
            OrderResult::Failed(failure) => {
                let from = cx.name(self.switchover.from);
                let reason = format!("{from} cannot be made read-only: {failure}");
                return self.switchover.undo(cx, &reason);
            }
            _ => {
                return self.switchover.undo(cx, "the order to refuse writes was not carried out");
            }
        };
        let timeout = cx.policy.drain;
        let order = cx.run(Order::Reach { server: self.switchover.to, position, timeout });
        self.step = Step::Reaching(order);
        self.until = cx.now + timeout + ORDER_PATIENCE;
        Phase::Freezing(self)
    }

    fn reached(self, cx: &mut Context, result: &OrderResult) -> Phase {
        let to = self.switchover.to;
        if let OrderResult::Failed(failure) = result {
            let reason = format!("{} does not get to the last write: {failure}", cx.name(to));
            return self.switchover.undo(cx, &reason);
        }
        let takeover = Takeover {
            old: Some(self.switchover.from),
            candidate: to,
            seen: self.switchover.seen,
            why: format!("switchover from {}", cx.name(self.switchover.from)),
            began: cx.now,
            occasion: Occasion::Planned(self.switchover),
            backlog: Backlog::Executed,
        };
        Promoting::enter(cx, takeover)
    }
}
