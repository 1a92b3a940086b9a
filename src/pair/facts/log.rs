//! What a server leaves out of its binary log.

use super::{Seen, Unseen};
use crate::monitor::{Columns, Connection, ConnectionError};
use crate::topology::Flavor;
use crate::topology::grants::quoted_account;

/// The status of the binary log has both lists in every version; few versions have variables for them.
pub(super) async fn read(
    connection: &mut Connection,
) -> Result<Seen<Vec<(&'static str, String)>>, ConnectionError> {
    let dialect = connection.dialect();
    let (question, privilege) = match dialect.flavor {
        Flavor::MariaDb => ("SHOW MASTER STATUS", "BINLOG MONITOR"),
        Flavor::MySql if dialect.version >= (8, 2, 0) => {
            ("SHOW BINARY LOG STATUS", "REPLICATION CLIENT")
        }
        Flavor::MySql => ("SHOW MASTER STATUS", "REPLICATION CLIENT"),
    };
    let answers = connection.ask(question).await?;
    if let Some((code, message)) = answers.error {
        let account = quoted_account(connection.account());
        let grant = || Some(format!("GRANT {privilege} ON *.* TO {account}"));
        return Ok(Err(Unseen::refused(code, message, grant)));
    }
    let row = answers.sets.iter().flatten().next().map(Columns);
    let filters = ["binlog_do_db", "binlog_ignore_db"].into_iter();
    let of = |name: &'static str| {
        let value = row?.find(&[name])?;
        (!value.is_empty()).then_some((name, value))
    };
    Ok(Ok(filters.filter_map(of).collect()))
}
