//! Judging one server and choosing another; and what holds for any sequence of events.

#![allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{
    Action, Event, FailoverMachine, Links, Order, OrderFailure, OrderId, OrderResult, Policy,
    Quarantine, Request, RequestId, Verdict, assess, choose,
};
use crate::config::{CatchUpExpired, Fencing, ReturningMaster};
use crate::topology::{
    Channel, Facts, Flavor, GtidSet, Identity, Observation, Outcome, ServerId, Servers, Source,
    Term, TermStore, ThreadState, Topology, UnreachableKind,
};

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);

fn policy() -> Policy {
    Policy {
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        fall: 2,
        rise: 3,
        automatic: true,
        fencing: Fencing::ReadOnly,
        catch_up: Duration::from_secs(30),
        catch_up_expired: CatchUpExpired::Stay,
        returning_master: ReturningMaster::Quarantine,
        failback: None,
        min_interval: Duration::from_secs(60),
        acknowledge_after: 3,
        drain: Duration::from_secs(5),
    }
}

fn servers() -> Servers {
    let address = || "127.0.0.1:3306".parse().expect("an address");
    Servers::new([("m1".to_owned(), address()), ("m2".to_owned(), address())], [])
}

fn gtids(text: &str) -> GtidSet {
    GtidSet::parse(Flavor::MariaDb, text).expect(text)
}

fn facts(server: ServerId) -> Facts {
    let identity = Identity {
        flavor: Flavor::MariaDb,
        version: "5.5.5-10.11.19-MariaDB".to_owned(),
        capabilities: 0xff,
        collation: 45,
        plugin: "mysql_native_password".to_owned(),
    };
    let n = u32::from(server.0) + 1;
    Facts {
        identity: Arc::new(identity),
        server_id: n,
        uptime: Duration::from_secs(1000),
        read_only: true,
        auto_increment_increment: 2,
        auto_increment_offset: n,
        executed: gtids("1-1-10,2-2-10"),
        channels: vec![Channel {
            name: String::new(),
            source_host: "127.0.0.1".to_owned(),
            source_port: 3306,
            source_server_id: 3 - n,
            io: ThreadState::Yes,
            io_error: (0, String::new()),
            sql: ThreadState::Yes,
            sql_error: (0, String::new()),
            received: gtids("1-1-10,2-2-10"),
            uses_gtid: true,
            seconds_behind: Some(0),
            heartbeats: None,
            heartbeat_period: Some(Duration::from_secs(1)),
        }],
        claimed: false,
        draining: None,
        connection: 1,
        planned: false,
        terms: TermStore::Missing,
        beats: None,
        sending: Default::default(),
    }
}

fn look(server: ServerId, at: Instant, outcome: Outcome) -> Observation {
    Observation { server, at, took: Duration::ZERO, source: Source::Probe, outcome }
}

fn alive(server: ServerId, at: Instant, change: impl FnOnce(&mut Facts)) -> Observation {
    let mut facts = facts(server);
    change(&mut facts);
    look(server, at, Outcome::Alive(Box::new(facts)))
}

fn refused() -> Outcome {
    Outcome::Unreachable { kind: UnreachableKind::Refused, detail: String::new() }
}

/// What the choice says when both were healthy, `m2` then said this of itself, and `m1` died.
fn objection_to_m2(change: impl FnOnce(&mut Facts)) -> Option<String> {
    let start = Instant::now();
    let mut topology = Topology::new(servers());
    let mut links = Links::default();
    let dead = [1, 2].map(|n| look(M1, start + Duration::from_secs(3 + n), refused()));
    let looks = [
        alive(M2, start + Duration::from_secs(1), change),
        alive(M1, start + Duration::from_secs(2), |m1| m1.executed = gtids("1-1-12,2-2-10")),
    ];
    for look in looks.into_iter().chain(dead) {
        topology.record(look.clone());
        links.record(&topology, &look);
    }
    assert!(matches!(assess(&topology, M1, &policy()), Verdict::Down(_)));
    let choice = choose(&topology, &links, &Quarantine::default(), &policy(), Some(M1));
    assert_eq!(choice.chosen.is_none(), !choice.rejected.is_empty());
    choice.rejected.into_iter().next().map(|(_, reason)| reason)
}

#[test]
fn a_healthy_standby_is_chosen_although_it_may_lack_the_last_instant() {
    assert_eq!(objection_to_m2(|_| {}), None);
}

#[test]
fn a_standby_is_rejected_with_the_reason_in_words() {
    let stopped = objection_to_m2(|m2| m2.channels[0].sql = ThreadState::No);
    assert_eq!(stopped.as_deref(), Some("has an applier that is stopped (Slave_SQL_Running: No)"));
    let broken = objection_to_m2(|m2| m2.channels[0].sql_error = (1062, "Duplicate".to_owned()));
    assert_eq!(broken.as_deref(), Some("has an applier that stopped with error 1062: Duplicate"));
    let lone = objection_to_m2(|m2| m2.channels.clear());
    assert_eq!(lone.as_deref(), Some("receives nothing from m1"));
    let cut_off = objection_to_m2(|m2| m2.channels[0].io = ThreadState::No);
    assert_eq!(
        cut_off.as_deref(),
        Some(
            "was not receiving from m1 when m1 was last up (Slave_IO_Running: No) and lacks \
             1-1-11..12"
        )
    );
}

