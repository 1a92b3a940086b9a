//! Draining: nothing new is let through, and what sessions have open on the old master may end.
//!
//! There are other proxies with sessions on it. They begin: they are asked to drain it, and say when
//! they have (`yielding.rs`). It takes them some time to see that they are asked, in which the sessions
//! of this proxy need not wait. So these follow when all others are done, or when half of the time has
//! passed. Both have to be done in the end, within `drain` together: no other proxy waits longer than
//! that.

use std::time::{Duration, Instant};

use super::action::{Order, OrderId, OrderResult, OtherProxies};
use super::context::Context;
use super::freezing::Freezing;
use super::phase::{Input, Phase};
use super::switchover::Switchover;
use super::yielding::Yields;
use crate::routing::{DrainReport, OpenSession};

/// So many sessions are named in a reason.
const NAMED: usize = 3;

/// So often it is heard how far the other proxies are.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Within this no other proxy has given up waiting since it said that it is done.
const FRESH: Duration = Duration::from_millis(250);

/// `uptime` and the like are in whole seconds, and so is the time since somebody spoke.
const BLUR: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Draining {
    switchover: Switchover,
    /// The question to the other proxies that is under way, and since when.
    asked: Option<(OrderId, Instant)>,
    /// How far they were by the last answer, and when that was asked: it may have been long on its way.
    others: Option<(OtherProxies, Instant)>,
    /// Who of our own sessions had something open by the last report; `None` before the first.
    open: Option<Vec<OpenSession>>,
    /// Our own sessions hold from then on at the latest.
    own_by: Instant,
    until: Instant,
}

impl Draining {
    pub(super) fn enter(cx: &mut Context, switchover: Switchover) -> Phase {
        let (from, to) = (switchover.from, switchover.to);
        cx.because(format!("{} is close behind {}", cx.name(to), cx.name(from)), Some(to));
        let drain = cx.policy.drain;
        let (own_by, until) = (cx.now + drain / 2, cx.now + drain);
        let mut phase = Self { switchover, asked: None, others: None, open: None, own_by, until };
        phase.ask_others(cx);
        Phase::Draining(phase)
    }

