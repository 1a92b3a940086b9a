//! What a failover with asynchronous replication costs is told exactly: transactions, users, times.

use std::collections::BTreeSet;
use std::time::Duration;

use mysql_async::prelude::*;
use mysql_async::{Conn, OptsBuilder, Row};
use tandem::coordinator::{Finding, LostWrites};
use tandem::sandbox::SandboxOptions;
use tandem::topology::{Flavor, ServerAddress};

use crate::patience::eventually;
use crate::support::{Stack, executed};

fn asynchronous() -> SandboxOptions {
    SandboxOptions { semi_sync: false, durable: false, ..SandboxOptions::default() }
}

/// The last account of a change, once it is final.
async fn account(stack: &Stack, count: usize) -> LostWrites {
    let accounts = stack.app.handles().accounts.clone();
    eventually("the losses are told", async || {
        let accounts = accounts.borrow().clone();
        let last = accounts.losses.last().filter(|last| last.sessions_left == 0)?.clone();
        (accounts.losses.len() == count).then_some(last)
    })
    .await
}

async fn console(stack: &Stack) -> Conn {
    let Some(ServerAddress::Tcp { port, .. }) = stack.app.console() else { panic!("no console") };
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(*port)
        .user(Some("admin"))
        .prefer_socket(false);
    Conn::new(options).await.expect("the console")
}

async fn stop_receiving(stack: &Stack) {
    let stop = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => "STOP SLAVE IO_THREAD",
        Flavor::MySql => "STOP REPLICA IO_THREAD",
    };
    stack.sandbox.server(1).execute(&[stop]).await.expect("stopped");
}

/// Writes in every way that there is one to commit; the number of transactions.
async fn write_in_every_way(client: &mut Conn, other: &mut Conn) -> u64 {
    client.query_drop("INSERT INTO t (a) VALUES (10), (11), (12)").await.expect("several rows");
    client.query_drop("BEGIN").await.expect("begun");
    client.query_drop("INSERT INTO t (a) VALUES (13)").await.expect("inserted");
    client.query_drop("UPDATE t SET a = a + 100 WHERE a = 13").await.expect("updated");
    client.query_drop("COMMIT").await.expect("committed");
    client.exec_drop("INSERT INTO t (a) VALUES (?)", (14,)).await.expect("prepared");
    client.query_drop("SET autocommit = 0").await.expect("set");
    client.query_drop("INSERT INTO t (a) VALUES (15)").await.expect("inserted");
    client.query_drop("SET autocommit = 1").await.expect("committed by that");
    client.query_drop("SELECT COUNT(*) FROM t").await.expect("read");
    client.query_drop("BEGIN").await.expect("begun");
    client.query_drop("INSERT INTO t (a) VALUES (16)").await.expect("inserted");
    client.query_drop("ROLLBACK").await.expect("rolled back");
    client.query_drop("INSERT INTO t (id, a) VALUES (1, 0)").await.expect_err("there is one");
    client
        .query_drop("INSERT INTO t (a) VALUES (17); INSERT INTO t (a) VALUES (18)")
        .await
        .expect("two at once");
    other.query_drop("INSERT INTO app.t (a) VALUES (19)").await.expect("by another user");
    7
}

async fn second_user(stack: &Stack) -> Conn {
    let account = ["CREATE USER other@'%' IDENTIFIED BY 'hush'", "GRANT ALL ON app.* TO other@'%'"];
    stack.sandbox.server(0).execute(&account).await.expect("an account");
    let options = OptsBuilder::from_opts(stack.opts()).user(Some("other")).pass(Some("hush"));
    eventually("the other user is let in", async || Conn::new(options.clone()).await.ok()).await
}

/// m2 receives nothing while clients write in every way; then m1 dies. The heartbeats and terms of Tandem,
/// and what root writes, are lost as well and are nobody's acknowledged writes.
#[tokio::test]
async fn what_was_acknowledged_and_is_lost_is_named() {
    let mut stack = Stack::start_with(asynchronous(), |config| {
        // Long enough for all that follows to be between two looks at m2.
        config.monitor.interval = Duration::from_secs(2);
    })
    .await;
    let mut client = stack.connect().await;
    let table = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)";
    client.query_drop(table).await.expect("made");
    client.query_drop("INSERT INTO t (a) VALUES (1)").await.expect("inserted");
    let mut other = second_user(&stack).await;
    stack.await_replicated(0).await;
    stop_receiving(&stack).await;
    let before = executed(&stack.sandbox, 0).await;
    let root = ["INSERT INTO app.t (a) VALUES (99)"];
    stack.sandbox.server(0).execute(&root).await.expect("past Tandem");
    let count = write_in_every_way(&mut client, &mut other).await;
    let stranded = executed(&stack.sandbox, 0).await.subtract(&before);
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let began = std::time::SystemTime::now();
    stack.await_active(Some("m2")).await;
    let loss = account(&stack, 1).await;
    let Finding::Counted(missing) = &loss.finding else { panic!("{loss:?}") };
    assert_eq!(missing.writes.count(), count, "{loss:?}, of {stranded}");
    assert!(stranded.contains(&missing.writes), "{} of {stranded}", missing.writes);
    assert!(!missing.at_least && missing.shared == 0, "{loss:?}");
    let mut users = missing.users.clone();
    users.sort();
    let app = stack.opts().user().expect("a user").to_owned();
    let mut expected = vec![(app, count - 1), ("other".to_owned(), 1)];
    expected.sort();
    assert_eq!(users, expected);
    let (first, last) = missing.span.expect("there are some");
    assert!(first <= last && last <= began, "{missing:?}");
    it_is_told_everywhere(&stack, &loss, count).await;

    // What comes back is seen to.
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    let mut admin = console(&stack).await;
    eventually("m1 is released", async || admin.query_drop("RELEASE m1 MERGE FORCE").await.ok())
        .await;
    let back = eventually("the writes came back", async || {
        let losses = stack.app.handles().accounts.borrow().losses.clone();
        losses.last().filter(|last| last.came_back == count).cloned()
    })
    .await;
    assert_eq!(back.finding, loss.finding, "what was said stays");
}

