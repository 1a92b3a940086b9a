//! What a proxy's coordinator does in the model: it drives the machine and carries out its orders,
//! those to one server one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem::config::Fencing;
use tandem::failover::{Action, Event, Order, OrderFailure, OrderResult, OtherProxies};
use tandem::topology::{GtidSet, Stranded, Term, UnreachableKind};

use super::invariants::is_planned;
use super::{Happening, TROUBLE_ENDS, World};
use crate::cluster::Millis;

/// What a standby hears for as long as this is noticed before its master counts as down: `fall`
/// probes, and the looks before and after them.
const LONG_ENOUGH: Millis = 600;

impl World {
    pub(super) fn instant(&self, at: Millis) -> Instant {
        self.base + Duration::from_millis(at)
    }

    pub(super) fn deadline(&self, proxy: usize) -> Option<Millis> {
        let at = self.proxies[proxy].machine.next_deadline()?;
        // rounded up, or it would be reached a moment too early
        Some((at - self.base).as_micros().div_ceil(1000) as Millis)
    }

    pub(super) fn arm(&mut self, proxy: usize) {
        let life = self.proxies[proxy].life;
        let Some(at) = self.deadline(proxy) else {
            return;
        };
        if self.proxies[proxy].deadline.is_none_or(|armed| at < armed) {
            self.proxies[proxy].deadline = Some(at);
            self.at(at.max(self.now), Happening::Deadline { proxy, life });
        }
    }

    pub(super) fn step(&mut self, proxy: usize, event: Event) {
        self.steps += 1;
        let ticked = matches!(event, Event::DeadlineReached);
        let now = self.instant(self.now);
        let actions = self.proxies[proxy].machine.step(now, event);
        if ticked {
            let next = self.proxies[proxy].machine.next_deadline();
            assert!(next.is_none_or(|next| next > now), "a reached deadline is asked for again");
        }
        let counter = &mut self.proxies[proxy].steps_now;
        *counter = if counter.0 == self.now { (self.now, counter.1 + 1) } else { (self.now, 1) };
        assert!(counter.1 < 50, "a busy loop");
        for action in actions {
            match action {
                Action::Publish(table) => {
                    self.say(|| {
                        let active = table.active().map(|active| active.index() + 1);
                        format!(
                            "p{proxy} table {} (term {}): {active:?}",
                            table.generation, table.term
                        )
                    });
                    self.check_table(proxy, &table);
                    let serves = table.active().map(|active| active.index());
                    let since = self.proxies[proxy].serves;
                    if since.map(|(server, _)| server) != serves {
                        self.proxies[proxy].serves = serves.map(|server| (server, self.now));
                    }
                    if table.draining.is_some() {
                        self.drain(proxy, table.generation);
                    }
                }
                Action::Run { id, order } => {
                    self.say(|| format!("p{proxy} order {}: {order:?}", id.0));
                    let server = order.server().index();
                    match order {
                        Order::Promote { .. } => self.proxies[proxy].promotes = self.now,
                        Order::Discard { .. } => {
                            self.proxies[proxy].discarding.insert(server);
                        }
                        _ => {}
                    }
                    self.proxies[proxy].queues[server].push_back((id, order));
                    if self.proxies[proxy].queues[server].len() == 1 {
                        self.send_order(proxy, server);
                    }
                }
                Action::Probe(server) => self.probe(proxy, server.index()),
                Action::Answer { id, answer } => {
                    self.say(|| format!("p{proxy} answers {}: {answer:?}", id.0));
                    let asked = self.proxies[proxy].asked.remove(&id);
                    assert!(asked, "an answer that nobody waits for");
                    self.proxies[proxy].answered = Some(self.now);
                }
                Action::Record(transition) => {
                    let (from, to) = (transition.from, transition.to);
                    self.say(|| format!("p{proxy} {from} -> {to}: {}", transition.reason));
                }
            }
        }
        self.arm(proxy);
    }

    /// Sessions take a moment to let go, and some do not.
    fn drain(&mut self, proxy: usize, generation: u64) {
        let life = self.proxies[proxy].life;
        if self.below(4) == 0 {
            let first = self.below(3);
            self.after(first, Happening::Drained { proxy, life, generation, open: 2 });
        }
        // In peace every transaction has an end.
        if self.below(8) != 0 || self.now >= TROUBLE_ENDS {
            let last = 3 + self.below(300);
            self.after(last, Happening::Drained { proxy, life, generation, open: 0 });
        }
    }

