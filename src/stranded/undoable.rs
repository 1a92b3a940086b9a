//! Whether what is stranded can be undone at all: what must be so for the log to tell the whole story,
//! and for a row that is written back to change nothing else.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::assembly::Logged;
use super::cell::Kind;
use super::error::{DiscardError, InspectError};
use super::inspection::End;
use super::judge::{all, cells};
use super::shape::{Reference, Shape, TableName, read_shape};
use crate::topology::Flavor;

fn impossible<T>(why: String) -> Result<T, DiscardError> {
    Err(DiscardError::Impossible(why))
}

/// Each transaction must have been read whole, and be nothing but rows.
pub(super) fn check_transactions(transactions: &[Logged], found: u64) -> Result<(), DiscardError> {
    let read = transactions.len() as u64;
    if read < found {
        return impossible(format!("there are {found} transactions, of which {read} were kept"));
    }
    for Logged { gtid, statements, incomplete, .. } in transactions {
        if let Some(statement) = statements.first() {
            return impossible(format!("{gtid} has a statement instead of rows: {statement}"));
        }
        if let Some(why) = incomplete {
            return impossible(format!("{gtid}: {why}"));
        }
    }
    Ok(())
}

/// What of the two servers' settings the log's story depends on.
pub(super) async fn check_settings(
    returned: &mut End,
    active: &mut End,
    transactions: &[Logged],
) -> Result<(), DiscardError> {
    let flavor = returned.dialect.flavor;
    let new_words = flavor == Flavor::MySql && returned.dialect.version >= (8, 0, 26);
    let replica = if new_words { "replica" } else { "slave" };
    let question = format!(
        "SELECT UPPER(@@GLOBAL.{replica}_exec_mode), @@GLOBAL.{replica}_skip_errors, \
         @@GLOBAL.log_{replica}_updates"
    );
    let settings: Option<(String, String, bool)> = ask(&mut returned.conn, &question).await?;
    let (mode, skips, logs) = settings.unwrap_or_default();
    if !logs {
        let what = "what it got from the active one is not in its log";
        return impossible(format!("{what} (log_{replica}_updates)"));
    }
    if mode != "STRICT" || !matches!(skips.to_ascii_uppercase().as_str(), "OFF" | "") {
        let what = "its applier passes over what does not fit";
        return impossible(format!("{what} ({replica}_exec_mode {mode}, skips {skips})"));
    }
    let images: Option<String> =
        ask(&mut active.conn, "SELECT UPPER(@@GLOBAL.binlog_row_image)").await?;
    let images = images.unwrap_or_default();
    if !images.starts_with("FULL") {
        return impossible(format!(
            "the active one logs no whole rows (binlog_row_image {images})"
        ));
    }
    let own: Option<String> = match flavor {
        Flavor::MariaDb => ask(&mut active.conn, "SELECT CAST(@@server_id AS CHAR)").await?,
        Flavor::MySql => ask(&mut active.conn, "SELECT @@server_uuid").await?,
    };
    let own = own.unwrap_or_default().to_ascii_lowercase();
    // `domain-server-sequence`, `uuid:…`
    let is_own = |gtid: &str| match flavor {
        Flavor::MariaDb => gtid.split('-').nth(1) == Some(own.as_str()),
        Flavor::MySql => gtid.to_ascii_lowercase().starts_with(&own),
    };
    if own.is_empty() || transactions.iter().any(|transaction| is_own(&transaction.gtid)) {
        return impossible(
            "some of it was written by the active one, which has lost it".to_owned(),
        );
    }
    Ok(())
}

async fn ask<T>(conn: &mut Conn, question: &str) -> Result<Option<T>, InspectError>
where
    T: mysql_async::prelude::FromRow + Send + 'static,
{
    let row: Option<Row> = conn.query_first(question).await?;
    let row = row.map(|row| mysql_async::from_row_opt(row));
    row.transpose().map_err(|error| InspectError::Unintelligible(error.to_string()))
}

