//! Freezing: the old master is fenced, which ends its term, and the new one executes exactly what the
//! old one had executed then.

use std::time::{Duration, Instant};

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
    /// Since this moment.
    Closing(OrderId, Instant),
    /// The old master is closed.
    Reaching(OrderId, Freeze),
    /// That took long enough for somebody to open it again: it is looked at, from this moment on.
    Checking(Instant),
}

/// When the old master was told to refuse writes, and when it had.
#[derive(Clone, Copy, Debug)]
struct Freeze {
    asked: Instant,
    answered: Instant,
}

/// So fast nobody else finds the old master closed and opens it.
const PROMPT: Duration = Duration::from_millis(20);

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
        let asked = cx.now;
        let until = cx.now + ORDER_PATIENCE;
        Phase::Freezing(Self { switchover, step: Step::Closing(order, asked), until })
    }

    pub(super) fn handle(self, cx: &mut Context, input: Input<'_>) -> Phase {
        if let Some(obstacle) = self.switchover.obstacle(cx) {
            return self.switchover.undo(cx, &obstacle);
        }
        let from = self.switchover.from;
        let since = match self.step {
            Step::Closing(..) => None,
            Step::Reaching(_, freeze) => Some(freeze.answered),
            Step::Checking(since) => Some(since),
        };
        if let Some(since) = since
            && cx.looked_since(from, since)
        {
            if cx.writability.read_only(from) == Some(false) {
                let reason = format!("{} was opened again by somebody else", cx.name(from));
                return self.switchover.undo(cx, &reason);
            }
            if let Step::Checking(_) = self.step {
                return self.promote(cx);
            }
        }
        if let Input::Finished { id, result } = input {
            match self.step {
                Step::Closing(order, asked) if order == id => {
                    return self.closed(cx, asked, result);
                }
                Step::Reaching(order, freeze) if order == id => {
                    return self.reached(cx, freeze, result);
                }
                Step::Closing(..) | Step::Reaching(..) | Step::Checking(_) => {}
            }
        }
        if cx.now >= self.until {
            let server = match self.step {
                Step::Closing(..) | Step::Checking(_) => self.switchover.from,
                Step::Reaching(..) => self.switchover.to,
            };
            let reason = format!("{} takes too long over its orders", cx.name(server));
            return self.switchover.undo(cx, &reason);
        }
        Phase::Freezing(self)
    }

    fn closed(mut self, cx: &mut Context, asked: Instant, result: &OrderResult) -> Phase {
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
        self.step = Step::Reaching(order, Freeze { asked, answered: cx.now });
        self.until = cx.now + timeout + ORDER_PATIENCE;
        Phase::Freezing(self)
    }

    fn reached(mut self, cx: &mut Context, freeze: Freeze, result: &OrderResult) -> Phase {
        let to = self.switchover.to;
        if let OrderResult::Failed(failure) = result {
            let reason = format!("{} does not get to the last write: {failure}", cx.name(to));
            return self.switchover.undo(cx, &reason);
        }
        // When it was closed in between is not known.
        if cx.now.saturating_duration_since(freeze.asked) > PROMPT {
            cx.ask_probe(self.switchover.from);
            self.step = Step::Checking(cx.now);
            self.until = cx.now + cx.policy.one_round();
            return Phase::Freezing(self);
        }
        self.promote(cx)
    }

    fn promote(self, cx: &mut Context) -> Phase {
        let to = self.switchover.to;
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