    fn send_order(&mut self, proxy: usize, server: usize) {
        let life = self.proxies[proxy].life;
        let began = self.now;
        let latency = 1 + self.below(3);
        self.after(latency, Happening::OrderActs { proxy, server, life, began });
    }

    /// The order at the head of the queue arrives at its server, or does not.
    pub(super) fn act(&mut self, proxy: usize, server: usize, life: u32, began: Millis) {
        if self.proxies[proxy].life != life {
            return;
        }
        let Some((_, order)) = self.proxies[proxy].queues[server].front().cloned() else {
            return;
        };
        let result = match self.reach(proxy, server) {
            Ok(()) => match self.carry_out(proxy, server, &order, began) {
                Some(result) => result,
                None => {
                    self.after(5, Happening::OrderActs { proxy, server, life, began });
                    return;
                }
            },
            // Connecting takes a while to be given up; it may thaw meanwhile.
            Err(UnreachableKind::Silent) if self.now < began + 1000 => {
                self.after(20, Happening::OrderActs { proxy, server, life, began });
                return;
            }
            Err(kind) => OrderResult::Failed(OrderFailure::Unreachable(kind.to_string())),
        };
        // The connection may break just when the answer is on its way.
        let lost = self.chance(40);
        let unreachable = || OrderResult::Failed(OrderFailure::Unreachable("lost".to_owned()));
        let result = if lost { unreachable() } else { result };
        self.proxies[proxy].results[server] = Some(result);
        let late = if self.chance(60) { self.below(2000) } else { 0 };
        let latency = late + self.below(3);
        self.after(latency, Happening::OrderEnds { proxy, server, life });
    }