/// The shape of a table whose rows can be put back one by one, without anything else changing.
pub(super) async fn shape_of(
    returned: &mut End,
    name: &TableName,
    transactions: &[Logged],
) -> Result<Shape, DiscardError> {
    let conn = &mut returned.conn;
    let place = || (name.schema.as_str(), name.table.as_str());
    let Some(shape) = read_shape(conn, name).await? else {
        let message = format!("{name} is not there, or may not be read");
        return Err(DiscardError::Denied(message));
    };
    if shape.primary.is_empty() {
        return impossible(format!("{name} has no primary key"));
    }
    let unknown = shape
        .columns
        .iter()
        .find(|column| !column.generated && matches!(column.kind, Kind::Unknown(_)));
    if let Some(column) = unknown {
        return impossible(format!("{name}.{} is of a type that is not compared", column.name));
    }
    let kind: Option<(String, String)> = conn.exec_first(TABLE, place()).await.map_err(wrong)?;
    let (engine, kind) = kind.unwrap_or_default();
    if engine != "InnoDB" || kind != "BASE TABLE" {
        return impossible(format!("{name} is a {kind} of {engine}"));
    }
    check_triggers(conn, name).await?;
    let cascades: Vec<(String, String)> = conn.exec(CASCADES, place()).await.map_err(wrong)?;
    for (constraint, child) in cascades {
        let of =
            |child_of: &&Reference| child_of.name == constraint && child_of.table.table == child;
        if has_fired(name, &shape, shape.children.iter().find(of), transactions) {
            let what = "which changes rows past the log";
            return impossible(format!(
                "a row of {name} went with {constraint} of {child}, {what}"
            ));
        }
    }
    Ok(shape)
}

/// Triggers would fire for what is put back. Who may not see them sees none, and hears no error.
async fn check_triggers(conn: &mut Conn, name: &TableName) -> Result<(), DiscardError> {
    // Tandem's own tables have none, and its account has what it needs there.
    if name.schema == "tandem" {
        return Ok(());
    }
    let place = || (name.schema.as_str(), name.table.as_str());
    let may: Vec<u8> = conn
        .exec(MAY_SEE_TRIGGERS, (&name.schema, &name.schema, &name.table))
        .await
        .map_err(wrong)?;
    if may.is_empty() {
        return Err(DiscardError::Denied(format!("whether {name} has triggers may not be seen")));
    }
    let trigger: Option<String> = conn.exec_first(TRIGGERS, place()).await.map_err(wrong)?;
    trigger.map_or(Ok(()), |trigger| impossible(format!("{name} has triggers ({trigger})")))
}

/// Whether a transaction took away what the other end of a foreign key may have referred to.
fn has_fired(
    name: &TableName,
    shape: &Shape,
    reference: Option<&Reference>,
    transactions: &[Logged],
) -> bool {
    let rows = transactions.iter().flat_map(|transaction| &transaction.rows);
    let mut ours = rows.filter(|row| row.schema == name.schema && row.table == name.table);
    ours.any(|row| {
        if row.before.is_none() {
            return false;
        }
        let (Some(reference), Ok(Some(before)), Ok(Some(after))) =
            (reference, cells(shape, &row.before), cells(shape, &row.after))
        else {
            return true;
        };
        all(&reference.ours, &before) != all(&reference.ours, &after)
    })
}

fn wrong(error: mysql_async::Error) -> DiscardError {
    InspectError::from(error).into()
}

const TABLE: &str = "SELECT COALESCE(ENGINE, ''), TABLE_TYPE FROM information_schema.TABLES \
     WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
const TRIGGERS: &str = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS \
     WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? LIMIT 1";
const MAY_SEE_TRIGGERS: &str = "SELECT 1 FROM ( \
     SELECT GRANTEE AS account FROM information_schema.USER_PRIVILEGES \
     WHERE PRIVILEGE_TYPE = 'TRIGGER' \
     UNION ALL SELECT GRANTEE FROM information_schema.SCHEMA_PRIVILEGES \
     WHERE PRIVILEGE_TYPE = 'TRIGGER' AND ? LIKE TABLE_SCHEMA \
     UNION ALL SELECT GRANTEE FROM information_schema.TABLE_PRIVILEGES \
     WHERE PRIVILEGE_TYPE = 'TRIGGER' AND TABLE_SCHEMA = ? AND TABLE_NAME = ?) AS held \
     WHERE account = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";
const CASCADES: &str = "SELECT CONSTRAINT_NAME, TABLE_NAME \
     FROM information_schema.REFERENTIAL_CONSTRAINTS \
     WHERE UNIQUE_CONSTRAINT_SCHEMA = ? AND REFERENCED_TABLE_NAME = ? \
     AND (DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION'))";
