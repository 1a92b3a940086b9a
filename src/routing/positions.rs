//! What clients were told is committed, and how far of it each server has come: for reads that have to
//! find it.
//!
//! Sessions that write raise a number per master and stream of transactions before they pass an
//! acknowledgement on; sessions that read compare it with what is known of their server, and wait there
//! for the rest. All of it is atomics: nobody waits for anybody here. New streams are rare (a master has
//! one), and only they take a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::topology::{GtidSet, Numbered, Origin, ServerId};

/// Streams that are told apart. A master has one; more of MySQL come from tags.
const STREAMS: usize = 64;

/// Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Positions(Arc<Book>);

#[derive(Debug)]
struct Book {
    streams: Box<[Stream]>,
    /// So many of them are in use.
    used: AtomicUsize,
    /// Held by whoever adds one.
    adding: Mutex<()>,
    /// There was no place for one.
    overflowed: AtomicBool,
}

/// The transactions of one master that are numbered one after the other.
#[derive(Debug)]
struct Stream {
    name: OnceLock<Name>,
    /// The newest that was acknowledged.
    last: AtomicU64,
    /// So far each server is known to have come.
    reached: Box<[AtomicU64]>,
}

/// Who numbers them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Domain { master: ServerId, domain: u32, server: u32 },
    Source { master: ServerId, uuid: u128, tag: Box<str> },
}

impl Name {
    fn is(&self, by: ServerId, origin: Origin<'_>) -> bool {
        match (self, origin) {
            (
                Self::Domain { master, domain, server },
                Origin::Domain { domain: theirs, server: writer },
            ) => (*master, *domain, *server) == (by, theirs, writer),
            (Self::Source { master, uuid, tag }, Origin::Source { uuid: theirs, tag: named }) => {
                (*master, *uuid, &**tag) == (by, theirs, named)
            }
            _ => false,
        }
    }

    fn of(master: ServerId, origin: Origin<'_>) -> Self {
        match origin {
            Origin::Domain { domain, server } => Self::Domain { master, domain, server },
            Origin::Source { uuid, tag } => Self::Source { master, uuid, tag: tag.into() },
        }
    }

    fn origin(&self) -> Origin<'_> {
        match self {
            Self::Domain { domain, server, .. } => {
                Origin::Domain { domain: *domain, server: *server }
            }
            Self::Source { uuid, tag, .. } => Origin::Source { uuid: *uuid, tag },
        }
    }

    fn master(&self) -> ServerId {
        match self {
            Self::Domain { master, .. } | Self::Source { master, .. } => *master,
        }
    }
}

/// What a server is not known to have: streams by their place, and the number up to which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed(Vec<(usize, u64)>);