#[test]
fn a_standby_that_was_cut_off_by_the_death_itself_is_chosen() {
    let start = Instant::now();
    let mut topology = Topology::new(servers());
    let mut links = Links::default();
    // m1 was looked at, died, and m2 was looked at before a probe of m1 failed
    for look in [
        alive(M2, start, |_| {}),
        alive(M1, start + Duration::from_secs(1), |m1| m1.executed = gtids("1-1-12,2-2-10")),
        alive(M2, start + Duration::from_secs(2), |m2| m2.channels[0].io = ThreadState::Connecting),
        look(M1, start + Duration::from_secs(3), refused()),
        look(M1, start + Duration::from_secs(4), refused()),
    ] {
        topology.record(look.clone());
        links.record(&topology, &look);
    }
    assert_eq!(
        choose(&topology, &links, &Quarantine::default(), &policy(), Some(M1)).chosen,
        Some(M2)
    );
}

#[test]
fn before_the_first_decision_an_idle_pair_is_good_enough_but_a_backlog_is_not() {
    let start = Instant::now();
    let mut topology = Topology::new(servers());
    topology.record(alive(M1, start, |m1| {
        m1.channels[0].sql = ThreadState::No;
        m1.channels[0].received = gtids("2-2-11");
    }));
    topology.record(alive(M2, start, |m2| m2.channels.clear()));
    let choice = choose(&topology, &Links::default(), &Quarantine::default(), &policy(), None);
    assert_eq!(choice.chosen, Some(M2));
    assert_eq!(choice.rejected.len(), 1);
}

#[test]
fn the_greeting_has_what_all_masters_can() {
    let start = Instant::now();
    let mut machine = FailoverMachine::new(policy(), servers(), start);
    for (server, capabilities) in [(M1, 0b0111), (M2, 0b1100)] {
        let look = alive(server, start, |facts| {
            let identity = Identity { capabilities, ..Identity::clone(&facts.identity) };
            facts.identity = Arc::new(identity);
            facts.read_only = false;
            facts.terms = TermStore::Present(Some((Term(1), "m1".to_owned())));
        });
        machine.step(start, Event::Observed(look));
    }
    assert_eq!(machine.table().active(), Some(M1));
    let identity = machine.table().identity.clone().expect("a greeting");
    assert_eq!(identity.capabilities, 0b0101);
}

#[test]
fn a_term_that_names_a_stranger_is_not_overruled() {
    let start = Instant::now();
    let mut machine = FailoverMachine::new(policy(), servers(), start);
    for server in [M1, M2] {
        let look = alive(server, start, |facts| {
            facts.terms = TermStore::Present(Some((Term(9), "m3".to_owned())));
        });
        let actions = machine.step(start, Event::Observed(look));
        assert!(!actions.iter().any(|action| matches!(action, Action::Run { .. })));
    }
    let held = machine.status().held.expect("held");
    assert_eq!(held, "term 9 makes m3 active, but the configured masters are m1 and m2");
}

/// Any event: also ones that no world would produce.
fn event(start: Instant) -> impl Strategy<Value = (Duration, Event)> {
    let server = prop_oneof![Just(M1), Just(M2)];
    let kind = prop_oneof![
        Just(UnreachableKind::Refused),
        Just(UnreachableKind::Reset),
        Just(UnreachableKind::Silent)
    ];
    let outcome = (0..6u8, kind, any::<[bool; 3]>(), 0..5u64, any::<bool>());
    let observed = (server, outcome, any::<bool>()).prop_map(
        move |(server, (choice, kind, [open, io, sql], term, first), session)| {
            let outcome = match choice {
                0..=1 => Outcome::Unreachable { kind, detail: String::new() },
                2 => Outcome::SaysNo { code: 1040, message: "Too many".to_owned() },
                _ => {
                    let mut facts = facts(server);
                    facts.read_only = !open;
                    facts.channels[0].io = if io { ThreadState::Yes } else { ThreadState::No };
                    facts.channels[0].sql = if sql { ThreadState::Yes } else { ThreadState::No };
                    if term > 0 {
                        let active = if first { "m1" } else { "m2" };
                        facts.terms = TermStore::Present(Some((Term(term), active.to_owned())));
                    }
                    Outcome::Alive(Box::new(facts))
                }
            };
            let source = if session { Source::Session } else { Source::Probe };
            Event::Observed(Observation {
                server,
                at: start,
                took: Duration::ZERO,
                source,
                outcome,
            })
        },
    );
    let result = prop_oneof![
        4 => Just(OrderResult::Done),
        2 => (1..9u64).prop_map(|term| OrderResult::Promoted(Term(term))),
        1 => (1..9u64).prop_map(|term| OrderResult::Superseded {
            term: Term(term),
            active: "m2".to_owned()
        }),
        1 => Just(OrderResult::Failed(OrderFailure::Unreachable(String::new()))),
        1 => Just(OrderResult::Failed(OrderFailure::TimedOut(String::new()))),
    ];
    let finished = (1..12u64, result)
        .prop_map(|(id, result)| Event::OrderFinished { id: OrderId(id), result });
    let event = prop_oneof![
        4 => observed,
        2 => finished,
        1 => Just(Event::DeadlineReached),
        1 => Just(Event::Requested {
            id: RequestId(1),
            request: Request::Switchover { to: M2, force: false },
        }),
    ];
    (0..400u64)
        .prop_map(Duration::from_millis)
        .prop_flat_map(move |pause| event.clone().prop_map(move |event| (pause, event)))
}

