//! Planned switchovers by the console, to and fro, and those that are undone.

use mysql_async::prelude::*;
use tandem::topology::ServerId;

use crate::patience::within;
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
        config.switchover.drain = std::time::Duration::from_millis(300);
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
