//! Starting: nothing is decided before every master had its chance to say what it knows.

use std::time::Instant;

use super::assessment::Verdict;
use super::context::Context;
use super::phase::{Input, Phase, decide};
use crate::topology::Outcome;

#[derive(Clone, Debug)]
pub(super) struct Starting {
    pub(super) until: Instant,
}

impl Starting {
    pub(super) fn new(cx: &Context) -> Self {
        Self { until: cx.now + cx.policy.starting() }
    }

    pub(super) fn handle(self, cx: &mut Context, input: Input<'_>) -> Phase {
        let heard = |verdict| !matches!(verdict, Verdict::Unseen | Verdict::Suspect(_));
        let all_heard = cx.masters().into_iter().all(|master| heard(cx.verdict(master)));
        if all_heard || cx.now >= self.until {
            cx.first_term = cx.term();
            return decide(cx);
        }
        // A refusal comes at once; no need to wait an interval for the next.
        if let Input::Observed(look) = input
            && let Outcome::Unreachable { .. } = look.outcome
        {
            cx.ask_probe_soon(look.server);
        }
        Phase::Starting(self)
    }
}
