//! Held: nobody can be made active now. Everything that happens may change that.

use std::time::Instant;

use super::context::Context;
use super::phase::{Phase, decide};
use crate::routing::Writer;
use crate::topology::ServerId;

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) until: Instant,
}

impl Held {
    /// Nobody takes writes, for this reason; judged again at `retry`, within a round of probes, and
    /// with every observation.
    pub(super) fn enter(cx: &mut Context, reason: String, retry: Option<Instant>) -> Phase {
        let latest = cx.now + cx.policy.one_round();
        let until = retry.filter(|retry| *retry > cx.now).map_or(latest, |at| at.min(latest));
        Self::tell(cx, reason);
        Phase::Held(Self { until })
    }

    /// Publishes the reason, and notes it for people if it is a new one.
    pub(super) fn tell(cx: &mut Context, reason: String) {
        Self::note(cx, &reason);
        cx.hold(&reason);
    }

    /// The same while somebody else makes `next` active.
    pub(super) fn tell_until(cx: &mut Context, next: ServerId, reason: String) {
        Self::note(cx, &reason);
        cx.hold_for(next, &reason);
    }

    fn note(cx: &mut Context, reason: &str) {
        let news = match &cx.table.writer {
            Writer::Held { reason: known, .. } => **known != *reason,
            Writer::Active(_) => true,
        };
        if news {
            cx.because(reason, None);
        }
    }

    pub(super) fn handle(self, cx: &mut Context) -> Phase {
        decide(cx)
    }
}

/// Why nobody takes writes: the state of every master, that of `first` before the others, and what is
/// waited for. Of a master that was `rejected` for the place of the active one, its state is the reason.
pub(super) fn why_nobody(
    cx: &Context,
    first: Option<ServerId>,
    rejected: &[(ServerId, String)],
    waited_for: &str,
) -> String {
    let state = |server: ServerId| {
        let objection = rejected.iter().find(|(rejected, _)| *rejected == server);
        match objection {
            Some((_, reason)) => format!("{} {reason}", cx.name(server)),
            None => cx.describe(server),
        }
    };
    let mut masters = cx.masters();
    masters.sort_by_key(|master| Some(*master) != first);
    let states: Vec<String> = masters.into_iter().map(state).collect();
    format!("{}; waiting for {waited_for}", states.join("; "))
}
