//! Promoting: the point of no return. Once the order is given only its outcome counts, and if that
//! stays unknown, the terms are read again before anything else is done.

use std::time::Instant;

use super::action::{Order, OrderFailure, OrderId, OrderResult};
use super::assessment::Verdict;
use super::context::{Context, InDoubt};
use super::held::Held;
use super::phase::Input;
use super::phase::{Phase, decide};
use super::policy::ORDER_PATIENCE;
use super::proclaiming::Proclaiming;
use super::takeover::Takeover;

#[derive(Clone, Debug)]
pub(super) struct Promoting {
    takeover: Takeover,
    order: OrderId,
    pub(super) until: Instant,
}

impl Promoting {
    pub(super) fn enter(cx: &mut Context, takeover: Takeover) -> Phase {
        let reason = format!("{} gets and executes nothing more", cx.name(takeover.candidate));
        cx.because(reason, Some(takeover.candidate));
        let order = cx.run(Order::Promote {
            server: takeover.candidate,
            seen: takeover.seen,
            reason: takeover.why.clone(),
            planned_from: takeover.planned_from(),
        });
        Phase::Promoting(Self { takeover, order, until: cx.now + ORDER_PATIENCE })
    }

    pub(super) fn handle(self, cx: &mut Context, input: Input<'_>) -> Phase {
        let candidate = self.takeover.candidate;
        let unknown = match input {
            Input::Finished { id, result } if id == self.order => match result {
                OrderResult::Promoted(term) if *term > self.takeover.seen => {
                    let name = cx.name(candidate);
                    let loss = self.takeover.loss(cx);
                    let why = &self.takeover.why;
                    let reason = format!("{name} is active by term {term}: {why}{loss}");
                    cx.because(reason, Some(candidate));
                    if self.takeover.is_failover() {
                        cx.damping.failed_over(cx.now);
                    }
                    return Proclaiming::enter(cx, self.takeover, *term);
                }
                OrderResult::Superseded { .. } => return self.takeover.call_off(cx),
                OrderResult::Failed(failure) => failure.clone(),
                OrderResult::Promoted(term) => OrderFailure::Unreachable(format!(
                    "it wrote term {term}, which is not above {}",
                    self.takeover.seen
                )),
                OrderResult::Done
                | OrderResult::Frozen(_)
                | OrderResult::Others(_)
                | OrderResult::Dropped(_)
                | OrderResult::Inspected(_)
                | OrderResult::Discarded(_) => {
                    OrderFailure::Unreachable("no term was written".to_owned())
                }
            },
            _ if cx.now >= self.until => OrderFailure::Unreachable("no answer".to_owned()),
            _ => return Phase::Promoting(self),
        };
        let reason = format!("{} cannot be made active: {unknown}", cx.name(candidate));
        self.takeover.refuse(cx, &reason);
        cx.set_back(candidate, reason);
        cx.in_doubt = Some(InDoubt { server: candidate, since: cx.now, seen: self.takeover.seen });
        decide(cx)
    }
}

/// The outcome of a promotion is unknown until the candidate's terms are read.
#[derive(Clone, Debug)]
pub(super) struct Verifying {
    pub(super) until: Instant,
}

impl Verifying {
    pub(super) fn enter(cx: &mut Context, doubt: InDoubt) -> Phase {
        let reason = match &cx.setback {
            Some(setback) => setback.reason.clone(),
            None => cx.describe(doubt.server),
        };
        Held::tell(cx, reason);
        if matches!(cx.verdict(doubt.server), Verdict::Suspect(_)) {
            cx.ask_probe_soon(doubt.server);
        } else {
            cx.ask_probe(doubt.server);
        }
        Phase::Verifying(Self { until: cx.now + cx.policy.one_round() })
    }

    pub(super) fn handle(self, cx: &mut Context) -> Phase {
        decide(cx)
    }
}
