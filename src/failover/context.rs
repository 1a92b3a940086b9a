//! What every phase knows and can do: the picture, the published table, the orders under way.
//!
//! A phase owns what only it needs; this is the rest. It draws no conclusions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::action::{Action, Order, OrderFailure, OrderId, OrderResult, Transition};
use super::assessment::{Verdict, assess, in_words};
use super::damping::Damping;
use super::errands::Errands;
use super::links::Links;
use super::policy::{PROBE_SPACING, Policy, RETRY_FIRST, RETRY_MOST};
use super::quarantine::Quarantine;
use super::request::{Answer, Release, RequestId};
use super::writability::Writability;
use super::yielding::Yields;
use crate::routing::{RoutingTable, Writer};
use crate::topology::{
    Identity, Observation, Outcome, ServerId, Servers, Source, Term, TermStore, Topology,
};

/// The state that outlives a phase, and the actions of the present step.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) now: Instant,
    pub(super) policy: Policy,
    pub(super) servers: Servers,
    pub(super) topology: Topology,
    pub(super) links: Links,
    pub(super) quarantine: Quarantine,
    pub(super) writability: Writability,
    pub(super) yields: Yields,
    /// The highest decision ever seen, on any server. Never forgotten: a server that lost it does
    /// not make it undone.
    pub(super) highest: Option<(Term, String)>,
    /// What `highest` was when the first answers were in.
    pub(super) first_term: Term,
    /// The last table that was published.
    pub(super) table: RoutingTable,
    /// A master whose promotion ended in silence: it may be active without anybody knowing.
    pub(super) in_doubt: Option<InDoubt>,
    /// A promotion of ours was written and then broke off before the door was open.
    pub(super) half_done: Option<Term>,
    /// The last attempt to make somebody active failed; not again before some time.
    pub(super) setback: Option<Setback>,
    /// How long writes are to wait, from the next table on.
    pub(super) pace: Option<Duration>,
    /// Whom to open by which term, and since when that is so.
    pub(super) to_be_opened: Option<((ServerId, Term), Instant)>,
    /// How often the active master changed lately, other than at the start.
    pub(super) damping: Damping,
    /// An operator wants nobody to take writes.
    pub(super) paused: bool,
    /// The last term that a switchover wrote, ours or another's: no failover, which would forbid the next one.
    pub(super) planned: Option<Term>,
    /// When the last switchover was undone.
    pub(super) switchover_failed: Option<Instant>,
    /// Since when the preferred master is a standby that nothing is wrong with.
    pub(super) preferred_well_since: Option<Instant>,
    /// Who was active before the present hold, or is.
    pub(super) last_active: Option<ServerId>,
    pub(super) errands: Errands,
    outstanding: BTreeMap<OrderId, Order>,
    next_order: u64,
    probes: Vec<ProbeClock>,
    actions: Vec<Action>,
    /// The reason of the transition that the present step makes.
    because: Option<(String, Option<ServerId>)>,
}

/// From where to where, while nobody takes writes.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    draining: Option<ServerId>,
    next: Option<ServerId>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct InDoubt {
    pub(super) server: ServerId,
    pub(super) since: Instant,
    /// The highest term when it was to be promoted: a higher one ends the doubt.
    pub(super) seen: Term,
}

#[derive(Clone, Debug)]
pub(super) struct Setback {
    /// Who was to be active.
    pub(super) server: ServerId,
    pub(super) reason: String,
    pub(super) not_before: Instant,
    delay: Duration,
}

/// Out-of-turn probes of one server: at most one per `PROBE_SPACING`.
#[derive(Clone, Copy, Debug, Default)]
struct ProbeClock {
    asked: Option<Instant>,
    due: Option<Instant>,
}

