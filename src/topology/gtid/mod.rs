//! GTID sets of both families, with one algebra.
//!
//! What a server has executed or received is a set of transactions. The families write it down
//! differently:
//!
//! * MySQL lists sources and intervals, `uuid:1-5:7,uuid:tag:1-3`; it is a set as it stands.
//! * MariaDB names one position per replication domain, `domain-server-sequence`, and means
//!   "everything in this domain up to that sequence number". `gtid_binlog_state` has a position for
//!   each server of a domain; as a set that is the highest of them.
//!
//! Both become intervals per *stream* (a MySQL source with its tag, a MariaDB domain), so that
//! containment, union and difference are the same few lines for both. The difference of two
//! MariaDB positions is not a position any more ("106 to 110 of domain 1"); it is written
//! `1-1-106..110`, and read again in that form.
//!
//! The server id in a MariaDB GTID says who wrote the last transaction. It is kept for the reader
//! and takes no part in comparisons. So two masters that write to *one* domain and lost touch can
//! hold different transactions under the same numbers, and no comparison of positions shows it:
//! a pair needs a `gtid_domain_id` of its own on each master.

mod intervals;
mod own;
mod text;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use self::intervals::Intervals;

pub use self::own::{Numbered, Origin, last_gtid, own_gtids};
pub use self::text::GtidError;

/// A set of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    /// Never holds an empty stream, so that equal sets are equal values.
    streams: BTreeMap<Stream, Run>,
}

/// A sequence of transactions that is numbered on its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stream {
    /// A replication domain of MariaDB.
    Domain(u32),
    /// A server of MySQL, as the 32 hexadecimal digits of its uuid, and a tag that may be empty.
    Source { uuid: u128, tag: String },
}

/// What a set has of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    intervals: Intervals,
    /// MariaDB: who wrote the last transaction. 0 for MySQL.
    server: u32,
}

impl GtidSet {
    /// No transactions.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether every transaction of `other` is in this set, too.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.streams.iter().all(|(stream, theirs)| {
            self.streams.get(stream).is_some_and(|ours| ours.intervals.contains(&theirs.intervals))
        })
    }

    /// The transactions that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        for (stream, run) in &other.streams {
            result.add(stream.clone(), run.clone());
        }
        result
    }

    /// The transactions of this set that `other` lacks.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let streams = self.streams.iter().filter_map(|(stream, ours)| {
            let intervals = match other.streams.get(stream) {
                Some(theirs) => ours.intervals.subtract(&theirs.intervals),
                None => ours.intervals.clone(),
            };
            (!intervals.is_empty())
                .then(|| (stream.clone(), Run { intervals, server: ours.server }))
        });
        Self { streams: streams.collect() }
    }

    /// How many transactions there are. MariaDB may skip numbers, so that this is an upper bound.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.streams.values().fold(0, |sum: u64, run| sum.saturating_add(run.intervals.count()))
    }

    /// The one transaction `uuid:number`, or `uuid:tag:number`, of MySQL.
    #[must_use]
    pub fn of_source(uuid: u128, tag: &str, number: u64) -> Self {
        let mut set = Self::empty();
        let intervals = Intervals::new(vec![(number, number)]);
        set.add(Stream::Source { uuid, tag: tag.to_owned() }, Run { intervals, server: 0 });
        set
    }

    /// Whether MySQL's `uuid:number`, or `uuid:tag:number`, is in the set.
    #[must_use]
    pub fn has_of_source(&self, uuid: u128, tag: &str, number: u64) -> bool {
        self.has(&Stream::Source { uuid, tag: tag.to_owned() }, number)
    }

    /// Whether MariaDB's transaction `sequence` of `domain`, whoever wrote it, is in the set.
    #[must_use]
    pub fn has_in_domain(&self, domain: u32, sequence: u64) -> bool {
        self.has(&Stream::Domain(domain), sequence)
    }

    fn has(&self, stream: &Stream, number: u64) -> bool {
        let one = Intervals::new(vec![(number, number)]);
        self.streams.get(stream).is_some_and(|run| run.intervals.contains(&one))
    }

    /// The domains that it has anything of; none for a set of MySQL's.
    pub fn domains(&self) -> impl Iterator<Item = u32> + '_ {
        self.streams.keys().filter_map(|stream| match stream {
            Stream::Domain(domain) => Some(*domain),
            Stream::Source { .. } => None,
        })
    }

    /// MySQL's sources, each with its tag and the closed intervals of its numbers.
    pub fn sources(&self) -> impl Iterator<Item = (u128, &str, Vec<(u64, u64)>)> + '_ {
        self.streams.iter().filter_map(|(stream, run)| match stream {
            Stream::Source { uuid, tag } => {
                Some((*uuid, tag.as_str(), run.intervals.iter().collect()))
            }
            Stream::Domain(_) => None,
        })
    }

    fn add(&mut self, stream: Stream, run: Run) {
        match self.streams.entry(stream) {
            Entry::Vacant(place) => {
                place.insert(run);
            }
            Entry::Occupied(mut place) => {
                let ours = place.get_mut();
                // The writer of the last transaction; of two, any rule that ignores the order will do.
                let last = |run: &Run| (run.intervals.last(), run.server);
                if last(&run) > last(ours) {
                    ours.server = run.server;
                }
                ours.intervals = ours.intervals.union(&run.intervals);
            }
        }
    }
}

#[cfg(test)]
mod tests;
