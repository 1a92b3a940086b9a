use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::topology::{Flavor, Origin};

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);

fn set(text: &str) -> GtidSet {
    GtidSet::parse(Flavor::MariaDb, text).expect(text)
}

fn numbers(numbers: impl IntoIterator<Item = u64>) -> GtidSet {
    let origin = Origin::Domain { domain: 1, server: 1 };
    GtidSet::of_origin(origin, numbers.into_iter().map(|number| (number, number)).collect())
}

fn acknowledged(start: Instant, ms: u64, user: &str, writes: GtidSet) -> Told {
    let at = start + Duration::from_millis(ms);
    Told::Acknowledged {
        server: M1,
        user: user.into(),
        writes,
        first: at,
        last: at,
        partial: false,
    }
}

fn users(lacking: &Lacking) -> Vec<(&str, u64)> {
    lacking.users.iter().map(|(user, count)| (&**user, *count)).collect()
}

#[test]
fn what_the_other_has_not_executed_is_lacking() {
    let (mut writes, start) = (AcknowledgedWrites::default(), Instant::now());
    writes.take(acknowledged(start, 1, "ann", numbers([101, 103])));
    writes.take(acknowledged(start, 2, "bob", numbers([102])));
    writes.take(acknowledged(start, 5, "ann", numbers([104, 107])));
    let at = |ms| start + Duration::from_millis(ms);
    let lacking = writes.lacking(M1, &set("1-1-102"));
    assert_eq!(lacking.writes.to_string(), "1-1-103..104,1-1-107..107");
    assert_eq!((lacking.count(), lacking.at_least, lacking.shared), (3, false, 0));
    assert_eq!(users(&lacking), [("ann", 3)]);
    assert_eq!(lacking.span, Some((at(1), at(5))));
    // Numbers between that nobody here acknowledged are none of them.
    assert_eq!(writes.lacking(M1, &set("1-1-104")).writes.to_string(), "1-1-107..107");
    assert_eq!(writes.lacking(M1, &set("1-1-107")), Lacking::default());
    assert_eq!(writes.lacking(M2, &GtidSet::empty()), Lacking::default());
    assert_eq!(writes.missing(M1, &set("1-1-101"), None), (4, false));
    assert_eq!(writes.missing(M1, &set("1-1-101"), Some(at(2))), (2, false), "103 and 102");
}

#[test]
fn what_everybody_has_is_dropped() {
    let (mut writes, start) = (AcknowledgedWrites::default(), Instant::now());
    writes.take(acknowledged(start, 1, "ann", numbers(1..=4)));
    writes.drop_executed(M1, &[&set("1-1-3"), &set("1-1-2")]);
    assert_eq!(writes.lacking(M1, &GtidSet::empty()).writes, numbers(3..=4));
    assert_eq!(users(&writes.lacking(M1, &GtidSet::empty())), [("ann", 2)]);
    writes.drop_executed(M1, &[&set("1-1-9"), &set("1-1-4")]);
    assert_eq!(writes.lacking(M1, &GtidSet::empty()), Lacking::default());
}

#[test]
fn what_no_client_heard_is_taken_back() {
    let (mut writes, start) = (AcknowledgedWrites::default(), Instant::now());
    writes.take(acknowledged(start, 1, "ann", numbers(1..=4)));
    writes.take(Told::Unheard { server: M1, writes: numbers([3]) });
    let lacking = writes.lacking(M1, &GtidSet::empty());
    assert_eq!((lacking.count(), users(&lacking)), (3, vec![("ann", 3)]));
}

#[test]
fn what_was_not_told_makes_a_lower_bound_until_all_is_everywhere() {
    let (mut writes, start) = (AcknowledgedWrites::default(), Instant::now());
    writes.take(Told::Untold { server: M1, at: start });
    assert!(writes.lacking(M1, &GtidSet::empty()).at_least);
    writes.all_executed(M1, start);
    assert!(writes.lacking(M1, &GtidSet::empty()).at_least, "it may be of this very moment");
    writes.all_executed(M1, start + Duration::from_millis(1));
    assert!(!writes.lacking(M1, &GtidSet::empty()).at_least);
    let mut partial = acknowledged(start, 2, "ann", numbers([9]));
    if let Told::Acknowledged { partial, .. } = &mut partial {
        *partial = true;
    }
    writes.take(partial);
    assert!(writes.lacking(M1, &GtidSet::empty()).at_least);
    assert_eq!(writes.lacking(M1, &set("1-1-9")), Lacking::default());
}

