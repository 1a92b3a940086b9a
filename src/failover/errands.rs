//! What there is to do on the standbys while a master is active: close one that is open, and take
//! back one that was away.
//!
//! None of it changes who is active, so none of it is a phase. It is done from what is seen, not
//! from what is remembered, so that it also repairs what another proxy left half done; the two
//! exceptions are noted where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::action::{Order, OrderId, OrderResult};
use super::assessment::Verdict;
use super::candidate::channel_from;
use super::context::Context;
use super::policy::ERRAND_SPACING;
use crate::config::Fencing;
use crate::topology::{GtidSet, ServerId, ThreadState, Topology};

/// The standbys, and the errands that are under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Errands {
    standbys: BTreeMap<ServerId, Standby>,
    /// Receivers that are to be started again, and since when. What Tandem stopped itself is noted
    /// here; of the rest only what looks like half a failover: an operator may well have stopped a
    /// standby for a backup.
    severed: BTreeMap<(ServerId, ServerId), Instant>,
    /// When a receiver may be started again.
    start_after: BTreeMap<(ServerId, ServerId), Instant>,
    fences: BTreeSet<OrderId>,
    /// Whether the state that was found at the start has been looked through.
    adopted: bool,
}

#[derive(Clone, Debug, Default)]
struct Standby {
    /// The end of the first of the looks in a row that found it open.
    open_since: Option<Instant>,
    fence_after: Option<Instant>,
    /// It was down and has not been taken back yet.
    away: bool,
    /// What it had executed when it was back and closed, and when that was seen.
    returned: Option<(Instant, GtidSet)>,
}

impl Errands {
    /// Notes who is away.
    pub(super) fn observe(&mut self, cx: &Context) {
        for master in cx.masters() {
            if let Verdict::Down(_) = cx.verdict(master) {
                let standby = self.standbys.entry(master).or_default();
                *standby = Standby { away: true, ..Standby::default() };
            }
        }
    }

    /// Notes that a takeover ordered `receiver` to stop.
    pub(super) fn sever(&mut self, receiver: ServerId, source: ServerId, now: Instant) {
        self.severed.insert((receiver, source), now);
    }

    /// Takes the answer of an order in.
    pub(super) fn finished(
        &mut self,
        cx: &mut Context,
        id: OrderId,
        order: &Order,
        result: &OrderResult,
    ) {
        match order {
            Order::Fence { server } if self.fences.remove(&id) => {
                let name = cx.name(*server).to_owned();
                let (to, reason) = match result {
                    OrderResult::Failed(failure) => (
                        "open",
                        format!("{name} is not active but writable, and stays so: {failure}"),
                    ),
                    _ => ("fenced", format!("{name} is not active and was writable")),
                };
                cx.record("open", to, reason, Some(*server));
            }
            // Only a look that begins now can show what came of it.
            Order::StopReceiving { server, source } => self.sever(*server, *source, cx.now),
            Order::StartReceiving { server, source } => {
                let (from, to) = (cx.name(*source), cx.name(*server));
                if let OrderResult::Failed(failure) = result {
                    let reason = format!("{to} does not receive from {from}: {failure}");
                    cx.record("severed", "severed", reason, Some(*server));
                } else {
                    let reason = format!("{to} receives from {from} again");
                    self.severed.remove(&(*server, *source));
                    cx.record("severed", "connected", reason, Some(*server));
                }
            }
            _ => {}
        }
    }

    /// Does what there is to do while `active` is active and served.
    pub(super) fn run(&mut self, cx: &mut Context, active: ServerId) {
        // A returned master that was made active again is nobody's standby.
        self.standbys.remove(&active);
        for standby in cx.masters().into_iter().filter(|master| *master != active) {
            if !matches!(cx.verdict(standby), Verdict::Alive) {
                continue;
            }
            if cx.policy.fencing == Fencing::ReadOnly
                && cx.writability.read_only(standby) == Some(false)
            {
                self.close(cx, standby);
                continue;
            }
            let state = self.standbys.entry(standby).or_default();
            state.open_since = None;
            if cx.topology.seen(standby).successes < cx.policy.rise {
                continue;
            }
            if state.away && !self.take_back(cx, standby, active) {
                continue;
            }
            self.reconnect(cx, standby, active);
        }
        if !self.adopted {
            self.adopted = true;
            self.adopt(cx, active);
        }
    }

