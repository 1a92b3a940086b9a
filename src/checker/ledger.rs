//! What the writers were told: the one side of the account.
//!
//! Every INSERT carries a token that is used once and never again, so that a row can be traced to
//! the statement that made it, whatever key it got. Moments are durations since the book was opened:
//! nothing here reads a clock.

use std::collections::BTreeMap;
use std::time::Duration;

/// Error 1927 (`ER_CONNECTION_KILLED`): how Tandem says that nobody can know the outcome.
pub(crate) const OUTCOME_UNKNOWN: u16 = 1927;

/// Names one statement: which writer sent it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    pub(crate) writer: u16,
    pub(crate) number: u32,
}

/// A row of the table that the writers fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row {
    /// The key that the server handed out.
    pub(crate) key: u64,
    pub(crate) token: Token,
}

/// An INSERT that was answered with OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) row: Row,
    pub(crate) sent: Duration,
    pub(crate) at: Duration,
}

/// An INSERT that was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) token: Token,
    pub(crate) at: Duration,
    pub(crate) cause: Cause,
}

/// What a writer got instead of an OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// An error packet with this code.
    Error(u16),
    /// The end of the connection, without a word.
    Broken,
    /// No connection to send it on.
    NoLogin,
}

impl Cause {
    /// Whether the row may be there all the same. An error with another code is a server's word that
    /// it is not.
    pub(crate) fn leaves_unknown(self) -> bool {
        matches!(self, Self::Error(OUTCOME_UNKNOWN) | Self::Broken)
    }
}

/// All that the writers were told, in the order in which they heard it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) failed: Vec<Failed>,
}

/// Which of the two masters hands out this key: 0 has the odd ones, 1 the even ones.
pub(crate) fn master_of(key: u64) -> usize {
    usize::from(key.is_multiple_of(2))
}

impl Ledger {
    /// From the last row that the killed master acknowledged to the first of the other one.
    pub(crate) fn gap(&self, kill: Kill) -> Option<Gap> {
        let of = |master| move |entry: &&Acknowledged| master_of(entry.row.key) == master;
        let first = self
            .acknowledged
            .iter()
            .filter(of(1 - kill.master))
            .find(|entry| entry.at > kill.at)?
            .at;
        let last = self
            .acknowledged
            .iter()
            .filter(of(kill.master))
            .map(|entry| entry.at)
            .take_while(|at| *at <= first)
            .last()?;
        Some(Gap { last, first })
    }

    /// Rows acknowledged per `step` from `from` on, by the master that gave them their keys.
    pub(crate) fn pulse(&self, from: Duration, step: Duration, cells: usize) -> Vec<[u32; 2]> {
        let mut pulse = vec![[0; 2]; cells];
        for entry in &self.acknowledged {
            let Some(since) = entry.at.checked_sub(from) else { continue };
            let cell = usize::try_from(since.as_nanos() / step.as_nanos().max(1));
            if let Some(cell) = cell.ok().and_then(|cell| pulse.get_mut(cell)) {
                cell[master_of(entry.row.key)] += 1;
            }
        }
        pulse
    }

    /// How often each error was seen.
    pub(crate) fn errors(&self) -> BTreeMap<Cause, usize> {
        let mut errors = BTreeMap::new();
        for failed in &self.failed {
            *errors.entry(failed.cause).or_default() += 1;
        }
        errors
    }

    /// The last keys that this master handed out before now.
    pub(crate) fn last_keys(&self, master: usize, count: usize) -> Vec<u64> {
        let keys = self.acknowledged.iter().rev().map(|entry| entry.row.key);
        let mut keys: Vec<u64> = keys.filter(|key| master_of(*key) == master).take(count).collect();
        keys.sort_unstable();
        keys
    }
}

/// Who was killed, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// 0 or 1.
    pub(crate) master: usize,
    pub(crate) at: Duration,
}

/// The time in which nobody acknowledged anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last acknowledgement of the killed master.
    pub(crate) last: Duration,
    /// The first one of the other.
    pub(crate) first: Duration,
}

impl Gap {
    pub(crate) fn length(self) -> Duration {
        self.first.saturating_sub(self.last)
    }
}
