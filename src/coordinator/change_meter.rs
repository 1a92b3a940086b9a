//! What a change of the active master took, phase by phase.
//!
//! Measured from the outside, after every step of the machine: in which phase it is, and what the
//! sessions were told. So it knows the phases by name only, and holds for every way from one active
//! master to the next one.

use std::time::{Duration, Instant, SystemTime};

use crate::failover::RequestId;
use crate::metrics::ChangeKind;
use crate::routing::{RoutingTable, Writer};
use crate::topology::{ServerId, Term};

/// Another master is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: ChangeKind,
    /// How long nobody took writes.
    pub(super) gap: Duration,
    /// What the machine went through from the first suspicion, or the request, to the end.
    pub(super) phases: Vec<(&'static str, Duration)>,
}

/// Follows the machine from one active master to the next.
#[derive(Debug)]
pub(super) struct ChangeMeter {
    /// Who was active last, and by which term.
    served: Option<(ServerId, Term)>,
    /// Since when it has been.
    since: SystemTime,
    /// The phase in which it is served.
    home: &'static str,
    phase: &'static str,
    entered: Instant,
    /// Since when nobody takes writes.
    held: Option<Instant>,
    phases: Vec<(&'static str, Duration)>,
    /// This proxy wrote a term since.
    promoted: bool,
    /// A switchover that was asked for.
    switching: Option<RequestId>,
}

impl ChangeMeter {
    pub(super) fn new(phase: &'static str, now: Instant) -> Self {
        Self {
            served: None,
            since: SystemTime::UNIX_EPOCH,
            home: "",
            phase,
            entered: now,
            held: None,
            phases: Vec::new(),
            promoted: false,
            switching: None,
        }
    }

    /// An operator asked for a switchover.
    pub(super) fn asked_to_switch(&mut self, id: RequestId) {
        self.switching = Some(id);
    }

    /// A request was answered. To be told after [`ChangeMeter::stepped`]: the answer may come in the
    /// step that ends the change.
    pub(super) fn answered(&mut self, id: RequestId) {
        if self.switching == Some(id) {
            self.switching = None;
        }
    }

    /// An order wrote a term.
    pub(super) fn promoted(&mut self) {
        self.promoted = true;
    }

    /// Since when the active master is the active one; `None` while nobody is.
    pub(super) fn active_since(&self) -> Option<SystemTime> {
        (self.served.is_some() && self.held.is_none()).then_some(self.since)
    }

    /// A step of the machine is over: it is in `phase`, and sessions follow `table`. `wall` is `now`
    /// by the clock on the wall.
    pub(super) fn stepped(
        &mut self,
        now: Instant,
        wall: SystemTime,
        phase: &'static str,
        table: &RoutingTable,
    ) -> Option<Change> {
        if phase != self.phase {
            self.leave(now);
            self.phase = phase;
        }
        let active = match &table.writer {
            Writer::Active(active) => *active,
            Writer::Held { since, .. } => {
                self.held.get_or_insert(*since);
                return None;
            }
        };
        let held = self.held.take();
        let before = self.served.replace((active, table.term));
        if before != self.served {
            self.since = wall;
        }
        if before.is_none_or(|(before, _)| before == active) {
            if before.is_none() || held.is_some() || phase == self.home {
                self.rest();
            }
            return None;
        }
        let kind = match (self.switching, self.promoted) {
            (Some(_), _) => ChangeKind::Switchover,
            (None, true) => ChangeKind::Failover,
            (None, false) => ChangeKind::Followed,
        };
        let gap = held.map_or(Duration::ZERO, |held| now.saturating_duration_since(held));
        let phases = std::mem::take(&mut self.phases);
        self.rest();
        Some(Change { kind, gap, phases })
    }

    /// The present phase is over; those that come again are summed up.
    fn leave(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.entered);
        self.entered = now;
        if self.phase == self.home {
            return;
        }
        match self.phases.iter_mut().find(|(phase, _)| *phase == self.phase) {
            Some((_, sum)) => *sum += took,
            None => self.phases.push((self.phase, took)),
        }
    }

