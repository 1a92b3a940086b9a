//! Writing a decision on the new active master, and opening it.
//!
//! The order of the steps is the safety: the lock (so that of several proxies one writes at a
//! time), the highest term (so that only the decision that was made on it is written), then the
//! term, and only then `read_only=0`. A proxy that dies between the last two leaves a term whose
//! master is closed, which is what `Open` is for. All that can go in one packet does.
//!
//! Terms are numbered by Tandem, in the manner of `AUTO_INCREMENT` with the server's own increment
//! and offset, so that two masters never hand out the same one; and not by `AUTO_INCREMENT` itself,
//! because the number must also be above a term that this server has never received (the decision
//! may have been read on the master that died).

use tracing::info;

use super::catch_up::text_literal;
use super::failure::failure;
use super::semi_sync::{self, SemiSync, Switch};
use super::switchover::LOCK as CLAIM;
use crate::failover::{OrderFailure, OrderResult};
use crate::monitor::{Answers, Columns, Connection, ConnectionError, IDLE_SECONDS};
use crate::topology::grants::Privilege;
use crate::topology::schema;
use crate::topology::{Flavor, KeyClass, Term};

/// How long the holder of [`Term::LOCK`] may be silent before the server ends its connection, and the
/// lock with it. A holder whose machine lost its power never closes the connection, and nobody could be
/// made active here for as long as the server believes in it.
const LOCK_IDLE_SECONDS: u32 = 2;

/// A decision to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision<'a> {
    /// The new active master, by its configured name.
    pub(super) active: &'a str,
    /// The highest term it was made on.
    pub(super) seen: Term,
    /// Why.
    pub(super) reason: &'a str,
    /// Whether it is a planned switchover.
    pub(super) planned: bool,
    /// Which process decided: `host:pid`.
    pub(super) decided_by: &'a str,
}

/// An order's result, and the switch of semi-synchronous replication if it was turned off.
type Outcome = (OrderResult, Option<Switch>);

/// Writes the decision and opens the server.
pub(super) async fn promote(
    connection: &mut Connection,
    decision: Decision<'_>,
    peers_answer: bool,
) -> Result<Outcome, OrderFailure> {
    let standing = stand(connection).await?;
    if let Some(highest) = standing.terms.first().filter(|row| row.term > decision.seen) {
        // The connection broke after the term was written and before we heard of it.
        let before = standing.terms.get(1).map_or_else(Term::default, |row| row.term);
        let ours = highest.active == decision.active && highest.decided_by == decision.decided_by;
        if !(ours && before <= decision.seen) {
            let result = superseded(highest);
            unlock(connection).await?;
            return Ok((result, None));
        }
        let term = highest.term;
        let switch =
            release_semi_sync(connection, &standing, decision.active, peers_answer).await?;
        run(connection, &open_and_unlock(connection)).await?;
        return Ok((OrderResult::Promoted(term), switch));
    }
    let highest = standing.terms.first().map_or_else(Term::default, |row| row.term);
    let term = Term(standing.numbers.next_above(highest.max(decision.seen).0));
    let switch = release_semi_sync(connection, &standing, decision.active, peers_answer).await?;
    let mysql = connection.dialect().flavor == Flavor::MySql;
    let mut statements = Vec::new();
    if mysql {
        // Leaves read_only on, which does not stop the account that writes the term.
        statements.push(("SET GLOBAL super_read_only=0".to_owned(), Privilege::ReadOnly));
    }
    if !standing.has_table {
        statements.extend(schema::TERMS.map(|statement| (statement.to_owned(), Privilege::Terms)));
    }
    statements.push((insert(term, decision, standing.tells_planned), Privilege::Terms));
    statements.push(("SET GLOBAL read_only=0".to_owned(), Privilege::ReadOnly));
    statements.extend(release());
    match run(connection, &statements).await {
        Ok(()) => Ok((OrderResult::Promoted(term), switch)),
        Err(error) => {
            if mysql && standing.super_read_only {
                // Undone as far as it was done. That it failed is already the result.
                let _ = connection.ask("SET GLOBAL super_read_only=1").await;
            }
            Err(error)
        }
    }
}

/// Opens the server again, if `term` is still the highest that it knows, and nobody else is at work on it:
/// this may be an order that was long on its way. `own` is the connection of a claim of this process, which may
/// not have ended yet.
pub(super) async fn open(
    connection: &mut Connection,
    name: &str,
    term: Term,
    peers_answer: bool,
    own: Option<u32>,
) -> Result<Outcome, OrderFailure> {
    let standing = stand(connection).await?;
    if let Some(holder) = standing.claimed_by.filter(|holder| Some(*holder) != own) {
        unlock(connection).await?;
        return Err(OrderFailure::Claimed(format!("another Tandem (connection {holder})")));
    }
    if let Some(highest) = standing.terms.first().filter(|row| row.term > term) {
        let result = superseded(highest);
        unlock(connection).await?;
        return Ok((result, None));
    }
    let switch = release_semi_sync(connection, &standing, name, peers_answer).await?;
    run(connection, &open_and_unlock(connection)).await?;
    Ok((OrderResult::Done, switch))
}

/// Without `planned` where the table was made by an older version: what it would take to add the column is
/// no work for the middle of a failover, and on two masters at once it would break replication.
fn insert(term: Term, decision: Decision<'_>, tells_planned: bool) -> String {
    let (column, value) = match (tells_planned, decision.planned) {
        (false, _) => ("", ""),
        (true, true) => (", planned", ", TRUE"),
        (true, false) => (", planned", ", FALSE"),
    };
    format!(
        "INSERT INTO tandem.term (term, active, decided_by, reason, decided_at{column}) \
         VALUES ({term}, {}, {}, {}, UTC_TIMESTAMP(3){value})",
        text_literal(decision.active),
        text_literal(decision.decided_by),
        text_literal(decision.reason),
    )
}

