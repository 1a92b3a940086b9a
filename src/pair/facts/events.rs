//! The event scheduler's events.

use super::held::Held;
use super::{Seen, Unseen};
use crate::monitor::{Columns, Connection, ConnectionError};
use crate::topology::Flavor;
use crate::topology::grants::quoted_account;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it runs on this server.
    pub enabled: bool,
}

/// MariaDB keeps them in a table, which can be granted without the right to make events.
pub(super) async fn read(
    connection: &mut Connection,
    held: &Held,
) -> Result<Seen<Vec<Event>>, ConnectionError> {
    let question = match connection.dialect().flavor {
        Flavor::MariaDb => "SELECT db AS s, name, status FROM mysql.event",
        Flavor::MySql => {
            if let Err(unseen) = held.shown_events() {
                return Ok(Err(unseen));
            }
            "SELECT EVENT_SCHEMA AS s, EVENT_NAME AS name, STATUS AS status \
             FROM information_schema.EVENTS"
        }
    };
    let answers = connection.ask(question).await?;
    if let Some((code, message)) = answers.error {
        let account = quoted_account(connection.account());
        let grant = || Some(format!("GRANT SELECT ON mysql.event TO {account}"));
        return Ok(Err(Unseen::refused(code, message, grant)));
    }
    let event = |row: Columns<'_>| Event {
        schema: row.text_or_empty(&["s"]),
        name: row.text_or_empty(&["name"]),
        enabled: row.text_or_empty(&["status"]).starts_with("ENABLED"),
    };
    Ok(Ok(answers.sets.iter().flatten().map(|row| event(Columns(row))).collect()))
}
