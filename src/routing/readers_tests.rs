//! Who serves reads, with two masters and two replicas.

#![allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]

use super::*;
use crate::topology::fixture::{M1, M2, alive, refused};
use crate::topology::{Flavor, Observation, Outcome, ServerAddress, Servers};

const R1: ServerId = ServerId(2);
const R2: ServerId = ServerId(3);

const POLICY: ReadPolicy =
    ReadPolicy { max_lag: Duration::from_secs(2), standbys: true, active: true, fall: 2 };

/// A pair, two replicas, and what is known of them.
struct Pair {
    start: Instant,
    topology: Topology,
    table: RoutingTable,
    readers: Readers,
}

impl Pair {
    fn new(policy: ReadPolicy) -> Self {
        let start = Instant::now();
        let server = |name: &str| {
            (name.to_owned(), ServerAddress::Tcp { host: name.to_owned(), port: 3306 })
        };
        let servers = Servers::new(["m1", "m2"].map(server), ["r1", "r2"].map(server));
        let topology = Topology::new(servers.clone());
        let mut table = RoutingTable::starting(servers, start);
        table.writer = Writer::Active(M1);
        let readers = Readers::new(policy, 4);
        let mut pair = Self { start, topology, table, readers };
        pair.readers.observe(&pair.topology, &pair.table, start);
        pair
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// A look that took 1 ms and ended then, by which `server` has executed so much of domain 1.
    fn look(&mut self, ms: u64, server: ServerId, executed: u64) {
        self.look_and(ms, server, executed, |_| {});
    }

    fn look_and(&mut self, ms: u64, server: ServerId, executed: u64, and: impl Fn(&mut Facts)) {
        let at = self.at(ms);
        let mut seen: Observation = alive(server, at);
        seen.took = Duration::from_millis(1);
        let Outcome::Alive(facts) = &mut seen.outcome else { unreachable!() };
        facts.executed =
            GtidSet::parse(Flavor::MariaDb, &format!("1-1-{executed},2-2-7")).expect("a position");
        facts.sending.numbering = Numbering::Domain(1);
        and(facts);
        self.record(seen);
    }

    fn record(&mut self, seen: Observation) {
        let now = seen.at;
        self.topology.record(seen);
        self.readers.observe(&self.topology, &self.table, now);
    }

    fn everybody(&mut self, ms: u64, executed: u64) {
        for server in [M1, M2, R1, R2] {
            self.look(ms, server, executed);
        }
    }

    fn decide(&mut self, ms: u64) -> Decision {
        let now = self.at(ms);
        self.readers.decide(&self.topology, &self.table, now)
    }

    fn readers(&mut self, ms: u64) -> Vec<ServerId> {
        self.decide(ms).readers.to_vec()
    }
}

#[test]
fn replicas_serve_while_what_is_known_of_them_is_recent() {
    let mut pair = Pair::new(POLICY);
    pair.everybody(100, 5);
    assert_eq!(pair.readers(100), [R1, R2]);
    let decision = pair.decide(100);
    assert_eq!(decision.next, Some(pair.at(2099)), "as of the beginning of the look");
    assert_eq!(decision.standings[0].age, Some(Duration::from_millis(1)));
    assert_eq!(pair.readers(2098), [R1, R2]);
    assert!(pair.readers(2099).is_empty(), "nobody was looked at for max_lag");
    let reason = pair.decide(2099).reason;
    assert!(reason.ends_with("; m1 was not seen in time"), "{reason}");
    pair.look(2200, M1, 9);
    assert_eq!(pair.readers(2200), [M1], "it has what it has");
    pair.look_and(2300, M1, 9, |facts| facts.read_only = true);
    assert!(pair.readers(2300).is_empty(), "somebody has closed it");
}

#[test]
fn who_lacks_what_the_active_one_had_falls_behind() {
    let mut pair = Pair::new(POLICY);
    pair.everybody(100, 5);
    for ms in [600, 1100, 1600] {
        pair.look(ms, M1, ms);
        pair.look(ms + 10, R1, ms);
        pair.look(ms + 10, R2, 6); // more than at 100, less than at 600
        pair.look(ms + 10, M2, ms);
    }
    assert_eq!(pair.readers(1700), [R1, R2]);
    assert_eq!(pair.readers(2099), [R1]);
    let standing = pair.decide(2099).standings.remove(1);
    assert_eq!(standing.until, Err("may be 2.0 s behind (reads.max_lag)".to_owned()));
    // Within max_lag again, but not well within.
    pair.look(2110, R2, 600);
    assert_eq!(pair.readers(2400), [R1]);
    pair.look(2410, R2, 1600);
    assert_eq!(pair.readers(2411), [R1, R2]);
}

#[test]
fn standbys_and_then_the_active_one_stand_in() {
    let mut pair = Pair::new(POLICY);
    pair.everybody(100, 5);
    let stopped = |facts: &mut Facts| facts.channels[0].sql = ThreadState::No;
    pair.look_and(200, R1, 5, stopped);
    let later = pair.at(200);
    pair.record(refused(R2, later));
    assert_eq!(pair.readers(200), [M2]);
    let decision = pair.decide(200);
    let whys: Vec<_> = decision.standings.iter().filter_map(|s| s.until.clone().err()).collect();
    assert_eq!(
        whys,
        [
            "does not replicate: receiver Yes, applier No",
            "refuses connections (connection refused)"
        ]
    );
    assert!(!decision.standings[1].down, "once is not twice");
    let later = pair.at(300);
    pair.record(refused(R2, later));
    assert!(pair.decide(300).standings[1].down);
    pair.look_and(300, M2, 5, |facts| facts.channels[0].io = ThreadState::Connecting);
    assert_eq!(pair.readers(300), [M1]);
    pair.look(400, M2, 5);
    pair.look(400, R1, 5);
    assert_eq!(pair.readers(400), [R1]);
}

#[test]
fn nobody_serves_where_nobody_may() {
    let mut pair = Pair::new(ReadPolicy { standbys: false, active: false, ..POLICY });
    pair.look(100, M1, 5);
    pair.look(100, M2, 5);
    pair.look(100, R1, 4);
    let decision = pair.decide(100);
    assert!(decision.readers.is_empty());
    assert_eq!(
        &*decision.reason,
        "r1 is not known to have what the active master has; r2 has not been seen yet; the active \
         master does not serve reads (reads.active)"
    );
    pair.table.writer = Writer::Held { since: pair.start, reason: "m1 is gone".into() };
    let reason = pair.decide(100).reason;
    assert!(reason.ends_with("; nobody is active: m1 is gone"), "{reason}");
}

#[test]
fn a_failover_takes_nothing_away_that_was_proven_and_proves_nothing_beforehand() {
    let mut pair = Pair::new(POLICY);
    pair.everybody(100, 5);
    pair.table.writer = Writer::Held { since: pair.at(150), reason: "m1 is gone".into() };
    pair.look(200, M2, 5);
    assert_eq!(pair.readers(200), [R1, R2]);
    pair.table.writer = Writer::Active(M2);
    // This look began before it was known who is active.
    let at = pair.at(300);
    pair.readers.observe(&pair.topology, &pair.table, at);
    pair.look(300, M2, 5);
    assert_eq!(pair.decide(300).standings[0].age, Some(Duration::from_millis(201)));
    pair.look(302, M2, 6);
    pair.look(303, R1, 6);
    let ages: Vec<_> = pair.decide(310).standings.iter().map(|standing| standing.age).collect();
    let ms = |ms| Some(Duration::from_millis(ms));
    assert_eq!(ages[..2], [ms(9), ms(211)]);
}

#[test]
fn a_server_that_was_set_back_is_not_what_it_was() {
    let mut pair = Pair::new(POLICY);
    pair.everybody(100, 5);
    pair.look(200, R1, 3);
    assert_eq!(pair.readers(200), [R2]);
}

#[test]
fn without_gtids_nothing_is_proven() {
    let mut pair = Pair::new(ReadPolicy { active: false, ..POLICY });
    for server in [M1, M2, R1, R2] {
        pair.look_and(100, server, 5, |facts| facts.sending.numbering = Numbering::NoGtids);
    }
    assert!(pair.readers(100).is_empty());
}
