use std::sync::Arc;

use super::*;
use crate::routing::Writer;
use crate::topology::fixture::{self, M1, M2};
use crate::topology::{Flavor, Numbering, Observation, Origin};

fn set(text: &str) -> GtidSet {
    GtidSet::parse(Flavor::MariaDb, text).expect(text)
}

/// Accounts before a pair whose clock a test moves.
struct Bench {
    accounting: Accounting,
    start: Instant,
    topology: Topology,
    table: RoutingTable,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        let mut table = RoutingTable::starting(fixture::servers(), start);
        table.writer = Writer::Active(M1);
        table.term = Term(5);
        let topology = Topology::new(fixture::servers());
        let mut bench = Self { accounting: Accounting::new(), start, topology, table };
        bench.see(0, M1, "1-1-100", "");
        bench.see(0, M2, "1-1-100", "1-1-100");
        assert_eq!(
            bench.accounting.follow(start, SystemTime::UNIX_EPOCH, &bench.table),
            (None, None)
        );
        bench
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(10_000 + ms)
    }

    fn wall(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(10_000 + ms)
    }

    /// A look that ends at `ms`, and took 1 ms.
    fn look(&self, ms: u64, server: ServerId, executed: &str, received: &str) -> Observation {
        let took = Duration::from_millis(1);
        let mut look = Observation { took, ..fixture::alive(server, self.at(ms)) };
        if let Outcome::Alive(facts) = &mut look.outcome {
            facts.executed = set(executed);
            facts.channels[0].received = set(received);
            facts.sending.numbering = Numbering::Domain(u32::from(server.0) + 1);
        }
        look
    }

    fn see(&mut self, ms: u64, server: ServerId, executed: &str, received: &str) -> Vec<News> {
        let look = self.look(ms, server, executed, received);
        self.topology.record(look);
        self.accounting.look(&self.topology)
    }

    fn acknowledge(&mut self, ms: u64, server: ServerId, user: &str, first: u64, last: u64) {
        let id = u32::from(server.0) + 1;
        let writes =
            GtidSet::of_origin(Origin::Domain { domain: id, server: id }, vec![(first, last)]);
        let (at, user) = (self.at(ms), Arc::from(user));
        self.accounting.take(vec![Told::Acknowledged {
            server,
            user,
            writes,
            first: at,
            last: at,
            partial: false,
        }]);
    }

    fn activate(&mut self, ms: u64, server: ServerId, term: u64) -> Option<News> {
        self.table.writer = Writer::Active(server);
        self.table.term = Term(term);
        let (look_at, news) = self.accounting.follow(self.at(ms), Self::wall(ms), &self.table);
        assert_eq!(look_at, Some(server));
        news
    }

    fn settle(&mut self, ms: u64, sessions: usize) -> Option<LostWrites> {
        let (now, wall) = (self.at(ms), Self::wall(ms));
        match self.accounting.settle(now, wall, &self.topology, sessions) {
            Some(News::Lost(loss, _)) => Some(loss),
            None => None,
            Some(News::CameBack(_)) => panic!("nothing comes back here"),
        }
    }

    fn at_risk(&self) -> Vec<(ServerId, u64, bool)> {
        self.accounting.accounts(&self.topology).at_risk.standbys
    }
}

#[test]
fn a_failover_names_what_the_new_master_lacks() {
    let mut bench = Bench::new();
    bench.acknowledge(1, M1, "app", 101, 104);
    bench.acknowledge(5, M1, "batch", 105, 105);
    // A look from before the failover does not count, even if it comes in later.
    assert_eq!(bench.activate(20, M2, 6), None);
    bench.see(20, M2, "1-1-101", "1-1-102");
    assert_eq!(bench.settle(21, 0), None, "m2 was not looked at since");
    bench.see(25, M2, "1-1-102,2-2-1", "1-1-102");
    let loss = bench.settle(25, 0).expect("known");
    assert_eq!(loss.count(), Some(3));
    assert_eq!(
        loss.sentence(&fixture::servers()),
        "m2 lacks 3 writes that m1 acknowledged: 1-1-103..105, between 1970-01-01T00:00:10.001Z and \
         1970-01-01T00:00:10.005Z, by app 2, batch 1"
    );
    assert_eq!(bench.settle(30, 0), None, "it is told once");
    let told = loss.told(&fixture::servers());
    assert_eq!((told.lost, told.at_least, told.is_final), (Some(3), false, true));
    assert_eq!(told.gtids.as_deref(), Some("1-1-103..105"));
}

#[test]
fn what_is_still_acknowledged_by_the_old_master_is_added() {
    let mut bench = Bench::new();
    bench.acknowledge(1, M1, "app", 101, 101);
    bench.activate(20, M2, 6);
    bench.see(25, M2, "1-1-100,2-2-1", "1-1-100");
    assert_eq!(bench.settle(26, 2), None, "sessions are given some time");
    let early = bench.settle(2100, 2).expect("but not for ever");
    assert_eq!((early.count(), early.sessions_left), (Some(1), 2));
    assert!(
        early.sentence(&fixture::servers()).ends_with("; not final, 2 sessions are still there")
    );
    bench.acknowledge(2200, M1, "app", 102, 103);
    let (now, wall) = (bench.at(2300), Bench::wall(2300));
    let last = bench.accounting.settle(now, wall, &bench.topology, 0).expect("final");
    let News::Lost(loss, more) = last else { panic!("{last:?}") };
    assert_eq!((loss.count(), loss.sessions_left, more), (Some(3), 0, 2));
    let shown = bench.accounting.accounts(&bench.topology).losses;
    assert_eq!(shown, [loss], "the early word is replaced");
}

