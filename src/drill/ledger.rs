//! What clients were told, compared with what a server has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use mysql_async::prelude::*;

use super::writers::Write;
use crate::sandbox::SandboxServer;

/// The comparison.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) acknowledged: usize,
    /// Acknowledged and not there.
    pub(super) missing: usize,
    /// The same, after the dead master is back and has delivered what was stranded on it.
    pub(super) missing_later: usize,
    /// There more often than once.
    pub(super) rows_twice: usize,
    /// Handed out more often than once, or to another row than the client was told.
    pub(super) keys_twice: usize,
    pub(super) errors: BTreeMap<String, usize>,
}

impl Ledger {
    /// Compares what was told with the rows of `table`.
    pub(super) async fn draw(writes: &[Write], server: &SandboxServer, table: &str) -> Self {
        let mut connection = server.root_connection().await.expect("root's login");
        let rows: Vec<(u64, u32, u64)> = connection
            .query(format!("SELECT id, writer, number FROM app.{table}"))
            .await
            .expect("the rows");
        let mut by_key = HashMap::new();
        let mut there = BTreeSet::new();
        let mut ledger = Self::default();
        for (key, writer, number) in rows {
            by_key.insert(key, (writer, number));
            ledger.rows_twice += usize::from(!there.insert((writer, number)));
        }
        let mut keys = BTreeSet::new();
        for write in writes {
            match &write.outcome {
                Ok(key) => {
                    ledger.acknowledged += 1;
                    let this = (write.writer, write.number);
                    ledger.missing += usize::from(!there.contains(&this));
                    let taken = by_key.get(key).is_some_and(|other| *other != this);
                    ledger.keys_twice += usize::from(!keys.insert(*key) || taken);
                }
                Err(error) => *ledger.errors.entry(error.clone()).or_default() += 1,
            }
        }
        ledger
    }

    /// Adds another one's figures.
    pub(super) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.missing += other.missing;
        self.missing_later += other.missing_later;
        self.rows_twice += other.rows_twice;
        self.keys_twice += other.keys_twice;
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }

    /// Whether nothing is there that must not be.
    pub(super) fn is_sound(&self, may_miss: bool) -> bool {
        self.rows_twice == 0
            && self.keys_twice == 0
            && self.missing_later == 0
            && (may_miss || self.missing == 0)
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acknowledged {}, missing {} (after the return {}), rows twice {}, keys twice {}; errors {:?}",
            self.acknowledged,
            self.missing,
            self.missing_later,
            self.rows_twice,
            self.keys_twice,
            self.errors
        )
    }
}
