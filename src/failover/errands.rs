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
use super::delivery::{executed, way};
use super::policy::ERRAND_SPACING;
use super::quarantine::{Ended, transactions};
use crate::config::{Fencing, ReturningMaster};
use crate::topology::{Detour, GtidSet, ServerId, Term, ThreadState, Topology};

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
    /// The standbys that this decision found, and whose receivers were not looked at since.
    unadopted: BTreeSet<ServerId>,
    /// The decision under which all this was done: another one is looked through anew.
    term: Option<Term>,
}

#[derive(Clone, Debug, Default)]
struct Standby {
    /// The end of the first of the looks in a row that found it open.
    open_since: Option<Instant>,
    fence_after: Option<Instant>,
    /// It was down and has not been taken back yet.
    away: bool,
    /// What it has is being compared with what the active one has.
    comparing: Option<Comparing>,
    /// The others may receive from it: there was nothing that the active one lacks, or it was released.
    /// This is what it had then.
    cleared: Option<GtidSet>,
    /// It gets nothing of what the active one writes, or the other way round, because of another.
    parted: bool,
}

/// How far a comparison is.
#[derive(Clone, Debug)]
enum Comparing {
    /// A look at the standby is to begin after this.
    Standby(Instant),
    /// That one found this; now a look at the active one is to begin after it, or what replication
    /// brings the standby meanwhile would seem to be its own.
    Active(Instant, GtidSet),
}

impl Errands {
    /// Notes who is away.
    pub(super) fn observe(&mut self, cx: &Context) {
        for master in cx.masters() {
            if let Verdict::Down(_) | Verdict::Isolated { .. } = cx.verdict(master) {
                let standby = self.standbys.entry(master).or_default();
                *standby = Standby { away: true, ..Standby::default() };
            }
        }
    }

    /// Notes that a takeover ordered `receiver` to stop.
    pub(super) fn sever(&mut self, receiver: ServerId, source: ServerId, now: Instant) {
        self.severed.insert((receiver, source), now);
    }

    /// Whether `receiver` was ordered to receive from `source` so lately that no look may have shown it.
    pub(super) fn was_started(&self, receiver: ServerId, source: ServerId, now: Instant) -> bool {
        self.start_after.get(&(receiver, source)).is_some_and(|after| now < *after)
    }

