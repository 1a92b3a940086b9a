//! Standbys that cannot take over at once: ten seconds behind, with an applier that has stopped, never
//! connected. What `catch_up`, `catch_up_expired` and the gate say happens, and is said.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::config::CatchUpExpired;
use tandem::sandbox::{SandboxOptions, SandboxServer};
use tandem::topology::Flavor;

use crate::patience::{ask, eventually, within};
use crate::support::Stack;

const ROWS: &str = "SELECT COUNT(*) FROM app.t";

/// A pair with a table of one row on both, whose second master executes everything ten seconds late
/// from here on.
async fn ten_seconds_behind(expired: CatchUpExpired) -> (Stack, mysql_async::Conn) {
    let stack = Stack::start_with(SandboxOptions::default(), |config| {
        config.failover.catch_up = Duration::from_secs(1);
        config.failover.catch_up_expired = expired;
        config.failover.hold = Duration::from_secs(60);
        config.monitor.rise = 1;
    })
    .await;
    let client = with_a_row(&stack).await;
    let delay = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => {
            ["STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 10", "START SLAVE"].as_slice()
        }
        Flavor::MySql => {
            &["STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 10", "START REPLICA"]
        }
    };
    stack.sandbox.server(1).execute(delay).await.expect("delayed");
    stack.sandbox.await_replication().await.expect("both threads say Yes");
    (stack, client)
}

async fn with_a_row(stack: &Stack) -> mysql_async::Conn {
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await.expect("made");
    client.query_drop("INSERT INTO t VALUES (1, 1)").await.expect("inserted");
    let grant = format!("GRANT SELECT ON app.* TO '{}'@'%'", stack.sandbox.monitor().user);
    stack.sandbox.server(0).execute(&[&grant]).await.expect("granted");
    let last = format!("SHOW GRANTS FOR '{}'@'%'", stack.sandbox.monitor().user);
    eventually("m2 has the row and the grant", async || {
        let mut root = stack.sandbox.server(1).root_connection().await.ok()?;
        let grants: Vec<String> = root.query(&last).await.ok()?;
        grants.iter().any(|grant| grant.contains("`app`")).then_some(())
    })
    .await;
    assert_eq!(ask::<u32>(stack.sandbox.server(1), ROWS).await, 1);
    client
}

/// What the standby has received of the active master, as the servers write it.
async fn await_received(stack: &Stack) {
    let position = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
        Flavor::MySql => "SELECT @@GLOBAL.gtid_executed",
    };
    eventually("m2 has received it", async || {
        let written = ask::<String>(stack.sandbox.server(0), position).await.replace('\n', "");
        let (status, column) = match stack.sandbox.binaries().flavor() {
            Flavor::MariaDb => ("SHOW SLAVE STATUS", "Gtid_IO_Pos"),
            Flavor::MySql => ("SHOW REPLICA STATUS", "Retrieved_Gtid_Set"),
        };
        let mut root = stack.sandbox.server(1).root_connection().await.ok()?;
        let row: mysql_async::Row = root.query_first(status).await.ok()??;
        let received: String = row.get(column)?;
        let last = |set: &str| {
            let mut ends = set.split(',').filter_map(|part| part.rsplit(['-', ':']).next());
            ends.next().and_then(|end| end.parse::<u64>().ok())
        };
        (last(&received)? >= last(&written)?).then_some(())
    })
    .await;
}

/// The event that says this, in whole.
async fn reason(stack: &Stack, has: &str) -> String {
    let mut console = stack.console().await;
    eventually(has, async || {
        let rows: Vec<mysql_async::Row> = console.query("SHOW EVENTS").await.expect("shown");
        let mut reasons = rows.iter().filter_map(|row| row.get::<String, _>("Reason"));
        reasons.find(|reason| reason.contains(has))
    })
    .await
}

#[tokio::test]
async fn one_that_is_behind_stays_until_it_has_caught_up() {
    let (mut stack, mut client) = ten_seconds_behind(CatchUpExpired::Stay).await;
    client.query_drop("INSERT INTO t VALUES (2, 2)").await.expect("on m1");
    await_received(&stack).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let why = reason(&stack, "has not executed").await;
    assert!(why.contains("m2 has not executed within 1s what it received"), "{why}");
    assert_eq!(ask::<u32>(stack.sandbox.server(1), ROWS).await, 1, "it is behind");
    // Waits, and comes through when the ten seconds are over.
    within("a held write", client.query_drop("INSERT INTO t VALUES (3, 3)")).await.expect("on m2");
    assert_eq!(ask::<u32>(stack.sandbox.server(1), ROWS).await, 3);
}