#[test]
fn numbers_that_begin_anew_mean_nothing_any_more() {
    let (mut writes, start) = (AcknowledgedWrites::default(), Instant::now());
    writes.take(acknowledged(start, 1, "ann", numbers(1..=4)));
    writes.renumbered(M1, start);
    let lacking = writes.lacking(M1, &GtidSet::empty());
    assert_eq!((lacking.count(), lacking.at_least), (0, true));
}

#[test]
fn memory_is_bounded_and_numbers_stay_exact_for_long() {
    let bounds = Bounds { chunks: 8, intervals: 16 };
    let (mut writes, start) = (AcknowledgedWrites::new(bounds), Instant::now());
    // Two users in turns: run together they are one interval.
    for number in 1..=1000 {
        let user = if number % 2 == 0 { "ann" } else { "bob" };
        writes.take(acknowledged(start, number, user, numbers([number])));
    }
    let lacking = writes.lacking(M1, &set("1-1-100"));
    assert_eq!((lacking.writes.to_string(), lacking.at_least), ("1-1-101..1000".into(), false));
    assert_eq!(lacking.shared + lacking.users.values().sum::<u64>(), 900);
    let all = writes.lacking(M1, &GtidSet::empty());
    assert_eq!(users(&all), [("ann", 500), ("bob", 500)]);
    // With somebody else's numbers between them there is an interval for each.
    for number in (2001..3000).step_by(2) {
        writes.take(acknowledged(start, number, "ann", numbers([number])));
    }
    let ledger = &writes.ledgers[&M1];
    let kept: usize = ledger.chunks.iter().map(|chunk| chunk.writes.intervals()).sum();
    assert!(kept <= 16 + 8, "{kept}");
    let lacking = writes.lacking(M1, &GtidSet::empty());
    assert!(lacking.at_least && lacking.count() > 0);
    assert!(lacking.writes.contains(&numbers([2999])), "the oldest go");
}

proptest! {
    /// Whatever is joined, dropped and taken back: as long as nothing is forgotten the numbers are those
    /// of plain sets.
    #[test]
    fn numbers_are_exact(
        steps in prop::collection::vec((1..200u64, 0..3usize, 0..4u8), 0..120),
        executed in 0..200u64,
    ) {
        let bounds = Bounds { chunks: 4, intervals: 10_000 };
        let (mut writes, start) = (AcknowledgedWrites::new(bounds), Instant::now());
        let mut expected = BTreeSet::new();
        for (number, user, step) in steps {
            match step {
                0 => {
                    writes.take(Told::Unheard { server: M1, writes: numbers([number]) });
                    expected.remove(&number);
                }
                1 => {
                    writes.drop_executed(M1, &[&numbers([number, number + 1])]);
                    expected.remove(&number);
                    expected.remove(&(number + 1));
                }
                _ if expected.contains(&number) => {}
                _ => {
                    let user = ["ann", "bob", "cat"][user];
                    writes.take(acknowledged(start, number, user, numbers([number])));
                    expected.insert(number);
                }
            }
        }
        let have = numbers(1..=executed);
        let lost: Vec<u64> = expected.into_iter().filter(|number| *number > executed).collect();
        let lacking = writes.lacking(M1, &have);
        prop_assert_eq!(&lacking.writes, &numbers(lost.iter().copied()));
        prop_assert_eq!(writes.missing(M1, &have, None).0, lost.len() as u64);
        prop_assert!(!lacking.at_least);
        prop_assert!(lacking.users.values().sum::<u64>() + lacking.shared >= lacking.count());
    }
}
