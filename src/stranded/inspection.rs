//! The whole of it: compare, read, judge.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::assembly::{Bounds, Collected};
use super::error::InspectError;
use super::judge::Judge;
use super::log::{Wanted, read_log};
use super::standing::ActiveRows;
use crate::topology::{Dialect, Flavor, GtidSet, Stranded};

/// What is kept of what is stranded. Beyond, transactions are only counted: an operator who has
/// thousands of them has another problem than to read them one by one.
pub(super) const KEPT: Bounds = Bounds { transactions: 1000, bytes: 16 << 20 };

/// Rows that are looked up on the active master, a few tenths of a millisecond each.
const ROWS: u64 = 20_000;

/// A connection to one of the two masters, as the monitor's account.
#[derive(Debug)]
pub struct End {
    /// The connection; it is used up.
    pub conn: Conn,
    /// What kind of server it is.
    pub dialect: Dialect,
    /// The account that it is logged in as, `user@host`.
    pub account: String,
}

/// Reads and judges what `returned` has and `active` lacks. Takes as long as the log is long; whoever
/// calls it sets the bound.
///
/// # Errors
/// When either cannot be asked, or the log cannot be read.
pub async fn inspect(mut returned: End, mut active: End) -> Result<Stranded, InspectError> {
    let flavor = returned.dialect.flavor;
    let compared = compare(&mut returned, &mut active).await?;
    let stranded = compared.stranded.clone();
    if stranded.is_empty() {
        return Ok(Stranded::default());
    }
    let Collected { transactions: logged, found, .. } =
        read_log(returned.conn, compared.wanted(flavor), KEPT).await?;
    // MariaDB may skip numbers of a domain, so that only of MySQL it is known how many there are.
    let expected = stranded.count();
    if found == 0 || flavor == Flavor::MySql && found < expected {
        return Err(InspectError::Incomplete { found, expected });
    }
    let more = found - logged.len() as u64;
    let grant = grant(&active);
    let mut judge = Judge::new(ActiveRows::new(active.conn).await?, ROWS, grant);
    let mut transactions = Vec::with_capacity(logged.len());
    for transaction in logged {
        transactions.push(judge.judge(transaction).await?);
    }
    Ok(Stranded { gtids: stranded, transactions, more })
}

/// What two masters have executed.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    /// What only the returned one has.
    pub(super) stranded: GtidSet,
    /// All that the returned one has, and as it writes it itself.
    executed: GtidSet,
    pub(super) executed_text: String,
    active_text: String,
}

/// Asks both.
pub(super) async fn compare(
    returned: &mut End,
    active: &mut End,
) -> Result<Compared, InspectError> {
    let (flavor, active_flavor) = (returned.dialect.flavor, active.dialect.flavor);
    // In this order: what replication brings to the active one in between is not stranded.
    let executed_text = executed(&mut returned.conn, flavor).await?;
    let active_text = executed(&mut active.conn, active_flavor).await?;
    let executed = parse(flavor, &executed_text)?;
    let stranded = executed.subtract(&parse(active_flavor, &active_text)?);
    Ok(Compared { stranded, executed, executed_text, active_text })
}

impl Compared {
    /// What is to be read of the returned one's log.
    pub(super) fn wanted(&self, flavor: Flavor) -> Wanted<'_> {
        Wanted {
            flavor,
            stranded: &self.stranded,
            executed: &self.executed,
            active_position: &self.active_text,
        }
    }
}

/// What lets the account see the rows of `{table}`.
fn grant(active: &End) -> String {
    let (user, host) = active.account.rsplit_once('@').unwrap_or((&active.account, "%"));
    let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
    format!("GRANT SELECT ON {{table}} TO {}@{}", quote(user), quote(host))
}

async fn executed(conn: &mut Conn, flavor: Flavor) -> Result<String, InspectError> {
    let question = match flavor {
        Flavor::MySql => "SELECT @@GLOBAL.gtid_executed",
        Flavor::MariaDb => "SELECT @@GLOBAL.gtid_current_pos",
    };
    let text: Option<String> = conn.query_first(question).await?;
    Ok(text.unwrap_or_default())
}

fn parse(flavor: Flavor, text: &str) -> Result<GtidSet, InspectError> {
    GtidSet::parse(flavor, text).map_err(|error| InspectError::Unintelligible(error.to_string()))
}
