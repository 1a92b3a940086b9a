//! Catching up: the old master is fenced if it can be reached, while the candidate executes what it
//! has received.

use std::collections::BTreeMap;
use std::time::Instant;

use super::action::{Order, OrderFailure, OrderId, OrderResult};
use super::assessment::Verdict;
use super::context::{Context, answered};
use super::phase::{Input, Phase};
use super::policy::ORDER_PATIENCE;
use super::promoting::Promoting;
use super::sealing::Sealing;
use super::takeover::Takeover;
use crate::topology::{Outcome, ServerId, Source};

#[derive(Clone, Debug)]
pub(super) struct CatchingUp {
    takeover: Takeover,
    /// The fences that were not answered yet, and how long they are waited for.
    fences: BTreeMap<OrderId, ServerId>,
    fences_until: Instant,
    /// The old master carried out its fence: it is alive. A last probe tells whether it can serve, where
    /// that would call the takeover off.
    last_probe: Option<Instant>,
    /// `None` when the candidate is caught up.
    catch_up: Option<OrderId>,
    catch_up_until: Instant,
}

impl CatchingUp {
    pub(super) fn enter(
        cx: &mut Context,
        takeover: Takeover,
        fences: BTreeMap<OrderId, ServerId>,
    ) -> Phase {
        let candidate = takeover.candidate;
        let receives = cx.topology.facts(candidate).is_some_and(|facts| !facts.channels.is_empty());
        let timeout = cx.policy.catch_up;
        let catch_up = receives.then(|| cx.run(Order::CatchUp { server: candidate, timeout }));
        let fences_until = cx.now + takeover.fence_patience(cx);
        let phase = Self {
            takeover,
            fences,
            fences_until,
            last_probe: None,
            catch_up,
            catch_up_until: cx.now + timeout + ORDER_PATIENCE,
        };
        phase.advance(cx)
    }

    pub(super) fn deadline(&self) -> Instant {
        if let Some(until) = self.last_probe {
            return until.min(self.catch_up_until);
        }
        if self.fences.is_empty() {
            return self.catch_up_until;
        }
        self.fences_until.min(self.catch_up_until)
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        if self.takeover.is_off(cx, input) {
            return self.takeover.call_off(cx);
        }
        match input {
            Input::Finished { id, result } => {
                if let Some(server) = self.fences.remove(&id) {
                    if let Some(reason) = self.fenced(cx, server, result) {
                        return self.takeover.give_up(cx, reason);
                    }
                } else if self.catch_up == Some(id) {
                    let reason = caught_up(cx, &self.takeover, result);
                    if let Some(reason) =
                        reason.filter(|_| !self.takeover.goes_on_after(cx, result))
                    {
                        cx.ask_probe(self.takeover.candidate);
                        return self.takeover.give_up(cx, reason);
                    }
                    self.catch_up = None;
                }
            }
            // It carried out the fence and does not answer the probe: too sick to serve, and safe.
            Input::Observed(look) => {
                if Some(look.server) == self.takeover.old
                    && look.source == Source::Probe
                    && matches!(look.outcome, Outcome::Unreachable { .. })
                {
                    self.last_probe = None;
                }
            }
            Input::Drained(_) | Input::Tick => {}
        }
        self.advance(cx)
    }

    /// Takes the answer of a fence in. `Some` names why the takeover cannot go on.
    fn fenced(
        &mut self,
        cx: &mut Context,
        server: ServerId,
        result: &OrderResult,
    ) -> Option<String> {
        let is_old = Some(server) == self.takeover.old;
        match result {
            OrderResult::Failed(failure) if answered(failure) => {
                if is_old {
                    cx.ask_probe(server);
                }
                Some(format!("{} cannot be made read-only: {failure}", cx.name(server)))
            }
            OrderResult::Failed(_) => None,
            _ => {
                if is_old && self.takeover.is_unplanned() {
                    cx.ask_probe(server);
                    self.last_probe = Some(cx.now + cx.policy.one_round());
                }
                None
            }
        }
    }

    fn advance(mut self, cx: &mut Context) -> Phase {
        if cx.now >= self.fences_until && !self.fences.is_empty() {
            let lives = |server: &ServerId| matches!(cx.verdict(*server), Verdict::Alive);
            if self.fences.values().any(lives) {
                let servers: Vec<_> = self.fences.values().map(|id| cx.name(*id)).collect();
                let servers = servers.join(", ");
                let reason = format!("{servers}: the order to refuse writes got no answer");
                return self.takeover.give_up(cx, reason);
            }
            self.fences.clear();
        }
        if self.last_probe.is_some_and(|until| cx.now >= until) {
            self.last_probe = None;
        }
        if self.catch_up.is_some() && cx.now >= self.catch_up_until {
            let candidate = cx.name(self.takeover.candidate);
            let reason = format!("{candidate}: the order to catch up got no answer");
            return self.takeover.give_up(cx, reason);
        }
        if self.catch_up.is_some() || !self.fences.is_empty() || self.last_probe.is_some() {
            return Phase::CatchingUp(self);
        }
        match self.takeover.old {
            Some(old) => Sealing::enter(cx, self.takeover, old),
            None => Promoting::enter(cx, self.takeover),
        }
    }
}

/// Takes the answer of a catch-up in. `Some` names why the takeover cannot go on.
pub(super) fn caught_up(cx: &Context, takeover: &Takeover, result: &OrderResult) -> Option<String> {
    let OrderResult::Failed(failure) = result else {
        return None;
    };
    let candidate = cx.name(takeover.candidate);
    Some(match failure {
        OrderFailure::TimedOut(_) => format!(
            "{}; {candidate} has not executed within {} what it received, and is not made active \
             before it has",
            takeover.why,
            humantime::format_duration(cx.policy.catch_up)
        ),
        OrderFailure::ApplierStopped(message) => {
            format!("{}; {candidate} has an applier that stopped: {message}", takeover.why)
        }
        other => format!("{}; {candidate} cannot catch up: {other}", takeover.why),
    })
}