    /// A standby is open. Another proxy may be promoting it this moment, and a look is not atomic:
    /// only one that began after the first is sure to show the term with the open door.
    fn close(&mut self, cx: &mut Context, standby: ServerId) {
        let Some(last) = cx.topology.seen(standby).last.as_ref().map(|last| last.at) else {
            return;
        };
        let state = self.standbys.entry(standby).or_default();
        let Some(since) = state.open_since else {
            state.open_since = Some(last);
            cx.ask_probe_soon(standby);
            return;
        };
        if !cx.looked_since(standby, since) {
            return;
        }
        if state.fence_after.is_some_and(|after| cx.now < after) || cx.fence_under_way(standby) {
            return;
        }
        state.fence_after = Some(cx.now + ERRAND_SPACING);
        self.fences.insert(cx.run(Order::Fence { server: standby }));
    }

    /// A master came back: names what it has and the active one lacks. That can only be told by a
    /// look at the active that began later, or what replication brought it meanwhile would seem to
    /// be its own. Returns whether that is done.
    ///
    /// The place of the quarantine: what is stranded is known here, before anything of it is
    /// delivered. At present it always merges.
    fn take_back(&mut self, cx: &mut Context, standby: ServerId, active: ServerId) -> bool {
        let state = self.standbys.entry(standby).or_default();
        let Some(facts) = cx.topology.facts(standby) else {
            return false;
        };
        let (seen, executed) =
            state.returned.get_or_insert_with(|| (cx.now, facts.executed.clone()));
        if !cx.looked_since(active, *seen) {
            cx.ask_probe_soon(active);
            return false;
        }
        let Some(known) = cx.topology.facts(active).map(|facts| &facts.executed) else {
            return false;
        };
        let stranded = executed.subtract(known);
        *state = Standby::default();
        for pair in [(active, standby), (standby, active)] {
            if is_stopped(&cx.topology, pair) {
                self.severed.entry(pair).or_insert(cx.now);
            }
        }
        let (name, active) = (cx.name(standby), cx.name(active));
        let reason = if stranded.is_empty() {
            format!("{name} is back and has nothing that {active} lacks")
        } else {
            let count = stranded.count();
            format!("{name} is back; {active} lacks {count} transactions of it: {stranded}")
        };
        cx.record("away", "standby", reason, Some(standby));
        true
    }

    /// Starts the receivers between the two that are to be started.
    fn reconnect(&mut self, cx: &mut Context, standby: ServerId, active: ServerId) {
        // The active must hear of what its standby still has, whoever cut it off.
        if is_stopped(&cx.topology, (active, standby)) {
            self.severed.entry((active, standby)).or_insert(cx.now);
        }
        for pair in [(active, standby), (standby, active)] {
            let Some(since) = self.severed.get(&pair).copied() else {
                continue;
            };
            if cx.looked_since(pair.0, since) && !is_stopped(&cx.topology, pair) {
                self.severed.remove(&pair);
                continue;
            }
            if self.start_after.get(&pair).is_some_and(|after| cx.now < *after) {
                continue;
            }
            self.start_after.insert(pair, cx.now + ERRAND_SPACING);
            cx.run(Order::StartReceiving { server: pair.0, source: pair.1 });
        }
    }

    /// A proxy that died in the course of a failover which then did not take place left the standby
    /// without its receiver. The one that starts next puts that right, once.
    fn adopt(&mut self, cx: &Context, active: ServerId) {
        for standby in cx.masters().into_iter().filter(|master| *master != active) {
            if is_stopped(&cx.topology, (standby, active)) {
                self.severed.insert((standby, active), cx.now);
            }
        }
    }
}

/// Whether the receiver of the pair was stopped by an order, and not by an error. An error of the
/// client library (2000 to 2999: refused, lost connection) stops no receiver, it tries again; but
/// it stays in the status of one that was stopped meanwhile, as in every failover.
pub(super) fn is_stopped(topology: &Topology, (receiver, source): (ServerId, ServerId)) -> bool {
    channel_from(topology, receiver, source).is_some_and(|channel| {
        channel.io == ThreadState::No && (channel.io_error.0 == 0 || is_retried(channel.io_error.0))
    })
}

/// Whether a receiver tries again after this error, so that one that does not run was stopped while
/// it tried: what it could not reach is told by the client library's own codes (2000 to 2999), a
/// server that has no room or is going down by 1040, 1053 and 1203.
fn is_retried(code: u16) -> bool {
    matches!(code, 2000..=2999 | 1040 | 1053 | 1203)
}
