//! Events put together to transactions, as far as they are wanted and there is room for them.

use std::time::SystemTime;

use super::event::{Gtid, LogEvent, RowChange};
use crate::topology::{GtidSet, TableChange};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) transactions: usize,
    /// Of events in the log; in memory rows take a few times as much.
    pub(super) bytes: u64,
}

/// A transaction as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logged {
    pub(super) gtid: String,
    pub(super) at: SystemTime,
    pub(super) bytes: u64,
    /// Counts by table; keys are filled in by whoever knows them.
    pub(super) tables: Vec<TableChange>,
    pub(super) statements: Vec<String>,
    /// In the order in which they were made.
    pub(super) rows: Vec<RowChange>,
    /// Why part of it is not here.
    pub(super) incomplete: Option<String>,
}

/// Collects the wanted transactions of a log.
#[derive(Debug)]
pub(super) struct Assembly {
    wanted: GtidSet,
    bounds: Bounds,
    bytes: u64,
    current: Option<Logged>,
    done: Vec<Logged>,
    found: u64,
    /// The file of the log that is being read.
    file: Option<String>,
    /// The one in which the first wanted transaction was.
    first_file: Option<String>,
}

/// The wanted transactions of a log.
#[derive(Debug)]
pub(super) struct Collected {
    /// In their order, as far as they were kept.
    pub(super) transactions: Vec<Logged>,
    /// How many there were altogether.
    pub(super) found: u64,
    /// The file in which the first one was, where the server named it.
    pub(super) first_file: Option<String>,
}

/// Statements of one transaction that are kept, and characters of each.
const STATEMENTS: usize = 10;
const STATEMENT: usize = 200;

impl Assembly {
    pub(super) fn new(wanted: GtidSet, bounds: Bounds) -> Self {
        Self {
            wanted,
            bounds,
            bytes: 0,
            current: None,
            done: Vec::new(),
            found: 0,
            file: None,
            first_file: None,
        }
    }

    /// Takes an event of `size` bytes in.
    pub(super) fn take(&mut self, event: LogEvent, size: u32) {
        if event == LogEvent::Outside {
            return;
        }
        if let LogEvent::File(name) = event {
            self.file = Some(name);
            return;
        }
        if let LogEvent::Begins(gtid, at) = event {
            self.done.extend(self.current.take());
            self.begin(&gtid, at, size);
            return;
        }
        let Some(current) = &mut self.current else { return };
        current.bytes += u64::from(size);
        self.bytes += u64::from(size);
        match event {
            LogEvent::Rows(rows) => {
                for row in &rows {
                    current.count(row);
                }
                if self.bytes <= self.bounds.bytes {
                    current.rows.extend(rows);
                } else {
                    let why = "it is too large to be looked at row by row".to_owned();
                    current.incomplete.get_or_insert(why);
                    current.rows = Vec::new();
                }
            }
            LogEvent::Statement(text) => {
                if current.statements.len() < STATEMENTS {
                    current.statements.push(text.chars().take(STATEMENT).collect());
                }
            }
            LogEvent::Packed => {
                current.incomplete = Some("its compressed rows cannot be unpacked".to_owned());
            }
            // Comes out of the package, if there is one: it can be unpacked.
            LogEvent::Opens => current.incomplete = None,
            LogEvent::Unreadable(why) => current.incomplete = Some(why),
            LogEvent::Begins(..) | LogEvent::File(_) | LogEvent::Outside | LogEvent::Other => {}
        }
    }

    /// What was collected.
    pub(super) fn finish(mut self) -> Collected {
        self.done.extend(self.current.take());
        Collected { transactions: self.done, found: self.found, first_file: self.first_file }
    }

    fn begin(&mut self, gtid: &Gtid, at: SystemTime, size: u32) {
        let (text, wanted) = match gtid {
            Gtid::Domain { domain, server, sequence } => (
                format!("{domain}-{server}-{sequence}"),
                self.wanted.has_in_domain(*domain, *sequence),
            ),
            Gtid::Source { uuid, tag, number } => (
                GtidSet::of_source(*uuid, tag, *number).to_string(),
                self.wanted.has_of_source(*uuid, tag, *number),
            ),
        };
        if !wanted {
            return;
        }
        self.found += 1;
        if self.first_file.is_none() {
            self.first_file.clone_from(&self.file);
        }
        if self.done.len() < self.bounds.transactions && self.bytes <= self.bounds.bytes {
            self.bytes += u64::from(size);
            self.current = Some(Logged {
                gtid: text,
                at,
                bytes: size.into(),
                tables: Vec::new(),
                statements: Vec::new(),
                rows: Vec::new(),
                incomplete: None,
            });
        }
    }
}

