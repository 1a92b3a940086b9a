//! Putting rows back, in one transaction that the log never hears of.
//!
//! Each row is locked and compared, column by column, before anything is changed: it is what the log
//! has left, or already what it is to be, or else nothing is done at all. After the change each is read
//! again and compared with what it was to be, because a value goes through SQL on its way. Rows that go
//! or come are deleted first and inserted then, so that no unique key is taken twice on the way; foreign
//! keys are not looked at, the rows that come back were whole before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::error::{DiscardError, InspectError};
use super::inspection::End;
use super::judge::Place;
use super::shape::{Shape, TableName};
use super::standing::{AS_LOGGED, StandingRow, quoted, read_row};
use super::undo::Fate;
use crate::topology::{Flavor, Term};

/// What came of it.
#[derive(Debug)]
pub(super) enum PutBack {
    /// So many rows were changed.
    Done(u64),
    /// A row is not what the log says; nothing was changed.
    Surprised(String),
}

/// A row that is to change.
struct Change<'a> {
    place: &'a Place,
    shape: &'a Shape,
    is: Option<StandingRow>,
    wanted: Option<&'a StandingRow>,
}

/// How long the holder of the lock may be silent before the server ends its connection.
const LOCK_IDLE_SECONDS: u32 = 10;

/// The session's settings: what it writes stays out of the log; values go in as they are; and it does
/// not wait longer for the applier's locks than the applier for its.
const SETTINGS: &str = "SET SESSION sql_log_bin=0, foreign_key_checks=0, unique_checks=1, \
     innodb_lock_wait_timeout=5, lock_wait_timeout=5, \
     sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";

/// Makes each row what it is wanted to be, or changes nothing. Holds the lock of those who write terms
/// meanwhile: nobody is made active here in the middle of it, nor was since `term`.
pub(super) async fn put_back(
    returned: &mut End,
    shapes: &HashMap<TableName, Arc<Shape>>,
    fates: &BTreeMap<Place, Fate>,
    term: Term,
) -> Result<PutBack, DiscardError> {
    let mysql = returned.dialect.flavor == Flavor::MySql;
    let conn = &mut returned.conn;
    for statement in
        [AS_LOGGED, SETTINGS, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"]
    {
        conn.query_drop(statement).await.map_err(wrong)?;
    }
    let idle = format!("SET SESSION wait_timeout={LOCK_IDLE_SECONDS}");
    conn.query_drop(idle).await.map_err(wrong)?;
    let question = format!("SELECT GET_LOCK('{}', 0)", Term::LOCK);
    let locked: Option<Option<u8>> = conn.query_first(question).await.map_err(wrong)?;
    if locked.flatten() != Some(1) {
        return Err(DiscardError::Impossible("another Tandem is at it".to_owned()));
    }
    check_term(conn, term).await?;
    if mysql {
        // read_only stays, which stops everybody but this account.
        conn.query_drop("SET GLOBAL super_read_only=0").await.map_err(wrong)?;
    }
    let outcome = match transaction(conn, shapes, fates).await {
        // The applier was there first.
        Err(DiscardError::Inspect(InspectError::Server { code: 1205 | 1213, message })) => {
            Ok(PutBack::Surprised(message))
        }
        outcome => outcome,
    };
    let mut closed = Ok(());
    if !matches!(outcome, Ok(PutBack::Done(_))) {
        closed = conn.query_drop("ROLLBACK").await;
    }
    if mysql {
        closed = closed.and(conn.query_drop("SET GLOBAL super_read_only=1").await);
    }
    let unlock = format!("DO RELEASE_LOCK('{}')", Term::LOCK);
    let unlocked = conn.query_drop(unlock).await;
    let unlocked = unlocked.and(conn.query_drop("SET SESSION wait_timeout=DEFAULT").await);
    let outcome = outcome?;
    closed.and(unlocked).map_err(wrong)?;
    Ok(outcome)
}

/// Nobody may have been made active since `term`. The lock goes with the connection.
async fn check_term(conn: &mut Conn, term: Term) -> Result<(), DiscardError> {
    let question = "SELECT term, active FROM tandem.term ORDER BY term DESC LIMIT 1";
    let highest: Option<(u64, String)> = match conn.query_first(question).await {
        // ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1146 | 1049) => None,
        highest => highest.map_err(wrong)?,
    };
    match highest.filter(|(highest, _)| *highest > term.0) {
        None => Ok(()),
        Some((term, active)) => Err(DiscardError::Superseded { term: Term(term), active }),
    }
}

async fn transaction(
    conn: &mut Conn,
    shapes: &HashMap<TableName, Arc<Shape>>,
    fates: &BTreeMap<Place, Fate>,
) -> Result<PutBack, DiscardError> {
    conn.query_drop("START TRANSACTION").await.map_err(wrong)?;
    let mut changes = Vec::new();
    for (place, fate) in fates {
        let Some(shape) = shapes.get(&place.0) else { continue };
        let is = look(conn, place, shape).await?;
        if Fate::same(shape, is.as_ref(), fate.wanted.as_ref()) {
            continue;
        }
        if !Fate::same(shape, is.as_ref(), fate.left.as_ref()) {
            return Ok(PutBack::Surprised(fate.surprise(place, shape, is.as_ref())));
        }
        changes.push(Change { place, shape, is, wanted: fate.wanted.as_ref() });
    }
    let (updates, others): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.is_update());
    let goes = others.iter().filter(|change| change.is.is_some());
    let comes = others.iter().filter(|change| change.wanted.is_some());
    let statements = goes
        .map(|change| change.delete())
        .chain(comes.map(|change| change.insert()))
        .chain(updates.iter().map(|change| change.update()));
    for (change, statement) in statements {
        let statement = statement.ok_or_else(|| {
            DiscardError::Impossible(format!(
                "{} has values that cannot be written",
                change.place.0
            ))
        })?;
        conn.query_drop(statement).await.map_err(wrong)?;
        let affected = conn.affected_rows();
        if affected != 1 {
            let name = &change.place.0;
            let what = format!("{name}: a statement about one row changed {affected}");
            return Err(DiscardError::Impossible(what));
        }
    }
    for change in &changes {
        let is = look(conn, change.place, change.shape).await?;
        if !Fate::same(change.shape, is.as_ref(), change.wanted) {
            let wanted = Fate { left: change.wanted.cloned(), wanted: None };
            let what = wanted.surprise(change.place, change.shape, is.as_ref());
            return Err(DiscardError::Impossible(format!("it cannot be put back: {what}")));
        }
    }
    conn.query_drop("COMMIT").await.map_err(wrong)?;
    Ok(PutBack::Done(changes.len() as u64))
}