    /// Until our own sessions hold it is the others that drain.
    pub(super) fn name(&self) -> &'static str {
        if self.switchover.held_since.is_none() { "draining others" } else { "draining" }
    }

    pub(super) fn deadline(&self) -> Instant {
        if self.switchover.held_since.is_none() { self.own_by } else { self.until }
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        if let Some(obstacle) = self.switchover.obstacle_while_open(cx) {
            return self.switchover.give_up(cx, &obstacle);
        }
        match input {
            Input::Drained(report) => self.hear(cx, report),
            Input::Finished { id, result } if self.asked.is_some_and(|(asked, _)| asked == id) => {
                let since = self.asked.take().map_or(cx.now, |(_, since)| since);
                match result {
                    OrderResult::Others(others) => {
                        Yields::decline(cx, others.drain); // that one is ours
                        self.others = Some((others.clone(), since));
                    }
                    OrderResult::Failed(failure) => {
                        return self.switchover.give_up(cx, &failure.to_string());
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        let others_done =
            self.others.as_ref().is_some_and(|(others, _)| others.undrained.is_empty());
        if self.switchover.held_since.is_none() && (others_done || cx.now >= self.own_by) {
            self.hold(cx);
        }
        let own_done = self.open.as_ref().is_some_and(Vec::is_empty);
        let lately = |(_, at): &(_, Instant)| cx.now.saturating_duration_since(*at) <= FRESH;
        if own_done && others_done && self.others.as_ref().is_some_and(lately) {
            return Freezing::enter(cx, self.switchover);
        }
        if cx.now >= self.until {
            return self.expired(cx);
        }
        if self.asked.is_none() && (own_done || !others_done) {
            self.ask_others(cx);
        }
        Phase::Draining(self)
    }

    fn ask_others(&mut self, cx: &mut Context) {
        let server = self.switchover.from;
        let own = cx.topology.facts(server).map(|facts| facts.connection);
        let alive_within = cx.policy.one_round() + BLUR;
        let timeout = self.until.saturating_duration_since(cx.now).min(ASK_EVERY);
        let order = cx.run(Order::DrainOthers { server, own, alive_within, timeout });
        self.asked = Some((order, cx.now));
    }

    /// Our own sessions let go now.
    fn hold(&mut self, cx: &mut Context) {
        let (from, to) = (self.switchover.from, self.switchover.to);
        let reason = format!("switching over from {} to {}", cx.name(from), cx.name(to));
        let done = self.others.as_ref().is_some_and(|(others, _)| others.undrained.is_empty());
        let others = if done { "no other proxy has" } else { "other proxies may still have" };
        cx.because(format!("{others} anything open on {}", cx.name(from)), Some(from));
        // Whoever is held need not wait once more afterwards.
        cx.pace = None;
        cx.drain(from, Some(to), &reason);
        self.switchover.held_since = Some(cx.now);
    }

    /// The table may have been published anew meanwhile, for another reason; it is answered anew.
    fn hear(&mut self, cx: &Context, report: &DrainReport) {
        if report.generation == cx.table.generation && self.switchover.held_since.is_some() {
            self.open = Some(report.open.clone());
        }
    }

    fn expired(mut self, cx: &mut Context) -> Phase {
        let others = self.others.as_ref().map(|(others, _)| others);
        match &self.open {
            Some(open) if self.switchover.force => {
                let others = others.map_or(0, |others| others.undrained.len());
                self.switchover.broken = open.len() + others;
                Freezing::enter(cx, self.switchover)
            }
            Some(open) if open.is_empty() => {
                let reason = others_open(cx, self.switchover.from, others);
                self.switchover.give_up(cx, &reason)
            }
            open => {
                let reason = still_open(cx, self.switchover.from, open.as_deref());
                self.switchover.give_up(cx, &reason)
            }
        }
    }
}

/// "after 5s another proxy (connection 17 from 10.0.0.7:51234) has not said that its sessions have
/// nothing open on m1; transactions that are open there: connection 43 of app from 10.0.0.7:51300, for 6 s"
fn others_open(
    cx: &Context,
    from: crate::topology::ServerId,
    others: Option<&OtherProxies>,
) -> String {
    let (drain, name) = (humantime::format_duration(cx.policy.drain), cx.name(from));
    let Some(others) = others else {
        return format!("it was not known within {drain} what other proxies have open on {name}");
    };
    let (who, have) = match &others.undrained[..] {
        [only] => (format!("another proxy ({only})"), "has"),
        several => (format!("{} other proxies ({})", several.len(), in_short(several)), "have"),
    };
    let transactions = if others.transactions.is_empty() {
        String::new()
    } else {
        format!("; transactions that are open there: {}", in_short(&others.transactions))
    };
    format!("after {drain} {who} still {have} sessions with something open on {name}{transactions}")
}

/// The first few, and how many more.
fn in_short(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if more == 0 { named } else { format!("{named}; and {more} more") }
}

/// "after 5s m1 still has 5 sessions with something open: 17 is in a transaction, …"
fn still_open(
    cx: &Context,
    from: crate::topology::ServerId,
    open: Option<&[OpenSession]>,
) -> String {
    let drain = humantime::format_duration(cx.policy.drain);
    let Some(open) = open else {
        return format!("the sessions did not say within {drain} what they have open");
    };
    let named: Vec<String> =
        open.iter().take(NAMED).map(|session| format!("{} {}", session.id, session.why)).collect();
    let more = open.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    let sessions = if open.len() == 1 { "session has" } else { "sessions have" };
    format!(
        "after {drain} {} {sessions} something open on {}: {}{more}",
        open.len(),
        cx.name(from),
        named.join(", ")
    )
}
