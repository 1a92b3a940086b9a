//! `SHOW LOST WRITES`, as rows of texts.

use super::tables::Table;
use crate::coordinator::{Accounts, ToldLoss};
use crate::topology::Servers;

/// A row for each of the last changes of the active master, oldest first.
pub(super) fn lost_writes(accounts: &Accounts, servers: &Servers) -> Table {
    let columns = [
        "Time",
        "Old_Master",
        "New_Master",
        "Term",
        "Lost",
        "Gtids",
        "First",
        "Last",
        "Users",
        "Final",
        "Came_Back",
        "Remark",
    ];
    let mut table = Table::new(&columns);
    table.rows = accounts
        .losses
        .iter()
        .map(|loss| {
            let ToldLoss { time, from, to, term, gtids, first, last, unknown, .. } =
                loss.told(servers);
            let is_final = if loss.sessions_left == 0 { "Yes" } else { "No" };
            vec![
                Some(as_datetime(&time)),
                Some(from),
                Some(to),
                Some(term.to_string()),
                loss.count().map(|_| loss.number()),
                gtids,
                first.as_deref().map(as_datetime),
                last.as_deref().map(as_datetime),
                loss.count().map(|_| loss.users()),
                Some(is_final.to_owned()),
                loss.count().map(|_| loss.came_back.to_string()),
                unknown,
            ]
        })
        .collect();
    table
}

/// As servers show a `DATETIME(3)`, in UTC.
fn as_datetime(time: &str) -> String {
    time.replace('T', " ").trim_end_matches('Z').to_owned()
}
