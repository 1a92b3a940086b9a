//! Sessions through the proxy, before a real pair.

mod support;

use mysql_async::prelude::*;
use support::Stack;

#[tokio::test]
async fn an_idle_client_finds_its_session_on_the_other_master() {
    let mut stack = Stack::start().await;
    let mut idle = stack.connect().await;
    idle.query_drop("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)")
        .await
        .expect("made");
    idle.query_drop("INSERT INTO t (a) VALUES (1), (2)").await.expect("inserted");
    idle.query_drop("CREATE DATABASE IF NOT EXISTS app").await.expect("allowed");
    idle.query_drop("SET NAMES latin1").await.expect("set");
    idle.query_drop("SET SESSION sort_buffer_size = 300000, @mine = 'kept'").await.expect("set");
    let statement = idle.prep("SELECT a + ? FROM t ORDER BY id LIMIT 1").await.expect("prepared");
    let before: Option<i64> = idle.exec_first(&statement, (10,)).await.expect("executed");
    assert_eq!(before, Some(11));
    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let after: Option<i64> = idle.exec_first(&statement, (20,)).await.expect("executed again");
    assert_eq!(after, Some(21));
    let row: Option<(String, String, u64, String, u64)> = idle
        .query_first(
            "SELECT DATABASE(), @@character_set_client, @@sort_buffer_size, @mine, @@server_id",
        )
        .await
        .expect("asked");
    assert_eq!(row, Some(("app".into(), "latin1".into(), 300_000, "kept".into(), 2)));
    idle.query_drop("INSERT INTO t (a) VALUES (3)").await.expect("inserted");
    assert_eq!(idle.last_insert_id().map(|id| id % 2), Some(0));
}
