//! What the phases of a failover (and of the first decision) share.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::action::{Order, OrderId};
use super::assessment::Verdict;
use super::candidate::{choose, missing};
use super::catching_up::CatchingUp;
use super::context::Context;
use super::held::Held;
use super::phase::{Input, Phase, decide};
use crate::config::Fencing;
use crate::topology::{Outcome, ServerId, Source, Term};

/// A master is on its way to become active.
#[derive(Clone, Debug)]
pub(super) struct Takeover {
    /// The master that it replaces; `None` for the very first decision.
    pub(super) old: Option<ServerId>,
    pub(super) candidate: ServerId,
    /// The decision stands only as long as this is the highest term.
    pub(super) seen: Term,
    /// For the `reason` column and for people.
    pub(super) why: String,
    pub(super) began: Instant,
}

impl Takeover {
    /// Makes another master than `old` active, or holds and says why that cannot be.
    pub(super) fn begin(cx: &mut Context, old: Option<ServerId>) -> Phase {
        if let Some(reason) = forbidden(cx, old) {
            return Held::enter(cx, reason, cx.retry_at());
        }
        let choice = choose(&cx.topology, &cx.links, &cx.policy, old);
        let Some(candidate) = choice.chosen else {
            let old = old.map(|old| cx.describe(old));
            let others = choice
                .rejected
                .into_iter()
                .map(|(server, reason)| format!("{} {reason}", cx.name(server)));
            let all: Vec<String> = old.into_iter().chain(others).collect();
            return Held::enter(cx, all.join("; "), None);
        };
        let why = match old {
            Some(old) => cx.describe(old),
            None => "no master was ever made active".to_owned(),
        };
        let reason = format!("{why}; {} is taking over", cx.name(candidate));
        // Of a retry, clients are told what the last attempt failed of.
        let told = cx.setback.as_ref().map_or_else(|| reason.clone(), |last| last.reason.clone());
        cx.hold(&told);
        cx.because(reason, old.or(Some(candidate)));
        let takeover = Self { old, candidate, seen: cx.term(), why, began: cx.now };
        let fences = takeover.fence(cx);
        CatchingUp::enter(cx, takeover, fences)
    }

    /// Fences the old master; before the first decision, every other one that is open.
    fn fence(&self, cx: &mut Context) -> BTreeMap<OrderId, ServerId> {
        if cx.policy.fencing == Fencing::None {
            return BTreeMap::new();
        }
        let open = |server: &ServerId| match self.old {
            Some(old) => *server == old,
            None => *server != self.candidate && cx.writability.read_only(*server) == Some(false),
        };
        let servers: Vec<ServerId> = cx.masters().into_iter().filter(open).collect();
        servers.into_iter().map(|server| (cx.run(Order::Fence { server }), server)).collect()
    }

    /// Whether something happened that this takeover must not outlive (as long as nothing is
    /// decided): a higher term, the return of the old master, the death of the candidate.
    pub(super) fn is_off(&self, cx: &Context, input: Input<'_>) -> bool {
        if cx.term() > self.seen {
            return true;
        }
        if let Verdict::Down(_) = cx.verdict(self.candidate) {
            return true;
        }
        match input {
            Input::Observed(look) => {
                Some(look.server) == self.old
                    && look.source == Source::Probe
                    && look.at >= self.began
                    && !matches!(look.outcome, Outcome::Unreachable { .. })
            }
            _ => false,
        }
    }

    /// It cannot go on for this reason; it is tried again after a pause, if it is still called for.
    pub(super) fn give_up(self, cx: &mut Context, reason: String) -> Phase {
        cx.set_back(self.candidate, reason);
        decide(cx)
    }

    /// What is known to be lost, for people: " (m2 lacks 1-1-106..110)".
    pub(super) fn loss(&self, cx: &Context) -> String {
        let Some(old) = self.old else {
            return String::new();
        };
        let missing = missing(&cx.topology, self.candidate, old);
        if missing.is_empty() {
            return String::new();
        }
        format!("; {} never received {missing} of {}", cx.name(self.candidate), cx.name(old))
    }
}

/// Why nobody may be made active in the place of `old` at present, whoever it would be.
fn forbidden(cx: &Context, old: Option<ServerId>) -> Option<String> {
    if let Some(setback) = cx.setback.as_ref().filter(|setback| cx.now < setback.not_before) {
        return Some(setback.reason.clone());
    }
    let Some(old) = old else {
        return first_decision_must_wait(cx);
    };
    if !cx.policy.automatic {
        return Some(format!("{}; automatic failover is off", cx.describe(old)));
    }
    let left = (cx.last_failover? + cx.policy.min_interval).checked_duration_since(cx.now)?;
    // In steps, or every probe would make another reason of it.
    let step = if left > Duration::from_secs(10) { 10 } else { 2 };
    let left = left.as_millis().div_ceil(step * 1000) * step;
    (left > 0).then(|| {
        format!(
            "{}; the last failover was less than {} ago, the next one may be in {left}s",
            cx.describe(old),
            humantime::format_duration(cx.policy.min_interval),
        )
    })
}

/// The first decision is made by the one who sees everything: a master that answers with an error
/// may hold a term and be open, and one that is just being probed may answer.
fn first_decision_must_wait(cx: &Context) -> Option<String> {
    let unknown = |server: &ServerId| match cx.verdict(*server) {
        Verdict::SaysNo { .. } => cx.topology.facts(*server).is_none(),
        Verdict::Suspect(_) => true,
        Verdict::Unseen | Verdict::Alive | Verdict::Down(_) => false,
    };
    let server = cx.masters().into_iter().find(unknown)?;
    Some(cx.describe(server))
}
