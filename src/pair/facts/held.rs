//! What the account that asks may do on a server, as far as that decides what it is shown.
//!
//! `information_schema` refuses nobody: it leaves out what the account has no privilege on. An empty
//! answer would be taken for an empty server, so this is asked first.

use std::collections::BTreeSet;

use super::Unseen;
use crate::monitor::{Columns, Connection, ConnectionError};
use crate::topology::grants::quoted_account;

/// The global privileges of the account that asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Their names, as `information_schema.USER_PRIVILEGES` writes them.
    global: BTreeSet<String>,
    /// Whether it has a role, through which it may have more than is listed.
    role: bool,
    /// `user@host`
    account: String,
}

/// Any of these on a table shows it, with its columns and keys
/// (<https://dev.mysql.com/doc/refman/8.4/en/information-schema-introduction.html>).
const SHOWS_COLUMNS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "REFERENCES"];

impl Held {
    pub(super) async fn read(connection: &mut Connection) -> Result<Self, ConnectionError> {
        const QUESTION: &str = "SELECT PRIVILEGE_TYPE AS held FROM information_schema.USER_PRIVILEGES \
             WHERE GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), ''''); \
             SELECT COALESCE(CURRENT_ROLE(), 'NONE') AS held";
        let answers = connection.ask(QUESTION).await?;
        let mut sets = answers.sets.iter();
        let mut texts =
            || sets.next().into_iter().flatten().map(|row| Columns(row).text_or_empty(&["held"]));
        let global = texts().collect();
        let role = texts().any(|role| role != "NONE");
        Ok(Self { global, role, account: connection.account().to_owned() })
    }

    /// Whether it is shown every table.
    pub(super) fn shown_tables(&self) -> Result<(), Unseen> {
        self.shown("tables", &SHOWS_COLUMNS, "REFERENCES")
    }

    /// Whether it is shown every event.
    pub(super) fn shown_events(&self) -> Result<(), Unseen> {
        self.shown("events", &["EVENT"], "EVENT")
    }

    fn shown(&self, what: &str, any: &[&str], needed: &str) -> Result<(), Unseen> {
        if self.role || any.iter().any(|name| self.global.contains(*name)) {
            return Ok(());
        }
        Err(Unseen::Denied {
            reason: format!("the server does not show its {what} to {}", self.account),
            grant: Some(format!("GRANT {needed} ON *.* TO {}", quoted_account(&self.account))),
        })
    }
}