impl Logged {
    fn count(&mut self, row: &RowChange) {
        let same = |table: &TableChange| table.schema == row.schema && table.table == row.table;
        let place = self.tables.iter().position(same).unwrap_or_else(|| {
            self.tables.push(TableChange {
                schema: row.schema.clone(),
                table: row.table.clone(),
                inserted: 0,
                updated: 0,
                deleted: 0,
                keys: Vec::new(),
            });
            self.tables.len() - 1
        });
        let table = &mut self.tables[place];
        *match (&row.before, &row.after) {
            (None, _) => &mut table.inserted,
            (Some(_), Some(_)) => &mut table.updated,
            (Some(_), None) => &mut table.deleted,
        } += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Flavor;

    fn begins(sequence: u64) -> LogEvent {
        let gtid = Gtid::Domain { domain: 1, server: 1, sequence };
        LogEvent::Begins(gtid, SystemTime::UNIX_EPOCH)
    }

    fn insert(table: &str) -> RowChange {
        RowChange {
            schema: "app".into(),
            table: table.into(),
            before: None,
            after: Some(Vec::new()),
        }
    }

    fn assembly(bounds: Bounds) -> Assembly {
        Assembly::new(GtidSet::parse(Flavor::MariaDb, "1-1-106..109").expect("a set"), bounds)
    }

    const WIDE: Bounds = Bounds { transactions: 10, bytes: 1000 };

    #[test]
    fn only_what_is_wanted_is_kept_and_counted() {
        let mut log = assembly(WIDE);
        for event in [
            LogEvent::File("binlog.000006".into()),
            begins(105),
            LogEvent::Rows(vec![insert("t")]),
            LogEvent::File("binlog.000007".into()),
            begins(106),
            LogEvent::Rows(vec![insert("t"), insert("t"), insert("u")]),
            LogEvent::Other,
            begins(107),
            LogEvent::Statement("TRUNCATE TABLE t".into()),
            begins(110),
            LogEvent::Rows(vec![insert("t")]),
        ] {
            log.take(event, 10);
        }
        let Collected { transactions, found, first_file } = log.finish();
        assert_eq!(found, 2);
        assert_eq!(first_file.as_deref(), Some("binlog.000007"));
        let numbers: Vec<_> = transactions.iter().map(|logged| logged.gtid.as_str()).collect();
        assert_eq!(numbers, ["1-1-106", "1-1-107"]);
        let first = &transactions[0];
        assert_eq!((first.bytes, first.rows.len()), (30, 3));
        let counts: Vec<_> =
            first.tables.iter().map(|table| (table.table.as_str(), table.inserted)).collect();
        assert_eq!(counts, [("t", 2), ("u", 1)]);
        assert_eq!(transactions[1].statements, ["TRUNCATE TABLE t"]);
    }

    #[test]
    fn beyond_the_bounds_it_only_counts() {
        let mut log = assembly(Bounds { transactions: 1, bytes: 1000 });
        for sequence in 106..=109 {
            log.take(begins(sequence), 10);
            log.take(LogEvent::Rows(vec![insert("t")]), 10);
        }
        let Collected { transactions, found, .. } = log.finish();
        assert_eq!((transactions.len(), found), (1, 4));

        let mut log = assembly(Bounds { transactions: 9, bytes: 100 });
        log.take(begins(106), 10);
        log.take(LogEvent::Rows(vec![insert("t")]), 50);
        log.take(LogEvent::Rows(vec![insert("t")]), 50);
        log.take(begins(107), 10);
        let Collected { transactions, found, .. } = log.finish();
        assert_eq!((transactions.len(), found), (1, 2));
        assert!(transactions[0].incomplete.is_some() && transactions[0].rows.is_empty());
        assert_eq!(transactions[0].tables[0].inserted, 2, "still counted");
    }

    #[test]
    fn a_package_that_stays_shut_is_not_taken_for_an_empty_one() {
        let mut log = assembly(WIDE);
        log.take(begins(106), 10);
        log.take(LogEvent::Packed, 10);
        log.take(begins(107), 10);
        log.take(LogEvent::Packed, 10);
        log.take(LogEvent::Opens, 10);
        log.take(LogEvent::Rows(vec![insert("t")]), 10);
        let Collected { transactions, .. } = log.finish();
        assert!(transactions[0].incomplete.is_some());
        assert_eq!(transactions[1].incomplete, None);
    }
}
