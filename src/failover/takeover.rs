//! What the phases of a failover (and of the first decision) share.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::action::{Order, OrderFailure, OrderId, OrderResult};
use super::assessment::{Verdict, asked_about};
use super::candidate::{choose, missing, objection};
use super::catching_up::CatchingUp;
use super::context::Context;
use super::held::{Held, why_nobody};
use super::phase::{Input, Phase, decide};
use super::policy::{FENCE_PATIENCE, ORDER_PATIENCE};
use super::quarantine::transactions;
use super::request::{Answer, RequestId};
use super::switchover::Switchover;
use crate::config::{CatchUpExpired, Fencing};
use crate::topology::{GtidSet, Outcome, ServerId, Source, Term};

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
    pub(super) occasion: Occasion,
    pub(super) backlog: Backlog,
}

/// What becomes of what the candidate has received and not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backlog {
    /// It is executed.
    Executed,
    /// That took too long: it is to be thrown away.
    ToBeDropped,
    /// This was thrown away.
    Dropped(GtidSet),
}

/// Why somebody else is to be active.
#[derive(Clone, Debug)]
pub(super) enum Occasion {
    /// The old master is down, or there never was one.
    Unplanned,
    /// The old master answers and cannot write: its answers change nothing, and that it is closed now,
    /// by our own fence, does not either.
    Unwritable,
    /// An operator said so, whatever the old master does.
    Ordered {
        /// Whom to tell.
        request: RequestId,
        /// Whether what is lost thereby may be lost.
        force: bool,
    },
    /// A switchover, whose old master is closed and whose new one has all of it.
    Planned(Switchover),
}

impl Takeover {
    /// Makes another master than `old` active, or holds and says why that cannot be.
    pub(super) fn begin(cx: &mut Context, old: Option<ServerId>) -> Phase {
        let choice = choose(&cx.topology, &cx.links, &cx.quarantine, &cx.policy, old);
        if let Some(reason) = forbidden(cx, old, &choice.rejected) {
            return Held::enter(cx, reason, cx.retry_at());
        }
        let Some(candidate) = choice.chosen.map(|chosen| another(cx, chosen, old)) else {
            let reason = why_nobody(cx, old, &choice.rejected, "one that can be active");
            return Held::enter(cx, reason, None);
        };
        if let Some(old) = old.filter(|old| is_out_of_date(cx, *old)) {
            cx.ask_probe(old);
            let reason = "but that was long ago; it is asked once more";
            return Held::enter(cx, format!("{}, {reason}", cx.describe(old)), None);
        }
        let why = match old {
            Some(old) => cx.describe(old),
            None => "no master was ever made active".to_owned(),
        };
        let reason = format!("{why}; {} is taking over", cx.name(candidate));
        // Of a retry, clients are told what the last attempt failed of.
        let told = cx.setback.as_ref().map_or_else(|| reason.clone(), |last| last.reason.clone());
        cx.hold_for(candidate, &told);
        cx.because(reason, old.or(Some(candidate)));
        let occasion = match old.map(|old| cx.verdict(old)) {
            Some(Verdict::Unwritable(_)) => Occasion::Unwritable,
            _ => Occasion::Unplanned,
        };
        let takeover = Self::new(cx, old, candidate, why, occasion);
        takeover.claim(cx);
        let fences = takeover.fence(cx);
        if takeover.is_doubtful(cx) {
            for server in cx.masters() {
                if takeover.is_watched(cx, server) {
                    cx.ask_probe(server);
                }
            }
        }
        CatchingUp::enter(cx, takeover, fences)
    }

    pub(super) fn new(
        cx: &Context,
        old: Option<ServerId>,
        candidate: ServerId,
        why: String,
        occasion: Occasion,
    ) -> Self {
        let (seen, began) = (cx.term(), cx.now);
        Self { old, candidate, seen, why, began, occasion, backlog: Backlog::Executed }
    }

