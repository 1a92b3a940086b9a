//! Yielding: another proxy is about to leave the active master, and asks all others to let their
//! sessions finish what they have open there.
//!
//! Nothing new is let through, as in our own drain. When nothing is open any more the other one is
//! told so, by a lock beside his. His lock ends with his claim: whether he undoes his switchover or dies,
//! the next look shows it, and all goes on. When he closes the master what was said stays true until
//! somebody is active here again ([`Yields::withdraw`]).
//!
//! Statements wait for no longer than our own `drain`, whatever the other one does.

use std::time::{Duration, Instant};

use super::action::{Order, OrderId, OrderResult};
use super::assessment::Verdict;
use super::context::Context;
use super::phase::{Input, Phase, decide};
use super::policy::{CLOSE_WATCH_SPACING, WATCH_SPACING};
use crate::topology::ServerId;

/// What outlives the phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Yields {
    /// The master where somebody was told that nothing of ours is open.
    agreed: Option<ServerId>,
    /// A drain that is not followed, or not any longer: one that took too long, and our own.
    declined: Option<u32>,
}

impl Yields {
    /// Sessions may open something again.
    pub(super) fn withdraw(cx: &mut Context) {
        if let Some(server) = cx.yields.agreed.take() {
            cx.run(Order::Withdraw { server });
        }
    }

    /// How soon a claimed master is looked at again.
    pub(super) fn watch_spacing(&self) -> Duration {
        if self.agreed.is_some() { CLOSE_WATCH_SPACING } else { WATCH_SPACING }
    }

    /// This drain is not followed.
    pub(super) fn decline(cx: &mut Context, drain: u32) {
        cx.yields.declined = Some(drain);
    }
}

/// Who asks for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    active: ServerId,
    /// His connection.
    drain: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Yielding {
    asked: Asked,
    /// No session has anything open, nor will have.
    nothing_open: bool,
    /// By which order that was told, and as whom.
    told: Option<(OrderId, u32)>,
    pub(super) until: Instant,
}

impl Yielding {
    /// Whether somebody asks, by the last look at the active master, which is open.
    pub(super) fn asked(cx: &Context) -> Option<Asked> {
        let active = cx.named()?;
        let open = matches!(cx.verdict(active), Verdict::Alive)
            && cx.writability.read_only(active) == Some(false);
        let drain = cx.topology.facts(active).filter(|_| open)?.draining?;
        (cx.yields.declined != Some(drain)).then_some(Asked { active, drain })
    }

    pub(super) fn enter(cx: &mut Context, asked: Asked) -> Phase {
        let reason = format!("another proxy is switching over from {}", cx.name(asked.active));
        cx.drain(asked.active, successor(cx, asked.active), &reason);
        cx.because(reason, Some(asked.active));
        let until = cx.now + cx.policy.drain;
        let phase = Self { asked, nothing_open: false, told: None, until };
        phase.watch(cx);
        Phase::Yielding(phase)
    }

    /// What he does next is to be seen soon.
    fn watch(&self, cx: &mut Context) {
        cx.watch(self.asked.active);
        if let Some(next) = successor(cx, self.asked.active) {
            cx.watch(next);
        }
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        if Self::asked(cx) != Some(self.asked) {
            return decide(cx);
        }
        if cx.now >= self.until {
            Yields::decline(cx, self.asked.drain);
            let drain = humantime::format_duration(cx.policy.drain);
            let name = cx.name(self.asked.active);
            let reason = format!("another proxy has not left {name} within {drain}; all goes on");
            cx.because(reason, Some(self.asked.active));
            return decide(cx);
        }
        self.watch(cx);
        match input {
            Input::Drained(report) if report.generation == cx.table.generation => {
                self.nothing_open = report.open.is_empty();
            }
            // It is told again at the next look.
            Input::Finished { id, result: OrderResult::Failed(_) }
                if self.told.is_some_and(|(told, _)| told == id) =>
            {
                self.told = None;
                return Phase::Yielding(self);
            }
            _ => {}
        }
        if self.nothing_open {
            self.tell(cx);
        }
        Phase::Yielding(self)
    }

    /// Unless he knows already. The connection by which this proxy is known may be another one by now.
    fn tell(&mut self, cx: &mut Context) {
        let Asked { active: server, drain } = self.asked;
        let connection = cx.topology.facts(server).map(|facts| facts.connection);
        if let Some(connection) =
            connection.filter(|_| self.told.map(|(_, as_whom)| as_whom) != connection)
        {
            let order = cx.run(Order::Agree { server, drain, connection });
            self.told = Some((order, connection));
            cx.yields.agreed = Some(server);
        }
    }
}

/// Whom another proxy makes active in the place of `active`, as far as that can be seen: the other
/// master that it has claimed.
pub(super) fn successor(cx: &Context, active: ServerId) -> Option<ServerId> {
    let mut claimed = cx.masters().into_iter().filter(|m| *m != active && cx.is_claimed(*m));
    claimed.next().filter(|_| claimed.next().is_none())
}
