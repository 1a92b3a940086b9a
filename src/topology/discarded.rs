//! What a returned master has lost again because an operator wanted so: data for people.

use std::fmt;

use super::{GtidSet, TableChange};

/// What was discarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// The transactions, by number.
    pub gtids: GtidSet,
    /// How many they are. (MariaDB may skip numbers.)
    pub transactions: u64,
    /// What they had done, by table, each with the keys of its first rows.
    pub tables: Vec<TableChange>,
    /// Rows that were set back. The others had been changed by the active master since, or were set back
    /// before.
    pub rows: u64,
    /// MariaDB: the last transaction of each domain that has any of it, `1-1-107`.
    pub position: String,
}

/// `2 transactions (1-1-106..107: app.t (+1 ~1 -0) id=1 id=11), 2 rows set back`
impl fmt::Display for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        write!(
            f,
            "{} transaction{} ({}:",
            self.transactions,
            plural(self.transactions),
            self.gtids
        )?;
        for (place, table) in self.tables.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let TableChange { schema, table, inserted, updated, deleted, keys } = table;
            write!(f, "{comma} {schema}.{table} (+{inserted} ~{updated} -{deleted})")?;
            keys.iter().try_for_each(|key| write!(f, " {key}"))?;
        }
        write!(f, "), {} row{} set back", self.rows, plural(self.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Flavor;

    #[test]
    fn it_is_said_in_a_line() {
        let table = |table: &str, keys: &[&str]| TableChange {
            schema: "app".into(),
            table: table.into(),
            inserted: 1,
            updated: 1,
            deleted: 0,
            keys: keys.iter().map(|&key| key.into()).collect(),
        };
        let discarded = Discarded {
            gtids: GtidSet::parse(Flavor::MariaDb, "1-1-106..107").expect("a set"),
            transactions: 2,
            tables: vec![table("t", &["id=1", "id=11"]), table("u", &[])],
            rows: 1,
            position: "1-1-107".into(),
        };
        assert_eq!(
            discarded.to_string(),
            "2 transactions (1-1-106..107: app.t (+1 ~1 -0) id=1 id=11, app.u (+1 ~1 -0)), 1 row \
             set back"
        );
    }
}