    /// Makes `to` active on an operator's word, or says why that is not even tried.
    pub(super) fn ordered(
        cx: &mut Context,
        to: ServerId,
        force: bool,
        request: RequestId,
    ) -> Result<Phase, String> {
        let old = cx.named();
        if old == Some(to) {
            return Err(format!("{} is active by term {} already", cx.name(to), cx.term()));
        }
        let objection = objection(&cx.topology, &cx.links, &cx.quarantine, &cx.policy, to, old);
        let reachable = matches!(cx.verdict(to), Verdict::Alive);
        if let Some(reason) = objection.filter(|_| !force || !reachable) {
            return Err(format!("no failover to {}: {} {reason}", cx.name(to), cx.name(to)));
        }
        let forced = if force { "forced " } else { "" };
        let why = format!("{forced}failover to {} by an operator", cx.name(to));
        cx.hold_for(to, &why);
        cx.because(why.clone(), Some(to));
        let occasion = Occasion::Ordered { request, force };
        let takeover = Self::new(cx, old, to, why, occasion);
        takeover.claim(cx);
        let fences = takeover.fence(cx);
        Ok(CatchingUp::enter(cx, takeover, fences))
    }

    /// Fences the old master, and every other one that is open.
    fn fence(&self, cx: &mut Context) -> BTreeMap<OrderId, ServerId> {
        if cx.policy.fencing == Fencing::None {
            return BTreeMap::new();
        }
        let open = |server: &ServerId| {
            let found = cx.writability.read_only(*server) == Some(false);
            Some(*server) == self.old || (*server != self.candidate && found)
        };
        let servers: Vec<ServerId> = cx.masters().into_iter().filter(open).collect();
        servers.into_iter().map(|server| (cx.run(Order::Fence { server }), server)).collect()
    }

    /// An old master that lives and is closed would soon be opened again by other proxies, unless they
    /// see that somebody is at work on it: from the moment that it is closed.
    fn claim(&self, cx: &mut Context) {
        if let Some(server) = self.claimed(cx)
            && matches!(cx.verdict(server), Verdict::Alive | Verdict::Unwritable(_))
        {
            cx.run(Order::Claim { server, next: None });
        }
    }

    /// The end of `claim`.
    fn let_go(&self, cx: &mut Context) {
        let planned = matches!(self.occasion, Occasion::Planned(_));
        if let Some(server) = self.claimed(cx)
            && (planned || !matches!(cx.verdict(server), Verdict::Down(_)))
        {
            cx.run(Order::Unclaim { server });
        }
    }

    /// The old master, if it is replaced although it may live.
    fn claimed(&self, cx: &Context) -> Option<ServerId> {
        let lives = match &self.occasion {
            Occasion::Unplanned => false,
            Occasion::Unwritable | Occasion::Ordered { .. } => {
                cx.policy.fencing == Fencing::ReadOnly
            }
            Occasion::Planned(_) => true,
        };
        self.old.filter(|_| lives)
    }

    /// Whether something happened that this takeover must not outlive (as long as nothing is
    /// decided): a higher term, the return of the old master, the death of the candidate.
    ///
    /// The old master may turn out to live although it does not answer. That shows only while the
    /// candidate still receives, so it is looked at without pause as long as the fence is waited for.
    pub(super) fn is_off(&self, cx: &mut Context, input: Input<'_>) -> bool {
        if cx.term() > self.seen {
            return true;
        }
        if let Verdict::Down(_) = cx.verdict(self.candidate) {
            return true;
        }
        let unplanned = self.is_unplanned();
        if let Some(Verdict::Isolated { .. }) = self.old.map(|old| cx.verdict(old))
            && unplanned
        {
            return true;
        }
        if let Input::Observed(look) = input
            && self.is_watched(cx, look.server)
            && cx.now < self.began + self.fence_patience(cx)
            && self.is_doubtful(cx)
        {
            cx.ask_probe_soon(look.server);
        }
        match input {
            Input::Observed(look) if unplanned => {
                Some(look.server) == self.old
                    && look.source == Source::Probe
                    && look.at >= self.began
                    && !matches!(look.outcome, Outcome::Unreachable { .. })
            }
            _ => false,
        }
    }

    /// Whether `server` may hear the old master.
    fn is_watched(&self, cx: &Context, server: ServerId) -> bool {
        let hears = |old| asked_about(&cx.topology, old).contains(&server);
        server == self.candidate || self.old.is_some_and(hears)
    }

    /// Whether `old` lives and has to be seen closed before another is made active.
    pub(super) fn must_be_closed(&self, cx: &Context, old: ServerId) -> bool {
        let lives = matches!(cx.verdict(old), Verdict::Alive | Verdict::Unwritable(_));
        lives && self.claimed(cx) == Some(old)
    }

