//! What a returned master's rows must become for what is stranded never to have happened.
//!
//! Pure. It is fed with the master's own binary log from the first stranded transaction on, which has
//! in their order the stranded transactions and what the master has since received from the active
//! one and executed (`log_slave_updates`). Rows that the stranded ones touched are followed by their
//! primary key. Each has two ends: what the log has left there, and what it would be had only the
//! others been executed. A row event carries whole rows, so the second end is what the last of the
//! others has written, and where none has, what the first stranded one had found.
//!
//! So a row that the active master has changed since is no obstacle: its change, once executed here, is
//! what stays. And a change of the active master that this one could not execute (the key was taken,
//! the row was gone) is not in its log; it finds the row that it needs when its applier goes on.
//!
//! What it takes for granted, its caller must see to: that row events of the others are whole
//! (`binlog_row_image`), and that nothing was changed past the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::event::{Gtid, LogEvent, RowChange};
use super::judge::{Place, all, cells, shown};
use super::shape::{Shape, TableName};
use super::standing::StandingRow;
use crate::topology::GtidSet;

/// Follows the rows that stranded transactions touched.
#[derive(Debug)]
pub(super) struct Undo {
    stranded: GtidSet,
    shapes: HashMap<TableName, Arc<Shape>>,
    most: usize,
    rows: BTreeMap<Place, Fate>,
    /// Whose events come now.
    of: Author,
    /// The events of this transaction are packed, and did not come out yet.
    packed: bool,
    obstacle: Option<String>,
}

/// Who wrote a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Author {
    /// Nobody of interest: it is older than what is stranded.
    Before,
    Stranded,
    Other,
}

/// A row's two ends; `None` where there is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// What the log has left.
    pub(super) left: Option<StandingRow>,
    /// What the others alone would have left.
    pub(super) wanted: Option<StandingRow>,
}

impl Undo {
    /// For the transactions of `stranded`, which changed rows of the tables in `shapes` and no others;
    /// at most `most` rows.
    pub(super) fn new(
        stranded: GtidSet,
        shapes: HashMap<TableName, Arc<Shape>>,
        most: usize,
    ) -> Self {
        let (rows, of) = (BTreeMap::new(), Author::Before);
        Self { stranded, shapes, most, rows, of, packed: false, obstacle: None }
    }

    /// The next event of the log.
    pub(super) fn take(&mut self, event: LogEvent) {
        if self.obstacle.is_some() {
            return;
        }
        let taken = match event {
            LogEvent::Begins(gtid, _) => self.begin(&gtid),
            LogEvent::File(_) | LogEvent::Outside | LogEvent::Other => Ok(()),
            _ if self.of == Author::Before => Ok(()),
            LogEvent::Rows(rows) => rows.iter().try_for_each(|row| self.row(row)),
            LogEvent::Statement(text) => self.statement(&text),
            LogEvent::Packed => {
                self.packed = true;
                Ok(())
            }
            LogEvent::Opens => {
                self.packed = false;
                Ok(())
            }
            LogEvent::Unreadable(why) => Err(format!("its log cannot be read through: {why}")),
        };
        self.obstacle = taken.err();
    }

    /// The rows, or why they cannot be told.
    pub(super) fn finish(mut self) -> Result<BTreeMap<Place, Fate>, String> {
        self.unpacked()?;
        self.obstacle.map_or(Ok(self.rows), Err)
    }

    fn begin(&mut self, gtid: &Gtid) -> Result<(), String> {
        self.unpacked()?;
        let stranded = match gtid {
            Gtid::Domain { domain, sequence, .. } => {
                self.stranded.has_in_domain(*domain, *sequence)
            }
            Gtid::Source { uuid, tag, number } => self.stranded.has_of_source(*uuid, tag, *number),
        };
        self.of = match self.of {
            _ if stranded => Author::Stranded,
            Author::Before => Author::Before,
            Author::Stranded | Author::Other => Author::Other,
        };
        Ok(())
    }