    fn carry_out(
        &mut self,
        proxy: usize,
        server: usize,
        order: &Order,
        began: Millis,
    ) -> Option<OrderResult> {
        let superseded = |world: &Self, term: Term| {
            let (highest, active) = world.cluster.highest_term(server)?;
            (highest > term.0).then(|| OrderResult::Superseded {
                term: Term(highest),
                active: format!("m{}", active + 1),
            })
        };
        Some(match order {
            Order::Fence { .. } => {
                self.cluster.servers[server].close();
                OrderResult::Done
            }
            Order::FreeApplier { .. } => OrderResult::Done,
            Order::Claim { next, .. } => self.claim(proxy, server, next.map(|next| next.index())),
            Order::Unclaim { .. } => {
                self.let_go(proxy);
                OrderResult::Done
            }
            Order::DrainOthers { own, timeout, .. } => {
                if self.cluster.servers[server].claimed != Some(proxy) {
                    let lost = OrderFailure::Unreachable("the claim is lost".to_owned());
                    return Some(OrderResult::Failed(lost));
                }
                assert!(own.is_none_or(|own| own == proxy as u32 + 1), "who it is itself");
                let others = self.drain_others(proxy, server);
                let until = began + timeout.as_millis() as Millis;
                if !others.undrained.is_empty() && self.now < until {
                    return None;
                }
                OrderResult::Others(others)
            }
            Order::Agree { drain, connection, .. } => {
                assert_eq!(*connection, proxy as u32 + 1, "by what it is known");
                self.cluster.servers[server].agreed.insert((proxy, *drain));
                OrderResult::Done
            }
            Order::Withdraw { .. } => {
                self.cluster.servers[server].agreed.retain(|(who, _)| *who != proxy);
                OrderResult::Done
            }
            Order::Freeze { .. } => {
                self.check_drained(proxy, server);
                self.cluster.servers[server].close();
                OrderResult::Frozen(self.cluster.executed(server))
            }
            Order::Reach { position, timeout, .. } => {
                if self.cluster.executed(server).contains(position) {
                    OrderResult::Done
                } else if !self.cluster.servers[server].applying {
                    OrderResult::Failed(OrderFailure::ApplierStopped("1062".to_owned()))
                } else if self.now >= began + timeout.as_millis() as Millis {
                    OrderResult::Failed(OrderFailure::TimedOut("some are left".to_owned()))
                } else {
                    return None;
                }
            }
            Order::CatchUp { timeout, .. } => {
                let state = &self.cluster.servers[server];
                let has = state.has();
                let goal = *self.proxies[proxy].goals[server].get_or_insert(has);
                let mut places = goal.into_iter().zip(has).zip(state.executed);
                if places.all(|((goal, has), executed)| executed >= goal.min(has)) {
                    OrderResult::Done
                } else if !state.applying {
                    OrderResult::Failed(OrderFailure::ApplierStopped("1062".to_owned()))
                } else if self.now >= began + timeout.as_millis() as Millis {
                    OrderResult::Failed(OrderFailure::TimedOut("some are left".to_owned()))
                } else {
                    return None;
                }
            }
            Order::StopReceiving { source, .. } => {
                let source = source.index();
                let receiver = self.cluster.servers[server].receiver(source);
                let hears_since = receiver.and_then(|receiver| receiver.hears_since);
                let told = self.proxies[proxy].in_touch[server];
                let told = told.is_some_and(|since| since + LONG_ENOUGH <= began);
                let long = told && hears_since.is_some_and(|since| since + LONG_ENOUGH <= began);
                // One that has just come back from a standstill looks before it promotes anybody.
                let awake = self.proxies[proxy].resumed + LONG_ENOUGH <= self.now;
                let cut_off = awake && !self.proxies[proxy].reaches[source];
                // An operator may want one all the same.
                let ordered = !self.proxies[proxy].asked.is_empty()
                    || self.proxies[proxy].answered.is_some_and(|at| at >= began);
                // Without a fence to wait for there is no time to hear of it.
                let fenced = self.policy.fencing == Fencing::ReadOnly;
                // A returned master's stranded transactions are kept from everybody, too.
                let named = self.proxies[proxy].machine.status().decision;
                let named = named.and_then(|(_, name)| name[1..].parse::<usize>().ok());
                let named = named.map(|named| named - 1);
                assert!(
                    !(long && cut_off && !ordered && fenced && named == Some(source)),
                    "a failover although only this proxy is cut off"
                );
                self.cluster.stop_receiving(server, source);
                OrderResult::Done
            }
            Order::DropBacklog { source, .. } => {
                self.cluster.drop_backlog(server, source.index());
                OrderResult::Dropped(GtidSet::empty())
            }
            Order::Inspect { active, .. } => {
                let has = self.cluster.servers[server].log.len();
                let delivered = self.cluster.servers[active.index()].executed[server];
                let more = has.saturating_sub(delivered) as u64;
                let found = Stranded { more, ..Stranded::default() };
                OrderResult::Inspected(Arc::new(found))
            }
            Order::Discard { active, term, .. } => {
                if let Some(result) = superseded(self, *term) {
                    return Some(result);
                }
                // Nobody can be asked what he lacks who is not there.
                if self.reach(proxy, active.index()).is_err() {
                    let failure = OrderFailure::Unreachable("no active master".into());
                    return Some(OrderResult::Failed(failure));
                }
                let discarded = self.cluster.discard(server, active.index());
                // The word of it is lost, now and then.
                if self.chance(10) {
                    return Some(OrderResult::Failed(OrderFailure::Unreachable("lost".into())));
                }
                OrderResult::Discarded(Arc::new(discarded))
            }
            Order::PassOver { source, discarded, .. } => {
                if discarded.gtids.is_empty() {
                    return Some(OrderResult::Done);
                }
                self.cluster.pass_over(server, source.index(), discarded);
                OrderResult::Done
            }
            Order::StartReceiving { source, .. } => {
                self.check_quarantine(proxy, server, source.index());
                if !self.proxies[proxy].discarding.contains(&source.index()) {
                    self.cluster.let_escape(source.index());
                }
                self.cluster.start_receiving(server, source.index());
                OrderResult::Done
            }
            Order::Promote { seen, reason, planned_from, .. } => {
                // The very connection that holds the claim, or none.
                if planned_from.is_some() && self.cluster.servers[server].claimed != Some(proxy) {
                    let lost = OrderFailure::Unreachable("the claim is lost".to_owned());
                    return Some(OrderResult::Failed(lost));
                }
                if let Some(result) = superseded(self, *seen) {
                    return Some(result);
                }
                self.check_promotion(proxy, server, *seen, reason);
                if let Some(left) = planned_from {
                    self.check_nothing_left(server, left.index());
                    self.switchovers += 1;
                }
                if reason.starts_with("forced") || !self.proxies[proxy].discarding.contains(&server)
                {
                    self.cluster.let_escape(server);
                }
                let term = self.cluster.insert_term(server, seen.0);
                self.promotions += 1;
                // Dies between the term and the door, now and then.
                if self.chance(30) {
                    return Some(OrderResult::Failed(OrderFailure::Unreachable("lost".into())));
                }
                self.cluster.servers[server].open(self.now);
                OrderResult::Promoted(Term(term))
            }
            Order::Open { term, .. } => {
                if let Some(result) = superseded(self, *term) {
                    return Some(result);
                }
                if self.cluster.servers[server].claimed.is_some_and(|holder| holder != proxy) {
                    let claimed = OrderFailure::Claimed("somebody".to_owned());
                    return Some(OrderResult::Failed(claimed));
                }
                self.cluster.servers[server].open(self.now);
                OrderResult::Done
            }
        })
    }