    /// Whether the old master's life is reason enough to let it be: an operator's order stands, and one
    /// that cannot write is replaced, whether it answers or not.
    pub(super) fn is_unplanned(&self) -> bool {
        matches!(self.occasion, Occasion::Unplanned)
    }

    /// Who is left by plan.
    pub(super) fn planned_from(&self) -> Option<ServerId> {
        match &self.occasion {
            Occasion::Planned(switchover) => Some(switchover.from),
            _ => None,
        }
    }

    /// Whether an operator named the candidate.
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self.occasion, Occasion::Ordered { .. })
    }

    /// Whether an operator wants the candidate whatever is lost thereby.
    pub(super) fn is_forced(&self) -> bool {
        matches!(self.occasion, Occasion::Ordered { force: true, .. })
    }

    /// How long the fence of the old master is waited for. One that lives is not as good as fenced
    /// because its fence takes long.
    pub(super) fn fence_patience(&self, cx: &Context) -> Duration {
        match self.old.map(|old| cx.verdict(old)) {
            Some(Verdict::Down(_)) if self.is_doubtful(cx) => cx.policy.silent_fence_patience(),
            Some(Verdict::Down(_)) => FENCE_PATIENCE,
            _ => ORDER_PATIENCE,
        }
    }

    /// Whether all that speaks against the old master is that it does not answer us.
    fn is_doubtful(&self, cx: &Context) -> bool {
        let verdict = self.old.map(|old| cx.verdict(old));
        matches!(verdict, Some(Verdict::Down(evidence)) if evidence.is_doubtful())
    }

    /// It cannot go on for this reason; it is tried again after a pause, if it is still called for.
    pub(super) fn give_up(self, cx: &mut Context, reason: String) -> Phase {
        self.refuse(cx, &reason);
        cx.set_back(self.candidate, reason);
        decide(cx)
    }

    /// It is called off by what happened.
    pub(super) fn call_off(self, cx: &mut Context) -> Phase {
        let candidate = cx.describe(self.candidate);
        let reason = match &cx.highest {
            Some((term, active)) if *term > self.seen => {
                format!("meanwhile term {term} made {active} active")
            }
            _ => candidate,
        };
        self.refuse(cx, &reason);
        decide(cx)
    }

    /// Whether it goes on although the candidate's catch-up came to this: an operator insists, or the
    /// configuration says so.
    ///
    /// An applier that stands still by an error is left as it is, for somebody to look at. One that runs
    /// would go on beside the first new writes, so that its backlog must be thrown away before.
    pub(super) fn goes_on_after(&mut self, cx: &Context, result: &OrderResult) -> bool {
        let OrderResult::Failed(failure) = result else { return true };
        let insists = matches!(self.occasion, Occasion::Ordered { force: true, .. });
        let planned = matches!(self.occasion, Occasion::Planned(_));
        let told_to = cx.policy.catch_up_expired == CatchUpExpired::Promote && !planned;
        match failure {
            OrderFailure::ApplierStopped(_) => insists,
            OrderFailure::TimedOut(_) => {
                let goes_on =
                    self.old.is_some() && self.backlog == Backlog::Executed && (insists || told_to);
                if goes_on {
                    self.backlog = Backlog::ToBeDropped;
                }
                goes_on
            }
            _ => false,
        }
    }

    /// Tells whoever asked for it that nothing came of it, or that nobody knows.
    pub(super) fn refuse(&self, cx: &mut Context, reason: &str) {
        self.let_go(cx);
        let request = match &self.occasion {
            Occasion::Unplanned | Occasion::Unwritable => None,
            Occasion::Ordered { request, .. } => Some(*request),
            Occasion::Planned(switchover) => {
                cx.switchover_failed = Some(cx.now);
                switchover.request
            }
        };
        if let Some(request) = request {
            cx.answer(request, Answer::Refused(reason.to_owned()));
        }
    }

    /// Tells whoever asked for it that it is done.
    pub(super) fn tell_done(&self, cx: &mut Context, term: Term) {
        self.let_go(cx);
        let name = cx.name(self.candidate).to_owned();
        let (request, since, broken) = match &self.occasion {
            Occasion::Unplanned | Occasion::Unwritable => return,
            Occasion::Ordered { request, .. } => (Some(*request), self.began, 0),
            Occasion::Planned(switchover) => {
                cx.planned = Some(term);
                let since = switchover.held_since.unwrap_or(self.began);
                (switchover.request, since, switchover.broken)
            }
        };
        let held = cx.now.duration_since(since).as_secs_f64() * 1000.0;
        let broken = match broken {
            0 => String::new(),
            count => format!("; {count} sessions were broken off"),
        };
        let done =
            format!("{name} is active by term {term}; statements waited {held:.1} ms{broken}");
        if let Some(request) = request {
            cx.answer(request, Answer::Done(done));
        }
    }

    /// Whether the old master was replaced because of what it did, and not by plan.
    pub(super) fn is_failover(&self) -> bool {
        self.old.is_some() && !matches!(self.occasion, Occasion::Planned(_))
    }

    /// What is known to be lost, for people: " (m2 lacks 1-1-106..110)".
    pub(super) fn loss(&self, cx: &Context) -> String {
        let Some(old) = self.old.filter(|_| !matches!(self.occasion, Occasion::Planned(_))) else {
            return String::new();
        };
        let (candidate, old_name) = (cx.name(self.candidate), cx.name(old));
        let mut loss = match &self.backlog {
            Backlog::Dropped(dropped) if !dropped.is_empty() => {
                let count = transactions(dropped.count());
                format!(
                    "; {candidate} threw away {count} that it had received of {old_name} and not executed ({dropped})"
                )
            }
            _ => String::new(),
        };
        let missing = missing(&cx.topology, self.candidate, old);
        if !missing.is_empty() {
            loss += &format!("; {candidate} never received {missing} of {old_name}");
        }
        loss
    }
}