    /// The active master is served: what was is of no more account.
    fn rest(&mut self) {
        self.home = self.phase;
        self.phases.clear();
        self.promoted = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixture::{self, M1, M2};

    /// A machine whose steps are written down.
    struct Steps {
        meter: ChangeMeter,
        start: Instant,
        changes: Vec<Change>,
    }

    impl Steps {
        fn new() -> Self {
            let start = Instant::now();
            let meter = ChangeMeter::new("starting", start);
            let mut steps = Self { meter, start, changes: Vec::new() };
            steps.step(10, "steady", Some((M1, 1)));
            steps
        }

        fn step(&mut self, ms: u64, phase: &'static str, active: Option<(ServerId, u64)>) {
            let after = Duration::from_millis(ms);
            let now = self.start + after;
            let mut table = RoutingTable::starting(fixture::servers(), now);
            if let Some((active, term)) = active {
                table.writer = Writer::Active(active);
                table.term = Term(term);
            }
            let wall = SystemTime::UNIX_EPOCH + after;
            self.changes.extend(self.meter.stepped(now, wall, phase, &table));
        }

        fn since_ms(&self) -> Option<u128> {
            let since = self.meter.active_since()?;
            Some(since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis())
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_failover_is_measured_from_the_first_suspicion() {
        let mut steps = Steps::new();
        assert_eq!(steps.since_ms(), Some(10));
        // A suspicion that came to nothing is no part of it.
        steps.step(500, "suspect", Some((M1, 1)));
        steps.step(900, "steady", Some((M1, 1)));
        steps.step(1000, "suspect", Some((M1, 1)));
        steps.step(1005, "catching up", None);
        assert_eq!(steps.since_ms(), None);
        steps.step(1010, "held", None);
        steps.step(1100, "catching up", None);
        steps.step(1103, "promoting", None);
        steps.meter.promoted();
        steps.step(1105, "steady", Some((M2, 2)));
        let phases = vec![
            ("suspect", ms(5)),
            ("catching up", ms(8)),
            ("held", ms(90)),
            ("promoting", ms(2)),
        ];
        let change = Change { kind: ChangeKind::Failover, gap: ms(100), phases };
        assert_eq!(steps.changes, [change]);
        assert_eq!(steps.since_ms(), Some(1105));
    }

    #[test]
    fn a_hold_that_ends_where_it_began_is_no_change() {
        let mut steps = Steps::new();
        steps.step(1000, "suspect", Some((M1, 1)));
        steps.step(1010, "held", None);
        steps.step(2000, "steady", Some((M1, 1)));
        assert_eq!(steps.since_ms(), Some(10), "it is still active by the same term");
        steps.step(3000, "suspect", Some((M1, 1)));
        steps.step(3001, "steady", Some((M2, 2)));
        let phases = vec![("suspect", ms(1))];
        assert_eq!(steps.changes, [Change { kind: ChangeKind::Followed, gap: ms(0), phases }]);
    }

    #[test]
    fn a_switchover_is_one_even_if_its_answer_comes_with_its_end() {
        let mut steps = Steps::new();
        steps.meter.asked_to_switch(RequestId(7));
        steps.step(1000, "draining", None);
        steps.meter.promoted();
        steps.step(1004, "steady", Some((M2, 2)));
        steps.meter.answered(RequestId(7));
        steps.step(2000, "held", None);
        steps.meter.promoted();
        steps.step(2001, "steady", Some((M1, 3)));
        let kinds: Vec<_> = steps.changes.iter().map(|change| (change.kind, change.gap)).collect();
        assert_eq!(kinds, [(ChangeKind::Switchover, ms(4)), (ChangeKind::Failover, ms(1))]);
    }

    #[test]
    fn a_switchover_that_was_refused_leaves_nothing_behind() {
        let mut steps = Steps::new();
        steps.meter.asked_to_switch(RequestId(7));
        steps.meter.answered(RequestId(7));
        steps.step(2000, "held", None);
        steps.meter.promoted();
        steps.step(2001, "steady", Some((M2, 3)));
        assert_eq!(steps.changes[0].kind, ChangeKind::Failover);
    }
}
