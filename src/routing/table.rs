//! The routing table: who takes statements, or why nobody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::topology::{Identity, ServerId, Servers, Term};

/// Who takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// This master.
    Active(ServerId),
    /// Nobody now: statements wait.
    Held {
        /// Since when.
        since: Instant,
        /// A sentence that names the cause, for the error of a client that waited too long
        /// ("m1 refused connections since 12:01:03, m2's applier stopped with error 1062").
        reason: Arc<str>,
    },
}

/// Where statements go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingTable {
    /// Grows with every table.
    pub generation: u64,
    /// The decision that this table follows.
    pub term: Term,
    /// Who takes writes.
    pub writer: Writer,
    /// In a table of the reads listener, where nobody takes writes: who serves reads, each as well as
    /// any other. While there is nobody, the writer says why. Empty in a table of the main port.
    pub readers: Arc<[ServerId]>,
    /// The master on which sessions may still finish what they have open there, while nobody takes
    /// anything new: a switchover is about to leave it. Whoever has nothing open waits.
    pub draining: Option<ServerId>,
    /// Who is to be active next. Sessions whose statements wait because nobody is may log in there
    /// already and restore themselves, so that the wait ends with the statement; and while a master
    /// is active, sessions that are busy may log in there beside that. In a table of the reads listener:
    /// the active master, if sessions may go there that no reader suffices.
    pub next: Option<ServerId>,
    /// How long every write outside of a transaction, and every transaction's first statement, waits
    /// before it is sent, so that the standby gets close. `None`: not at all.
    pub pace: Option<Duration>,
    /// What clients are greeted with. `None` until a master has been seen.
    pub identity: Option<Arc<Identity>>,
    /// The configured servers.
    pub servers: Servers,
}

/// How long writers wait so that the standby stays close, by `[failover] pace`. It changes many times a
/// second, and nobody needs to be told: a session looks at it before a write. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Pace(Arc<AtomicU64>);

impl Pace {
    /// Every write waits for so long from now on, to the microsecond.
    pub fn set(&self, pace: Duration) {
        self.0.store(u64::try_from(pace.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long a write waits; `None`: not at all.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }
}

/// How far the sessions are with letting go of the master that a table drains. Sent when the table is
/// seen, and whenever the list changes, until another table comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// The table that it answers.
    pub generation: u64,
    /// Who still has something open on the master. Empty: nothing of this proxy's clients is on its
    /// way there, and nothing will come.
    pub open: Vec<OpenSession>,
}

/// A session that cannot let go of its master yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The connection id that its client knows.
    pub id: u32,
    /// Why, to follow "it": "is in a transaction", "has temporary tables".
    pub why: &'static str,
}

impl RoutingTable {
    /// The table before anything is known.
    #[must_use]
    pub fn starting(servers: Servers, now: Instant) -> Self {
        Self {
            generation: 0,
            term: Term::default(),
            writer: Writer::Held { since: now, reason: "Tandem has just started".into() },
            readers: Arc::default(),
            draining: None,
            next: None,
            pace: None,
            identity: None,
            servers,
        }
    }

    /// The active master, if there is one.
    #[must_use]
    pub fn active(&self) -> Option<ServerId> {
        match self.writer {
            Writer::Active(server) => Some(server),
            Writer::Held { .. } => None,
        }
    }

    /// Whether statements go to `server`: it is the active master, or one of those that serve reads.
    #[must_use]
    pub fn serves(&self, server: ServerId) -> bool {
        self.active() == Some(server) || self.readers.contains(&server)
    }

    /// Whether statements go to `server`, or will next.
    #[must_use]
    pub fn leads_to(&self, server: ServerId) -> bool {
        self.serves(server) || self.next == Some(server)
    }
}
