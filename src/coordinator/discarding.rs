//! Discarding what a returned master has and the active one never received: the SQL around
//! `stranded::discard`, which puts the rows back, and the active master's part, which is to count as
//! executed what it will never get.
//!
//! MySQL: an empty transaction under each of the numbers, in the active master's own log; whoever
//! receives from it has them then, too. MariaDB: the domain's position in `gtid_slave_pos`, which may
//! only be set while no thread of any channel runs
//! (<https://mariadb.com/kb/en/gtid/#gtid_slave_pos>). It never goes back: another Tandem may have done
//! all this before. The packet that sets it starts the threads as well; a Tandem that dies before that
//! leaves them stopped, and the next discard starts those of this channel.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Row;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::catch_up::read_status;
use super::failure::failure;
use super::inspecting::{connect_for_logs, end};
use super::receiving::{Sender, run, thread};
use crate::failover::{OrderFailure, OrderResult};
use crate::monitor::{Answers, Columns, Connection, Dialer, ReplicationChannel};
use crate::stranded::{self, DiscardError, InspectError, Returned};
use crate::topology::grants::Privilege;
use crate::topology::{Discarded, Flavor, GtidSet, ServerAddress, Term, ThreadState};

/// The log is read up to four times.
pub(super) const DISCARD_WITHIN: Duration = Duration::from_secs(180);
/// What is left for the way back of what took too long.
const GRACE: Duration = Duration::from_secs(10);
/// How often the log is read because the applier has changed a row meanwhile.
const ATTEMPTS: usize = 3;

/// Undoes on the returned master what the active one of `term` lacks, and lets its applier go on if that
/// stood in its way.
pub(super) async fn discard(
    dialer: &Dialer,
    connection: &mut Connection,
    (returned, active): (&ServerAddress, &ServerAddress),
    term: Term,
) -> Result<OrderResult, OrderFailure> {
    let dialer = dialer.clone().for_logs();
    let mut attempts = Vec::new();
    for _ in 0..ATTEMPTS {
        attempts.push(connect_for_logs(&dialer, returned).await?.into_conn());
    }
    let ends = Returned {
        end: end(connect_for_logs(&dialer, returned).await?),
        log: connect_for_logs(&dialer, returned).await?.into_conn(),
        attempts,
    };
    let active = end(connect_for_logs(&dialer, active).await?);
    // A task, so that a log which the driver's decoder cannot stand ends that and not the coordinator's
    // lane; in a set, so that it ends with whoever waits for it.
    let mut task = JoinSet::new();
    task.spawn(stranded::discard(ends, active, term));
    let ended = timeout(DISCARD_WITHIN - GRACE, task.join_next()).await;
    let ended = match ended {
        Ok(Some(Ok(Err(DiscardError::Superseded { term, active })))) => {
            return Ok(OrderResult::Superseded { term, active });
        }
        Ok(Some(Ok(ended))) => ended.map_err(|error| not_discarded(error, connection)),
        Ok(Some(Err(panic))) => {
            Err(OrderFailure::Impossible(format!("the binary log could not be decoded: {panic}")))
        }
        Ok(None) => Err(OrderFailure::Impossible("nothing was done".to_owned())),
        Err(_) => Err(OrderFailure::TimedOut("the discard".to_owned())),
    };
    if ended.is_err() {
        task.shutdown().await;
        if connection.dialect().flavor == Flavor::MySql {
            // It was opened for this account alone; a connection that broke has not closed it.
            run(connection, "SET GLOBAL super_read_only=1").await?;
        }
    }
    let discarded = ended?;
    restart_applier(connection).await?;
    Ok(OrderResult::Discarded(Arc::new(discarded)))
}

/// Starts the appliers that have stopped with an error: what they could not execute finds its rows now.
async fn restart_applier(connection: &mut Connection) -> Result<(), OrderFailure> {
    let (_, channels) = read_status(connection).await?;
    let stopped = channels.iter().map(|status| &status.channel);
    for channel in stopped.filter(|it| it.sql == ThreadState::No && it.sql_error.0 != 0) {
        let start = thread(connection.dialect(), "START", "SQL_THREAD", &channel.name);
        run(connection, &start).await?;
    }
    Ok(())
}

/// Has the active master count what was discarded as executed.
pub(super) async fn pass_over(
    connection: &mut Connection,
    source: Sender<'_>,
    discarded: &Discarded,
) -> Result<(), OrderFailure> {
    if discarded.gtids.is_empty() {
        return Ok(());
    }
    match connection.dialect().flavor {
        Flavor::MySql => {
            for statement in empty_transactions(&discarded.gtids) {
                run(connection, &statement).await?;
            }
            run(connection, "SET SESSION gtid_next='AUTOMATIC'").await
        }
        Flavor::MariaDb => move_position(connection, source, &discarded.position).await,
    }
}

/// A packet for each; a number that is executed already is passed over by the server itself.
fn empty_transactions(gtids: &GtidSet) -> impl Iterator<Item = String> + '_ {
    gtids.sources().flat_map(|(uuid, tag, intervals)| {
        let numbers = intervals.into_iter().flat_map(|(first, last)| first..=last);
        numbers.map(move |number| {
            let gtid = GtidSet::of_source(uuid, tag, number);
            format!("SET SESSION gtid_next='{gtid}'; BEGIN; COMMIT")
        })
    })
}

