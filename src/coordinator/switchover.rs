//! The orders of a planned switchover: the claim, the fence with its position, and the wait for it.

use std::time::Duration;

use mysql_async::Row;
use tokio::time::Instant;

use super::catch_up::{SLICE, others_events, read_status, why_stopped};
use super::failure::failure;
use super::fence::closing;
use crate::failover::OrderFailure;
use crate::monitor::{Answers, Columns, Connection};
use crate::topology::grants::Privilege;
use crate::topology::{Flavor, GtidSet, ThreadState};

/// The lock that is held on the master which is left and on the one that is to be active, from the
/// beginning to the end of a switchover. Every probe asks whether somebody holds it ([`Facts::claimed`]).
///
/// [`Facts::claimed`]: crate::topology::Facts::claimed
pub(super) const LOCK: &str = "tandem.switchover";

/// The server ends the connection after this time without a word, should the machine of its holder have
/// lost its power: until then others wait for it.
pub(super) const CLAIM_SECONDS: u32 = 3;

/// How long the end of our own last claim is waited for: it ends when the server notices that its connection
/// was closed.
const OWN_ENDS_WITHIN: u8 = 1;

/// Takes the lock. It is held for as long as `connection` lives. `own` is the connection of this process that
/// held it last.
pub(super) async fn claim(
    connection: &mut Connection,
    own: Option<u32>,
) -> Result<(), OrderFailure> {
    end_with_silence(connection).await?;
    let question =
        format!("SELECT GET_LOCK('{LOCK}', 0) AS locked, IS_USED_LOCK('{LOCK}') AS holder");
    let rows = ask(connection, &question, Privilege::Terms).await?;
    let row = rows.first().map(Columns);
    let text = |name| row.as_ref().and_then(|row| row.find(&[name]));
    if text("locked").as_deref() == Some("1") {
        return Ok(());
    }
    let holder = text("holder").unwrap_or_else(|| "unknown".into());
    if own.is_some_and(|own| holder == own.to_string()) {
        let question = format!("SELECT GET_LOCK('{LOCK}', {OWN_ENDS_WITHIN}) AS locked");
        let rows = ask(connection, &question, Privilege::Terms).await?;
        if rows.first().is_some_and(|row| Columns(row).find(&["locked"]).as_deref() == Some("1")) {
            return Ok(());
        }
    }
    Err(OrderFailure::Claimed(format!("another Tandem (connection {holder})")))
}

/// Has the server end the connection when its holder has been silent for [`CLAIM_SECONDS`].
pub(super) async fn end_with_silence(connection: &mut Connection) -> Result<(), OrderFailure> {
    let idle = format!("SET SESSION wait_timeout={CLAIM_SECONDS}");
    ask(connection, &idle, Privilege::Terms).await.map(drop)
}

/// Makes the server refuse writes, and reads what it has executed: nothing comes after that.
///
/// Setting `read_only` waits for the commits that are under way and keeps new ones out (the global
/// read lock and the commit lock, `sql/sys_vars.cc`, `fix_read_only` in both families), so that the
/// position, which is read after it, is the last one. All of it is one packet, and an error in it ends
/// it: statements wait meanwhile. (That somebody acknowledges, so that no commit hangs, was seen
/// before anything was held.)
pub(super) async fn freeze(connection: &mut Connection) -> Result<GtidSet, OrderFailure> {
    let flavor = connection.dialect().flavor;
    let position = match flavor {
        Flavor::MariaDb => "SELECT @@GLOBAL.gtid_current_pos AS executed",
        Flavor::MySql => "SELECT @@GLOBAL.gtid_executed AS executed",
    };
    let statements = format!("{}; {position}", closing(flavor));
    let answers = connection.ask(&statements).await.and_then(Answers::all);
    let sets = answers.map_err(|error| failure(error, connection, Privilege::ReadOnly))?;
    let row = sets.last().and_then(|rows| rows.first()).map(Columns);
    let executed = row.map(|row| row.text_or_empty(&["executed"]));
    let position = GtidSet::parse(flavor, &executed.unwrap_or_default()).map_err(|error| {
        OrderFailure::Refused { code: 0, message: format!("its position is no GTID set: {error}") }
    })?;
    Ok(position)
}

/// Waits until the server has executed all of `position`.
pub(super) async fn reach(
    connection: &mut Connection,
    position: &GtidSet,
    within: Duration,
) -> Result<(), OrderFailure> {
    let deadline = Instant::now() + within;
    let position = match connection.dialect().flavor {
        Flavor::MariaDb => others_events(&position.to_string(), connection.server_id()),
        Flavor::MySql => position.to_string(),
    };
    if position.is_empty() {
        return Ok(());
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let seconds = left.min(SLICE).as_secs_f64();
        let wait = match connection.dialect().flavor {
            Flavor::MariaDb => "MASTER_GTID_WAIT",
            Flavor::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
        };
        let question = format!("SELECT {wait}('{position}', {seconds:.3}) = 0 AS reached");
        let rows = ask(connection, &question, Privilege::ReplicationStatus).await?;
        if rows.first().is_some_and(|row| Columns(row).find(&["reached"]).as_deref() == Some("1")) {
            return Ok(());
        }
        let (_, channels) = read_status(connection).await?;
        if let Some(stopped) = channels.iter().find(|c| c.channel.sql != ThreadState::Yes) {
            return Err(OrderFailure::ApplierStopped(why_stopped(&stopped.channel)));
        }
        if Instant::now() >= deadline {
            return Err(OrderFailure::TimedOut(format!("{position} is not executed yet")));
        }
    }
}

pub(super) async fn ask(
    connection: &mut Connection,
    question: &str,
    privilege: Privilege,
) -> Result<Vec<Row>, OrderFailure> {
    let answers = connection.ask(question).await.and_then(Answers::all);
    let sets = answers.map_err(|error| failure(error, connection, privilege))?;
    Ok(sets.into_iter().next().unwrap_or_default())
}
