//! Clients that ask nothing while their master dies.

use mysql_async::prelude::*;

use crate::patience::{eventually, is_closed, told};
use crate::support::Stack;

#[tokio::test]
async fn an_idle_client_keeps_all_that_its_session_was() {
    let mut stack = Stack::start().await;
    let mut idle = stack.connect().await;
    for statement in [
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)",
        "INSERT INTO t (a) VALUES (7)",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET SESSION sort_buffer_size = 300000, sql_mode = 'ANSI_QUOTES'",
        "SET @mine = 'it''s', @number = -4.5",
        "PREPARE in_sql FROM 'SELECT a FROM t WHERE id = ?'",
    ] {
        idle.query_drop(statement).await.expect(statement);
    }
    let key: Option<u64> = idle.query_first("SELECT LAST_INSERT_ID()").await.expect("asked");
    let statement = idle.prep("SELECT a + ? FROM t").await.expect("prepared");
    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let sum: Option<i64> = idle.exec_first(&statement, (3,)).await.expect("executed");
    assert_eq!(sum, Some(10));
    type Row = (u32, String, String, String, u64, String);
    let row: Option<Row> = idle
        .query_first(
            "SELECT @@server_id, DATABASE(), @@character_set_client, @@collation_connection, \
             @@sort_buffer_size, @@sql_mode",
        )
        .await
        .expect("asked");
    let text = |text: &str| text.to_owned();
    let (utf8mb4, binary) = (text("utf8mb4"), text("utf8mb4_bin"));
    assert_eq!(row, Some((2, text("app"), utf8mb4, binary, 300_000, text("ANSI_QUOTES"))));
    let row: Option<(String, String, Option<u64>)> = idle
        .query_first("SELECT @mine, CAST(@number AS CHAR), LAST_INSERT_ID()")
        .await
        .expect("asked");
    assert_eq!(row, Some((text("it's"), text("-4.5"), key)));
    idle.query_drop("SET @id = 1").await.expect("set");
    let a: Option<i64> = idle.query_first("EXECUTE in_sql USING @id").await.expect("executed");
    assert_eq!(a, Some(7));
}

#[tokio::test]
async fn an_open_transaction_is_rolled_back_and_the_client_told_once() {
    let mut stack = Stack::start().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(stack.connect().await);
    }
    clients[0].query_drop("CREATE TABLE t (id INT PRIMARY KEY)").await.expect("made");
    for (id, client) in clients.iter_mut().enumerate() {
        client.query_drop("BEGIN").await.expect("begun");
        client.query_drop(format!("INSERT INTO t VALUES ({id})")).await.expect("inserted");
    }
    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.await_active(Some("m2")).await;
    let (code, state, words) = told(clients[0].query_drop("INSERT INTO t VALUES (10)").await);
    assert_eq!((code, state.as_str()), (1213, "40001"), "{words}");
    assert!(words.contains("rolled back by failover from m1"), "{words}");
    clients[0].query_drop("INSERT INTO t VALUES (20)").await.expect("autocommit again");
    clients[1].query_drop("ROLLBACK").await.expect("it is rolled back");
    clients[1].query_drop("INSERT INTO t VALUES (21)").await.expect("autocommit again");
    clients[2].query_drop("BEGIN").await.expect("it begins");
    clients[2].query_drop("INSERT INTO t VALUES (22)").await.expect("inside");
    clients[2].query_drop("COMMIT").await.expect("committed");
    // A commit of what is gone must not be answered OK.
    let (code, _, words) = told(clients[3].query_drop("COMMIT").await);
    assert_eq!(code, 1213, "{words}");
    let (code, _, words) = told(clients[4].query_first::<u8, _>("SELECT 1").await);
    assert_eq!(code, 1213, "{words}");
    let rows: Vec<u32> = clients[4].query("SELECT id FROM t ORDER BY id").await.expect("asked");
    assert_eq!(rows, [20, 21, 22]);
}

#[tokio::test]
async fn what_cannot_be_moved_closes_an_idle_connection_and_spares_the_others() {
    let mut stack = Stack::start().await;
    let mut neighbour = stack.connect().await;
    let mut temporary = stack.connect().await;
    temporary.query_drop("CREATE TEMPORARY TABLE x (a INT)").await.expect("made");
    let mut locked = stack.connect().await;
    locked.query_drop("SELECT GET_LOCK('mine', 1)").await.expect("locked");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let sessions = &stack.app.handles().sessions;
    eventually("two sessions closed", async || (sessions.registry.len() == 1).then_some(())).await;
    assert!(is_closed(&temporary.query_drop("SELECT 1").await));
    assert!(is_closed(&locked.query_drop("SELECT 1").await));
    neighbour.query_drop("SELECT 1").await.expect("served");
}