    fn unpacked(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.packed) {
            return Err("its log has compressed rows that cannot be unpacked".to_owned());
        }
        Ok(())
    }

    /// What a statement changes is not known. One of the others is of no interest when it is about
    /// other tables; DDL for them comes along in the life of every pair.
    fn statement(&self, text: &str) -> Result<(), String> {
        let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
        let first = words.next().unwrap_or_default();
        let about = words.next().unwrap_or_default();
        let ddl = ["CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE", "GRANT", "REVOKE", "ANALYZE"];
        // What is there already stays as it is.
        let creates =
            first == "CREATE" && matches!(about.as_str(), "TABLE" | "DATABASE" | "SCHEMA");
        let schema = matches!(about.as_str(), "DATABASE" | "SCHEMA");
        let concerns = !creates && (schema || self.shapes.keys().any(|name| names(text, name)));
        if self.of == Author::Other && ddl.contains(&first.as_str()) && !concerns {
            return Ok(());
        }
        let text: String = text.chars().take(200).collect();
        let whose = if self.of == Author::Stranded { "what is stranded" } else { "its log since" };
        Err(format!("{whose} has a statement instead of rows: {text}"))
    }

    fn row(&mut self, row: &RowChange) -> Result<(), String> {
        let name = TableName { schema: row.schema.clone(), table: row.table.clone() };
        let Some(shape) = self.shapes.get(&name).cloned() else {
            return match self.of {
                Author::Stranded => Err(format!("{name} is not known")),
                Author::Before | Author::Other => Ok(()),
            };
        };
        let image = |image| cells(&shape, image).map_err(|why| format!("{name}: {why}"));
        let (before, after) = (image(&row.before)?, image(&row.after)?);
        let key = |row: &Option<StandingRow>| {
            let Some(row) = row else { return Ok(None) };
            let key = all(&shape.primary, row).filter(|key| !key.is_empty());
            let key = key.ok_or_else(|| format!("{name} has no key that can be compared"))?;
            Ok::<_, String>(Some((name.clone(), key)))
        };
        let (old, new) = (key(&before)?, key(&after)?);
        match self.of {
            Author::Stranded => self.stranded(old, before, new, after),
            Author::Before | Author::Other => self.other(old, new, after),
        }
        if self.rows.len() > self.most {
            return Err(format!("it is about more than {} rows", self.most));
        }
        Ok(())
    }

    fn stranded(
        &mut self,
        old: Option<Place>,
        before: Option<StandingRow>,
        new: Option<Place>,
        after: Option<StandingRow>,
    ) {
        if let Some(old) = old {
            let fate = self.rows.entry(old).or_insert(Fate { left: None, wanted: before });
            fate.left = None;
        }
        if let Some(new) = new {
            self.rows.entry(new).or_insert(Fate { left: None, wanted: None }).left = after;
        }
    }

    fn other(&mut self, old: Option<Place>, new: Option<Place>, after: Option<StandingRow>) {
        if let Some(fate) = old.and_then(|old| self.rows.get_mut(&old)) {
            *fate = Fate { left: None, wanted: None };
        }
        if let Some(fate) = new.and_then(|new| self.rows.get_mut(&new)) {
            *fate = Fate { left: after.clone(), wanted: after };
        }
    }
}

/// Whether the table's name occurs in the statement. One that needs quotes is found anywhere.
fn names(statement: &str, name: &TableName) -> bool {
    let in_word = |letter: char| letter.is_alphanumeric() || "_$".contains(letter);
    let table = name.table.to_lowercase();
    let statement = statement.to_lowercase();
    if table.chars().all(in_word) {
        return statement.split(|letter| !in_word(letter)).any(|word| word == table);
    }
    statement.contains(&table)
}

impl Fate {
    /// Whether the two rows are the same but for what follows from the rest.
    pub(super) fn same(
        shape: &Shape,
        one: Option<&StandingRow>,
        other: Option<&StandingRow>,
    ) -> bool {
        match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                let mut columns = shape.columns.iter().zip(one.iter().zip(other));
                columns
                    .all(|(column, (one, other))| column.generated || one.is_some() && one == other)
            }
            _ => false,
        }
    }

    /// What the row is, when it is neither of the ends: `app.t id=1: a is 9, and 5 by the log`.
    pub(super) fn surprise(
        &self,
        place: &Place,
        shape: &Shape,
        is: Option<&StandingRow>,
    ) -> String {
        let (name, key) = place;
        let what = match (is, &self.left) {
            (None, _) => "the row is gone, and the log has not deleted it".to_owned(),
            (Some(_), None) => "the row is there, and not by the log".to_owned(),
            (Some(is), Some(left)) => {
                let show = |index: usize, row: &StandingRow| match row.get(index) {
                    Some(Some(cell)) => shape.columns[index].kind.show(cell),
                    _ => "of a type that cannot be compared".to_owned(),
                };
                let differs = (0..shape.columns.len()).find(|index| {
                    !shape.columns[*index].generated
                        && (is[*index] != left[*index] || is[*index].is_none())
                });
                differs.map_or_else(String::new, |index| {
                    let column = &shape.columns[index].name;
                    format!("{column} is {}, and by the log {}", show(index, is), show(index, left))
                })
            }
        };
        format!("{name} {}: {what}", shown(shape, key))
    }
}

#[cfg(test)]
#[path = "undo_tests.rs"]
mod tests;