#[tokio::test]
async fn one_that_is_behind_is_promoted_and_throws_the_rest_away() {
    let (mut stack, mut client) = ten_seconds_behind(CatchUpExpired::Promote).await;
    client.query_drop("INSERT INTO t VALUES (2, 2)").await.expect("on m1");
    client.query_drop("INSERT INTO t VALUES (3, 3)").await.expect("on m1");
    await_received(&stack).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    within("a held write", client.query_drop("INSERT INTO t VALUES (4, 4)")).await.expect("on m2");
    let why = reason(&stack, "m2 is active by term").await;
    assert!(why.contains("m2 threw away") && why.contains("not executed"), "{why}");
    let ids = "SELECT GROUP_CONCAT(id ORDER BY id) FROM app.t";
    assert_eq!(ask::<String>(stack.sandbox.server(1), ids).await, "1,4");

    // The old master has them still, and they do not come in by themselves.
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    let mut console = stack.console().await;
    eventually("m1 is in quarantine, its transactions read", async || {
        let rows: Vec<mysql_async::Row> = console.query("SHOW STRANDED m1").await.expect("shown");
        let safe = rows.iter().filter(|row| {
            let cell = |name| row.get::<Option<String>, _>(name).flatten().unwrap_or_default();
            cell("Tables").contains("app.t (+1") && cell("Verdict") == "safe"
        });
        (safe.count() == 2).then_some(())
    })
    .await;
    assert_eq!(ask::<String>(stack.sandbox.server(1), ids).await, "1,4");
    let done: Option<String> = console.query_first("RELEASE m1").await.expect("released");
    assert!(done.is_some_and(|done| done.contains("m2 receives from m1 again")));
    eventually("m2 has all of it", async || {
        (ask::<String>(stack.sandbox.server(1), ids).await == "1,2,3,4").then_some(())
    })
    .await;
}

/// Whatever `catch_up_expired` says: what an applier has not executed because of an error is not
/// thrown away by itself.
#[tokio::test]
async fn one_whose_applier_has_stopped_is_refused_and_can_be_forced() {
    let mut stack = Stack::start_with(SandboxOptions::default(), |config| {
        config.failover.catch_up_expired = CatchUpExpired::Promote;
    })
    .await;
    let mut client = with_a_row(&stack).await;
    let beside = ["SET sql_log_bin = 0", "INSERT INTO app.t VALUES (2, 0)"];
    stack.sandbox.server(1).execute(&beside).await.expect("beside replication");
    client.query_drop("INSERT INTO t VALUES (2, 2)").await.expect("on m1");
    let mut topology = stack.app.handles().topology.clone();
    let stopped = topology.wait_for(|seen| {
        let channels = |id| seen.facts(tandem::topology::ServerId(id)).map(|facts| &facts.channels);
        channels(1).is_some_and(|channels| channels.iter().any(|c| c.sql_error.0 == 1062))
    });
    within("error 1062", stopped).await.expect("the proxy runs");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let why = reason(&stack, "1062").await;
    assert!(why.contains("m2 has an applier that stopped with error 1062"), "{why}");

    let mut console = stack.console().await;
    let refused = console.query_drop("FAILOVER TO m2").await.expect_err("refused").to_string();
    assert!(refused.contains("no failover to m2: m2 has an applier that stopped"), "{refused}");
    let forced = console.query_first::<String, _>("FAILOVER TO m2 FORCE");
    let done = within("a forced failover", forced).await.expect("forced").expect("a row");
    assert!(done.contains("m2 is active by term"), "{done}");
    client.query_drop("INSERT INTO t VALUES (3, 3)").await.expect("on m2");
    let rows = "SELECT GROUP_CONCAT(id, ':', a ORDER BY id) FROM app.t";
    assert_eq!(ask::<String>(stack.sandbox.server(1), rows).await, "1:1,2:0,3:3");
}

#[tokio::test]
async fn one_that_never_was_connected_is_refused() {
    let mut stack = Stack::start().await;
    let mut client = with_a_row(&stack).await;
    // A channel to where nobody is: it tries for ever, and has never had contact.
    nowhere(stack.sandbox.server(1), stack.sandbox.binaries().flavor()).await;
    client.query_drop("INSERT INTO t VALUES (2, 2)").await.expect("on m1");
    // That it does not receive counts only if its source outlives it: it is disconnected from a dead one
    // in any case.
    let mut topology = stack.app.handles().topology.clone();
    let mut since = std::time::Instant::now();
    for id in [1, 0] {
        let look = topology.wait_for(|seen| {
            let last = seen.seen(tandem::topology::ServerId(id)).last.as_ref();
            last.is_some_and(|last| last.at - last.took > since)
        });
        within("a look", look).await.expect("the proxy runs");
        since = std::time::Instant::now();
    }
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let why = reason(&stack, "was not receiving from m1").await;
    assert!(why.contains("Slave_IO_Running: Connecting") && why.contains("and lacks"), "{why}");
    assert_eq!(stack.app.handles().routes.borrow().active(), None);
}

async fn nowhere(server: &SandboxServer, flavor: Flavor) {
    let statements = match flavor {
        Flavor::MariaDb => [
            "STOP SLAVE",
            "RESET SLAVE ALL",
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'nobody', \
             MASTER_USE_GTID = slave_pos",
            "START SLAVE",
        ],
        Flavor::MySql => [
            "STOP REPLICA",
            "RESET REPLICA ALL",
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1, \
             SOURCE_USER = 'nobody', SOURCE_AUTO_POSITION = 1",
            "START REPLICA",
        ],
    };
    server.execute(&statements).await.expect("redirected");
}
