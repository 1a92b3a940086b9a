//! The GTIDs that a server tells behind a write: read where they stand, without a set.
//!
//! MariaDB tells one, `domain-server-sequence`. MySQL tells a set, `uuid:1-5:7,uuid:tag:1-3`, nearly
//! always of one transaction. A set costs allocations, and these are read behind every write that a
//! client commits; so this reads the text piece by piece.

use super::intervals::Intervals;
use super::{GtidSet, Run, Stream};

/// What numbers transactions one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin<'a> {
    /// A domain of MariaDB, and who wrote.
    Domain {
        /// `gtid_domain_id`
        domain: u32,
        /// `server_id`
        server: u32,
    },
    /// A server of MySQL, and a tag that may be empty.
    Source {
        /// The 32 hexadecimal digits of its uuid.
        uuid: u128,
        /// In lower case.
        tag: &'a str,
    },
}

/// Transactions with consecutive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    /// Who numbered them.
    pub origin: Origin<'a>,
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
}

/// Reads MariaDB's `last_gtid`. `None` for what is none; it is empty before the first write.
#[must_use]
#[inline]
pub fn last_gtid(text: &[u8]) -> Option<Numbered<'_>> {
    let mut parts = text.splitn(3, |&byte| byte == b'-').map(number);
    let (domain, server, sequence) = (parts.next()??, parts.next()??, parts.next()??);
    let (domain, server) = (u32::try_from(domain).ok()?, u32::try_from(server).ok()?);
    let origin = Origin::Domain { domain, server };
    (sequence > 0).then_some(Numbered { origin, first: sequence, last: sequence })
}

/// Reads a set as MySQL tells it, and gives `each` its pieces. False when the text is no such set;
/// `each` may have been given some of it by then.
#[inline]
pub fn own_gtids<'a>(text: &'a [u8], mut each: impl FnMut(Numbered<'a>)) -> bool {
    text.split(|&byte| byte == b',').all(|source| of_source(source.trim_ascii(), &mut each))
}

fn of_source<'a>(text: &'a [u8], each: &mut impl FnMut(Numbered<'a>)) -> bool {
    let mut parts = text.split(|&byte| byte == b':');
    let Some(uuid) = parts.next().and_then(uuid) else { return false };
    let (mut tag, mut any) = ("", false);
    for part in parts {
        if part.first().is_some_and(u8::is_ascii_digit) {
            let mut ends = part.splitn(2, |&byte| byte == b'-').map(number);
            let Some(Some(first)) = ends.next() else { return false };
            let Some(last) = ends.next().unwrap_or(Some(first)) else { return false };
            if first == 0 || last < first {
                return false;
            }
            each(Numbered { origin: Origin::Source { uuid, tag }, first, last });
            any = true;
        } else {
            // Servers write tags in lower case.
            let name =
                |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
            match std::str::from_utf8(part) {
                Ok(text) if !part.is_empty() && part.iter().all(name) => tag = text,
                _ => return false,
            }
        }
    }
    any
}

fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.len() < 20;
    digits
        .iter()
        .try_fold(0u64, |sum, byte| {
            (all && byte.is_ascii_digit()).then(|| sum * 10 + u64::from(byte - b'0'))
        })
        .filter(|_| all)
}

fn uuid(text: &[u8]) -> Option<u128> {
    let dashes = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    if text.len() != 36 {
        return None;
    }
    text.iter().enumerate().try_fold(0u128, |sum, (at, &byte)| match byte {
        b'-' if dashes(at) => Some(sum),
        _ if dashes(at) => None,
        _ => Some(sum << 4 | u128::from((byte as char).to_digit(16)?)),
    })
}

impl GtidSet {
    /// The transactions of one origin with the numbers of these closed intervals, which may touch,
    /// overlap and be in disorder.
    #[must_use]
    pub fn of_origin(origin: Origin<'_>, intervals: Vec<(u64, u64)>) -> Self {
        let mut set = Self::empty();
        let intervals = Intervals::new(intervals);
        if !intervals.is_empty() {
            match origin {
                Origin::Domain { domain, server } => {
                    set.add(Stream::Domain(domain), Run { intervals, server });
                }
                Origin::Source { uuid, tag } => {
                    let stream = Stream::Source { uuid, tag: tag.to_owned() };
                    set.add(stream, Run { intervals, server: 0 });
                }
            }
        }
        set
    }

    /// How many closed intervals it takes to write the set down: what it costs to keep.
    #[must_use]
    pub fn intervals(&self) -> usize {
        self.streams.values().map(|run| run.intervals.iter().count()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Flavor;
    use proptest::prelude::*;

    #[test]
    fn mariadb_tells_one() {
        let origin = Origin::Domain { domain: 1, server: 12 };
        let told = last_gtid(b"1-12-3456789").expect("a GTID");
        assert_eq!(told, Numbered { origin, first: 3_456_789, last: 3_456_789 });
        for text in ["", "1-1", "1-1-", "1-1-0", "1-1-x", "1--1", "4294967296-1-1", "1-1-1-1"] {
            assert_eq!(last_gtid(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["", "cd602b2c-e69a-11f1-be99-02fc00000001", "1-1-5", "cd602b2c:1"] {
            assert!(!own_gtids(text.as_bytes(), |_| {}), "{text}");
        }
        let uuid = "cd602b2c-e69a-11f1-be99-02fc00000001";
        for rest in [":", ":0", ":5-3", ":x", ":Tag:1", ":99999999999999999999"] {
            assert!(!own_gtids(format!("{uuid}{rest}").as_bytes(), |_| {}), "{rest}");
        }
    }

    proptest! {
        /// What is read piece by piece is what is read as a set.
        #[test]
        fn the_pieces_are_the_set(items in prop::collection::vec(
            (0..3u128, prop::option::of("[a-z_][a-z0-9_]{0,5}"), 1..50u64, 0..5u64), 1..6,
        )) {
            let text: Vec<String> = items.iter().map(|(uuid, tag, first, more)| {
                let uuid = Uuid(*uuid).to_string();
                let tag = tag.as_ref().map_or_else(String::new, |tag| format!("{tag}:"));
                let last = first + more;
                if *more == 0 { format!("{uuid}:{tag}{first}") } else { format!("{uuid}:{tag}{first}-{last}") }
            }).collect();
            let text = text.join(",\n");
            let mut set = GtidSet::empty();
            let known = own_gtids(text.as_bytes(), |piece| {
                let of = GtidSet::of_origin(piece.origin, vec![(piece.first, piece.last)]);
                set = set.union(&of);
            });
            prop_assert!(known, "{}", text);
            prop_assert_eq!(GtidSet::parse(Flavor::MySql, &text), Ok(set));
        }
    }

    struct Uuid(u128);

    impl std::fmt::Display for Uuid {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "3e11fa47-71ca-11e1-9e33-{:012x}", self.0)
        }
    }
}