    /// Takes the answer of an order in.
    pub(super) fn finished(
        &mut self,
        cx: &mut Context,
        id: OrderId,
        order: &Order,
        result: &OrderResult,
    ) {
        let freed = cx.with_quarantine(|quarantine, cx| quarantine.finished(cx, id, result));
        if let Some(freed) = freed {
            self.clear(cx, freed);
        }
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
            Order::StopReceiving { server, source } | Order::DropBacklog { server, source } => {
                self.sever(*server, *source, cx.now);
            }
            Order::StartReceiving { server, source } => {
                let (from, to) = (cx.name(*source), cx.name(*server));
                if let OrderResult::Failed(failure) = result {
                    let reason = format!("{to} does not receive from {from}: {failure}");
                    cx.record("severed", "severed", reason, Some(*server));
                } else {
                    let reason = format!("{to} receives from {from} again");
                    self.severed.remove(&(*server, *source));
                    // It is seen a little later.
                    self.start_after.insert((*server, *source), cx.now + ERRAND_SPACING);
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
        let anew = self.term.replace(cx.term()) != Some(cx.term());
        if anew {
            // Whoever stands by now may have been active meanwhile, unseen.
            self.standbys.values_mut().for_each(Standby::doubt);
        }
        cx.with_quarantine(|quarantine, cx| quarantine.forget_others(cx, active));
        for standby in cx.masters().into_iter().filter(|master| *master != active) {
            if self.is_kept_apart(cx, standby, active) {
                self.part(cx, standby, active);
            }
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
            self.look_after(cx, standby, active);
            let seen_through =
                !self.must_compare(cx, standby, active) || self.take_back(cx, standby, active);
            if !seen_through {
                continue;
            }
            self.reconnect(cx, standby, active);
            self.report_parted(cx, standby, active);
        }
        if anew {
            let masters = cx.masters().into_iter();
            self.unadopted = masters.filter(|master| *master != active).collect();
        }
        self.adopt(cx);
    }

    /// A standby is open. Another proxy may be promoting it this moment, and a look is not atomic:
    /// only one that began after the first is sure to show the term with the open door.
    fn close(&mut self, cx: &mut Context, standby: ServerId) {
        let Some(last) = cx.topology.seen(standby).last.as_ref().map(|last| last.at) else {
            return;
        };
        let state = self.standbys.entry(standby).or_default();
        // Whoever can write there may add to what it has.
        state.doubt();
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

    /// Looks after a standby in quarantine.
    fn look_after(&mut self, cx: &mut Context, standby: ServerId, active: ServerId) {
        if !cx.quarantine.holds(standby) {
            return;
        }
        let receivers = receivers_of(cx, standby, active);
        let runs = |receiver: &ServerId| !is_stopped(&cx.topology, (*receiver, standby));
        let open = receivers.into_iter().find(runs);
        match cx.with_quarantine(|quarantine, cx| quarantine.look_after(cx, standby, open)) {
            Some(Ended::Released) => self.clear(cx, standby),
            Some(Ended::Received) => self.standbys.entry(standby).or_default().doubt(),
            None => {}
        }
    }

    /// Whether it has to be seen what a standby has before anything else is done with it: it was away,
    /// or the active one does not receive from it and is about to.
    fn must_compare(&mut self, cx: &Context, standby: ServerId, active: ServerId) -> bool {
        let gated = cx.policy.returning_master == ReturningMaster::Quarantine
            && self.is_cut_off(cx, standby, active)
            && !cx.quarantine.holds(standby);
        let state = self.standbys.entry(standby).or_default();
        state.away || gated && state.cleared.is_none()
    }

    /// Compares what a standby has with what the active one has, and decides whether the active one
    /// may receive from it. Returns whether that is done.
    fn take_back(&mut self, cx: &mut Context, standby: ServerId, active: ServerId) -> bool {
        let state = self.standbys.entry(standby).or_default();
        let Some(stranded) = state.compare(cx, standby, active) else { return false };
        let was_away = std::mem::take(&mut state.away);
        let held_back = cx.policy.returning_master == ReturningMaster::Quarantine
            && !stranded.is_empty()
            && receivers_of(cx, standby, active)
                .into_iter()
                .any(|receiver| is_stopped(&cx.topology, (receiver, standby)));
        let state = self.standbys.entry(standby).or_default();
        // What flows by itself is allowed to nobody: should it be stopped, it is looked at again.
        state.cleared = stranded.is_empty().then(|| executed(&cx.topology, standby));
        for pair in pairs_of(cx, standby) {
            if is_stopped(&cx.topology, pair) {
                self.severed.entry(pair).or_insert(cx.now);
            }
        }
        let (name, to) = (cx.name(standby), cx.name(active));
        let count = transactions(stranded.count());
        if held_back {
            let reason = format!(
                "{name} is back; {to} lacks {count} of it: {stranded}; this stays out \
                 of the pair until RELEASE {name}"
            );
            cx.record("away", "quarantine", reason, Some(standby));
            cx.with_quarantine(|quarantine, cx| quarantine.take_in(cx, standby, active, stranded));
        } else if was_away {
            let reason = if stranded.is_empty() {
                format!("{name} is back and has nothing that {to} lacks")
            } else {
                format!("{name} is back; {to} lacks {count} of it: {stranded}")
            };
            cx.record("away", "standby", reason, Some(standby));
        }
        true
    }

    /// Whether the active master is kept from what `standby` has: it does not receive from it, or, where
    /// that one's writes come by way of others, one of those does not.
    fn is_cut_off(&self, cx: &Context, standby: ServerId, active: ServerId) -> bool {
        receivers_of(cx, standby, active).into_iter().any(|receiver| {
            let pair = (receiver, standby);
            self.severed.contains_key(&pair) || is_stopped(&cx.topology, pair)
        })
    }

    /// Whether what `source` has may come to others by a receiver that was stopped at `since`: the active
    /// master receives from it, by a look that is newer than that, or it was seen through.
    fn may_flow(&self, cx: &Context, source: ServerId, active: ServerId, since: Instant) -> bool {
        let mut receivers = receivers_of(cx, source, active).into_iter();
        !self.is_kept_apart(cx, source, active)
            && (self.may_deliver(cx, source) || receivers.all(|it| cx.looked_since(it, since)))
    }

    /// Whether nobody may receive from `standby` at present.
    fn is_kept_apart(&self, cx: &Context, standby: ServerId, active: ServerId) -> bool {
        cx.policy.returning_master == ReturningMaster::Quarantine
            && !self.may_deliver(cx, standby)
            && (cx.quarantine.holds(standby) || self.is_cut_off(cx, standby, active))
    }

    /// What the active master must not get of `standby` it must not get by way of a third one either:
    /// nor is that one to have it.
    fn part(&mut self, cx: &mut Context, standby: ServerId, active: ServerId) {
        for (receiver, source) in pairs_of(cx, standby) {
            let runs = channel_from(&cx.topology, receiver, source)
                .is_some_and(|channel| channel.io != ThreadState::No);
            let other = source == standby && receiver != active;
            let soon = self.start_after.get(&(receiver, source));
            if other
                && runs
                && matches!(cx.verdict(receiver), Verdict::Alive)
                && soon.is_none_or(|after| cx.now >= *after)
            {
                self.start_after.insert((receiver, source), cx.now + ERRAND_SPACING);
                cx.run(Order::StopReceiving { server: receiver, source });
            }
        }
    }

    /// Says so when a standby and the active one do not get each other's writes because a third one
    /// is away: a ring is broken at it. It is for an operator to close it.
    fn report_parted(&mut self, cx: &mut Context, standby: ServerId, active: ServerId) {
        let configured = |pair: (ServerId, ServerId)| way(&cx.topology, pair.0, pair.1, |_| true);
        let alive = |server| matches!(cx.verdict(server), Verdict::Alive);
        let broken = |pair: (ServerId, ServerId)| {
            let way = configured(pair)?;
            let at = way.iter().position(|(_, by)| *by != pair.1 && !alive(*by))?;
            let other = super::delivery::way(&cx.topology, pair.0, pair.1, alive);
            // Past all that are away one after the other, to the first that is there.
            let (on, by) = way[at];
            let next = way[at + 1..].iter().map(|(_, source)| *source).find(|id| alive(*id));
            let detour = next.and_then(|to| Detour::find(&cx.topology, on, by, to));
            other.is_none().then_some((pair, by, detour))
        };
        let found = [(standby, active), (active, standby)].into_iter().find_map(broken);
        let state = self.standbys.entry(standby).or_default();
        if std::mem::replace(&mut state.parted, found.is_some()) == found.is_some() {
            return;
        }
        let (to, reason) = match found {
            Some(((receiver, source), by, detour)) => (
                "parted",
                format!(
                    "{} does not get what {} writes: it comes by way of {}, and {}{}",
                    cx.name(receiver),
                    cx.name(source),
                    cx.name(by),
                    cx.describe(by),
                    detour.map_or_else(String::new, |detour| lead(cx, by, &detour))
                ),
            ),
            None => {
                let (one, other) = (cx.name(standby), cx.name(active));
                ("standby", format!("{one} and {other} get each other's writes again"))
            }
        };
        cx.record("standby", to, reason, Some(standby));
    }

    /// Starts the receivers between the two that are to be started.
    fn reconnect(&mut self, cx: &mut Context, standby: ServerId, active: ServerId) {
        // The active must hear of what its standby still has, whoever cut it off.
        if is_stopped(&cx.topology, (active, standby)) {
            self.severed.entry((active, standby)).or_insert(cx.now);
        }
        for pair in pairs_of(cx, standby) {
            let Some(since) = self.severed.get(&pair).copied() else {
                continue;
            };
            if !matches!(cx.verdict(pair.0), Verdict::Alive) {
                continue;
            }
            if cx.looked_since(pair.0, since) && !is_stopped(&cx.topology, pair) {
                self.severed.remove(&pair);
                continue;
            }
            if pair.1 != active && !self.may_flow(cx, pair.1, active, since) {
                continue;
            }
            if self.start_after.get(&pair).is_some_and(|after| cx.now < *after) {
                continue;
            }
            if pair.1 == standby && self.has_grown(cx, standby, active) {
                self.standbys.entry(standby).or_default().doubt();
                continue;
            }
            self.start_after.insert(pair, cx.now + ERRAND_SPACING);
            cx.run(Order::StartReceiving { server: pair.0, source: pair.1 });
        }
    }

    /// Everybody may have what `standby` has.
    fn clear(&mut self, cx: &Context, standby: ServerId) {
        self.standbys.entry(standby).or_default().cleared = Some(executed(&cx.topology, standby));
    }

    /// Whether a standby may have more of its own than when it was cleared: somebody may have opened it in
    /// between, and another proxy closed it before we saw that.
    fn has_grown(&self, cx: &Context, standby: ServerId, active: ServerId) -> bool {
        let cleared = self.standbys.get(&standby).and_then(|state| state.cleared.as_ref());
        cleared.is_some_and(|had| {
            let more = executed(&cx.topology, standby).subtract(had);
            !more.subtract(&executed(&cx.topology, active)).is_empty()
        })
    }

    fn may_deliver(&self, cx: &Context, standby: ServerId) -> bool {
        cx.policy.returning_master == ReturningMaster::Merge
            || self.standbys.get(&standby).is_some_and(|state| state.cleared.is_some())
    }

    /// A proxy that died in the course of a failover may have left a standby without its receiver.
    /// Whoever serves another active master than before puts that right, once, as soon as the standby
    /// answers: what an operator stops later stays stopped.
    fn adopt(&mut self, cx: &Context) {
        // One that answers with an error tells nothing of its receivers.
        let answers = |standby: &ServerId| matches!(cx.verdict(*standby), Verdict::Alive);
        let (here, away) = self.unadopted.iter().partition(|standby| answers(standby));
        self.unadopted = away;
        let here: BTreeSet<ServerId> = here;
        for standby in here {
            for pair in pairs_of(cx, standby).into_iter().filter(|(_, to)| *to != standby) {
                if is_stopped(&cx.topology, pair) {
                    self.severed.insert(pair, cx.now);
                }
            }
        }
    }
}

impl Standby {
    /// What it has is to be compared anew before the active one may receive from it.
    fn doubt(&mut self) {
        (self.cleared, self.comparing) = (None, None);
    }

    /// What the standby has and the active one lacks, once both have been looked at in this order.
    fn compare(
        &mut self,
        cx: &mut Context,
        standby: ServerId,
        active: ServerId,
    ) -> Option<GtidSet> {
        match self.comparing.clone() {
            None => {
                self.comparing = Some(Comparing::Standby(cx.now));
                cx.ask_probe_soon(standby);
            }
            Some(Comparing::Standby(since)) if cx.looked_since(standby, since) => {
                let executed = cx.topology.facts(standby)?.executed.clone();
                self.comparing = Some(Comparing::Active(cx.now, executed));
                cx.ask_probe_soon(active);
            }
            Some(Comparing::Standby(_)) => cx.ask_probe_soon(standby),
            Some(Comparing::Active(since, executed)) if cx.looked_since(active, since) => {
                self.comparing = None;
                // This process may have stood still meanwhile: what the standby had is long ago.
                if cx.now > since + cx.policy.one_round() {
                    return self.compare(cx, standby, active);
                }
                return Some(executed.subtract(&cx.topology.facts(active)?.executed));
            }
            Some(Comparing::Active(..)) => cx.ask_probe_soon(active),
        }
        None
    }
}

/// By whose receivers `active` gets what `standby` writes: by its own, or by those of others that pass
/// it on.
fn receivers_of(cx: &Context, standby: ServerId, active: ServerId) -> Vec<ServerId> {
    let receives = |receiver: &ServerId| channel_from(&cx.topology, *receiver, standby).is_some();
    if receives(&active) || cx.masters().len() == 2 {
        return vec![active];
    }
    cx.masters().into_iter().filter(|other| *other != standby).filter(receives).collect()
}

/// The pairs of masters one of which is `standby`: who receives, and from whom.
fn pairs_of(cx: &Context, standby: ServerId) -> Vec<(ServerId, ServerId)> {
    let others = cx.masters().into_iter().filter(|other| *other != standby);
    others.flat_map(|other| [(other, standby), (standby, other)]).collect()
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

/// How an operator closes a ring around one that is away, and opens it again.
fn lead(cx: &Context, past: ServerId, detour: &Detour) -> String {
    let Detour { on, around, back } = detour;
    let (on, past) = (cx.name(*on), cx.name(past));
    format!("; until {past} is back, on {on}: {around}; when it has caught up, on {on}: {back};")
}
