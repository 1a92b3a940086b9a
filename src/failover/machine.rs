//! The machine: one way in, one way out.

use std::time::Instant;

use super::action::Action;
use super::assessment::{Verdict, assess};
use super::context::Context;
use super::event::Event;
use super::operator;
use super::phase::{Input, Phase};
use super::policy::Policy;
use super::quarantine::Quarantined;
use super::request::{Request, RequestId};
use super::starting::Starting;
use crate::routing::{RoutingTable, Writer};
use crate::topology::{ServerId, Servers, Term, Topology};

/// Decides who is active. Pure: time is an argument, and what it wants done is its result.
#[derive(Clone, Debug)]
pub struct FailoverMachine {
    cx: Context,
    /// Taken out for the time of a step, because a transition consumes it.
    phase: Option<Phase>,
    phase_since: Instant,
}

/// What the machine is at, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The phase, by name.
    pub phase: &'static str,
    /// When it was entered.
    pub since: Instant,
    /// Who takes writes.
    pub active: Option<ServerId>,
    /// Why nobody does.
    pub held: Option<String>,
    /// The highest decision that was seen, and the name of the master that it makes active.
    pub decision: Option<(Term, String)>,
    /// The generation of the last table.
    pub generation: u64,
    /// Each master and what the probes say of it.
    pub masters: Vec<(ServerId, Verdict)>,
    /// The masters in quarantine.
    pub quarantine: Vec<Quarantined>,
}

impl FailoverMachine {
    /// Knows nothing yet. The first table that it publishes has generation 1; until then
    /// `RoutingTable::starting` holds.
    #[must_use]
    pub fn new(policy: Policy, servers: Servers, now: Instant) -> Self {
        let cx = Context::new(policy, servers, now);
        let phase = Phase::Starting(Starting::new(&cx));
        Self { cx, phase: Some(phase), phase_since: now }
    }

    /// Takes an event in and says what is to be done. `now` never goes back; if it does, the latest
    /// time that was seen counts.
    pub fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.cx.now = now.max(self.cx.now);
        match &event {
            Event::Observed(look) => {
                if self.cx.observe(look) {
                    self.advance(Input::Observed(look));
                }
            }
            Event::OrderFinished { id, result } => {
                if self.cx.finish(*id, result) {
                    self.advance(Input::Finished { id: *id, result });
                }
            }
            Event::DeadlineReached => self.advance(Input::Tick),
            Event::Requested { id, request } => self.requested(*id, request),
            Event::Drained(report) => self.advance(Input::Drained(report)),
        }
        self.cx.send_due_probes();
        self.cx.refresh_table();
        self.cx.take_actions()
    }

    fn advance(&mut self, input: Input<'_>) {
        self.pass(|phase, cx| phase.handle(cx, input));
    }

    /// What an operator asks for is answered now, or by the phase that it leads to.
    fn requested(&mut self, id: RequestId, request: &Request) {
        self.pass(|phase, cx| operator::carry_out(phase, cx, id, request));
    }

    fn pass(&mut self, act: impl FnOnce(Phase, &mut Context) -> Phase) {
        let Some(phase) = self.phase.take() else {
            return;
        };
        let before = phase.name();
        let phase = act(phase, &mut self.cx);
        let after = phase.name();
        if before != after {
            self.phase_since = self.cx.now;
        }
        self.cx.record_step(before, after);
        self.phase = Some(phase);
    }

    /// When to send `Event::DeadlineReached` if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let phase = self.phase.as_ref().map(Phase::deadline);
        phase.into_iter().chain(self.cx.next_probe()).min()
    }

    /// What the machine is at.
    #[must_use]
    pub fn status(&self) -> Status {
        let held = match &self.cx.table.writer {
            Writer::Active(_) => None,
            Writer::Held { reason, .. } => Some(reason.to_string()),
        };
        let verdict = |id| (id, assess(&self.cx.topology, id, &self.cx.policy));
        Status {
            phase: self.phase_name(),
            since: self.phase_since,
            active: self.cx.table.active(),
            held,
            decision: self.cx.highest.clone(),
            generation: self.cx.table.generation,
            masters: self.cx.masters().into_iter().map(verdict).collect(),
            quarantine: self.cx.quarantine.listed(),
        }
    }

    /// The latest picture of all servers.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.cx.topology
    }

    /// The table that was published last.
    #[must_use]
    pub fn table(&self) -> &RoutingTable {
        &self.cx.table
    }

    fn phase_name(&self) -> &'static str {
        self.phase.as_ref().map_or("", Phase::name)
    }
}