/// The row as it is, locked; and the gap, where there is none.
async fn look(
    conn: &mut Conn,
    (name, key): &Place,
    shape: &Shape,
) -> Result<Option<StandingRow>, DiscardError> {
    let condition = condition(shape, key).ok_or_else(|| {
        DiscardError::Impossible(format!("{name} has a key that rows cannot be looked up by"))
    })?;
    Ok(read_row(conn, name, shape, &condition, true).await?)
}

type Condition<'a> = Vec<(&'a str, String)>;

fn condition<'a>(shape: &'a Shape, key: &[super::cell::Cell]) -> Option<Condition<'a>> {
    let columns = shape.primary.iter().zip(key).map(|(index, cell)| {
        let column = &shape.columns[*index];
        Some((column.name.as_str(), column.kind.literal(cell)?))
    });
    columns.collect()
}

type Statement<'a, 'b> = (&'b Change<'a>, Option<String>);

impl<'a> Change<'a> {
    /// Whether the row stays where it is, and no unique key can be in the way.
    fn is_update(&self) -> bool {
        self.is.is_some() && self.wanted.is_some() && self.shape.unique.is_empty()
    }

    fn table(&self) -> String {
        let (name, _) = self.place;
        format!("{}.{}", quoted(&name.schema), quoted(&name.table))
    }

    fn which(&self) -> Option<String> {
        let condition = condition(self.shape, &self.place.1)?;
        let parts: Vec<String> = condition
            .iter()
            .map(|(column, literal)| format!("{} = {literal}", quoted(column)))
            .collect();
        Some(parts.join(" AND "))
    }

    /// The columns that are written, each with its value.
    fn values(&self) -> Option<Vec<(String, String)>> {
        let columns = self.shape.columns.iter().zip(self.wanted?);
        let written = columns.filter(|(column, _)| !column.generated);
        written
            .map(|(column, cell)| Some((quoted(&column.name), column.kind.stored(cell.as_ref()?)?)))
            .collect()
    }

    fn delete(&self) -> Statement<'a, '_> {
        (self, self.which().map(|which| format!("DELETE FROM {} WHERE {which}", self.table())))
    }

    fn insert(&self) -> Statement<'a, '_> {
        let statement = self.values().map(|values| {
            let (columns, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
            let (columns, values) = (columns.join(", "), values.join(", "));
            format!("INSERT INTO {} ({columns}) VALUES ({values})", self.table())
        });
        (self, statement)
    }

    fn update(&self) -> Statement<'a, '_> {
        let statement = self.values().zip(self.which()).map(|(values, which)| {
            let values: Vec<String> =
                values.into_iter().map(|(column, value)| format!("{column} = {value}")).collect();
            format!("UPDATE {} SET {} WHERE {which}", self.table(), values.join(", "))
        });
        (self, statement)
    }
}

fn wrong(error: mysql_async::Error) -> DiscardError {
    InspectError::from(error).into()
}
