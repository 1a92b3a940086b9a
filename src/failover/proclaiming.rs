//! Proclaiming: with three masters or more, a new active master is open, and nobody is sent there yet.
//!
//! Promotions of one master exclude each other by a lock on it. Two proxies that do not see the same
//! may promote two *different* ones in the same moment, each of them above the same term. So each of
//! them asks the others once more after its own promotion: of the two, the later one finds the
//! earlier. Whoever has the higher term closes the other master before it sends clients to its own;
//! whoever has the lower one follows. Between two masters this cannot be: the other one is the one
//! that was replaced.

use std::collections::BTreeMap;
use std::time::Instant;

use super::action::{Order, OrderId};
use super::assessment::Verdict;
use super::context::Context;
use super::phase::{Input, Phase, decide};
use super::policy::ORDER_PATIENCE;
use super::takeover::Takeover;
use crate::config::Fencing;
use crate::topology::{ServerId, Term};

#[derive(Clone, Debug)]
pub(super) struct Proclaiming {
    takeover: Takeover,
    term: Term,
    since: Instant,
    /// The masters that were found open, and are being closed.
    fences: BTreeMap<OrderId, ServerId>,
    closed: Vec<ServerId>,
    pub(super) until: Instant,
}

impl Proclaiming {
    /// The candidate was opened by `term`. Whoever asked for it is told when clients are sent there.
    pub(super) fn enter(cx: &mut Context, takeover: Takeover, term: Term) -> Phase {
        if cx.masters().len() < 3 || cx.policy.fencing == Fencing::None {
            takeover.tell_done(cx, term);
            return decide(cx);
        }
        for other in Self::others(cx, takeover.candidate) {
            cx.ask_probe(other);
        }
        let until = cx.now + cx.policy.timeout;
        let (fences, closed) = (BTreeMap::new(), Vec::new());
        Phase::Proclaiming(Self { takeover, term, since: cx.now, fences, closed, until })
    }

    fn others(cx: &Context, active: ServerId) -> Vec<ServerId> {
        let alive = |server: &ServerId| matches!(cx.verdict(*server), Verdict::Alive);
        cx.masters().into_iter().filter(|other| *other != active).filter(alive).collect()
    }

    pub(super) fn handle(mut self, cx: &mut Context, input: Input<'_>) -> Phase {
        let active = self.takeover.candidate;
        if cx.term() > self.term || matches!(cx.verdict(active), Verdict::Down(_)) {
            return self.takeover.call_off(cx);
        }
        if let Input::Finished { id, .. } = input {
            self.fences.remove(&id);
        }
        let others = Self::others(cx, active);
        for other in &others {
            let open = cx.looked_since(*other, self.since)
                && cx.writability.read_only(*other) == Some(false);
            if open && !self.closed.contains(other) {
                self.closed.push(*other);
                self.fences.insert(cx.run(Order::Fence { server: *other }), *other);
                self.until = cx.now + ORDER_PATIENCE;
            }
        }
        let all = others.iter().all(|other| cx.looked_since(*other, self.since));
        if cx.now < self.until && !(all && self.fences.is_empty()) {
            return Phase::Proclaiming(self);
        }
        self.takeover.tell_done(cx, self.term);
        decide(cx)
    }
}