    /// Those that have a connection there.
    fn drain_others(&mut self, proxy: usize, server: usize) -> OtherProxies {
        let next = self.drains + 1;
        let drain = *self.cluster.servers[server].draining.get_or_insert(next);
        self.drains = self.drains.max(drain);
        let agreed = |other: &usize| self.cluster.servers[server].agreed.contains(&(*other, drain));
        let others = (0..self.proxies.len()).filter(|other| *other != proxy);
        let undrained = others
            .filter(|other| self.reach(*other, server).is_ok() && !agreed(other))
            .map(|other| format!("connection {}", other + 1))
            .collect();
        OtherProxies { drain, undrained, transactions: Vec::new() }
    }

    /// Both, one after the other, or none.
    fn claim(&mut self, proxy: usize, left: usize, next: Option<usize>) -> OrderResult {
        if let Some(Err(kind)) = next.map(|next| self.reach(proxy, next)) {
            return OrderResult::Failed(OrderFailure::Unreachable(kind.to_string()));
        }
        let both = || [Some(left), next].into_iter().flatten();
        let others = |holder: Option<usize>| holder.is_some_and(|holder| holder != proxy);
        if both().any(|server| others(self.cluster.servers[server].claimed)) {
            return OrderResult::Failed(OrderFailure::Claimed("somebody".to_owned()));
        }
        for server in both() {
            self.cluster.servers[server].claimed = Some(proxy);
        }
        OrderResult::Done
    }

    /// The connection of a claim breaks. Only that of a switchover: the term of a failover that somebody ordered is
    /// written without it (docs/switchover.md).
    pub(super) fn break_claim(&mut self, server: usize) {
        let planned = |holder: &mut usize| {
            let phase = self.proxies[*holder].machine.status().phase;
            !["catching up", "sealing", "comparing"].contains(&phase)
        };
        self.cluster.servers[server].let_go(planned);
    }

    /// The end of a proxy's claim.
    pub(super) fn let_go(&mut self, proxy: usize) {
        for server in &mut self.cluster.servers {
            server.let_go(|holder| *holder == proxy);
        }
    }

    pub(super) fn end_order(&mut self, proxy: usize, server: usize) {
        let state = &mut self.proxies[proxy];
        state.goals[server] = None;
        let (Some((id, order)), Some(result)) =
            (state.queues[server].pop_front(), state.results[server].take())
        else {
            return;
        };
        if let OrderResult::Promoted(term) = &result {
            state.promoted = Some(*term);
            if matches!(&order, Order::Promote { reason, .. } if is_planned(reason)) {
                state.planned = Some(*term);
            }
        }
        match (&order, &result) {
            (Order::Promote { .. }, OrderResult::Promoted(_))
            | (Order::Open { .. }, OrderResult::Done) => {
                state.told_open[server] = Some((self.now, true));
            }
            (Order::Fence { .. }, OrderResult::Done)
            | (Order::Freeze { .. }, OrderResult::Frozen(_)) => {
                state.told_open[server] = Some((self.now, false));
            }
            _ => {}
        }
        if !state.queues[server].is_empty() {
            self.send_order(proxy, server);
        }
        self.say(|| format!("p{proxy} answer {}: {result:?}", id.0));
        self.step(proxy, Event::OrderFinished { id, result: result.clone() });
        // Every tenth answer is given twice.
        if self.below(10) == 0 {
            self.step(proxy, Event::OrderFinished { id, result });
        }
    }
}
