use std::collections::BTreeSet;

use proptest::prelude::*;

use super::GtidSet;
use crate::topology::Flavor;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "8a94f357-aab4-11df-86ab-c80aa9429562";

fn maria(text: &str) -> GtidSet {
    GtidSet::parse(Flavor::MariaDb, text).expect(text)
}

fn mysql(text: &str) -> GtidSet {
    GtidSet::parse(Flavor::MySql, text).expect(text)
}

#[test]
fn mysql_text_is_read_with_its_line_feeds_and_printed_in_one_form() {
    let set = mysql(&format!("{B}:1-3:5:4,\n {}:7 , {A}:1-5:6-7,", A.to_uppercase()));
    assert_eq!(set.to_string(), format!("{A}:1-7,{B}:1-5"));
    let tagged = mysql(&format!("{A}:Backup:3-4:1:other:9, {A}:2"));
    assert_eq!(tagged.to_string(), format!("{A}:2:backup:1:3-4:other:9"));
    assert!(!tagged.contains(&mysql(&format!("{A}:1"))), "a tag is a stream of its own");
}

#[test]
fn a_mariadb_position_means_everything_up_to_it() {
    let set = maria("1-1-105,\n2-2-7");
    assert!(set.contains(&maria("1-2-100")), "the server id takes no part");
    assert!(!set.contains(&maria("1-1-106")));
    assert!(!set.contains(&maria("3-3-1")));
    assert_eq!(maria("1-1-110,2-2-5").subtract(&set).to_string(), "1-1-106..110");
    assert_eq!(maria("1-1-110").subtract(&set).count(), 5);
    // gtid_binlog_state has one entry for each server that wrote to the domain
    assert_eq!(maria("0-2-95,0-1-100,0-3-0").to_string(), "0-1-100");
    assert!(maria("0-1-0").is_empty());
}

#[test]
fn single_transactions_are_found_and_named() {
    let stranded = maria("1-1-106..110,2-2-7");
    assert!(stranded.has_in_domain(1, 106) && stranded.has_in_domain(1, 110));
    assert!(!stranded.has_in_domain(1, 105) && !stranded.has_in_domain(3, 1));
    assert_eq!(stranded.domains().collect::<Vec<_>>(), [1, 2]);
    let set = mysql(&format!("{A}:3-5:7,{B}:tag:1"));
    let uuid = |text: &str| u128::from_str_radix(&text.replace('-', ""), 16).expect("a uuid");
    assert!(set.has_of_source(uuid(A), "", 4) && set.has_of_source(uuid(B), "tag", 1));
    assert!(!set.has_of_source(uuid(A), "", 6) && !set.has_of_source(uuid(B), "", 1));
    assert_eq!(GtidSet::of_source(uuid(B), "tag", 9).to_string(), format!("{B}:tag:9"));
    let sources: Vec<_> = set.sources().collect();
    assert_eq!(sources, [(uuid(A), "", vec![(3, 5), (7, 7)]), (uuid(B), "tag", vec![(1, 1)])]);
}

#[test]
fn what_is_no_set_is_refused() {
    for text in ["1-1", "1-1-x", "a-1-1", "1-1-1-1", "4294967296-1-1", "1-1-+5", "1-1-0..3", A] {
        assert!(GtidSet::parse(Flavor::MariaDb, text).is_err(), "{text}");
    }
    for text in [
        A.to_owned(),
        format!("{A}:"),
        format!("{A}:0-3"),
        format!("{A}:1-x"),
        format!("{A}:tag"),
        format!("{A}:1:tag-x:1"),
        format!("{}:1", &A[1..]),
        "1-1-5".to_owned(),
    ] {
        assert!(GtidSet::parse(Flavor::MySql, &text).is_err(), "{text}");
    }
    assert_eq!(GtidSet::parse(Flavor::MySql, " \n"), Ok(GtidSet::empty()));
}

/// A set as text in the family's form, with the elements it stands for.
type Sample = (String, BTreeSet<(String, u64)>);

fn sample(flavor: Flavor) -> impl Strategy<Value = Sample> {
    let item = (0..3usize, 1..30u64, 0..6u64);
    prop::collection::vec(item, 0..6).prop_map(move |items| {
        let mut elements = BTreeSet::new();
        let mut text = Vec::new();
        for (stream, first, more) in items {
            let last = first + more;
            let stream = match flavor {
                Flavor::MariaDb => format!("{stream}"),
                Flavor::MySql => [A.to_owned(), B.to_owned(), format!("{B}:tag")][stream].clone(),
            };
            text.push(match flavor {
                Flavor::MariaDb => format!("{stream}-{more}-{first}..{last}"),
                Flavor::MySql => format!("{stream}:{first}-{last}"),
            });
            elements.extend((first..=last).map(|n| (stream.clone(), n)));
        }
        (text.join(",\n"), elements)
    })
}

fn pairs() -> impl Strategy<Value = (Flavor, Sample, Sample)> {
    prop_oneof![Just(Flavor::MySql), Just(Flavor::MariaDb)]
        .prop_flat_map(|flavor| (Just(flavor), sample(flavor), sample(flavor)))
}

/// Compares with a set whose elements are known, in both directions and in number.
fn assert_same(flavor: Flavor, set: &GtidSet, elements: &BTreeSet<(String, u64)>) {
    let text: Vec<String> = elements
        .iter()
        .map(|(stream, n)| match flavor {
            Flavor::MariaDb => format!("{stream}-1-{n}..{n}"),
            Flavor::MySql => format!("{stream}:{n}"),
        })
        .collect();
    let expected = GtidSet::parse(flavor, &text.join(",")).expect("elements");
    assert!(set.contains(&expected) && expected.contains(set), "{set} is not {expected}");
    assert_eq!(set.count(), elements.len() as u64);
    assert_eq!(set.is_empty(), elements.is_empty());
}

proptest! {
    #[test]
    fn the_algebra_is_that_of_sets((flavor, (left, lefts), (right, rights)) in pairs()) {
        let a = GtidSet::parse(flavor, &left).expect("left");
        let b = GtidSet::parse(flavor, &right).expect("right");
        assert_same(flavor, &a, &lefts);
        assert_same(flavor, &a.union(&b), &lefts.union(&rights).cloned().collect());
        assert_same(flavor, &a.subtract(&b), &lefts.difference(&rights).cloned().collect());
        prop_assert_eq!(a.contains(&b), lefts.is_superset(&rights));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(&a.union(&GtidSet::empty()), &a);
        prop_assert!(a.subtract(&a).is_empty());
    }

    #[test]
    fn what_is_printed_is_read_again((flavor, (left, _), (right, _)) in pairs()) {
        let set = GtidSet::parse(flavor, &left).expect("left");
        let other = GtidSet::parse(flavor, &right).expect("right");
        for set in [set.clone(), set.union(&other), set.subtract(&other)] {
            let text = set.to_string();
            prop_assert_eq!(GtidSet::parse(flavor, &text), Ok(set), "{}", text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9a-f:.,\\- t]{0,60}") {
        let _ = GtidSet::parse(Flavor::MySql, &text);
        let _ = GtidSet::parse(Flavor::MariaDb, &text);
    }
}
