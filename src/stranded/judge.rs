//! Whether a transaction could be applied on the active master as if nothing had happened there since.
//!
//! Pure but for the questions to [`Standing`]. The transactions come in their order; what those before
//! have changed lies in an overlay over the active master's rows, by primary key.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::assembly::Logged;
use super::cell::{Cell, Logged as LoggedValue};
use super::error::InspectError;
use super::event::RowChange;
use super::shape::{Reference, Shape, TableName};
use super::standing::{Standing, StandingRow};
use crate::topology::{Conflict, MergeVerdict, StrandedTransaction};

/// Judges transactions, one after the other.
#[derive(Debug)]
pub(super) struct Judge<S> {
    standing: S,
    overlay: HashMap<Place, Entry>,
    /// Tables in which an earlier transaction did what nobody can follow, and which.
    blind_tables: HashMap<TableName, String>,
    /// An earlier transaction that may have changed anything.
    blind: Option<String>,
    /// Rows that may still be looked up.
    rows_left: u64,
    /// What to grant so that more can be judged.
    grant: String,
}

/// A row, by its table and primary key.
pub(super) type Place = (TableName, Vec<Cell>);

/// What the transactions before have made of a row.
#[derive(Clone, Debug)]
struct Entry {
    /// `None` when it was deleted.
    row: Option<StandingRow>,
    /// The last one that changed it.
    by: String,
    /// Whether that one may not be merged.
    doubtful: bool,
}

/// Something that speaks against a row's change.
#[derive(Debug)]
enum Objection {
    Conflict(Conflict),
    Unjudged(String),
}

type Judgement = Result<Option<Objection>, InspectError>;

/// Keys that are shown of each table of a transaction, and conflicts of a transaction.
const SHOWN_KEYS: usize = 3;
const SHOWN_CONFLICTS: usize = 5;

impl<S: Standing> Judge<S> {
    /// A judge that looks up at most `rows` rows.
    pub(super) fn new(standing: S, rows: u64, grant: String) -> Self {
        Self {
            standing,
            overlay: HashMap::new(),
            blind_tables: HashMap::new(),
            blind: None,
            rows_left: rows,
            grant,
        }
    }

    /// Judges the next transaction.
    pub(super) async fn judge(
        &mut self,
        logged: Logged,
    ) -> Result<StrandedTransaction, InspectError> {
        let Logged { gtid, at, bytes, mut tables, statements, rows, incomplete } = logged;
        let mut conflicts = Vec::new();
        let mut unjudged = self.blind.as_ref().map(|by| format!("it follows {by}"));
        if let Some(statement) = statements.first() {
            unjudged
                .get_or_insert_with(|| format!("it has a statement instead of rows: {statement}"));
        }
        if let Some(why) = &incomplete {
            unjudged.get_or_insert_with(|| why.clone());
        }
        if unjudged.is_some() && self.blind.is_none() {
            self.blind = Some(format!("{gtid}, of which it is not known what it changes"));
        }
        let mut touched = BTreeSet::new();
        for row in &rows {
            let name = TableName { schema: row.schema.clone(), table: row.table.clone() };
            let shape = self.standing.shape(&name).await?;
            if let (Some(shape), Some(change)) = (
                &shape,
                tables.iter_mut().find(|t| t.schema == name.schema && t.table == name.table),
            ) && change.keys.len() < SHOWN_KEYS
            {
                change.keys.extend(shown_key(shape, row));
            }
            if unjudged.is_some() {
                continue;
            }
            match self.change(&name, shape, row, &gtid, &mut touched).await? {
                Some(Objection::Conflict(conflict)) => conflicts.push(conflict),
                Some(Objection::Unjudged(why)) => unjudged = Some(why),
                None => {}
            }
        }
        let verdict = match (conflicts.is_empty(), unjudged) {
            (true, None) => MergeVerdict::Safe,
            (true, Some(why)) => MergeVerdict::Unjudged(why),
            (false, _) => {
                conflicts.truncate(SHOWN_CONFLICTS);
                MergeVerdict::Conflict(conflicts)
            }
        };
        if verdict != MergeVerdict::Safe {
            self.doubt(&gtid, &rows, &touched);
        }
        Ok(StrandedTransaction { gtid, at, bytes, tables, statements, verdict })
    }

