//! Planned switchovers by the console, to and fro, and those that are undone.

use std::time::{Duration, Instant};

use mysql_async::prelude::*;
use tandem::topology::{Flavor, ServerId};
use tokio::task::JoinHandle;

use crate::patience::{ask, await_statement, eventually, within};
use crate::support::Stack;

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);

/// The machine's answer, or its refusal.
async fn order(console: &mut mysql_async::Conn, sql: &str) -> Result<String, String> {
    let answer = within(sql, console.query_first::<String, _>(sql)).await;
    answer.map(|row| row.expect("a row")).map_err(|error| error.to_string())
}

async fn until_steady(stack: &Stack, active: ServerId) {
    let mut status = stack.app.handles().status.clone();
    let steady = status.wait_for(|now| now.phase == "steady" && now.active == Some(active));
    within("steady", steady).await.expect("the proxy runs");
}

#[tokio::test]
async fn to_and_fro_without_an_error_and_undone_for_what_stays_open() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.switchover.drain = Duration::from_millis(300);
        config.failover.catch_up = Duration::from_secs(2);
    })
    .await;
    let mut console = stack.console().await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT)").await.expect("made");
    client.query_drop("SET @note = 'kept'").await.expect("set");
    for (to, server) in [("m2", M2), ("m1", M1)] {
        let done = order(&mut console, &format!("SWITCHOVER TO {to}")).await.expect(to);
        assert!(done.contains(&format!("{to} is active")), "{done}");
        assert_eq!(stack.app.handles().routes.borrow().active(), Some(server));
        client.query_drop("INSERT INTO t VALUES ()").await.expect("written");
        let here: (u32, String) =
            client.query_first("SELECT @@server_id, @note").await.expect("asked").expect("a row");
        assert_eq!(here, (u32::from(server.0) + 1, "kept".to_owned()));
    }
    let keys: Vec<u32> = client.query("SELECT id FROM t ORDER BY id").await.expect("the rows");
    assert_eq!(keys, [2, 3], "one of each master's class");

    open_transaction(&stack, &mut console, &mut client).await;
    temporary_table(&stack, &mut console).await;
    for through in [true, false] {
        waiting_ddl(&stack, &mut console, through).await;
        copying_ddl(&stack, &mut console, through).await;
    }
    lagging(&stack, &mut console).await;
    pause(&stack, &mut console, &mut client).await;
}

/// It is undone, goes on as if nothing had been, and a forced one breaks it off.
async fn open_transaction(
    stack: &Stack,
    console: &mut mysql_async::Conn,
    client: &mut mysql_async::Conn,
) {
    client.query_drop("BEGIN").await.expect("begun");
    client.query_drop("INSERT INTO t VALUES ()").await.expect("written");
    let undone = order(console, "SWITCHOVER TO m2").await.expect_err("a transaction is open");
    assert!(undone.contains("is undone") && undone.contains("is in a transaction"), "{undone}");
    until_steady(stack, M1).await;
    client.query_drop("INSERT INTO t VALUES ()").await.expect("nothing happened");
    client.query_drop("COMMIT").await.expect("nothing happened");

    client.query_drop("BEGIN").await.expect("begun");
    client.query_drop("INSERT INTO t VALUES ()").await.expect("written");
    let done = order(console, "SWITCHOVER TO m2 FORCE").await.expect("forced");
    assert!(done.contains("1 sessions were broken off"), "{done}");
    let told = client.query_drop("INSERT INTO t VALUES ()").await.expect_err("it was lost");
    assert!(matches!(&told, mysql_async::Error::Server(e) if e.code == 1213), "{told}");
    let count: u32 = client.query_first("SELECT COUNT(*) FROM t").await.expect("ok").expect("row");
    assert_eq!(count, 4);
    let back = order(console, "SWITCHOVER TO m1").await.expect("back");
    assert!(back.contains("m1 is active"), "{back}");
}

async fn temporary_table(stack: &Stack, console: &mut mysql_async::Conn) {
    let mut client = stack.connect().await;
    client.query_drop("CREATE TEMPORARY TABLE mine (a INT)").await.expect("made");
    let undone = order(console, "SWITCHOVER TO m2").await.expect_err("it would be lost");
    assert!(undone.contains("temporary table"), "{undone}");
    until_steady(stack, M1).await;
    client.query_drop("INSERT INTO mine VALUES (1)").await.expect("still there");
    client.query_drop("DROP TEMPORARY TABLE mine").await.expect("dropped");
    client.disconnect().await.expect("gone");
}

/// An ALTER TABLE that waits, of a client or past the proxy: undone within its deadline, and nothing is
/// left closed.
async fn waiting_ddl(stack: &Stack, console: &mut mysql_async::Conn, through: bool) {
    let m1 = stack.sandbox.server(0);
    m1.execute(&["CREATE TABLE app.altered (a INT)"]).await.expect("made");
    // As long as a reader is in a transaction the statement runs, and waits for it.
    let mut reader = m1.root_connection().await.expect("root's login");
    reader.query_drop("BEGIN").await.expect("begun");
    let _: Vec<u32> = reader.query("SELECT a FROM app.altered").await.expect("read");
    let altering = alter(stack, through, "ALTER TABLE app.altered ADD COLUMN b INT").await;
    undone_for_ddl(stack, console, through).await;
    reader.query_drop("COMMIT").await.expect("done");
    within("the ALTER", altering).await.expect("it ran").expect("it was not broken off");
    m1.execute(&["DROP TABLE app.altered"]).await.expect("dropped");
}