impl Positions {
    /// Nothing was acknowledged yet, before so many servers.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        let stream = || Stream {
            name: OnceLock::new(),
            last: AtomicU64::new(0),
            reached: (0..servers).map(|_| AtomicU64::new(0)).collect(),
        };
        Self(Arc::new(Book {
            streams: (0..STREAMS).map(|_| stream()).collect(),
            used: AtomicUsize::new(0),
            adding: Mutex::default(),
            overflowed: AtomicBool::new(false),
        }))
    }

    /// A client is about to be told that `master` has committed these.
    pub fn acknowledged(&self, master: ServerId, told: Numbered<'_>) {
        if let Some(stream) = self.stream(master, told.origin) {
            // Before the client is told, whose next read looks at it.
            stream.last.fetch_max(told.last, Ordering::SeqCst);
        }
    }

    fn stream(&self, master: ServerId, origin: Origin<'_>) -> Option<&Stream> {
        let is = |stream: &&Stream| stream.name.get().is_some_and(|name| name.is(master, origin));
        self.used().iter().find(is).or_else(|| {
            let _adding = self.0.adding.lock().unwrap_or_else(PoisonError::into_inner);
            let used = self.used();
            // Another session may have been faster.
            used.iter().find(is).or_else(|| {
                let place = used.len();
                let Some(stream) = self.0.streams.get(place) else {
                    self.0.overflowed.store(true, Ordering::SeqCst);
                    return None;
                };
                stream.name.get_or_init(|| Name::of(master, origin));
                self.0.used.store(place + 1, Ordering::Release);
                Some(stream)
            })
        })
    }

    fn used(&self) -> &[Stream] {
        &self.0.streams[..self.0.used.load(Ordering::Acquire)]
    }

    /// Whether something was acknowledged that nobody can wait for: then only the active master has it
    /// for certain.
    #[must_use]
    pub fn are_incomplete(&self) -> bool {
        self.0.overflowed.load(Ordering::SeqCst)
    }

    /// What was acknowledged and `server` is not known to have; a master has what it acknowledged.
    #[must_use]
    pub fn needed_at(&self, server: ServerId) -> Option<Needed> {
        let needed = self.used().iter().enumerate().filter_map(|(place, stream)| {
            let last = stream.last.load(Ordering::SeqCst);
            let known = stream.reached[server.index()].load(Ordering::Relaxed);
            let own = stream.name.get().is_some_and(|name| name.master() == server);
            (last > known && !own).then_some((place, last))
        });
        // Nothing is allocated where nothing is needed.
        let needed: Vec<_> = needed.collect();
        (!needed.is_empty()).then_some(Needed(needed))
    }

    /// `server` has all of this.
    pub fn reached(&self, server: ServerId, needed: &Needed) {
        for (place, number) in &needed.0 {
            let reached = &self.0.streams[*place].reached[server.index()];
            reached.fetch_max(*number, Ordering::Relaxed);
        }
    }

    /// `server` was seen to have executed this.
    pub fn observed(&self, server: ServerId, executed: &GtidSet) {
        let Some(Needed(needed)) = self.needed_at(server) else { return };
        let has = |(place, number): &(usize, u64)| {
            let name = self.0.streams[*place].name.get();
            name.is_some_and(|name| {
                executed.contains(&GtidSet::of_origin(name.origin(), vec![(1, *number)]))
            })
        };
        self.reached(server, &Needed(needed.into_iter().filter(has).collect()));
    }

    /// `active` has executed this, and was the active master before it was asked: what another one had
    /// acknowledged by then and is not in it was lost, and nobody waits for it any more.
    pub fn lost_without(&self, active: ServerId, executed: &GtidSet) {
        for stream in self.used() {
            let Some(name) = stream.name.get().filter(|name| name.master() != active) else {
                continue;
            };
            let last = stream.last.load(Ordering::SeqCst);
            let awaited = stream.reached.iter().any(|it| it.load(Ordering::Relaxed) < last);
            let all = || GtidSet::of_origin(name.origin(), vec![(1, last)]);
            if awaited && !executed.contains(&all()) {
                stream.reached.iter().for_each(|it| {
                    it.fetch_max(last, Ordering::Relaxed);
                });
            }
        }
    }

    /// The statement that waits on a server until it has this, for `timeout` at most: it answers 0 when
    /// it does (<https://mariadb.com/kb/en/master_gtid_wait/>,
    /// <https://dev.mysql.com/doc/refman/8.4/en/gtid-functions.html>). A number means all up to it, also
    /// in a set of MySQL's: transactions become visible in any order, and are acknowledged so.
    #[must_use]
    pub fn wait_sql(&self, needed: &Needed, timeout: Duration) -> String {
        let (mut domains, mut sources) = (std::collections::BTreeMap::new(), Vec::new());
        for (place, number) in &needed.0 {
            match self.0.streams[*place].name.get() {
                Some(Name::Domain { domain, server, .. }) => {
                    // Of one domain there is one position.
                    let known = domains.entry(*domain).or_insert((*number, *server));
                    *known = (*known).max((*number, *server));
                }
                Some(Name::Source { uuid, tag, .. }) => {
                    let set =
                        GtidSet::of_origin(Origin::Source { uuid: *uuid, tag }, vec![(1, *number)]);
                    sources.push(set.to_string());
                }
                None => {}
            }
        }
        // Parts of a second are understood by MariaDB and by MySQL from 8.0 on.
        let seconds = match timeout.as_secs_f64() {
            part if part > 0.0 && part < 1.0 => part,
            seconds => seconds.ceil().max(1.0),
        };
        if sources.is_empty() {
            let positions = domains
                .iter()
                .map(|(domain, (number, server))| format!("{domain}-{server}-{number}"));
            let positions = positions.collect::<Vec<_>>().join(",");
            return format!("SELECT MASTER_GTID_WAIT('{positions}', {seconds})");
        }
        format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{}', {seconds})", sources.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Flavor;

    const M1: ServerId = ServerId(0);
    const M2: ServerId = ServerId(1);
    const R1: ServerId = ServerId(2);

    fn of_domain(domain: u32, last: u64) -> Numbered<'static> {
        Numbered { origin: Origin::Domain { domain, server: domain }, first: last, last }
    }

    #[test]
    fn what_a_server_is_not_known_to_have_is_waited_for() {
        let positions = Positions::new(3);
        assert_eq!(positions.needed_at(R1), None);
        positions.acknowledged(M1, of_domain(1, 7));
        positions.acknowledged(M1, of_domain(1, 5));
        assert_eq!(positions.needed_at(M1), None, "who acknowledged it has it");
        let needed = positions.needed_at(R1).expect("7 is not there");
        let wait = positions.wait_sql(&needed, Duration::from_millis(1500));
        assert_eq!(wait, "SELECT MASTER_GTID_WAIT('1-1-7', 2)");
        positions.acknowledged(M2, of_domain(2, 3));
        let both = positions.needed_at(R1).expect("more");
        assert!(positions.wait_sql(&both, Duration::ZERO).contains("'1-1-7,2-2-3', 1"));
        positions.reached(R1, &needed);
        let rest = positions.needed_at(R1).expect("3 of domain 2");
        assert!(positions.wait_sql(&rest, Duration::ZERO).contains("'2-2-3'"));
        let executed = GtidSet::parse(Flavor::MariaDb, "1-1-9,2-2-2").expect("a position");
        positions.observed(R1, &executed);
        assert!(positions.needed_at(R1).is_some());
        let executed = GtidSet::parse(Flavor::MariaDb, "1-1-9,2-2-3").expect("a position");
        positions.observed(R1, &executed);
        assert_eq!(positions.needed_at(R1), None);
        assert!(positions.needed_at(M2).is_some(), "of the other master");
    }

    #[test]
    fn what_was_lost_is_not_waited_for() {
        let positions = Positions::new(3);
        positions.acknowledged(M1, of_domain(1, 7));
        positions.acknowledged(M2, of_domain(2, 2));
        let executed = |text| GtidSet::parse(Flavor::MariaDb, text).expect("a position");
        positions.lost_without(M2, &executed("1-1-7,2-2-2"));
        assert!(positions.needed_at(R1).is_some(), "it has all, and others will get it");
        positions.lost_without(M1, &executed("1-1-5,2-2-2"));
        assert!(positions.needed_at(R1).is_some(), "its own");
        positions.lost_without(M2, &executed("1-1-5,2-2-2"));
        let needed = positions.needed_at(R1).expect("what the active master wrote");
        let wait = positions.wait_sql(&needed, Duration::ZERO);
        assert_eq!(wait, "SELECT MASTER_GTID_WAIT('2-2-2', 1)");
        // More of the lost one's is waited for again: it is back.
        positions.acknowledged(M1, of_domain(1, 8));
        let wait = positions.wait_sql(&positions.needed_at(R1).expect("8"), Duration::ZERO);
        assert!(wait.contains("1-1-8"), "{wait}");
    }

    #[test]
    fn of_mysql_everything_up_to_it_is_waited_for() {
        let positions = Positions::new(3);
        let uuid = 0x3e11_fa47_71ca_11e1_9e33_c80a_a942_9562;
        let origin = Origin::Source { uuid, tag: "" };
        positions.acknowledged(M1, Numbered { origin, first: 4, last: 6 });
        let needed = positions.needed_at(R1).expect("6");
        assert_eq!(
            positions.wait_sql(&needed, Duration::from_secs(2)),
            "SELECT WAIT_FOR_EXECUTED_GTID_SET('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-6', 2)"
        );
        let gap = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-4:6";
        positions.observed(R1, &GtidSet::parse(Flavor::MySql, gap).expect("a set"));
        assert!(positions.needed_at(R1).is_some(), "5 may have been acknowledged before");
    }

    #[test]
    fn what_finds_no_place_is_said() {
        let positions = Positions::new(1);
        for domain in 0..STREAMS {
            positions.acknowledged(M1, of_domain(u32::try_from(domain).unwrap_or(0), 1));
        }
        assert!(!positions.are_incomplete());
        positions.acknowledged(M1, of_domain(1000, 1));
        assert!(positions.are_incomplete());
    }
}