    /// What a transaction did that may not be merged is no ground for the next ones.
    fn doubt(&mut self, gtid: &str, rows: &[RowChange], touched: &BTreeSet<Place>) {
        for place in touched {
            if let Some(entry) = self.overlay.get_mut(place) {
                entry.doubtful = true;
            }
        }
        let judged: BTreeSet<&TableName> = touched.iter().map(|(table, _)| table).collect();
        for row in rows {
            let name = TableName { schema: row.schema.clone(), table: row.table.clone() };
            // Of a table in which no row could be followed, none is known any more.
            if !judged.contains(&name) {
                self.blind_tables.entry(name).or_insert_with(|| gtid.to_owned());
            }
        }
    }

    async fn change(
        &mut self,
        name: &TableName,
        shape: Option<Arc<Shape>>,
        row: &RowChange,
        gtid: &str,
        touched: &mut BTreeSet<Place>,
    ) -> Judgement {
        let unjudged = |why: String| Ok(Some(Objection::Unjudged(why)));
        if let Some(by) = self.blind_tables.get(name) {
            return unjudged(format!("{name} was changed by {by}, which could not be judged"));
        }
        let Some(shape) = shape else {
            let grant = self.grant.replace("{table}", &format!("`{}`.*", name.schema));
            return unjudged(format!("{name} is not there, or may not be read; {grant}"));
        };
        if shape.primary.is_empty() {
            return unjudged(format!("{name} has no primary key"));
        }
        let (before, after) = match (cells(&shape, &row.before), cells(&shape, &row.after)) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(why), _) | (_, Err(why)) => return unjudged(format!("{name}: {why}")),
        };
        let Some(left) = self.rows_left.checked_sub(1) else {
            return unjudged("more rows than are looked at".to_owned());
        };
        self.rows_left = left;
        let change = Change { name, shape: &shape, before, after };
        let (old_key, new_key) = match (change.key(&change.before), change.key(&change.after)) {
            (Ok(old), Ok(new)) => (old, new),
            (Err(why), _) | (_, Err(why)) => return unjudged(format!("{name}: {why}")),
        };
        let objection = self.objection(&change, old_key.as_ref(), new_key.as_ref()).await?;
        // Also what is in conflict is what later ones found.
        let Change { after, .. } = change;
        for (key, row) in [(old_key, None), (new_key, after)] {
            if let Some(key) = key {
                let place = (name.clone(), key);
                touched.insert(place.clone());
                self.overlay.insert(place, Entry { row, by: gtid.to_owned(), doubtful: false });
            }
        }
        Ok(objection)
    }

    async fn objection(
        &mut self,
        change: &Change<'_>,
        old_key: Option<&Vec<Cell>>,
        new_key: Option<&Vec<Cell>>,
    ) -> Judgement {
        if let (Some(key), Some(before)) = (old_key, &change.before)
            && let Some(objection) = self.still_stands(change, key, before).await?
        {
            return Ok(Some(objection));
        }
        if let (Some(key), Some(after)) = (new_key, &change.after) {
            let key_is_new = old_key != Some(key);
            if key_is_new && let Some(objection) = self.is_free(change, key).await? {
                return Ok(Some(objection));
            }
            if let Some(objection) = self.unique_keys_are_free(change, old_key, after).await? {
                return Ok(Some(objection));
            }
            if let Some(objection) = self.parents_are_there(change, after).await? {
                return Ok(Some(objection));
            }
        }
        self.nobody_refers(change).await
    }

    /// The row must be what the transaction found.
    async fn still_stands(
        &mut self,
        change: &Change<'_>,
        key: &[Cell],
        before: &StandingRow,
    ) -> Judgement {
        let place = (change.name.clone(), key.to_vec());
        let standing = match self.overlay.get(&place) {
            Some(entry) if entry.doubtful => {
                let by = &entry.by;
                return Ok(change.conflict(key, format!("builds on {by}, which may not be merged")));
            }
            Some(entry) => entry.row.clone(),
            None => {
                let Some(condition) = change.condition(&change.shape.primary, key) else {
                    return Ok(change.no_key());
                };
                self.standing.row(change.name, change.shape, &condition).await?
            }
        };
        let Some(standing) = standing else {
            return Ok(change.conflict(key, "the row is gone".to_owned()));
        };
        Ok(change.difference(key, before, &standing))
    }

    /// No row may have the key.
    async fn is_free(&mut self, change: &Change<'_>, key: &[Cell]) -> Judgement {
        let place = (change.name.clone(), key.to_vec());
        match self.overlay.get(&place) {
            Some(entry) if entry.doubtful => {
                let by = &entry.by;
                Ok(change.conflict(key, format!("builds on {by}, which may not be merged")))
            }
            // The returned master has found it free.
            Some(_) => Ok(None),
            None => {
                let Some(condition) = change.condition(&change.shape.primary, key) else {
                    return Ok(change.no_key());
                };
                let standing = self.standing.row(change.name, change.shape, &condition).await?;
                Ok(standing.and_then(|_| change.conflict(key, "the key is taken".to_owned())))
            }
        }
    }

    /// No other row may have a value that must be the only one of its kind.
    async fn unique_keys_are_free(
        &mut self,
        change: &Change<'_>,
        old_key: Option<&Vec<Cell>>,
        after: &StandingRow,
    ) -> Judgement {
        for unique in &change.shape.unique {
            let changed = |column: &usize| {
                change.before.as_ref().is_none_or(|before| before[*column] != after[*column])
            };
            if unique.partial {
                let why = format!(
                    "{} has the unique key {}, by which rows cannot be looked up",
                    change.name, unique.name
                );
                return Ok(Some(Objection::Unjudged(why)));
            }
            if !unique.columns.iter().any(changed) {
                continue;
            }
            let Some(values) = all(&unique.columns, after) else { return Ok(change.no_key()) };
            if values.contains(&Cell::Null) {
                continue;
            }
            let Some(condition) = change.condition(&unique.columns, &values) else {
                return Ok(change.no_key());
            };
            let standing = self.standing.row(change.name, change.shape, &condition).await?;
            let Some(standing) = standing else { continue };
            let Some(owner) = all(&change.shape.primary, &standing) else {
                return Ok(change.no_key());
            };
            // What became of a row that was changed before, the returned master has seen itself.
            let place = (change.name.clone(), owner.clone());
            let followed = self.overlay.get(&place).is_some_and(|entry| !entry.doubtful);
            if !followed && old_key != Some(&owner) {
                let what = format!("has the same {}", unique.name);
                return Ok(change.conflict(&owner, what));
            }
        }
        Ok(None)
    }

    /// Whom the row refers to must be there.
    async fn parents_are_there(&mut self, change: &Change<'_>, after: &StandingRow) -> Judgement {
        for parent in &change.shape.parents {
            let Some(values) = all(&parent.ours, after) else { return Ok(change.no_key()) };
            if values.contains(&Cell::Null) {
                continue;
            }
            let Some(condition) = change.condition_of(parent, &values) else {
                return Ok(change.no_key());
            };
            if !self.standing.exists(&parent.table, &condition).await?
                && !self.is_in_overlay(parent, &values).await?
            {
                let key = all(&change.shape.primary, after).unwrap_or_default();
                let what = format!("its parent in {} is gone ({})", parent.table, parent.name);
                return Ok(change.conflict(&key, what));
            }
        }
        Ok(None)
    }

    async fn is_in_overlay(
        &mut self,
        parent: &Reference,
        values: &[Cell],
    ) -> Result<bool, InspectError> {
        let Some(shape) = self.standing.shape(&parent.table).await? else { return Ok(false) };
        let index = |name: &String| shape.columns.iter().position(|column| column.name == *name);
        let Some(columns) = parent.theirs.iter().map(index).collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        Ok(self.overlay.iter().any(|((table, _), entry)| {
            let row = entry.row.as_ref().filter(|_| *table == parent.table && !entry.doubtful);
            row.and_then(|row| all(&columns, row)).as_deref() == Some(values)
        }))
    }

    /// Nobody may refer to a row that goes, or that is known by another value.
    async fn nobody_refers(&mut self, change: &Change<'_>) -> Judgement {
        let Some(before) = &change.before else { return Ok(None) };
        for child in &change.shape.children {
            let stays = change.after.as_ref().is_some_and(|after| {
                child.ours.iter().all(|column| before[*column] == after[*column])
            });
            let Some(values) = all(&child.ours, before) else { return Ok(change.no_key()) };
            if stays || values.contains(&Cell::Null) {
                continue;
            }
            let Some(condition) = change.condition_of(child, &values) else {
                return Ok(change.no_key());
            };
            if self.standing.exists(&child.table, &condition).await? {
                let why = format!("rows of {} refer to the row ({})", child.table, child.name);
                return Ok(Some(Objection::Unjudged(why)));
            }
        }
        Ok(None)
    }
}

