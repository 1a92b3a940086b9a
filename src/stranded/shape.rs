//! What a table looks like on the active master: its columns, its unique keys, who refers to whom.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::cell::Kind;
use super::error::InspectError;

/// A table by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TableName {
    pub(super) schema: String,
    pub(super) table: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// A table's shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// In their order, which is that of a row image.
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key; empty if there is none.
    pub(super) primary: Vec<usize>,
    /// The other unique keys.
    pub(super) unique: Vec<UniqueKey>,
    /// Whom its rows refer to.
    pub(super) parents: Vec<Reference>,
    /// Who refers to its rows.
    pub(super) children: Vec<Reference>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// It follows from the others.
    pub(super) generated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UniqueKey {
    pub(super) name: String,
    pub(super) columns: Vec<usize>,
    /// It covers beginnings of values, or what is computed from them: nothing that a row can be
    /// looked up by.
    pub(super) partial: bool,
}

/// One end of a foreign key, seen from the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) name: String,
    /// The other table.
    pub(super) table: TableName,
    /// Its columns.
    pub(super) theirs: Vec<String>,
    /// The columns of this one.
    pub(super) ours: Vec<usize>,
}

const COLUMNS: &str = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, \
     CHARACTER_OCTET_LENGTH, COALESCE(GENERATION_EXPRESSION, '') <> '' \
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
     ORDER BY ORDINAL_POSITION";
const UNIQUE_KEYS: &str = "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART \
     FROM information_schema.STATISTICS \
     WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 \
     ORDER BY INDEX_NAME, SEQ_IN_INDEX";
const PARENTS: &str = "SELECT CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, \
     REFERENCED_COLUMN_NAME, COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
     WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND REFERENCED_TABLE_NAME IS NOT NULL \
     ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION";
const CHILDREN: &str = "SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, \
     REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
     WHERE REFERENCED_TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME = ? \
     ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION";

type ColumnRow = (String, String, String, Option<String>, Option<u64>, bool);
type KeyRow = (String, Option<String>, Option<u64>);
type ReferenceRow = (String, String, String, String, String);

/// The shape of a table; `None` when it is not there, or may not be seen.
pub(super) async fn read_shape(
    conn: &mut Conn,
    name: &TableName,
) -> Result<Option<Shape>, InspectError> {
    let place = || (name.schema.as_str(), name.table.as_str());
    let columns: Vec<Row> = conn.exec(COLUMNS, place()).await?;
    let columns = columns.into_iter().map(parse).collect::<Result<Vec<ColumnRow>, _>>()?;
    if columns.is_empty() {
        return Ok(None);
    }
    let keys: Vec<Row> = conn.exec(UNIQUE_KEYS, place()).await?;
    let keys = keys.into_iter().map(parse).collect::<Result<Vec<KeyRow>, _>>()?;
    let mut shape =
        Shape { columns: columns.into_iter().map(column).collect(), ..Shape::default() };
    for (key, column, prefix) in keys {
        shape.add_key(key, column.as_deref(), prefix.is_some());
    }
    for (question, of_children) in [(PARENTS, false), (CHILDREN, true)] {
        let rows: Vec<Row> = conn.exec(question, place()).await?;
        for row in rows {
            shape.add_reference(parse(row)?, of_children);
        }
    }
    Ok(Some(shape))
}

fn parse<T: mysql_async::prelude::FromRow>(row: Row) -> Result<T, InspectError> {
    mysql_async::from_row_opt(row)
        .map_err(|error| InspectError::Unintelligible(format!("information_schema: {error}")))
}

fn column((name, data, column, charset, octets, generated): ColumnRow) -> Column {
    let kind = Kind::of(&data, &column, charset.as_deref(), octets);
    Column { name, kind, generated }
}

impl Shape {
    fn index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    fn add_key(&mut self, key: String, column: Option<&str>, prefix: bool) {
        // MySQL has no name for the column of a functional key.
        let index = column.and_then(|column| self.index(column));
        let partial = prefix || index.is_none();
        if key == "PRIMARY" && !partial {
            self.primary.extend(index);
            return;
        }
        if self.unique.last().is_none_or(|last| last.name != key) {
            self.unique.push(UniqueKey { name: key, columns: Vec::new(), partial: false });
        }
        if let Some(last) = self.unique.last_mut() {
            last.columns.extend(index);
            last.partial |= partial;
        }
    }

    fn add_reference(&mut self, row: ReferenceRow, of_children: bool) {
        let (name, schema, table, theirs, ours) = row;
        let Some(ours) = self.index(&ours) else { return };
        let table = TableName { schema, table };
        let list = if of_children { &mut self.children } else { &mut self.parents };
        if list.last().is_none_or(|last| last.name != name || last.table != table) {
            list.push(Reference { name, table, theirs: Vec::new(), ours: Vec::new() });
        }
        if let Some(last) = list.last_mut() {
            last.theirs.push(theirs);
            last.ours.push(ours);
        }
    }
}