/// `chosen`, or another that nothing speaks against when the last attempt with `chosen` failed.
fn another(cx: &Context, chosen: ServerId, old: Option<ServerId>) -> ServerId {
    if old.is_none() || cx.setback.as_ref().is_none_or(|setback| setback.server != chosen) {
        return chosen;
    }
    let able = |server: &ServerId| {
        let (topology, links, quarantine) = (&cx.topology, &cx.links, &cx.quarantine);
        Some(*server) != old
            && *server != chosen
            && objection(topology, links, quarantine, &cx.policy, *server, old).is_none()
    };
    cx.masters().into_iter().find(able).unwrap_or(chosen)
}

/// Why nobody may be made active in the place of `old` at present, whoever it would be.
fn forbidden(
    cx: &Context,
    old: Option<ServerId>,
    rejected: &[(ServerId, String)],
) -> Option<String> {
    if let Some(setback) = cx.setback.as_ref().filter(|setback| cx.now < setback.not_before) {
        return Some(setback.reason.clone());
    }
    let Some(old) = old else {
        return first_decision_must_wait(cx);
    };
    let name = cx.name(old);
    let waited_for = if cx.policy.automatic {
        format!("{name}: {}", cx.damping.forbids(cx.now)?)
    } else {
        format!("{name} or for FAILOVER on the console: automatic failover is off")
    };
    Some(why_nobody(cx, Some(old), rejected, &waited_for))
}

/// Whether the last look at `server` is older than any is that has not been held up: this process did
/// not run for a while, and what it knows is from before.
fn is_out_of_date(cx: &Context, server: ServerId) -> bool {
    let last = cx.topology.seen(server).last.as_ref();
    let began = last.and_then(|last| last.at.checked_sub(last.took));
    began.is_some_and(|began| cx.now.saturating_duration_since(began) > cx.policy.one_round() * 2)
}

/// The first decision is made by the one who sees everything: a master that answers with an error
/// may hold a term and be open, and one that is just being probed may answer.
fn first_decision_must_wait(cx: &Context) -> Option<String> {
    let unknown = |server: &ServerId| match cx.verdict(*server) {
        Verdict::SaysNo { .. } => cx.topology.facts(*server).is_none(),
        Verdict::Suspect(_) | Verdict::Isolated { .. } => true,
        Verdict::Unseen | Verdict::Alive | Verdict::Down(_) | Verdict::Unwritable(_) => false,
    };
    let server = cx.masters().into_iter().find(unknown)?;
    let waited_for = format!("{}, which may know who was active", cx.name(server));
    Some(why_nobody(cx, Some(server), &[], &waited_for))
}