async fn it_is_told_everywhere(stack: &Stack, loss: &LostWrites, count: u64) {
    let mut console = console(stack).await;
    let rows: Vec<Row> = console.query("SHOW LOST WRITES").await.expect("shown");
    assert_eq!(rows.len(), 1);
    let cell = |name| rows[0].get::<Option<String>, _>(name).flatten().unwrap_or_default();
    assert_eq!((cell("Lost"), cell("Final")), (count.to_string(), "Yes".to_owned()));
    let Finding::Counted(missing) = &loss.finding else { panic!("{loss:?}") };
    assert_eq!(cell("Gtids"), missing.writes.to_string());
    let stats: Vec<(String, String)> = console.query("SHOW STATS").await.expect("shown");
    let stat = ("tandem_failover_lost_writes_total".to_owned(), count.to_string());
    assert!(stats.contains(&stat), "{stats:?}");
    let events: Vec<Row> = console.query("SHOW EVENTS").await.expect("shown");
    let reasons: BTreeSet<String> =
        events.iter().filter_map(|row| row.get::<String, _>("Reason")).collect();
    assert!(reasons.iter().any(|reason| reason.starts_with(&format!("m2 lacks {count} writes"))));
}

/// What is not received yet is shown before anything happens.
#[tokio::test]
async fn what_would_be_lost_is_shown_before() {
    let stack = Stack::start_with(asynchronous(), |_| {}).await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    let mut console = console(&stack).await;
    let mut at_risk = async |expected: &str| {
        eventually(expected, async || {
            let rows: Vec<Row> = console.query("SHOW MASTERS").await.expect("shown");
            let shown = rows[1].get::<Option<String>, _>("At_Risk").flatten();
            (shown.as_deref() == Some(expected)).then_some(())
        })
        .await;
    };
    at_risk("0").await;
    stop_receiving(&stack).await;
    for number in 0..3 {
        client.query_drop(format!("INSERT INTO t VALUES ({number})")).await.expect("inserted");
    }
    at_risk("3").await;
    let start = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => "START SLAVE IO_THREAD",
        Flavor::MySql => "START REPLICA IO_THREAD",
    };
    stack.sandbox.server(1).execute(&[start]).await.expect("started");
    at_risk("0").await;
    // Behind by nothing, by the row that Tandem writes.
    eventually("the lag in milliseconds is known", async || {
        let rows: Vec<Row> = console.query("SHOW MASTERS").await.expect("shown");
        rows[1].get::<Option<String>, _>("Lag_Milliseconds").flatten()
    })
    .await;
}

/// A procedure commits twice and answers once: MariaDB names the second transaction alone, which is said.
#[tokio::test]
async fn what_a_server_does_not_name_is_a_lower_bound() {
    let mut stack = Stack::start_with(asynchronous(), |config| {
        config.monitor.interval = Duration::from_secs(2);
    })
    .await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    let procedure =
        "CREATE PROCEDURE twice() BEGIN INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); END";
    client.query_drop(procedure).await.expect("made");
    stack.await_replicated(0).await;
    stop_receiving(&stack).await;
    client.query_drop("CALL twice()").await.expect("called");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.await_active(Some("m2")).await;
    let loss = account(&stack, 1).await;
    match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => assert_eq!(loss.number(), "at least 1"),
        Flavor::MySql => assert_eq!(loss.number(), "2"),
    }
}

/// A standby that does not receive any more: the active master goes on without it, and that is said.
#[tokio::test]
async fn a_fall_back_to_asynchronous_replication_is_told() {
    let options = SandboxOptions { semi_sync: true, ..asynchronous() };
    let stack = Stack::start_with(options, |_| {}).await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    let mut console = console(&stack).await;
    let mut semi_sync = async |expected: &str| {
        eventually(expected, async || {
            let rows: Vec<Row> = console.query("SHOW MASTERS").await.expect("shown");
            let shown: Option<String> = rows[0].get("Semi_Sync");
            (shown.as_deref() == Some(expected)).then_some(())
        })
        .await;
    };
    semi_sync("on").await;
    let word = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => "master",
        Flavor::MySql => "source",
    };
    let timeout = format!("SET GLOBAL rpl_semi_sync_{word}_timeout = 50");
    stack.sandbox.server(0).execute(&[&timeout]).await.expect("a short one");
    stop_receiving(&stack).await;
    client.query_drop("INSERT INTO t VALUES (1)").await.expect("after a while");
    semi_sync("fell back").await;
    let journal = &stack.app.handles().journal;
    eventually("it is an event", async || {
        let rows = journal.rows_after(0);
        rows.iter().any(|row| row.transition.to == "asynchronous").then_some(())
    })
    .await;
    let start = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => "START SLAVE IO_THREAD",
        Flavor::MySql => "START REPLICA IO_THREAD",
    };
    stack.sandbox.server(1).execute(&[start]).await.expect("started");
    client.query_drop("INSERT INTO t VALUES (2)").await.expect("written");
    semi_sync("on").await;
}
