//! The writes that clients were told are committed, and what servers are known to have of them.
//!
//! A write is kept until every other master has executed it. What is kept is exact in its GTIDs for
//! as long as there is room, and coarse in the rest: each [`Chunk`] knows which users wrote something in
//! it, and its first and last acknowledgement. Chunks begin as one user's writes of a moment. When
//! there are too many, because a standby is away, the older half is joined two by two, which runs
//! GTIDs together that lie side by side. When even these are too many the oldest are forgotten, and from
//! then on counts are lower bounds, which is said.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::{GtidSet, ServerId};

/// What sessions tell of the writes that they acknowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Clients were told that these are committed.
    Acknowledged {
        /// Where.
        server: ServerId,
        /// Who wrote.
        user: Arc<str>,
        /// Which transactions.
        writes: GtidSet,
        /// The first acknowledgement.
        first: Instant,
        /// The last acknowledgement.
        last: Instant,
        /// There may be more of them, which the server did not name.
        partial: bool,
    },
    /// Of these the clients had gone before they could be told, though it was counted.
    Unheard {
        /// Where.
        server: ServerId,
        /// Which transactions.
        writes: GtidSet,
    },
    /// A client may have been told of a write of which the server did not say which it is.
    Untold {
        /// Where.
        server: ServerId,
        /// When.
        at: Instant,
    },
}

/// Writes that were acknowledged one after the other.
#[derive(Clone, Debug)]
struct Chunk {
    writes: GtidSet,
    first: Instant,
    last: Instant,
    /// Who wrote how many of them.
    users: BTreeMap<Arc<str>, u64>,
    partial: bool,
}

/// Acknowledged writes that a server lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Which.
    pub writes: GtidSet,
    /// The first and the last acknowledgement among them, or a little before and behind.
    pub span: Option<(Instant, Instant)>,
    /// Who wrote how many, by name.
    pub users: BTreeMap<Arc<str>, u64>,
    /// How many were written by several users of whom it is no longer known who wrote which.
    pub shared: u64,
    /// There may be more of them.
    pub at_least: bool,
}

impl Lacking {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.writes.count()
    }
}

/// How much is kept of each server's writes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Chunks.
    pub chunks: usize,
    /// Intervals of GTIDs, of 16 bytes each.
    pub intervals: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { chunks: 2048, intervals: 1 << 20 }
    }
}

/// What is kept of the writes of one server.
#[derive(Clone, Debug, Default)]
struct Ledger {
    chunks: VecDeque<Chunk>,
    /// When something was last acknowledged that is not in the chunks.
    untold: Option<Instant>,
}

/// The writes that were acknowledged and that some other master may lack, by the server that
/// committed them.
#[derive(Clone, Debug, Default)]
pub struct AcknowledgedWrites {
    ledgers: BTreeMap<ServerId, Ledger>,
    bounds: Bounds,
}

