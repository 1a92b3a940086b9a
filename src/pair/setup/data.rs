//! Whether two servers hold the same data, and what differs.
//!
//! GTIDs prove it where they can (`plan.rs`); here every table is looked at: how many rows, and
//! CHECKSUM TABLE, which reads all of them. Servers that are written to meanwhile cannot be compared
//! so; the caller looks whether they were.

use std::collections::{BTreeMap, BTreeSet};

use super::state::Data;
use crate::monitor::{Columns, Connection, ConnectionError};

/// Something that is not the same on two servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only one of them has the schema.
    Schema {
        /// Its name.
        name: String,
        /// Whether it is the first.
        on_first: bool,
        /// How many tables it has.
        tables: usize,
    },
    /// Only one of them has the table.
    Table {
        /// `schema.table`
        name: String,
        /// Whether it is the first.
        on_first: bool,
    },
    /// Both have the table, with as many rows as this.
    Rows {
        /// `schema.table`
        name: String,
        /// On the first.
        first: u64,
        /// On the second.
        second: u64,
    },
    /// Both have the table with so many rows, and the rows differ.
    Content {
        /// `schema.table`
        name: String,
        /// On both.
        rows: u64,
    },
}

impl Difference {
    /// In words, with the names of the two servers.
    #[must_use]
    pub fn told(&self, first: &str, second: &str) -> String {
        let only = |on_first: &bool| if *on_first { first } else { second };
        match self {
            Self::Schema { name, on_first, tables } => {
                let s = if *tables == 1 { "" } else { "s" };
                format!("schema {name}: only on {} ({tables} table{s})", only(on_first))
            }
            Self::Table { name, on_first } => format!("table {name}: only on {}", only(on_first)),
            Self::Rows { name, first: one, second: two } => {
                format!("table {name}: {one} rows on {first}, {two} on {second}")
            }
            Self::Content { name, rows } => {
                format!("table {name}: {rows} rows on both, with other content")
            }
        }
    }
}

/// How many rows a table has, and their checksum; the checksum of a view is `None`.
pub(super) type Sums = BTreeMap<String, (u64, Option<u64>)>;

/// What two servers do not both have.
#[must_use]
pub(super) fn missing(first: &Data, second: &Data) -> Vec<Difference> {
    let mut found = Vec::new();
    let schemas: BTreeSet<&String> = first.0.keys().chain(second.0.keys()).collect();
    for schema in schemas {
        match (first.0.get(schema), second.0.get(schema)) {
            (Some(one), Some(two)) => {
                for table in one.symmetric_difference(two) {
                    let (name, on_first) = (format!("{schema}.{table}"), one.contains(table));
                    found.push(Difference::Table { name, on_first });
                }
            }
            (one, two) => found.push(Difference::Schema {
                name: schema.clone(),
                on_first: one.is_some(),
                tables: one.or(two).map_or(0, BTreeSet::len),
            }),
        }
    }
    found
}

/// What differs in the tables that both have.
pub(super) fn differing(first: &Sums, second: &Sums) -> Vec<Difference> {
    let both = first.iter().filter_map(|(name, one)| Some((name, one, second.get(name)?)));
    both.filter_map(|(name, (first, one), (second, two))| {
        let name = name.clone();
        match (first == second, one == two) {
            (false, _) => Some(Difference::Rows { name, first: *first, second: *second }),
            (true, false) => Some(Difference::Content { name, rows: *first }),
            (true, true) => None,
        }
    })
    .collect()
}

/// Counts and sums up every table of `data`. Reads all rows.
pub(super) async fn sums(
    connection: &mut Connection,
    data: &Data,
) -> Result<Sums, ConnectionError> {
    let mut sums = Sums::new();
    for (schema, tables) in &data.0 {
        for table in tables {
            let quoted = format!("{}.{}", identifier(schema), identifier(table));
            // As a string: the families return it in different widths.
            let question = format!("SELECT COUNT(*) AS n FROM {quoted}; CHECKSUM TABLE {quoted}");
            let sets = connection.ask(&question).await?.all()?;
            let number = |set: usize, column: &str| {
                let row = sets.get(set).and_then(|rows| rows.first());
                row.and_then(|row| Columns(row).number(&[column]).ok())
            };
            let name = format!("{schema}.{table}");
            sums.insert(name, (number(0, "n").unwrap_or(0), number(1, "Checksum")));
        }
    }
    Ok(sums)
}

/// `name` between backticks.
#[must_use]
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(schemas: &[(&str, &[&str])]) -> Data {
        let tables = |list: &[&str]| list.iter().map(|&table| table.to_owned()).collect();
        Data(schemas.iter().map(|(name, list)| ((*name).to_owned(), tables(list))).collect())
    }

    #[test]
    fn what_only_one_has_is_named() {
        let first = data(&[("app", &["a", "b"]), ("shop", &["x"])]);
        let second = data(&[("app", &["b", "c"])]);
        let told: Vec<String> =
            missing(&first, &second).iter().map(|found| found.told("m1", "m2")).collect();
        assert_eq!(
            told,
            [
                "table app.a: only on m1",
                "table app.c: only on m2",
                "schema shop: only on m1 (1 table)"
            ]
        );
        assert!(missing(&first, &first).is_empty());
    }

    #[test]
    fn rows_are_counted_before_they_are_compared() {
        let sums = |list: &[(&str, u64, u64)]| -> Sums {
            list.iter().map(|(name, n, sum)| ((*name).to_owned(), (*n, Some(*sum)))).collect()
        };
        let first = sums(&[("a.t", 3, 7), ("a.u", 3, 7), ("a.v", 3, 7), ("a.w", 1, 1)]);
        let second = sums(&[("a.t", 2, 7), ("a.u", 3, 8), ("a.v", 3, 7)]);
        let told: Vec<String> =
            differing(&first, &second).iter().map(|found| found.told("m1", "m2")).collect();
        assert_eq!(
            told,
            ["table a.t: 3 rows on m1, 2 on m2", "table a.u: 3 rows on both, with other content"]
        );
    }
}
