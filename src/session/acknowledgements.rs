//! The acknowledged writes of one worker's sessions, on their way to the control plane.
//!
//! Each worker has one such book, because its sessions never write at the same time: the lock is met
//! by nobody but the control plane, which takes the pages away ten times a second. What a session puts down is
//! a few numbers; names are entered once, so that nothing is allocated for a write but what the page
//! grows by, and it keeps its size. Consecutive transactions of one user are one record.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::topology::{GtidSet, Numbered, Origin, ServerId, Told};

/// Records of a page. The control plane would have to stand still for it to be filled.
const PAGE: usize = 1 << 16;
/// Different users, and different tags of MySQL's GTIDs, that are told apart.
const NAMES: usize = 4096;
/// What the others are called.
const OTHERS: &str = "(others)";

/// The book.
#[derive(Debug, Default)]
pub struct Acknowledgements(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    page: Vec<Record>,
    users: Names,
    tags: Names,
    /// Something did not fit, there.
    overflowed: Option<(ServerId, Instant)>,
}

/// Names by number.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

/// The number of a user in one book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UserNumber(u32);

/// [`Origin`], with the number of its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Domain { domain: u32, server: u32 },
    Source { uuid: u128, tag: u32 },
}

/// Transactions with consecutive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) server: ServerId,
    pub(super) stream: Stream,
    pub(super) first: u64,
    pub(super) last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    entry: Entry,
    since: Instant,
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Acknowledged { user: UserNumber, run: Run, partial: bool },
    Unheard(Run),
    Untold(ServerId),
}

impl Acknowledgements {
    fn book(&self) -> MutexGuard<'_, Book> {
        // Whole between any two of its changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a user.
    pub(super) fn user(&self, name: &[u8]) -> UserNumber {
        UserNumber(self.book().users.number(&String::from_utf8_lossy(name)))
    }

    /// What numbers these transactions.
    #[inline]
    pub(super) fn stream(&self, origin: Origin<'_>) -> Stream {
        match origin {
            Origin::Domain { domain, server } => Stream::Domain { domain, server },
            Origin::Source { uuid, tag: "" } => Stream::Source { uuid, tag: 0 },
            // One above its number: 0 is none.
            Origin::Source { uuid, tag } => {
                Stream::Source { uuid, tag: self.book().tags.number(tag) + 1 }
            }
        }
    }

    /// A client is about to be told that these are committed. `partial`: there may be more, which the
    /// server does not name.
    #[inline]
    pub(super) fn acknowledge(&self, user: UserNumber, run: Run, partial: bool, now: Instant) {
        let mut book = self.book();
        if let Some(Record {
            entry: Entry::Acknowledged { user: who, run: to, partial: may },
            until,
            ..
        }) = book.page.last_mut()
            && (*who, *may, to.server, to.stream) == (user, partial, run.server, run.stream)
            && to.last + 1 == run.first
        {
            to.last = run.last;
            *until = now;
            return;
        }
        book.put(Entry::Acknowledged { user, run, partial }, run.server, now);
    }

    /// Of this the client had gone before it was told.
    pub(super) fn retract(&self, run: Run) {
        self.book().put(Entry::Unheard(run), run.server, Instant::now());
    }

    /// A client may be told of a write of which the server does not say which it is.
    pub(super) fn untold(&self, server: ServerId) {
        self.book().put(Entry::Untold(server), server, Instant::now());
    }

    /// Takes away what is there.
    pub(super) fn take(&self, told: &mut Vec<Told>) {
        let mut book = self.book();
        if let Some((server, at)) = book.overflowed.take() {
            told.push(Told::Untold { server, at });
        }
        if book.page.is_empty() {
            return;
        }
        // A copy as large as what there is; the page itself keeps its room.
        let (page, users, tags) =
            (book.page.clone(), book.users.names.clone(), book.tags.names.clone());
        book.page.clear();
        drop(book);
        tell(&page, &users, &tags, told);
    }
}

impl Book {
    fn put(&mut self, entry: Entry, server: ServerId, now: Instant) {
        if self.page.len() < PAGE {
            self.page.push(Record { entry, since: now, until: now });
        } else {
            self.overflowed = Some((server, now));
        }
    }
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let last = self.names.len();
        let name: Arc<str> = if last < NAMES { name.into() } else { OTHERS.into() };
        let number = u32::try_from(last.min(NAMES)).unwrap_or(u32::MAX);
        if last <= NAMES {
            self.names.push(Arc::clone(&name));
            self.numbers.insert(name, number);
        }
        number
    }
}

/// The writes of one user in one page.
struct Group {
    intervals: Vec<(u64, u64)>,
    since: Instant,
    until: Instant,
}

fn tell(page: &[Record], users: &[Arc<str>], tags: &[Arc<str>], told: &mut Vec<Told>) {
    let mut groups: BTreeMap<(ServerId, UserNumber, Stream, bool), Group> = BTreeMap::new();
    let mut behind = Vec::new();
    for Record { entry, since, until } in page {
        match *entry {
            Entry::Acknowledged { user, run, partial } => {
                let key = (run.server, user, run.stream, partial);
                let group = groups.entry(key).or_insert_with(|| Group {
                    intervals: Vec::new(),
                    since: *since,
                    until: *until,
                });
                group.intervals.push((run.first, run.last));
                group.since = group.since.min(*since);
                group.until = group.until.max(*until);
            }
            Entry::Unheard(run) => {
                let writes = set_of(run.stream, vec![(run.first, run.last)], tags);
                behind.push(Told::Unheard { server: run.server, writes });
            }
            Entry::Untold(server) => behind.push(Told::Untold { server, at: *until }),
        }
    }
    told.extend(groups.into_iter().map(|((server, user, stream, partial), group)| {
        Told::Acknowledged {
            server,
            user: users.get(user.0 as usize).map_or_else(|| OTHERS.into(), Arc::clone),
            writes: set_of(stream, group.intervals, tags),
            first: group.since,
            last: group.until,
            partial,
        }
    }));
    // What was not heard was acknowledged before.
    told.append(&mut behind);
}

fn set_of(stream: Stream, intervals: Vec<(u64, u64)>, tags: &[Arc<str>]) -> GtidSet {
    let origin = match stream {
        Stream::Domain { domain, server } => Origin::Domain { domain, server },
        Stream::Source { uuid, tag } => {
            let name = (tag as usize).checked_sub(1).and_then(|at| tags.get(at));
            Origin::Source { uuid, tag: name.map_or("", |name| name) }
        }
    };
    GtidSet::of_origin(origin, intervals)
}

impl Run {
    /// Of what a server told.
    #[inline]
    pub(super) fn new(server: ServerId, stream: Stream, told: Numbered<'_>) -> Self {
        Self { server, stream, first: told.first, last: told.last }
    }
}

#[cfg(test)]
#[path = "acknowledgements_tests.rs"]
mod tests;