struct TermRow {
    term: Term,
    active: String,
    decided_by: String,
}

fn superseded(row: &TermRow) -> OrderResult {
    OrderResult::Superseded { term: row.term, active: row.active.clone() }
}

/// Where a server stands, read under the lock.
struct Standing {
    /// The connection that holds the claim of a switchover.
    claimed_by: Option<u32>,
    /// Its own numbers.
    numbers: KeyClass,
    super_read_only: bool,
    semi_sync: Option<SemiSync>,
    has_table: bool,
    /// Whether the table has the column for it.
    tells_planned: bool,
    /// The two highest, highest first.
    terms: Vec<TermRow>,
}

/// Takes the lock and reads what a decision depends on, in one round trip.
async fn stand(connection: &mut Connection) -> Result<Standing, OrderFailure> {
    let super_read_only = match connection.dialect().flavor {
        Flavor::MariaDb => "0",
        Flavor::MySql => "@@GLOBAL.super_read_only",
    };
    let question = format!(
        "SET SESSION wait_timeout={LOCK_IDLE_SECONDS}; \
         SELECT GET_LOCK('{}', 2) AS locked, IS_USED_LOCK('{CLAIM}') AS claimed_by, \
         @@GLOBAL.auto_increment_increment AS step, \
         @@GLOBAL.auto_increment_offset AS start, {super_read_only} AS super_read_only; {}; \
         SELECT * FROM tandem.term ORDER BY term DESC LIMIT 2",
        Term::LOCK,
        semi_sync::QUESTIONS
    );
    let answers = connection.ask(&question).await;
    let answers = answers.map_err(|error| failure(error, connection, Privilege::Terms))?;
    let has_table = match &answers.error {
        Some((1146 | 1049, _)) if answers.sets.len() == 4 => false,
        Some((code, message)) => {
            let error = ConnectionError::Server { code: *code, message: message.clone() };
            return Err(failure(error, connection, Privilege::Terms));
        }
        None => true,
    };
    read_standing(&answers, has_table)
        .map_err(|error| failure(error, connection, Privilege::Terms))?
        .ok_or_else(|| OrderFailure::TimedOut("another Tandem is writing a term here".to_owned()))
}

/// `None` when the lock was not to be had.
fn read_standing(answers: &Answers, has_table: bool) -> Result<Option<Standing>, ConnectionError> {
    let rows = |place: usize| answers.sets.get(place).map_or(&[][..], Vec::as_slice);
    let Some(first) = rows(1).first().map(Columns) else {
        return Err(ConnectionError::Unintelligible("no answer to GET_LOCK".to_owned()));
    };
    if first.find(&["locked"]).as_deref() != Some("1") {
        return Ok(None);
    }
    let term = |row: Columns<'_>| {
        Ok(TermRow {
            term: Term(row.number(&["term"])?),
            active: row.text(&["active"])?,
            decided_by: row.text(&["decided_by"])?,
        })
    };
    Ok(Some(Standing {
        claimed_by: first.find(&["claimed_by"]).and_then(|id| id.parse().ok()),
        numbers: KeyClass::new(first.number(&["step"])?, first.number(&["start"])?),
        super_read_only: first.number::<u8>(&["super_read_only"])? != 0,
        semi_sync: SemiSync::read(rows(2), rows(3)),
        has_table,
        // An empty one may be of any version, and its first term is no switchover's.
        tells_planned: !has_table
            || rows(4).first().map(Columns).is_some_and(|row| row.find(&["planned"]).is_some()),
        terms: rows(4).iter().map(Columns).map(term).collect::<Result<_, ConnectionError>>()?,
    }))
}

async fn release_semi_sync(
    connection: &mut Connection,
    standing: &Standing,
    name: &str,
    peers_answer: bool,
) -> Result<Option<Switch>, OrderFailure> {
    match standing.semi_sync {
        Some(semi_sync) if semi_sync.would_hang(peers_answer) => semi_sync
            .release(connection, name)
            .await
            .map_err(|error| failure(error, connection, Privilege::SemiSync)),
        _ => Ok(None),
    }
}

fn open_and_unlock(connection: &Connection) -> Vec<(String, Privilege)> {
    let mut statements = Vec::new();
    if connection.dialect().flavor == Flavor::MySql {
        statements.push(("SET GLOBAL super_read_only=0".to_owned(), Privilege::ReadOnly));
    }
    statements.push(("SET GLOBAL read_only=0".to_owned(), Privilege::ReadOnly));
    statements.extend(release());
    statements
}

/// The connection has other orders before it: it is as it was before the lock was taken.
fn release() -> [(String, Privilege); 2] {
    let idle = format!("SET SESSION wait_timeout={IDLE_SECONDS}");
    let unlock = format!("DO RELEASE_LOCK('{}')", Term::LOCK);
    [(unlock, Privilege::Terms), (idle, Privilege::Terms)]
}

/// Runs the statements in one packet; a refusal is attributed to the privilege of its statement.
async fn run(
    connection: &mut Connection,
    statements: &[(String, Privilege)],
) -> Result<(), OrderFailure> {
    let packet = statements.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("; ");
    let answers = connection.ask(&packet).await;
    let answers = answers.map_err(|error| failure(error, connection, Privilege::Terms))?;
    match answers.error {
        None => Ok(()),
        Some((code, message)) => {
            let (text, privilege) = &statements[answers.sets.len().min(statements.len() - 1)];
            info!(statement = text, code, message, "refused");
            Err(failure(ConnectionError::Server { code, message }, connection, *privilege))
        }
    }
}

async fn unlock(connection: &mut Connection) -> Result<(), OrderFailure> {
    run(connection, &release()).await
}