/// One that copies its table, a second or so for each row. Nobody waits for its end.
async fn copying_ddl(stack: &Stack, console: &mut mysql_async::Conn, through: bool) {
    let m1 = stack.sandbox.server(0);
    let rows: Vec<String> = (1..=100).map(|id| format!("({id})")).collect();
    let rows = format!("INSERT INTO app.copied VALUES {}", rows.join(", "));
    m1.execute(&["CREATE TABLE app.copied (id INT PRIMARY KEY)", &rows]).await.expect("made");
    let slow = "ALTER TABLE app.copied ALGORITHM=COPY, \
                ADD COLUMN b CHAR(64) AS (SHA2(REPEAT(id, 100000000), 256)) STORED";
    let altering = alter(stack, through, slow).await;
    undone_for_ddl(stack, console, through).await;
    let running = "SELECT id FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%'";
    let id = ask::<u64>(m1, running).await;
    m1.execute(&[&format!("KILL QUERY {id}")]).await.expect("it still ran");
    within("the ALTER", altering).await.expect("it ran").expect_err("it was ended");
    m1.execute(&["DROP TABLE app.copied"]).await.expect("dropped");
}

/// Has a client, or root past the proxy, run this.
async fn alter(
    stack: &Stack,
    through: bool,
    statement: &'static str,
) -> JoinHandle<Result<(), mysql_async::Error>> {
    let m1 = stack.sandbox.server(0);
    let mut client = match through {
        true => stack.connect().await,
        false => m1.root_connection().await.expect("root's login"),
    };
    let altering = tokio::spawn(async move { client.query_drop(statement).await });
    await_statement(m1, "ALTER TABLE").await;
    altering
}

async fn undone_for_ddl(stack: &Stack, console: &mut mysql_async::Conn, through: bool) {
    let m1 = stack.sandbox.server(0);
    let began = Instant::now();
    let undone = order(console, "SWITCHOVER TO m2").await.expect_err("DDL is running");
    println!("through the proxy: {through}: {undone} ({:?})", began.elapsed());
    let why = if through { "is executing a statement" } else { "m1 cannot be made read-only" };
    assert!(undone.contains("is undone") && undone.contains(why), "{undone}");
    until_steady(stack, M1).await;
    let open = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => "SELECT @@GLOBAL.read_only",
        Flavor::MySql => "SELECT @@GLOBAL.read_only OR @@GLOBAL.super_read_only",
    };
    assert_eq!(ask::<u8>(m1, open).await, 0, "it is writable again");
    stack.connect().await.query_drop("INSERT INTO t VALUES ()").await.expect("written");
}

/// A standby that is told to stay behind is not waited for longer than `catch_up`, with nothing frozen.
async fn lagging(stack: &Stack, console: &mut mysql_async::Conn) {
    let delay = |seconds: u32| match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => [
            "STOP SLAVE".to_owned(),
            format!("CHANGE MASTER TO MASTER_DELAY={seconds}"),
            "START SLAVE".to_owned(),
        ],
        Flavor::MySql => [
            "STOP REPLICA".to_owned(),
            format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY={seconds}"),
            "START REPLICA".to_owned(),
        ],
    };
    let set = async |seconds| {
        for statement in delay(seconds) {
            stack.sandbox.server(1).execute(&[&statement]).await.expect("another delay");
        }
        stack.sandbox.await_replication().await.expect("both threads run");
    };
    set(60).await;
    let mut client = stack.connect().await;
    client.query_drop("INSERT INTO t VALUES ()").await.expect("written");
    // Before m2 has received the row there is nothing to catch up with, and it is given up later on.
    let undone = eventually("it is behind by what it has received", async || {
        until_steady(stack, M1).await;
        let began = Instant::now();
        let refused = order(console, "SWITCHOVER TO m2").await.expect_err("it is behind");
        println!("lagging: {refused} ({:?})", began.elapsed());
        refused.contains("did not get closer").then_some(refused)
    })
    .await;
    assert!(undone.contains("no switchover"), "nothing was frozen: {undone}");
    until_steady(stack, M1).await;
    client.query_drop("INSERT INTO t VALUES ()").await.expect("it is open");
    set(0).await;
    eventually("a switchover", async || order(console, "SWITCHOVER TO m2").await.ok()).await;
    order(console, "SWITCHOVER TO m1").await.expect("back");
}

/// Statements wait, and none is lost.
async fn pause(stack: &Stack, console: &mut mysql_async::Conn, client: &mut mysql_async::Conn) {
    order(console, "PAUSE").await.expect("paused");
    let refused = order(console, "SWITCHOVER TO m2").await.expect_err("paused");
    assert!(refused.contains("paused"), "{refused}");
    let resumed = async {
        let mut routes = stack.app.handles().routes.clone();
        routes.wait_for(|table| table.active().is_none()).await.expect("the proxy runs");
        order(console, "RESUME").await.expect("resumed");
    };
    let (written, ()) = tokio::join!(client.query_drop("INSERT INTO t VALUES ()"), resumed);
    written.expect("it waited");
}
