//! The active master is up but closed: leave it to whoever closed it for a while, then open it.
//!
//! How long that is depends on what is known of him. A planned switchover holds a claim on both masters
//! and writes its term over the connection that holds the one on the new master. So where a claim was
//! seen, and looks at first this master and then the others find none any more and no newer term, it
//! will never write one: there is nothing to wait for. Of a master that was found closed, or whose
//! fence had no claim, it is left the time in which every other proxy has looked at it once.

use std::time::{Duration, Instant};

use super::action::{Order, OrderId, OrderResult};
use super::assessment::Verdict;
use super::context::{Context, Setback};
use super::held::Held;
use super::phase::{Input, Phase, decide};
use super::policy::ORDER_PATIENCE;
use super::writability::Closed;
use super::yielding::successor;
use crate::topology::{ServerId, Term};

/// Somebody else closed it, and may be about to decide.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) until: Instant,
}

impl Waiting {
    /// Opens `active` now, or waits first.
    pub(super) fn enter(cx: &mut Context, active: ServerId, term: Term) -> Phase {
        // One that another server was to be active for does not keep this one waiting.
        let pending = |setback: &Setback| setback.server == active && cx.now < setback.not_before;
        if let Some(setback) = cx.setback.clone().filter(pending) {
            return Held::enter(cx, setback.reason, Some(setback.not_before));
        }
        let (why, since) = Self::why_closed(cx, active, term);
        let ours = why == Closed::NotOpenedYet && cx.half_done == Some(term);
        let all_told = cx.others_answer(active);
        let patience = if ours { Duration::ZERO } else { why.patience(&cx.policy, all_told) };
        let until = since + patience;
        if cx.now >= until {
            return match cx.others_unseen_since(active, term) {
                unseen if unseen.is_empty() => Opening::enter(cx, active, term, why),
                unseen => Self::look_around(cx, active, &unseen),
            };
        }
        if why == Closed::BySomebody {
            Self::watch(cx, active);
        }
        let name = cx.name(active);
        let reason = match why {
            Closed::NotOpenedYet => format!("{name} was made active and is not writable yet"),
            Closed::BySomebody => {
                format!("{name} was made read-only for a switchover by another proxy")
            }
            Closed::LetGo => format!("{}; {name} is to be opened", Self::LET_GO),
            _ => format!(
                "{name} was made read-only by somebody else; if nobody makes another master active \
                 within {}, it is opened again",
                humantime::format_duration(patience)
            ),
        };
        if why == Closed::NotOpenedYet && !cx.looked_since(active, since) {
            cx.ask_probe(active);
        }
        match successor(cx, active).filter(|_| why == Closed::BySomebody) {
            Some(next) => Held::tell_until(cx, next, reason),
            None => Held::tell(cx, reason),
        }
        Phase::Waiting(Self { until: until.min(cx.now + cx.policy.one_round()) })
    }

    /// The end of the claim is to be seen at once.
    fn watch(cx: &mut Context, active: ServerId) {
        // The others are asked again when it has ended.
        cx.to_be_opened = None;
        for master in cx.masters() {
            if master == active || cx.is_claimed(master) {
                cx.watch(master);
            }
        }
    }

    const LET_GO: &str = "a switchover of another proxy has ended half-way";

    /// Why it is closed, and since when.
    fn why_closed(cx: &Context, active: ServerId, term: Term) -> (Closed, Instant) {
        if cx.fence_under_way(active) {
            // It may still be open, with our fence on the way; the order to open it comes after that.
            return (Closed::ByUs, cx.now);
        }
        let facts = cx.topology.facts(active);
        let (why, since) =
            cx.writability.closed(active, facts, term, cx.first_term, &cx.policy, cx.now);
        // A claim on any of them: its connection to another may have broken. One that restarted has lost
        // the claim as well; if it has one, somebody has taken it since.
        let claimed = cx.masters().into_iter().any(|master| cx.is_claimed(master));
        let before = since.checked_sub(cx.policy.one_round()).unwrap_or(since);
        let was_claimed = |server| cx.writability.was_claimed_since(server, before);
        let why = match why {
            // By our own fence, too: another proxy was at work on it when that came.
            _ if claimed => Closed::BySomebody,
            Closed::Abandoned if was_claimed(active) => Closed::LetGo,
            // The claim that was seen may be the one on the master that was left.
            Closed::NotOpenedYet if cx.masters().into_iter().any(was_claimed) => Closed::LetGo,
            why => why,
        };
        (why, since)
    }

    /// Another proxy may just have decided otherwise, on a master that was not looked at since.
    fn look_around(cx: &mut Context, active: ServerId, unseen: &[ServerId]) -> Phase {
        for other in unseen {
            cx.ask_probe(*other);
        }
        Held::tell(
            cx,
            format!("{} is up; the others are asked before it is opened", cx.name(active)),
        );
        Phase::Waiting(Self { until: cx.now + cx.policy.one_round() })
    }

    pub(super) fn handle(self, cx: &mut Context) -> Phase {
        decide(cx)
    }
}

/// The order to open it is under way.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    active: ServerId,
    term: Term,
    order: OrderId,
    pub(super) until: Instant,
}

impl Opening {
    /// A switchover that closed `active`, or may have, is undone.
    pub(super) fn undo(cx: &mut Context, active: ServerId, term: Term) -> Phase {
        let reason = format!("the switchover is undone; {} is opened again", cx.name(active));
        Self::order(cx, active, term, &reason)
    }

    fn enter(cx: &mut Context, active: ServerId, term: Term, why: Closed) -> Phase {
        let name = cx.name(active);
        let reason = match why {
            Closed::ByUs => format!("{name} is up again; it is opened"),
            Closed::ByRestart => format!("{name} restarted and is read-only; it is opened"),
            Closed::NotOpenedYet => {
                format!("{name} was made active but never opened; it is opened")
            }
            Closed::LetGo => format!("{}; {name} is opened", Waiting::LET_GO),
            Closed::BySomebody | Closed::Abandoned => {
                format!("{name} was made read-only and nobody decided otherwise; it is opened")
            }
        };
        Self::order(cx, active, term, &reason)
    }

    fn order(cx: &mut Context, active: ServerId, term: Term, reason: &str) -> Phase {
        cx.hold(reason);
        cx.because(reason, Some(active));
        let order = cx.run(Order::Open { server: active, term });
        Phase::Opening(Self { active, term, order, until: cx.now + ORDER_PATIENCE })
    }

    pub(super) fn handle(self, cx: &mut Context, input: Input<'_>) -> Phase {
        if cx.term() > self.term {
            return decide(cx);
        }
        if let Input::Finished { id, result } = input
            && id == self.order
        {
            if let OrderResult::Failed(failure) = result {
                cx.set_back(
                    self.active,
                    format!("{} cannot be opened: {failure}", cx.name(self.active)),
                );
                cx.ask_probe(self.active);
            }
            return decide(cx);
        }
        if let Verdict::Down(_) = cx.verdict(self.active) {
            return decide(cx);
        }
        if cx.now >= self.until {
            cx.set_back(
                self.active,
                format!("{} does not carry out the order to open", cx.name(self.active)),
            );
            return decide(cx);
        }
        Phase::Opening(self)
    }
}
