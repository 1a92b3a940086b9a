//! Draining: nothing new is let through, and what sessions have open on the old master may end.

use std::time::Instant;

use super::context::Context;
use super::freezing::Freezing;
use super::phase::{Input, Phase};
use super::switchover::Switchover;
use crate::routing::{DrainReport, OpenSession};

/// So many sessions are named in a reason.
const NAMED: usize = 3;

#[derive(Clone, Debug)]
pub(super) struct Draining {
    switchover: Switchover,
    /// Who had something open by the last report; `None` before the first.
    open: Option<Vec<OpenSession>>,
    pub(super) until: Instant,
}

impl Draining {
    pub(super) fn enter(cx: &mut Context, mut switchover: Switchover) -> Phase {
        let (from, to) = (switchover.from, switchover.to);
        let reason = format!("switching over from {} to {}", cx.name(from), cx.name(to));
        // Whoever is held need not wait once more afterwards.
        cx.pace = None;
        cx.drain(from, Some(to), &reason);
        cx.because(format!("{} is close behind {}", cx.name(to), cx.name(from)), Some(to));
        switchover.held_since = Some(cx.now);
        let until = cx.now + cx.policy.drain;
        Phase::Draining(Self { switchover, open: None, until })
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        if let Some(obstacle) = self.switchover.obstacle_while_open(cx) {
            return self.switchover.give_up(cx, &obstacle);
        }
        if let Input::Drained(report) = input {
            self.hear(cx, report);
        }
        if self.open.as_ref().is_some_and(Vec::is_empty) {
            return Freezing::enter(cx, self.switchover);
        }
        if cx.now < self.until {
            return Phase::Draining(self);
        }
        match self.open {
            Some(open) if self.switchover.force => {
                self.switchover.broken = open.len();
                Freezing::enter(cx, self.switchover)
            }
            open => {
                let reason = still_open(cx, self.switchover.from, open.as_deref());
                self.switchover.give_up(cx, &reason)
            }
        }
    }

    /// The table may have been published anew meanwhile, for another reason; it is answered anew.
    fn hear(&mut self, cx: &Context, report: &DrainReport) {
        if report.generation == cx.table.generation {
            self.open = Some(report.open.clone());
        }
    }
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
