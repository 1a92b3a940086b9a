//! What proxies tell each other over a master that is to be left: by locks, which end with whoever holds them.
//!
//! | lock | held by | says |
//! |---|---|---|
//! | `tandem.proxy.<connection>` | the connection of a proxy's probes, for good | a proxy is here |
//! | `tandem.draining` | the connection that claims the master | whoever sees this drains it |
//! | `tandem.drained.<drain>.<connection>` | a connection of its own | the proxy that is known by `<connection>` has nothing open there, nor will have before `tandem.draining` of the connection `<drain>` ends |
//!
//! So it is known who has to be waited for, and nobody waits for a time in which all should have
//! seen something. A proxy that is not there cannot keep anybody waiting, nor can one of an older version. The list of
//! connections shows an account its own without any privilege, and those of others with PROCESS.

use std::time::Duration;

use mysql_async::Row;
use tokio::time::{Instant, sleep};

use super::switchover::ask;
use crate::failover::{OrderFailure, OtherProxies};
use crate::monitor::{Columns, Connection};
use crate::topology::grants::Privilege;

/// Between two looks at who is left.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Who is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// The connection of our own probes.
    pub(super) own: Option<u32>,
    /// Whoever has said nothing for longer is not waited for: his machine may have lost its power, or he
    /// is suspended.
    pub(super) alive_within: Duration,
    /// For at most as long.
    pub(super) timeout: Duration,
}

/// Asks all other proxies to drain the server, and waits until they have.
pub(super) async fn drain_others(
    connection: &mut Connection,
    waiting: Waiting,
) -> Result<OtherProxies, OrderFailure> {
    let deadline = Instant::now() + waiting.timeout;
    let drain = connection.id();
    // The lock of a claim that has just ended is about to.
    let rows = ask(connection, "SELECT GET_LOCK('tandem.draining', 1) AS locked", Privilege::Terms)
        .await?;
    if !is_locked(&rows) {
        return Err(OrderFailure::Claimed("another Tandem".to_owned()));
    }
    let question = format!(
        "SELECT id AS id, host AS host FROM information_schema.processlist \
         WHERE IS_USED_LOCK(CONCAT('tandem.proxy.', id)) = id AND id <> {} AND time <= {} \
         AND IS_USED_LOCK(CONCAT('tandem.drained.{drain}.', id)) IS NULL",
        waiting.own.unwrap_or_default(),
        waiting.alive_within.as_secs_f64().ceil(),
    );
    loop {
        let rows = ask(connection, &question, Privilege::HangingCommits).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if rows.is_empty() || left.is_zero() {
            let undrained: Vec<String> = rows.iter().map(Columns).map(proxy).collect();
            let transactions = match undrained.is_empty() {
                true => Vec::new(),
                false => open_transactions(connection).await?,
            };
            return Ok(OtherProxies { drain, undrained, transactions });
        }
        sleep(LOOK_EVERY.min(left)).await;
    }
}

fn proxy(row: Columns<'_>) -> String {
    format!("connection {} from {}", row.text_or_empty(&["id"]), row.text_or_empty(&["host"]))
}

/// The longest ones. It may be up to 100 ms old (`trx0i_s.cc`, `CACHE_MIN_IDLE_TIME`), and nobody decides
/// by it. Without PROCESS it is empty.
async fn open_transactions(connection: &mut Connection) -> Result<Vec<String>, OrderFailure> {
    let question = "SELECT p.id AS id, p.user AS user, p.host AS host, \
                    TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS seconds \
                    FROM information_schema.innodb_trx AS t \
                    JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id \
                    ORDER BY t.trx_started LIMIT 10";
    // A refusal (1227) takes nothing away but the names.
    let rows = match ask(connection, question, Privilege::HangingCommits).await {
        Ok(rows) => rows,
        Err(OrderFailure::Unreachable(words)) => return Err(OrderFailure::Unreachable(words)),
        Err(_) => Vec::new(),
    };
    let words = |row: Columns<'_>| {
        let [id, user, host, seconds] =
            ["id", "user", "host", "seconds"].map(|name| row.text_or_empty(&[name]));
        format!("connection {id} of {user} from {host}, for {seconds} s")
    };
    Ok(rows.iter().map(Columns).map(words).collect())
}

/// Says to whoever drains the server by the connection `drain` that nothing is open there of the proxy
/// that is known by `known_by`.
pub(super) async fn agree(
    connection: &mut Connection,
    drain: u32,
    known_by: u32,
) -> Result<(), OrderFailure> {
    let lock = format!("SELECT GET_LOCK('tandem.drained.{drain}.{known_by}', 1) AS locked");
    let rows = ask(connection, &lock, Privilege::Terms).await?;
    match is_locked(&rows) {
        true => Ok(()),
        false => Err(OrderFailure::Claimed("a connection of this proxy".to_owned())),
    }
}

fn is_locked(rows: &[Row]) -> bool {
    rows.first().is_some_and(|row| Columns(row).find(&["locked"]).as_deref() == Some("1"))
}
