//! What stands on the active master now.

use std::collections::HashMap;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::cell::Cell;
use super::error::InspectError;
use super::shape::{Shape, TableName, read_shape};

/// A row as far as its values can be compared.
pub(super) type StandingRow = Vec<Option<Cell>>;

/// The rows of the active master.
pub(super) trait Standing {
    /// The table's shape; `None` when there is none, or it may not be seen.
    async fn shape(&mut self, table: &TableName) -> Result<Option<Arc<Shape>>, InspectError>;

    /// The row in whose columns these literals stand, if there is one.
    async fn row(
        &mut self,
        table: &TableName,
        shape: &Shape,
        condition: &[(&str, String)],
    ) -> Result<Option<StandingRow>, InspectError>;

    /// Whether there is any such row in a table whose shape is of no interest.
    async fn exists(
        &mut self,
        table: &TableName,
        condition: &[(&str, String)],
    ) -> Result<bool, InspectError>;
}

/// The real one: a connection to the active master.
#[derive(Debug)]
pub(super) struct ActiveRows {
    conn: Conn,
    shapes: HashMap<TableName, Option<Arc<Shape>>>,
}

/// Makes a session one that reads values as a row image has them.
pub(super) const AS_LOGGED: &str =
    "SET SESSION character_set_results=NULL, time_zone='+00:00', sql_mode='', autocommit=1";

impl ActiveRows {
    /// Makes the connection one that reads values as a row image has them, and nothing else.
    pub(super) async fn new(mut conn: Conn) -> Result<Self, InspectError> {
        conn.query_drop(AS_LOGGED).await?;
        conn.query_drop("SET SESSION TRANSACTION READ ONLY").await?;
        Ok(Self { conn, shapes: HashMap::new() })
    }
}

impl Standing for ActiveRows {
    async fn shape(&mut self, table: &TableName) -> Result<Option<Arc<Shape>>, InspectError> {
        if let Some(known) = self.shapes.get(table) {
            return Ok(known.clone());
        }
        let shape = read_shape(&mut self.conn, table).await?.map(Arc::new);
        self.shapes.insert(table.clone(), shape.clone());
        Ok(shape)
    }

    async fn row(
        &mut self,
        table: &TableName,
        shape: &Shape,
        condition: &[(&str, String)],
    ) -> Result<Option<StandingRow>, InspectError> {
        read_row(&mut self.conn, table, shape, condition, false).await
    }

    async fn exists(
        &mut self,
        table: &TableName,
        condition: &[(&str, String)],
    ) -> Result<bool, InspectError> {
        let row: Option<Row> = self.conn.query_first(select("1", table, condition)).await?;
        Ok(row.is_some())
    }
}

/// The row in whose columns these literals stand, if there is one; locked, if that is wanted.
pub(super) async fn read_row(
    conn: &mut Conn,
    table: &TableName,
    shape: &Shape,
    condition: &[(&str, String)],
    lock: bool,
) -> Result<Option<StandingRow>, InspectError> {
    let columns: Vec<String> =
        shape.columns.iter().map(|column| column.kind.expression(&quoted(&column.name))).collect();
    let mut question = select(&columns.join(", "), table, condition);
    if lock {
        question.push_str(" FOR UPDATE");
    }
    let row: Option<Row> = conn.query_first(question).await?;
    let Some(row) = row else { return Ok(None) };
    let cells = row.unwrap().into_iter().zip(&shape.columns).map(|(value, column)| match value {
        Value::NULL => Some(Cell::Null),
        Value::Bytes(bytes) => column.kind.of_text(&bytes),
        _ => None,
    });
    Ok(Some(cells.collect()))
}

fn select(columns: &str, table: &TableName, condition: &[(&str, String)]) -> String {
    let condition: Vec<String> = condition
        .iter()
        .map(|(column, literal)| format!("{} = {literal}", quoted(column)))
        .collect();
    format!(
        "SELECT {columns} FROM {}.{} WHERE {} LIMIT 1",
        quoted(&table.schema),
        quoted(&table.table),
        condition.join(" AND ")
    )
}

pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