impl ProbeClock {
    /// At `at`, or when one is due already before that.
    fn ask(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

impl Context {
    pub(super) fn new(policy: Policy, servers: Servers, now: Instant) -> Self {
        Self {
            now,
            damping: Damping::new(policy.min_interval, policy.acknowledge_after),
            policy,
            topology: Topology::new(servers.clone()),
            links: Links::default(),
            quarantine: Quarantine::default(),
            writability: Writability::default(),
            yields: Yields::default(),
            highest: None,
            first_term: Term::default(),
            table: RoutingTable::starting(servers.clone(), now),
            in_doubt: None,
            half_done: None,
            setback: None,
            to_be_opened: None,
            pace: None,
            paused: false,
            planned: None,
            switchover_failed: None,
            preferred_well_since: None,
            last_active: None,
            errands: Errands::default(),
            outstanding: BTreeMap::new(),
            next_order: 0,
            probes: vec![ProbeClock::default(); servers.len()],
            actions: Vec::new(),
            because: None,
            servers,
        }
    }

    // --- taking in -------------------------------------------------------------------------------

    /// Takes a probe's result in. Returns whether it was news.
    pub(super) fn observe(&mut self, look: &Observation) -> bool {
        if look.server.index() >= self.servers.len() {
            return false;
        }
        if look.source == Source::Session {
            return true;
        }
        let last = self.topology.seen(look.server).last.as_ref();
        if last.is_some_and(|last| look.at < last.at) {
            return false;
        }
        self.topology.record(look.clone());
        self.links.record(&self.topology, look);
        if let Outcome::Alive(facts) = &look.outcome
            && let TermStore::Present(Some((term, active))) = &facts.terms
        {
            self.learn(*term, active);
            if facts.planned && *term == self.term() {
                self.planned = Some(*term);
            }
        }
        self.writability.record(look, self.term());
        self.with_errands(|errands, cx| errands.observe(cx));
        true
    }

    /// Takes an order's result in, also of one that its phase has given up: what it did is done.
    /// Returns whether it was news; a duplicate is none.
    pub(super) fn finish(&mut self, id: OrderId, result: &OrderResult) -> bool {
        let Some(order) = self.outstanding.remove(&id) else {
            return false;
        };
        match (&order, result) {
            (Order::Fence { server }, OrderResult::Done)
            | (Order::Freeze { server }, OrderResult::Frozen(_)) => {
                self.writability.ordered(*server, true, self.now);
            }
            (Order::Open { server, .. }, OrderResult::Done) => {
                self.writability.ordered(*server, false, self.now);
            }
            (Order::Promote { server, .. }, OrderResult::Promoted(term)) => {
                self.writability.ordered(*server, false, self.now);
                let name = self.name(*server).to_owned();
                self.learn(*term, &name);
            }
            (_, OrderResult::Superseded { term, active }) => self.learn(*term, active),
            _ => {}
        }
        self.with_errands(|errands, cx| errands.finished(cx, id, &order, result));
        true
    }

    fn learn(&mut self, term: Term, active: &str) {
        if self.highest.as_ref().is_none_or(|(highest, _)| term > *highest) {
            self.highest = Some((term, active.to_owned()));
        }
    }

    // --- looking up ------------------------------------------------------------------------------

    pub(super) fn term(&self) -> Term {
        self.highest.as_ref().map(|(term, _)| *term).unwrap_or_default()
    }

    /// The master that the highest term names, if it is configured.
    pub(super) fn named(&self) -> Option<ServerId> {
        let (_, name) = self.highest.as_ref()?;
        self.servers.by_name(name).map(|server| server.id)
    }

    pub(super) fn name(&self, server: ServerId) -> &str {
        self.servers.name(server)
    }

    pub(super) fn verdict(&self, server: ServerId) -> Verdict {
        assess(&self.topology, server, &self.policy)
    }

    /// "m1 refuses connections (os error 111)"
    pub(super) fn describe(&self, server: ServerId) -> String {
        format!("{} {}", self.name(server), in_words(&self.verdict(server), &self.policy))
    }

    pub(super) fn masters(&self) -> Vec<ServerId> {
        self.servers.masters().map(|master| master.id).collect()
    }

    /// Whether the last answered look at `server` began at `moment` or later.
    pub(super) fn looked_since(&self, server: ServerId, moment: Instant) -> bool {
        let last = self.topology.seen(server).last.as_ref();
        last.is_some_and(|last| {
            matches!(last.outcome, Outcome::Alive(_))
                && last.at.checked_sub(last.took).is_some_and(|began| began >= moment)
        })
    }

    /// The other masters that answer and were not looked at since `active` was first to be opened by
    /// `term`.
    pub(super) fn others_unseen_since(&mut self, active: ServerId, term: Term) -> Vec<ServerId> {
        let known = self.to_be_opened.filter(|(what, _)| *what == (active, term));
        let (_, since) = *self.to_be_opened.insert(known.unwrap_or(((active, term), self.now)));
        let others = self.masters().into_iter().filter(|other| *other != active);
        let unseen = others.filter(|other| {
            matches!(self.verdict(*other), Verdict::Alive) && !self.looked_since(*other, since)
        });
        unseen.collect()
    }

    /// Whether the last look at `server` began at `moment` or later and was answered, with whatever.
    pub(super) fn answered_since(&self, server: ServerId, moment: Instant) -> bool {
        let seen = self.topology.seen(server);
        let began = seen.last.as_ref().and_then(|last| last.at.checked_sub(last.took));
        seen.answers() && began.is_some_and(|began| began >= moment)
    }

    /// Whether somebody holds the claim of a switchover on `server`, by the last look.
    pub(super) fn is_claimed(&self, server: ServerId) -> bool {
        matches!(self.verdict(server), Verdict::Alive)
            && self.topology.facts(server).is_some_and(|facts| facts.claimed)
    }

    /// Whether every other master answers.
    pub(super) fn others_answer(&self, server: ServerId) -> bool {
        let mut others = self.masters().into_iter().filter(|other| *other != server);
        others.all(|other| matches!(self.verdict(other), Verdict::Alive))
    }

    /// When a takeover that is not allowed now may be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let setback = self.setback.as_ref().map(|setback| setback.not_before);
        setback.into_iter().chain(self.damping.not_before()).filter(|at| *at > self.now).min()
    }

    /// Whether a fence of ours may still be on its way to `server`.
    pub(super) fn fence_under_way(&self, server: ServerId) -> bool {
        self.outstanding.values().any(|order| match order {
            Order::Fence { server: fenced } | Order::Freeze { server: fenced } => *fenced == server,
            _ => false,
        })
    }

    // --- acting ----------------------------------------------------------------------------------

    pub(super) fn run(&mut self, order: Order) -> OrderId {
        self.next_order += 1;
        let id = OrderId(self.next_order);
        if let Order::StopReceiving { server, source } | Order::DropBacklog { server, source } =
            order
        {
            self.errands.sever(server, source, self.now);
        }
        self.outstanding.insert(id, order.clone());
        self.actions.push(Action::Run { id, order });
        id
    }

    pub(super) fn do_errands(&mut self, active: ServerId) {
        self.with_errands(|errands, cx| errands.run(cx, active));
    }

    fn with_errands(&mut self, act: impl FnOnce(&mut Errands, &mut Self)) {
        let mut errands = std::mem::take(&mut self.errands);
        act(&mut errands, self);
        self.errands = errands;
    }

    pub(super) fn with_quarantine<T>(
        &mut self,
        act: impl FnOnce(&mut Quarantine, &mut Self) -> T,
    ) -> T {
        let mut quarantine = std::mem::take(&mut self.quarantine);
        let result = act(&mut quarantine, self);
        self.quarantine = quarantine;
        result
    }

    pub(super) fn release(&mut self, id: RequestId, server: ServerId, how: Release) {
        self.with_quarantine(|quarantine, cx| quarantine.release(cx, id, server, how));
    }

    /// Asks for a probe, now if there was none just now, else a few milliseconds later.
    pub(super) fn ask_probe(&mut self, server: ServerId) {
        let clock = &mut self.probes[server.index()];
        let earliest = clock.asked.map_or(self.now, |asked| asked + PROBE_SPACING);
        let at = earliest.max(self.now);
        clock.ask(at);
        self.send_due_probes();
    }

    /// Asks for a probe a moment from now.
    pub(super) fn ask_probe_soon(&mut self, server: ServerId) {
        self.probes[server.index()].ask(self.now + PROBE_SPACING);
    }

    /// Asks for the next probe of a server that somebody has claimed.
    pub(super) fn watch(&mut self, server: ServerId) {
        self.probes[server.index()].ask(self.now + self.yields.watch_spacing());
    }

    pub(super) fn send_due_probes(&mut self) {
        for (index, clock) in (0u16..).zip(&mut self.probes) {
            if clock.due.is_some_and(|due| due <= self.now) {
                *clock = ProbeClock { asked: Some(self.now), due: None };
                self.actions.push(Action::Probe(ServerId(index)));
            }
        }
    }

    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.probes.iter().filter_map(|clock| clock.due).min()
    }