/// A row's change in terms of the active master's table.
struct Change<'a> {
    name: &'a TableName,
    shape: &'a Shape,
    before: Option<StandingRow>,
    after: Option<StandingRow>,
}

impl Change<'_> {
    fn key(&self, row: &Option<StandingRow>) -> Result<Option<Vec<Cell>>, String> {
        let Some(row) = row else { return Ok(None) };
        let key = all(&self.shape.primary, row);
        key.map(Some).ok_or_else(|| "its key is of a type that cannot be compared".to_owned())
    }

    fn no_key(&self) -> Option<Objection> {
        let why = format!("{} has a key of a type that rows cannot be looked up by", self.name);
        Some(Objection::Unjudged(why))
    }

    fn conflict(&self, key: &[Cell], what: String) -> Option<Objection> {
        let key = shown(self.shape, key);
        Some(Objection::Conflict(Conflict { table: self.name.to_string(), key, what }))
    }

    /// `column = literal` for each of these columns; `None` when one is no good for that.
    fn condition(&self, columns: &[usize], values: &[Cell]) -> Option<Vec<(&str, String)>> {
        let condition = columns.iter().zip(values).map(|(index, value)| {
            let column = &self.shape.columns[*index];
            Some((column.name.as_str(), column.kind.literal(value)?))
        });
        condition.collect()
    }

    /// The same under the names that the other end of a foreign key has for them.
    fn condition_of<'r>(
        &self,
        reference: &'r Reference,
        values: &[Cell],
    ) -> Option<Vec<(&'r str, String)>> {
        let ours = self.condition(&reference.ours, values)?;
        let theirs = reference.theirs.iter().map(String::as_str);
        Some(theirs.zip(ours.into_iter().map(|(_, literal)| literal)).collect())
    }

    fn difference(
        &self,
        key: &[Cell],
        before: &StandingRow,
        now: &StandingRow,
    ) -> Option<Objection> {
        for ((column, before), now) in self.shape.columns.iter().zip(before).zip(now) {
            if column.generated {
                continue;
            }
            let (Some(before), Some(now)) = (before, now) else {
                let why = format!(
                    "{}.{} is of a type whose values cannot be compared",
                    self.name, column.name
                );
                return Some(Objection::Unjudged(why));
            };
            if before != now {
                let (was, is) = (column.kind.show(before), column.kind.show(now));
                return self.conflict(key, format!("{} was {was} and is {is}", column.name));
            }
        }
        None
    }
}