impl AcknowledgedWrites {
    /// None yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { ledgers: BTreeMap::new(), bounds }
    }

    /// Takes in what sessions told.
    pub fn take(&mut self, told: Told) {
        match told {
            Told::Acknowledged { server, user, writes, first, last, partial } => {
                let users = BTreeMap::from([(user, writes.count())]);
                let ledger = self.ledgers.entry(server).or_default();
                ledger.chunks.push_back(Chunk { writes, first, last, users, partial });
                ledger.keep_within(self.bounds);
            }
            Told::Unheard { server, writes } => {
                if let Some(ledger) = self.ledgers.get_mut(&server) {
                    ledger.strike(&writes);
                }
            }
            Told::Untold { server, at } => {
                let untold = &mut self.ledgers.entry(server).or_default().untold;
                *untold = (*untold).max(Some(at));
            }
        }
    }

    /// Drops the writes of `server` that every one of `others` has executed.
    pub fn drop_executed(&mut self, server: ServerId, others: &[&GtidSet]) {
        let Some(ledger) = self.ledgers.get_mut(&server) else { return };
        for chunk in &mut ledger.chunks {
            let lacks = |executed: &&GtidSet| chunk.writes.subtract(executed);
            let left = others.iter().map(lacks).fold(GtidSet::empty(), |sum, set| sum.union(&set));
            chunk.shrink_to(left);
        }
        ledger.chunks.retain(|chunk| !chunk.writes.is_empty());
    }

    /// All that `server` had committed at `at` is everywhere: what is not known of it is no matter
    /// any more.
    pub fn all_executed(&mut self, server: ServerId, at: Instant) {
        if let Some(ledger) = self.ledgers.get_mut(&server) {
            ledger.untold = ledger.untold.filter(|untold| *untold >= at);
            ledger.chunks.retain(|chunk| chunk.last >= at);
        }
    }

    /// The numbers of `server` begin anew (`RESET MASTER`): what is kept of it means nothing now.
    pub fn renumbered(&mut self, server: ServerId, at: Instant) {
        self.ledgers.insert(server, Ledger { chunks: VecDeque::new(), untold: Some(at) });
    }

    /// Forgets all of `server`.
    pub fn forget(&mut self, server: ServerId) {
        self.ledgers.remove(&server);
    }

    /// How many writes of `server`, acknowledged up to `until`, are not in `have`; and whether there
    /// may be more.
    #[must_use]
    pub fn missing(&self, server: ServerId, have: &GtidSet, until: Option<Instant>) -> (u64, bool) {
        let Some(ledger) = self.ledgers.get(&server) else { return (0, false) };
        let by_then = |at: Instant| until.is_none_or(|until| at <= until);
        let of = |chunk: &Chunk| (chunk.writes.subtract(have).count(), chunk.partial);
        let chunks = ledger.chunks.iter().filter(|chunk| by_then(chunk.last)).map(of);
        let (sum, partial) = chunks.fold((0, false), |(sum, partial), (count, unnamed)| {
            (sum + count, partial || unnamed && count > 0)
        });
        (sum, partial || ledger.untold.is_some_and(by_then))
    }

    /// The writes of `server` that are not in `executed`.
    #[must_use]
    pub fn lacking(&self, server: ServerId, executed: &GtidSet) -> Lacking {
        let mut lacking = Lacking::default();
        let Some(ledger) = self.ledgers.get(&server) else { return lacking };
        lacking.at_least = ledger.untold.is_some();
        for chunk in &ledger.chunks {
            let lost = chunk.writes.subtract(executed);
            if !lost.is_empty() {
                lacking.add(chunk, lost);
            }
        }
        lacking
    }
}

impl Lacking {
    fn add(&mut self, chunk: &Chunk, lost: GtidSet) {
        let count = lost.count();
        let whole = count == chunk.users.values().sum::<u64>();
        if whole || chunk.users.len() == 1 {
            for (user, all) in &chunk.users {
                *self.users.entry(Arc::clone(user)).or_default() +=
                    if whole { *all } else { count };
            }
        } else {
            self.shared += count;
        }
        let (first, last) = self.span.unwrap_or((chunk.first, chunk.last));
        self.span = Some((first.min(chunk.first), last.max(chunk.last)));
        self.writes = self.writes.union(&lost);
        self.at_least |= chunk.partial;
    }
}

impl Ledger {
    /// Takes writes out again.
    fn strike(&mut self, writes: &GtidSet) {
        for chunk in self.chunks.iter_mut().rev() {
            let left = chunk.writes.subtract(writes);
            chunk.shrink_to(left);
        }
        self.chunks.retain(|chunk| !chunk.writes.is_empty());
    }

    fn keep_within(&mut self, bounds: Bounds) {
        if self.chunks.len() > bounds.chunks {
            let half = self.chunks.len() / 2;
            let newer = self.chunks.split_off(half);
            let mut older = std::mem::replace(&mut self.chunks, newer).into_iter();
            let mut joined = Vec::with_capacity(half / 2 + 1);
            while let Some(mut chunk) = older.next() {
                if let Some(next) = older.next() {
                    chunk.join(next);
                }
                joined.push(chunk);
            }
            joined.into_iter().rev().for_each(|chunk| self.chunks.push_front(chunk));
            let all = |chunks: &VecDeque<Chunk>| -> usize {
                chunks.iter().map(|chunk| chunk.writes.intervals()).sum()
            };
            let mut intervals = all(&self.chunks);
            while intervals > bounds.intervals {
                let Some(oldest) = self.chunks.pop_front() else { break };
                intervals -= oldest.writes.intervals();
                self.untold = self.untold.max(Some(oldest.last));
            }
        }
    }
}

impl Chunk {
    fn join(&mut self, next: Self) {
        self.writes = self.writes.union(&next.writes);
        self.first = self.first.min(next.first);
        self.last = self.last.max(next.last);
        self.partial |= next.partial;
        for (user, count) in next.users {
            *self.users.entry(user).or_default() += count;
        }
    }

    fn shrink_to(&mut self, left: GtidSet) {
        if self.users.len() == 1 {
            // One user's share of it stays known.
            self.users.values_mut().for_each(|count| *count = left.count());
        }
        self.writes = left;
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]
#[path = "acknowledged_tests.rs"]
mod tests;
