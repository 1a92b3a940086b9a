//! The phases, and the one question that most of their edges ask: who is to be active?

use std::time::Instant;

use super::action::{OrderId, OrderResult};
use super::approaching::Approaching;
use super::assessment::Verdict;
use super::catching_up::CatchingUp;
use super::comparing::Comparing;
use super::context::Context;
use super::draining::Draining;
use super::freezing::Freezing;
use super::held::{Held, why_nobody};
use super::opening::{Opening, Waiting};
use super::paused::Paused;
use super::proclaiming::Proclaiming;
use super::promoting::{Promoting, Verifying};
use super::sealing::Sealing;
use super::starting::Starting;
use super::steady::Steady;
use super::suspect::Suspect;
use super::takeover::Takeover;
use super::yielding::Yielding;
use crate::routing::DrainReport;
use crate::topology::{Observation, ServerId, Term};

/// Where the machine is. Each state owns what it needs and is consumed by the transition.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Starting(Starting),
    Steady(Steady),
    Suspect(Suspect),
    Held(Held),
    Waiting(Waiting),
    Opening(Opening),
    CatchingUp(CatchingUp),
    Sealing(Sealing),
    Comparing(Comparing),
    Promoting(Promoting),
    Proclaiming(Proclaiming),
    Verifying(Verifying),
    Approaching(Approaching),
    Draining(Draining),
    Freezing(Freezing),
    Yielding(Yielding),
    Paused(Paused),
}

/// What a phase is told. The context has taken it in already.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input<'a> {
    /// A look at a server.
    Observed(&'a Observation),
    /// An order, of this phase or of an earlier one, was answered.
    Finished { id: OrderId, result: &'a OrderResult },
    /// The sessions say what they have open on a master that is drained.
    Drained(&'a DrainReport),
    /// Time has passed.
    Tick,
}

impl Phase {
    pub(super) fn handle(self, cx: &mut Context, input: Input<'_>) -> Self {
        match self {
            Self::Starting(phase) => phase.handle(cx, input),
            Self::Steady(phase) => phase.handle(cx, input),
            Self::Suspect(phase) => phase.handle(cx, input),
            Self::Held(phase) => phase.handle(cx),
            Self::Waiting(phase) => phase.handle(cx),
            Self::Opening(phase) => phase.handle(cx, input),
            Self::CatchingUp(phase) => phase.handle(cx, input),
            Self::Sealing(phase) => phase.handle(cx, input),
            Self::Comparing(phase) => phase.handle(cx, input),
            Self::Promoting(phase) => phase.handle(cx, input),
            Self::Proclaiming(phase) => phase.handle(cx, input),
            Self::Verifying(phase) => phase.handle(cx),
            Self::Approaching(phase) => phase.handle(cx, input),
            Self::Draining(phase) => phase.handle(cx, input),
            Self::Freezing(phase) => phase.handle(cx, input),
            Self::Yielding(phase) => phase.handle(cx, input),
            Self::Paused(phase) => phase.handle(cx),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Starting(_) => "starting",
            Self::Steady(_) => "steady",
            Self::Suspect(_) => "suspect",
            Self::Held(_) => "held",
            Self::Waiting(_) => "waiting",
            Self::Opening(_) => "opening",
            Self::CatchingUp(_) => "catching up",
            Self::Sealing(_) => "sealing",
            Self::Comparing(_) => "comparing",
            Self::Promoting(_) => "promoting",
            Self::Proclaiming(_) => "proclaiming",
            Self::Verifying(_) => "verifying",
            Self::Approaching(_) => "approaching",
            Self::Draining(phase) => phase.name(),
            Self::Freezing(_) => "freezing",
            Self::Yielding(_) => "yielding",
            Self::Paused(_) => "paused",
        }
    }

    /// When the phase wants to be asked again, whatever happens.
    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Starting(phase) => phase.until,
            Self::Steady(phase) => phase.until,
            Self::Suspect(phase) => phase.until,
            Self::Held(phase) => phase.until,
            Self::Waiting(phase) => phase.until,
            Self::Opening(phase) => phase.until,
            Self::CatchingUp(phase) => phase.deadline(),
            Self::Sealing(phase) => phase.until,
            Self::Comparing(phase) => phase.until,
            Self::Promoting(phase) => phase.until,
            Self::Proclaiming(phase) => phase.until,
            Self::Verifying(phase) => phase.until,
            Self::Approaching(phase) => phase.until,
            Self::Draining(phase) => phase.deadline(),
            Self::Freezing(phase) => phase.until,
            Self::Yielding(phase) => phase.until,
            Self::Paused(phase) => phase.until,
        }
    }
}

/// Who is to be active, judged from scratch: the master that the highest term names, if it can be;
/// else another. Entering a phase again that one is in already repeats nothing.
pub(super) fn decide(cx: &mut Context) -> Phase {
    if cx.paused {
        return Paused::enter(cx);
    }
    if let Some(doubt) = cx.in_doubt {
        if cx.term() > doubt.seen || cx.looked_since(doubt.server, doubt.since) {
            cx.in_doubt = None;
            cx.half_done = (cx.term() > doubt.seen).then(|| cx.term());
        } else if let Verdict::Down(_) = cx.verdict(doubt.server) {
            // It may hold a term that nobody sees. As it may be active, it is replaced as if it were.
            return Takeover::begin(cx, Some(doubt.server));
        } else {
            return Verifying::enter(cx, doubt);
        }
    }
    let Some((term, name)) = cx.highest.clone() else {
        return Takeover::begin(cx, None);
    };
    let Some(active) = cx.servers.by_name(&name).map(|server| server.id) else {
        let known: Vec<_> = cx.servers.masters().map(|master| master.name.clone()).collect();
        let known = in_a_row(&known);
        return Held::enter(
            cx,
            format!("term {term} makes {name} active, but the configured masters are {known}"),
            None,
        );
    };
    match cx.verdict(active) {
        Verdict::Alive => serve(cx, active, term),
        // It cannot be asked now, but was open when last looked at, and is open for us.
        Verdict::SaysNo { .. } if cx.writability.read_only(active).is_some() => {
            serve(cx, active, term)
        }
        Verdict::SaysNo { .. } | Verdict::Unseen | Verdict::Isolated { .. } => {
            let reason = why_nobody(cx, Some(active), &[], &name);
            Held::enter(cx, reason, None)
        }
        Verdict::Suspect(_) => Suspect::enter(cx, active),
        Verdict::Down(_) | Verdict::Unwritable(_) => Takeover::begin(cx, Some(active)),
    }
}

/// The active master is up: serve it if it takes writes, see to it that it does if not.
fn serve(cx: &mut Context, active: ServerId, term: Term) -> Phase {
    let open = cx.writability.read_only(active) == Some(false);
    // Our own fence may still reach it: the order to open it comes after that one.
    if open && !cx.fence_under_way(active) {
        return Steady::enter(cx, active);
    }
    Waiting::enter(cx, active, term)
}

/// "m1, m2 and m3"
fn in_a_row(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