#[test]
fn nothing_lost_is_said_as_well() {
    let mut bench = Bench::new();
    bench.acknowledge(1, M1, "app", 101, 104);
    bench.see(10, M2, "1-1-104", "1-1-104");
    bench.activate(20, M2, 6);
    bench.see(25, M2, "1-1-104,2-2-1", "1-1-104");
    let loss = bench.settle(25, 0).expect("known");
    let sentence = loss.sentence(&fixture::servers());
    assert_eq!(sentence, "m2 lacks no write that m1 acknowledged through this proxy");
}

#[test]
fn unknown_is_not_zero() {
    for (numbering, words) in [
        (Numbering::NoGtids, "m1 gives transactions no GTIDs (gtid_mode)"),
        (Numbering::NoLog, "m1 has no binary log"),
        (Numbering::Unknown, "m1 has never been asked how it numbers transactions"),
        (Numbering::Domain(2), "m1 and m2 number their transactions in the same gtid_domain_id, 2"),
    ] {
        let mut bench = Bench::new();
        let mut look = bench.look(1, M1, "1-1-100", "");
        if let Outcome::Alive(facts) = &mut look.outcome {
            facts.sending.numbering = numbering;
        }
        bench.topology.record(look);
        let at_risk = bench.accounting.accounts(&bench.topology).at_risk;
        assert_eq!((at_risk.unknown.as_deref(), at_risk.standbys.len()), (Some(words), 0));
        bench.activate(20, M2, 6);
        let loss = bench.settle(21, 0).expect("nothing to wait for");
        assert_eq!((loss.count(), loss.number().as_str()), (None, "unknown"));
        assert!(loss.sentence(&fixture::servers()).ends_with(words), "{words}");
    }
}

#[test]
fn one_change_may_follow_before_the_other_is_known() {
    let mut bench = Bench::new();
    bench.acknowledge(1, M1, "app", 101, 101);
    bench.activate(20, M2, 6);
    let Some(News::Lost(first, 0)) = bench.activate(30, M1, 7) else { panic!("the first is over") };
    let sentence = first.sentence(&fixture::servers());
    assert!(sentence.ends_with("m2 was not active for long enough to be asked what it has"));
    bench.see(40, M1, "1-1-101,2-2-1", "2-2-1");
    assert_eq!(bench.settle(41, 0).expect("the second").count(), Some(0));
}

#[test]
fn what_a_release_brings_back_is_seen() {
    let mut bench = Bench::new();
    bench.acknowledge(1, M1, "app", 101, 104);
    bench.activate(20, M2, 6);
    bench.see(25, M2, "1-1-100,2-2-1", "1-1-100");
    assert_eq!(bench.settle(25, 0).expect("known").count(), Some(4));
    assert_eq!(bench.see(500, M2, "1-1-102,2-2-9", "1-1-104"), []);
    assert_eq!(bench.accounting.accounts(&bench.topology).losses[0].came_back, 2);
    let news = bench.see(600, M2, "1-1-104,2-2-9", "1-1-104");
    assert!(matches!(&news[..], [News::CameBack(loss)] if loss.came_back == 4), "{news:?}");
    assert_eq!(bench.see(700, M2, "1-1-104,2-2-10", "1-1-104"), [], "it is told once");
}

#[test]
fn what_a_standby_has_not_received_is_at_risk() {
    let mut bench = Bench::new();
    assert_eq!(bench.at_risk(), [(M2, 0, false)]);
    bench.acknowledge(100, M1, "app", 101, 104);
    assert_eq!(bench.at_risk(), [(M2, 0, false)], "it was last looked at before");
    bench.see(200, M2, "1-1-101", "1-1-103");
    assert_eq!(bench.at_risk(), [(M2, 1, false)], "received counts");
    bench.acknowledge(300, M1, "app", 105, 106);
    bench.topology.record(fixture::refused(M2, bench.at(400)));
    assert_eq!(bench.at_risk(), [(M2, 3, false)], "one that is down receives nothing");
    bench.see(500, M2, "1-1-106", "1-1-106");
    assert_eq!(bench.at_risk(), [(M2, 0, false)]);
}

#[test]
fn numbers_that_begin_anew_leave_a_lower_bound() {
    let mut bench = Bench::new();
    bench.acknowledge(100, M1, "app", 101, 104);
    bench.see(200, M1, "1-1-104", "");
    bench.see(210, M1, "1-1-1", "");
    bench.acknowledge(220, M1, "app", 2, 2);
    bench.activate(300, M2, 6);
    bench.see(310, M2, "1-1-1,2-2-1", "1-1-1");
    let loss = bench.settle(310, 0).expect("known");
    assert_eq!((loss.count(), loss.number().as_str()), (Some(1), "at least 1"));
}