fn events(start: Instant) -> impl Strategy<Value = Vec<(Duration, Event)>> {
    prop::collection::vec(event(start).boxed(), 1..120)
}

fn restamped(event: Event, now: Instant) -> Event {
    match event {
        Event::Observed(look) => Event::Observed(Observation { at: now, ..look }),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_the_table_and_the_orders_are_sound(
        events in events(Instant::now())
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut machine = FailoverMachine::new(policy(), servers(), start);
        let (mut generation, mut last_order) = (0, 0);
        for (pause, event) in events {
            now += pause;
            let ticked = matches!(event, Event::DeadlineReached);
            let known = machine.status().decision.map_or(Term(0), |(term, _)| term);
            let actions = machine.step(now, restamped(event, now));
            if ticked {
                prop_assert!(machine.next_deadline().is_some_and(|next| next > now));
            }
            for action in actions {
                match action {
                    Action::Publish(table) => {
                        prop_assert!(table.generation > generation);
                        prop_assert!(table.term >= known);
                        generation = table.generation;
                    }
                    Action::Run { id, order } => {
                        prop_assert!(id.0 > last_order);
                        last_order = id.0;
                        if let Order::Promote { seen, .. } = order {
                            prop_assert!(seen >= known, "decided on what is out of date");
                        }
                    }
                    Action::Probe(_) | Action::Answer { .. } => {}
                    Action::Record(transition) => prop_assert!(!transition.reason.is_empty()),
                }
            }
        }
    }

    #[test]
    fn without_time_passing_there_is_one_probe_of_each_server_and_few_orders(
        events in events(Instant::now())
    ) {
        let now = Instant::now();
        let mut machine = FailoverMachine::new(policy(), servers(), now);
        let (mut probes, mut orders, mut requests) = ([0u32; 2], 0u32, 0u32);
        for (_, event) in events.iter().cloned().chain(events.iter().cloned()) {
            requests += u32::from(matches!(event, Event::Requested { .. }));
            for action in machine.step(now, restamped(event, now)) {
                match action {
                    Action::Probe(server) => probes[server.index()] += 1,
                    Action::Run { .. } => orders += 1,
                    Action::Publish(_) | Action::Record(_) | Action::Answer { .. } => {}
                }
            }
        }
        prop_assert!(probes.iter().all(|count| *count <= 1), "{probes:?}");
        // Each of the two promotions that a sequence of terms can ask for takes five orders; a
        // switchover that comes to nothing takes the claim and its end.
        prop_assert!(orders <= 40 + 2 * requests, "{orders} orders, {requests} requests");
    }

    #[test]
    fn an_answer_that_was_given_already_changes_nothing(events in events(Instant::now())) {
        let mut now = Instant::now();
        let mut machine = FailoverMachine::new(policy(), servers(), now);
        for (pause, event) in events {
            now += pause;
            machine.step(now, restamped(event.clone(), now));
            if let Event::OrderFinished { .. } = event {
                let before = machine.status();
                let orders = machine
                    .step(now, event)
                    .iter()
                    .filter(|action| matches!(action, Action::Run { .. } | Action::Publish(_)))
                    .count();
                prop_assert_eq!(orders, 0);
                prop_assert_eq!(machine.status(), before);
            }
        }
    }
}

#[test]
fn a_receiver_that_was_stopped_while_it_could_not_connect_was_still_stopped() {
    let stopped = |io: ThreadState, code: u16| {
        let start = Instant::now();
        let mut topology = Topology::new(servers());
        topology.record(alive(M1, start, |_| {}));
        topology.record(alive(M2, start, |m2| {
            m2.channels[0].io = io;
            m2.channels[0].io_error = (code, String::new());
        }));
        super::errands::is_stopped(&topology, (M2, M1))
    };
    assert!(stopped(ThreadState::No, 0));
    // It goes on to show why it could not connect when it was stopped.
    assert!(stopped(ThreadState::No, 2003));
    // Stopped by itself, because the master has no longer what it needs.
    assert!(!stopped(ThreadState::No, 1236));
    assert!(!stopped(ThreadState::Connecting, 2003));
    assert!(!stopped(ThreadState::Yes, 0));
}
