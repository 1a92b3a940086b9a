//! What a master committed that the active one never received: data for people, and for the decision
//! whether it may be merged.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use super::GtidSet;

/// The schema of Tandem's own tables.
const OWN_SCHEMA: &str = "tandem";

/// Everything that one master has and the active one lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stranded {
    /// All of it, by number.
    pub gtids: GtidSet,
    /// In the order of the returned master's binary log, as far as they were kept.
    pub transactions: Vec<StrandedTransaction>,
    /// How many more there are, which were counted and neither kept nor judged.
    pub more: u64,
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrandedTransaction {
    /// Its number, as the server writes it.
    pub gtid: String,
    /// When it was committed, by the returned master's clock.
    pub at: SystemTime,
    /// Its size in the binary log.
    pub bytes: u64,
    /// The tables whose rows it changed, in the order of their first change.
    pub tables: Vec<TableChange>,
    /// What it has instead of rows: DDL, and changes that were logged as statements.
    pub statements: Vec<String>,
    /// Whether it may be merged.
    pub verdict: MergeVerdict,
}

/// What a transaction did to one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// The keys of the first of these rows: `id=7`. Empty where the table's primary key is not known.
    pub keys: Vec<String>,
}

/// Whether a transaction may enter the pair as the active master stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeVerdict {
    /// All keys of its inserts are free, and all rows that it changed still are what it found them to be.
    Safe,
    /// These rows are not: replication would stop at the first of them.
    Conflict(Vec<Conflict>),
    /// It cannot be told, for this reason.
    Unjudged(String),
}

/// A row that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// `schema.table`
    pub table: String,
    /// The key of the row that stands on the active master: `id=7`.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.table, self.key, self.what)
    }
}

impl fmt::Display for MergeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safe => f.write_str("safe"),
            Self::Conflict(conflicts) => {
                let list: Vec<String> = conflicts.iter().map(Conflict::to_string).collect();
                write!(f, "conflict: {}", list.join("; "))
            }
            Self::Unjudged(reason) => write!(f, "cannot be judged: {reason}"),
        }
    }
}

impl StrandedTransaction {
    /// Whether it changed nothing but Tandem's own tables.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.statements.is_empty() && self.tables.iter().all(|table| table.schema == OWN_SCHEMA)
    }

    /// How many rows it changed.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.inserted + table.updated + table.deleted).sum()
    }
}

/// How many transactions there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StrandedCount {
    /// That may be merged.
    pub safe: u64,
    /// That may not.
    pub conflicts: u64,
    /// Of which it is not known, those included that were only counted.
    pub unjudged: u64,
}

impl Stranded {
    /// How many transactions there are, each that was merely counted among them.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.transactions.len() as u64 + self.more
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are of each kind.
    #[must_use]
    pub fn count(&self) -> StrandedCount {
        let mut count = StrandedCount { unjudged: self.more, ..StrandedCount::default() };
        for transaction in &self.transactions {
            *match transaction.verdict {
                MergeVerdict::Safe => &mut count.safe,
                MergeVerdict::Conflict(_) => &mut count.conflicts,
                MergeVerdict::Unjudged(_) => &mut count.unjudged,
            } += 1;
        }
        count
    }

    /// Whether all of it can be merged.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let StrandedCount { conflicts, unjudged, .. } = self.count();
        conflicts == 0 && unjudged == 0
    }

    /// Whether it is nothing but Tandem's own records, and can be merged.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_safe() && self.transactions.iter().all(StrandedTransaction::is_own)
    }

    /// Rows changed in each table: `app.orders 12 rows`, the largest first.
    #[must_use]
    pub fn tables(&self) -> Vec<(String, u64)> {
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        for table in self.transactions.iter().flat_map(|transaction| &transaction.tables) {
            let name = format!("{}.{}", table.schema, table.table);
            *rows.entry(name).or_default() += table.inserted + table.updated + table.deleted;
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        rows
    }
}

/// `3 safe to merge, 1 in conflict (1-1-107: app.t id=7: the key is taken), 1 that cannot be judged (…)`
impl fmt::Display for Stranded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = |wanted: fn(&MergeVerdict) -> bool| {
            self.transactions.iter().find(|transaction| wanted(&transaction.verdict))
        };
        let StrandedCount { safe, conflicts, unjudged } = self.count();
        let mut parts = Vec::new();
        if safe > 0 {
            parts.push(format!("{safe} safe to merge"));
        }
        if let Some(StrandedTransaction { gtid, verdict: MergeVerdict::Conflict(rows), .. }) =
            first(|verdict| matches!(verdict, MergeVerdict::Conflict(_)))
        {
            let row = rows.first().map(Conflict::to_string).unwrap_or_default();
            parts.push(format!("{conflicts} in conflict (first {gtid}: {row})"));
        }
        match first(|verdict| matches!(verdict, MergeVerdict::Unjudged(_))) {
            Some(StrandedTransaction { gtid, verdict: MergeVerdict::Unjudged(reason), .. }) => {
                parts.push(format!("{unjudged} that cannot be judged (first {gtid}: {reason})"));
            }
            _ if unjudged > 0 => parts.push(format!("{unjudged} that were only counted")),
            _ => {}
        }
        f.write_str(&parts.join(", "))
    }
}