async fn move_position(
    connection: &mut Connection,
    source: Sender<'_>,
    position: &str,
) -> Result<(), OrderFailure> {
    let dialect = connection.dialect();
    let (_, channels) = read_status(connection).await?;
    let ours = |status: &ReplicationChannel| source.is_source_of(status);
    // The channel that is about to be started again needs its applier, whoever stopped it.
    let wanted = |status: &ReplicationChannel, thread| match thread {
        "SQL_THREAD" => status.channel.sql != ThreadState::No || ours(status),
        _ => status.channel.io != ThreadState::No,
    };
    let statements = |verb| {
        let mut statements = Vec::new();
        for status in &channels {
            for name in ["SQL_THREAD", "IO_THREAD"] {
                if wanted(status, name) {
                    statements.push(thread(dialect, verb, name, &status.channel.name));
                }
            }
        }
        statements.join("; ")
    };
    let starts = statements("START");
    // Without a channel there is nothing to stop; the position is what the next one begins with.
    if !starts.is_empty() {
        run(connection, &statements("STOP")).await?;
    }
    let moved = match slave_position(connection).await {
        Ok(before) => advanced(&before, position),
        Err(error) => {
            run(connection, &starts).await?;
            return Err(error);
        }
    };
    let set = moved.map(|after| format!("SET GLOBAL gtid_slave_pos='{after}'"));
    let starts = Some(starts).filter(|starts| !starts.is_empty());
    let packet: Vec<String> = set.into_iter().chain(starts.clone()).collect();
    if packet.is_empty() {
        return Ok(());
    }
    let done = run(connection, &packet.join("; ")).await;
    if let (Err(_), Some(starts)) = (&done, starts) {
        // That it failed is already the result.
        let _ = run(connection, &starts).await;
    }
    done
}

async fn slave_position(connection: &mut Connection) -> Result<String, OrderFailure> {
    let question = "SELECT @@GLOBAL.gtid_slave_pos AS position";
    let answers = connection.ask(question).await.and_then(Answers::all);
    let sets: Vec<Vec<Row>> =
        answers.map_err(|error| failure(error, connection, Privilege::ReplicationControl))?;
    let row = sets.first().and_then(|rows| rows.first()).map(Columns);
    Ok(row.map(|row| row.text_or_empty(&["position"])).unwrap_or_default())
}

/// `before` with the domains of `position` moved on to it; `None` when none of them is behind.
fn advanced(before: &str, position: &str) -> Option<String> {
    let parts = |text: &str| -> Option<(u32, u64)> {
        let mut parts = text.trim().split('-');
        let domain = parts.next()?.parse().ok()?;
        Some((domain, parts.nth(1)?.parse().ok()?))
    };
    let gtids = |text: &str| -> Vec<String> {
        text.split(',').map(|gtid| gtid.trim().to_owned()).filter(|gtid| !gtid.is_empty()).collect()
    };
    let mut after = gtids(before);
    let mut moved = false;
    for target in gtids(position) {
        let (domain, sequence) = parts(&target)?;
        let of_domain = |gtid: &&mut String| parts(gtid).is_some_and(|(own, _)| own == domain);
        match after.iter_mut().find(of_domain) {
            Some(own) if parts(own).is_some_and(|(_, own)| own >= sequence) => {}
            Some(own) => {
                *own = target;
                moved = true;
            }
            None => {
                after.push(target);
                moved = true;
            }
        }
    }
    moved.then(|| after.join(","))
}

fn not_discarded(error: DiscardError, connection: &Connection) -> OrderFailure {
    match error {
        DiscardError::Denied(message) => {
            OrderFailure::Denied { message, grant: grants(connection) }
        }
        DiscardError::Inspect(InspectError::Server { code, message }) => {
            OrderFailure::Refused { code, message }
        }
        DiscardError::Inspect(InspectError::Broken(message)) => OrderFailure::Unreachable(message),
        other => OrderFailure::Impossible(other.to_string()),
    }
}

/// What the account needs for this and for nothing else, and is better given for the occasion.
fn grants(connection: &Connection) -> String {
    let (user, host) =
        connection.account().rsplit_once('@').unwrap_or_else(|| (connection.account(), "%"));
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    let to = format!("TO {}@{}", quote(user), quote(host));
    let log = match connection.dialect().flavor {
        Flavor::MariaDb => format!("GRANT BINLOG ADMIN ON *.* {to}; "),
        Flavor::MySql => String::new(),
    };
    format!(
        "SET SESSION sql_log_bin=0; {log}GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON <the \
         schema>.* {to} (on the master that returned)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_only_goes_forward() {
        let after = |before, position| advanced(before, position);
        assert_eq!(after("1-1-105,2-2-9", "1-1-110").as_deref(), Some("1-1-110,2-2-9"));
        assert_eq!(after("2-2-9", "1-1-110").as_deref(), Some("2-2-9,1-1-110"));
        assert_eq!(after("", "1-1-110").as_deref(), Some("1-1-110"));
        assert_eq!(after("1-1-115, 2-2-9", "1-1-110"), None);
        assert_eq!(after("11-1-5", "1-1-110").as_deref(), Some("11-1-5,1-1-110"));
    }

    #[test]
    fn each_number_gets_an_empty_transaction() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let gtids = GtidSet::parse(Flavor::MySql, &format!("{uuid}:5-6:tag:7")).expect("a set");
        assert_eq!(
            empty_transactions(&gtids).collect::<Vec<_>>(),
            ["5", "6", "tag:7"]
                .map(|number| format!("SET SESSION gtid_next='{uuid}:{number}'; BEGIN; COMMIT"))
        );
    }
}
