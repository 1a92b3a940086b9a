//! The whole of a discard on the returned master: read, follow, put back.
//!
//! The rows are put back in one transaction, outside of the log (`put_back.rs`). Nothing is stopped for
//! it: the applier may go on, and a row that it changes between the reading of the log and the look at
//! the row is a reason to read the log once more. What is already as it is to be stays, so that a
//! discard which was broken off is done again as if it had not been.
//!
//! The active master is only asked here. That it never fetches what was discarded is the caller's part.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mysql_async::Conn;
use tracing::debug;

use super::assembly::Logged;
use super::error::{DiscardError, InspectError};
use super::inspection::{End, KEPT, compare};
use super::judge::{Place, shown};
use super::log::{read_all, read_log};
use super::put_back::{PutBack, put_back};
use super::shape::{Shape, TableName};
use super::undo::{Fate, Undo};
use super::undoable::{check_settings, check_transactions, shape_of};
use crate::topology::{Discarded, Flavor, GtidSet, TableChange, Term};

/// Connections to the returned master. Reading a log uses one up.
#[derive(Debug)]
pub struct Returned {
    /// To write.
    pub end: End,
    /// To find what is stranded.
    pub log: Conn,
    /// One for each attempt to undo it.
    pub attempts: Vec<Conn>,
}

/// Rows that are followed, each for a few statements.
const ROWS: usize = 20_000;

/// Keys that are shown of each table.
const SHOWN_KEYS: usize = 10;

/// Undoes on `returned` what it has and `active` lacks, unless it knows a higher term than `term`. Takes
/// as long as the log is long; whoever calls it sets the bound.
///
/// # Errors
/// When it cannot be done; then nothing is done.
pub async fn discard(
    returned: Returned,
    mut active: End,
    term: Term,
) -> Result<Discarded, DiscardError> {
    let Returned { end: mut writer, log, attempts } = returned;
    let flavor = writer.dialect.flavor;
    let compared = compare(&mut writer, &mut active).await?;
    let stranded = &compared.stranded;
    if stranded.is_empty() {
        return Ok(Discarded::default());
    }
    let collected = read_log(log, compared.wanted(flavor), KEPT).await?;
    let (found, expected) = (collected.found, stranded.count());
    if found == 0 || flavor == Flavor::MySql && found < expected {
        return Err(InspectError::Incomplete { found, expected }.into());
    }
    let transactions = collected.transactions;
    check_transactions(&transactions, found)?;
    check_settings(&mut writer, &mut active, &transactions).await?;
    let mut shapes = HashMap::new();
    for name in tables_of(&transactions) {
        let shape = shape_of(&mut writer, &name, &transactions).await?;
        shapes.insert(name, Arc::new(shape));
    }
    let file = collected.first_file;
    let file = file.ok_or_else(|| DiscardError::Impossible("its log has no name".to_owned()))?;
    let mut surprise = String::new();
    for log in attempts {
        let mut undo = Undo::new(stranded.clone(), shapes.clone(), ROWS);
        read_all(log, flavor, &file, |event| undo.take(event)).await?;
        let fates = undo.finish().map_err(DiscardError::Impossible)?;
        match put_back(&mut writer, &shapes, &fates, term).await? {
            PutBack::Surprised(what) => {
                debug!(what, "the applier may have been there; the log is read once more");
                surprise = what;
            }
            PutBack::Done(rows) => {
                let gtids = stranded.clone();
                let tables = changes(&transactions, &shapes, &fates);
                let position = last_of(&compared.executed_text, stranded);
                return Ok(Discarded { gtids, transactions: found, tables, rows, position });
            }
        }
    }
    Err(DiscardError::Impossible(surprise))
}

fn tables_of(transactions: &[Logged]) -> BTreeSet<TableName> {
    let tables = transactions.iter().flat_map(|transaction| &transaction.tables);
    tables
        .map(|table| TableName { schema: table.schema.clone(), table: table.table.clone() })
        .collect()
}

/// What the transactions had done to each table, for people.
fn changes(
    transactions: &[Logged],
    shapes: &HashMap<TableName, Arc<Shape>>,
    fates: &BTreeMap<Place, Fate>,
) -> Vec<TableChange> {
    let mut sums: Vec<TableChange> = Vec::new();
    for table in transactions.iter().flat_map(|transaction| &transaction.tables) {
        let same = |sum: &&mut TableChange| sum.schema == table.schema && sum.table == table.table;
        if let Some(sum) = sums.iter_mut().find(same) {
            sum.inserted += table.inserted;
            sum.updated += table.updated;
            sum.deleted += table.deleted;
        } else {
            sums.push(table.clone());
        }
    }
    for sum in &mut sums {
        let name = TableName { schema: sum.schema.clone(), table: sum.table.clone() };
        let Some(shape) = shapes.get(&name) else { continue };
        let keys = fates.keys().filter(|(table, _)| *table == name).take(SHOWN_KEYS);
        sum.keys = keys.map(|(_, key)| shown(shape, key)).collect();
    }
    sums
}

/// Of the positions of MariaDB those of the domains that have anything stranded.
fn last_of(executed: &str, stranded: &GtidSet) -> String {
    let wanted = |gtid: &&str| {
        let domain = gtid.split('-').next().and_then(|domain| domain.parse().ok());
        stranded.domains().any(|stranded| Some(stranded) == domain)
    };
    executed.split(',').map(str::trim).filter(wanted).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_one_is_told_the_last_of_each_domain() {
        let stranded = GtidSet::parse(Flavor::MariaDb, "1-1-106..110").expect("a set");
        assert_eq!(last_of("1-1-110, 2-2-80", &stranded), "1-1-110");
        assert_eq!(last_of("2-2-80", &stranded), "");
    }
}