    /// Notes the reason of the transition that is being made; the first one of a step counts.
    pub(super) fn because(&mut self, reason: impl Into<String>, server: Option<ServerId>) {
        self.because.get_or_insert_with(|| (reason.into(), server));
    }

    /// Tells people of a change of phase that the step made, or of a new reason for the same one.
    pub(super) fn record_step(&mut self, from: &'static str, to: &'static str) {
        match self.because.take() {
            Some((reason, server)) => self.record(from, to, reason, server),
            None if from != to => {
                let reason = match &self.table.writer {
                    Writer::Held { reason, .. } => reason.to_string(),
                    Writer::Active(server) => format!("{} is active", self.name(*server)),
                };
                self.record(from, to, reason, None);
            }
            None => {}
        }
    }

    pub(super) fn record(
        &mut self,
        from: &'static str,
        to: &'static str,
        reason: String,
        server: Option<ServerId>,
    ) {
        self.actions.push(Action::Record(Transition { from, to, reason, server }));
    }

    pub(super) fn answer(&mut self, id: RequestId, answer: Answer) {
        self.actions.push(Action::Answer { id, answer });
    }

    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The present attempt to make `server` active failed: says why, and doubles the time until the next one.
    pub(super) fn set_back(&mut self, server: ServerId, reason: String) {
        let delay = self.setback.as_ref().map_or(RETRY_FIRST, |last| last.delay * 2);
        let delay = delay.min(RETRY_MOST);
        self.setback = Some(Setback { server, reason, not_before: self.now + delay, delay });
    }

