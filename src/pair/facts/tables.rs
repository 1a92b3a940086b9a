//! The tables of a server: what keeps two writers apart in them, and whether another server has the same.

use std::collections::BTreeMap;

use mysql_async::Row;

use super::held::Held;
use super::{Seen, Unseen};
use crate::monitor::{Columns, Connection, ConnectionError};
use crate::topology::Flavor;

/// Not the application's: the servers' own schemas, and Tandem's.
const OTHERS: &str = "('mysql', 'information_schema', 'performance_schema', 'sys', 'tandem')";

/// A table, as far as checks look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its storage engine; empty for a view.
    pub engine: String,
    /// Its columns in their order, with type, default and the rest.
    pub columns: Vec<Column>,
    /// Its keys by name.
    pub keys: BTreeMap<String, TableKey>,
    /// The next number that AUTO_INCREMENT would hand out, as the server tells it.
    pub next: Option<u64>,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `int(10) unsigned`
    pub column_type: String,
    /// Whatever else is said of it, put together to be compared.
    pub rest: String,
    /// Whether its numbers are generated.
    pub auto_increment: bool,
}

impl Column {
    /// The largest number that an integer column can hold.
    #[must_use]
    pub fn largest(&self) -> Option<u64> {
        let kind = self.column_type.to_ascii_lowercase();
        let bits = match kind.split(['(', ' ']).next()? {
            "tinyint" => 8,
            "smallint" => 16,
            "mediumint" => 24,
            "int" | "integer" => 32,
            "bigint" => 64,
            _ => return None,
        };
        let bits = if kind.contains("unsigned") { bits } else { bits - 1 };
        Some(u64::MAX >> (64 - bits))
    }
}

/// A key of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableKey {
    /// Whether a value occurs once only.
    pub unique: bool,
    /// Its columns; an expression in the place of one that has no name.
    pub columns: Vec<String>,
}

impl Table {
    /// Whether it is a table, and no view.
    #[must_use]
    pub fn is_base(&self) -> bool {
        !self.engine.is_empty()
    }

    /// The column whose numbers are generated.
    #[must_use]
    pub fn generated(&self) -> Option<&Column> {
        self.columns.iter().find(|column| column.auto_increment)
    }
}

/// The tables and views of applications, by schema and name, and the rest that must be the same
/// on every master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// `(schema, table)`
    pub tables: BTreeMap<(String, String), Table>,
}

pub(super) async fn read(
    connection: &mut Connection,
    held: &Held,
    most: u64,
) -> Result<Seen<Tables>, ConnectionError> {
    if most == 0 {
        return Ok(Err(Unseen::NotAsked));
    }
    if let Err(unseen) = held.shown_tables() {
        return Ok(Err(unseen));
    }
    // Names alone are a look into directories: no table is opened for them.
    let count = format!(
        "SELECT COUNT(TABLE_NAME) AS count FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA NOT IN {OTHERS}"
    );
    let answers = connection.ask(&count).await?.all()?;
    let count: u64 = match answers.iter().flatten().next() {
        Some(row) => Columns(row).number(&["count"])?,
        None => 0,
    };
    if count > most {
        return Ok(Err(Unseen::TooMuch { count, of: "tables" }));
    }
    let answers = connection.ask(&questions(connection.dialect().flavor)).await?;
    if let Some((code, message)) = answers.error {
        return Ok(Err(Unseen::refused(code, message, || None)));
    }
    Ok(collect(&answers.sets))
}

/// MySQL keeps what it tells of AUTO_INCREMENT for a day, unless it is told not to
/// (<https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_information_schema_stats_expiry>).
fn questions(flavor: Flavor) -> String {
    let (fresh, expression) = match flavor {
        Flavor::MySql => ("SET SESSION information_schema_stats_expiry = 0; ", "EXPRESSION"),
        Flavor::MariaDb => ("", "NULL"),
    };
    format!(
        "{fresh}SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, ENGINE AS engine, AUTO_INCREMENT AS next \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN {OTHERS}; \
         SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, COLUMN_NAME AS name, COLUMN_TYPE AS type, \
         EXTRA AS extra, IS_NULLABLE AS nullable, COLUMN_DEFAULT AS preset, \
         COLLATION_NAME AS collation, GENERATION_EXPRESSION AS formula \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA NOT IN {OTHERS} \
         ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION; \
         SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, INDEX_NAME AS name, NON_UNIQUE AS several, \
         COALESCE(COLUMN_NAME, {expression}) AS col, SUB_PART AS part \
         FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN {OTHERS} \
         ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
    )
}

fn collect(sets: &[Vec<Row>]) -> Seen<Tables> {
    // SET has no rows, but its place in the list.
    let [.., of_tables, of_columns, of_keys] = sets else {
        return Err(Unseen::because("the server did not tell all of it"));
    };
    let place = |row: Columns<'_>| (row.text_or_empty(&["s"]), row.text_or_empty(&["t"]));
    let mut tables: BTreeMap<_, Table> = of_tables
        .iter()
        .map(|row| {
            let row = Columns(row);
            let table = Table {
                engine: row.text_or_empty(&["engine"]),
                next: row.find(&["next"]).and_then(|next| next.parse().ok()),
                ..Table::default()
            };
            (place(row), table)
        })
        .collect();
    for row in of_columns.iter().map(Columns) {
        if let Some(table) = tables.get_mut(&place(row)) {
            table.columns.push(column(row));
        }
    }
    for row in of_keys.iter().map(Columns) {
        if let Some(table) = tables.get_mut(&place(row)) {
            let key = table.keys.entry(row.text_or_empty(&["name"])).or_default();
            key.unique = row.text_or_empty(&["several"]) == "0";
            let part = row.find(&["part"]).map_or_else(String::new, |part| format!("({part})"));
            key.columns.push(row.text_or_empty(&["col"]) + &part);
        }
    }
    Ok(Tables { tables })
}

fn column(row: Columns<'_>) -> Column {
    let extra = row.text_or_empty(&["extra"]).to_ascii_lowercase();
    let nullable = if row.text_or_empty(&["nullable"]) == "YES" { "null" } else { "not null" };
    let mut rest = vec![nullable.to_owned(), extra.clone()];
    rest.extend(row.find(&["preset"]).map(|preset| format!("default {preset}")));
    rest.extend(row.find(&["collation"]));
    rest.extend(row.find(&["formula"]).filter(|formula| !formula.is_empty()));
    rest.retain(|part| !part.is_empty());
    Column {
        name: row.text_or_empty(&["name"]),
        column_type: row.text_or_empty(&["type"]),
        rest: rest.join(" "),
        auto_increment: extra.contains("auto_increment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_ends() {
        let largest =
            |kind: &str| Column { column_type: kind.to_owned(), ..Column::default() }.largest();
        assert_eq!(largest("tinyint(4)"), Some(127));
        assert_eq!(largest("tinyint unsigned"), Some(255));
        assert_eq!(largest("mediumint"), Some(8_388_607));
        assert_eq!(largest("int(11)"), Some(2_147_483_647));
        assert_eq!(largest("INT UNSIGNED"), Some(4_294_967_295));
        assert_eq!(largest("bigint(20) unsigned"), Some(u64::MAX));
        assert_eq!(largest("bigint"), Some(i64::MAX as u64));
        assert_eq!(largest("double"), None);
    }
}