/// The values of these columns; `None` when one is not known.
pub(super) fn all(columns: &[usize], row: &StandingRow) -> Option<Vec<Cell>> {
    columns.iter().map(|column| row.get(*column).cloned().flatten()).collect()
}

/// A row image read by the table's shape.
pub(super) fn cells(
    shape: &Shape,
    image: &Option<Vec<Option<LoggedValue>>>,
) -> Result<Option<StandingRow>, String> {
    let Some(image) = image else { return Ok(None) };
    if image.len() != shape.columns.len() {
        return Err(format!(
            "the row has {} columns, the table {}",
            image.len(),
            shape.columns.len()
        ));
    }
    let cell = |(value, column): (&Option<LoggedValue>, &super::shape::Column)| match value {
        Some(value) => Ok(column.kind.of_log(value)),
        None if column.generated => Ok(None),
        None => Err("the row is not whole in the log (binlog_row_image)".to_owned()),
    };
    image.iter().zip(&shape.columns).map(cell).collect::<Result<_, _>>().map(Some)
}

/// The key of a change, for people.
fn shown_key(shape: &Shape, row: &RowChange) -> Option<String> {
    let image = row.before.as_ref().or(row.after.as_ref())?;
    let cell = |column: &usize| {
        let value = image.get(*column)?.as_ref()?;
        shape.columns.get(*column)?.kind.of_log(value)
    };
    let key: Option<Vec<Cell>> = shape.primary.iter().map(cell).collect();
    key.filter(|key| !key.is_empty()).map(|key| shown(shape, &key))
}

pub(super) fn shown(shape: &Shape, key: &[Cell]) -> String {
    let parts = shape.primary.iter().zip(key).map(|(index, cell)| {
        let column = &shape.columns[*index];
        format!("{}={}", column.name, column.kind.show(cell))
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