    // --- the table -------------------------------------------------------------------------------

    /// Nobody takes writes, for this reason.
    pub(super) fn hold(&mut self, reason: &str) {
        let held = self.held(reason);
        self.publish(held, Way::default());
    }

    /// Nobody takes writes until `next` does.
    pub(super) fn hold_for(&mut self, next: ServerId, reason: &str) {
        let held = self.held(reason);
        self.publish(held, Way { draining: None, next: Some(next) });
    }

    /// Nobody takes writes, but what sessions have open on `server` may end there.
    pub(super) fn drain(&mut self, server: ServerId, next: Option<ServerId>, reason: &str) {
        let held = self.held(reason);
        self.publish(held, Way { draining: Some(server), next });
    }

    fn held(&self, reason: &str) -> Writer {
        let since = match &self.table.writer {
            Writer::Held { since, .. } => *since,
            Writer::Active(_) => self.now,
        };
        Writer::Held { since, reason: reason.into() }
    }

    /// `server` takes writes.
    pub(super) fn activate(&mut self, server: ServerId) {
        self.publish(Writer::Active(server), Way::default());
    }

    /// `server` takes writes, and `next` will soon.
    pub(super) fn invite(&mut self, server: ServerId, next: ServerId) {
        self.publish(Writer::Active(server), Way { draining: None, next: Some(next) });
    }

    /// Publishes anew if something other than the writer changed.
    pub(super) fn refresh_table(&mut self) {
        let way = Way { draining: self.table.draining, next: self.table.next };
        self.publish(self.table.writer.clone(), way);
    }

    fn publish(&mut self, writer: Writer, way: Way) {
        let identity = self.identity(&writer);
        let same = self.table.writer == writer
            && (self.table.draining, self.table.next) == (way.draining, way.next)
            && self.table.pace == self.pace
            && self.table.term == self.term()
            && self.table.identity == identity;
        if same {
            return;
        }
        self.table = RoutingTable {
            generation: self.table.generation + 1,
            term: self.term(),
            writer,
            draining: way.draining,
            next: way.next,
            pace: self.pace,
            identity,
            ..self.table.clone()
        };
        self.actions.push(Action::Publish(Arc::new(self.table.clone())));
    }

    /// What clients are greeted with: the active master's own greeting (while there is none, that of
    /// the master named by the term, or of any that was seen), but only with the capabilities that
    /// every master has that was seen, because a session may be moved to each of them.
    fn identity(&self, writer: &Writer) -> Option<Arc<Identity>> {
        let known = |server: ServerId| self.topology.facts(server).map(|facts| &facts.identity);
        let named = self.highest.as_ref().and_then(|(_, name)| self.servers.by_name(name));
        let preferred = match writer {
            Writer::Active(server) => known(*server),
            Writer::Held { .. } => named.and_then(|server| known(server.id)),
        };
        let masters = || self.servers.masters().filter_map(|master| known(master.id));
        let base = preferred.or_else(|| masters().next())?;
        let common = masters()
            .fold(base.capabilities, |common, identity| common & identity.capabilities)
            | base.capabilities & LONG_PASSWORD;
        if common == base.capabilities {
            return Some(Arc::clone(base));
        }
        Some(Arc::new(Identity { capabilities: common, ..Identity::clone(base) }))
    }
}

/// The bit that says which family's meaning the upper half of the capabilities has: no capability.
const LONG_PASSWORD: u64 = 1;

/// Whether an order failed in a way that shows that its server answers.
pub(super) fn answered(failure: &OrderFailure) -> bool {
    !matches!(failure, OrderFailure::Unreachable(_))
}
