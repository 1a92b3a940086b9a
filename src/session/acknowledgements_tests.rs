use super::*;
use crate::topology::Flavor;

const M1: ServerId = ServerId(0);

fn run(stream: Stream, first: u64, last: u64) -> Run {
    Run { server: M1, stream, first, last }
}

fn take(book: &Acknowledgements) -> Vec<(String, String)> {
    let mut told = Vec::new();
    book.take(&mut told);
    let line = |told: Told| match told {
        Told::Acknowledged { user, writes, .. } => (user.to_string(), writes.to_string()),
        Told::Unheard { writes, .. } => ("unheard".into(), writes.to_string()),
        Told::Untold { .. } => ("untold".into(), String::new()),
    };
    told.into_iter().map(line).collect()
}

#[test]
fn users_are_told_apart_and_runs_joined() {
    let (book, now) = (Acknowledgements::default(), Instant::now());
    let (ann, bob) = (book.user(b"ann"), book.user(b"bob"));
    assert_eq!(book.user(b"ann"), ann);
    let domain = book.stream(Origin::Domain { domain: 1, server: 1 });
    for number in 5..=9 {
        book.acknowledge(ann, run(domain, number, number), false, now);
    }
    assert_eq!(book.book().page.len(), 1, "consecutive ones are one record");
    book.acknowledge(bob, run(domain, 10, 10), false, now);
    book.acknowledge(ann, run(domain, 11, 11), false, now);
    book.retract(run(domain, 11, 11));
    let pair = |user: &str, set: &str| (user.to_owned(), set.to_owned());
    assert_eq!(
        take(&book),
        [
            pair("ann", "1-1-5..9,1-1-11..11"),
            pair("bob", "1-1-10..10"),
            pair("unheard", "1-1-11..11")
        ]
    );
    assert_eq!(take(&book), [], "it is told once");
}

#[test]
fn tags_are_streams_of_their_own() {
    let (book, now) = (Acknowledgements::default(), Instant::now());
    let user = book.user(b"ann");
    for (tag, number) in [("", 1), ("night", 1), ("", 2), ("day", 7), ("night", 2)] {
        let stream = book.stream(Origin::Source { uuid: 1, tag });
        book.acknowledge(user, run(stream, number, number), false, now);
    }
    let sum = take(&book).into_iter().map(|(_, text)| GtidSet::parse(Flavor::MySql, &text));
    let sum = sum.fold(GtidSet::empty(), |sum, set| sum.union(&set.expect("a set")));
    let uuid = "00000000-0000-0000-0000-000000000001";
    assert_eq!(sum.to_string(), format!("{uuid}:1-2:day:7:night:1-2"));
}

#[test]
fn a_page_that_is_full_says_so() {
    let (book, now) = (Acknowledgements::default(), Instant::now());
    let user = book.user(b"ann");
    let stream = book.stream(Origin::Domain { domain: 1, server: 1 });
    for number in 0..=PAGE as u64 {
        book.acknowledge(user, run(stream, 2 * number + 1, 2 * number + 1), false, now);
    }
    let told = take(&book);
    assert_eq!(told.iter().filter(|(what, _)| what == "untold").count(), 1);
    book.acknowledge(user, run(stream, 1, 1), false, now);
    assert_eq!(take(&book).len(), 1, "there is room again");
}

#[test]
fn names_beyond_measure_are_others() {
    let (book, now) = (Acknowledgements::default(), Instant::now());
    let numbers: Vec<_> =
        (0..NAMES + 10).map(|name| book.user(name.to_string().as_bytes())).collect();
    assert_eq!(numbers[NAMES], numbers[NAMES + 9]);
    assert_ne!(numbers[0], numbers[NAMES]);
    let stream = book.stream(Origin::Domain { domain: 1, server: 1 });
    book.acknowledge(numbers[NAMES + 9], run(stream, 1, 1), false, now);
    book.acknowledge(numbers[7], run(stream, 2, 2), false, now);
    let told = take(&book);
    assert_eq!(told[0].0, "7");
    assert_eq!(told[1].0, OTHERS);
    assert!(book.book().users.names.len() <= NAMES + 1);
}
