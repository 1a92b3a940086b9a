//! `[reads] causal`: a client that is told of a write finds it in its next read, wherever that goes.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use tokio::task::JoinSet;

use super::{R1, R2, Stack, await_readers, connect, start};

/// Pairs of a write and a read. `TANDEM_CAUSAL_PAIRS` is for more of them.
const PAIRS: usize = 4_000;
/// So many clients at once.
const CLIENTS: usize = 16;

async fn causal() -> Stack {
    let stack = start(|config| config.reads.causal = true).await;
    await_readers(&stack, &[R1, R2]).await;
    stack
}

#[tokio::test]
async fn no_write_is_missed() {
    let stack = causal().await;
    let pairs = std::env::var("TANDEM_CAUSAL_PAIRS").ok().and_then(|pairs| pairs.parse().ok());
    let pairs: usize = pairs.unwrap_or(PAIRS);
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let (mut writer, mut reader) = (stack.connect().await, connect(&stack).await);
        clients.spawn(async move {
            let id = 100 + id;
            writer.query_drop(format!("INSERT INTO beat VALUES ({id}, 0)")).await.expect("told");
            let mut missed = 0;
            for n in 1..=pairs / CLIENTS {
                let update = format!("UPDATE beat SET n = {n} WHERE id = {id}");
                writer.query_drop(update).await.expect("told");
                let select = format!("SELECT n FROM beat WHERE id = {id}");
                let found: Option<usize> = reader.query_first(select).await.expect("read");
                missed += usize::from(found != Some(n));
            }
            missed
        });
    }
    let began = Instant::now();
    let missed: usize = clients.join_all().await.into_iter().sum();
    let metrics = &stack.app.handles().metrics.reads;
    let (waits, late) = (metrics.causal_waits.get(), metrics.causal_timeouts.get());
    println!("{pairs} pairs in {:?}: {missed} missed, {waits} waits, {late} late", began.elapsed());
    assert_eq!(missed, 0);
    assert!(waits > 0, "somebody had to wait");
}

/// Nothing is applied on either replica: the read waits, and then goes to where the write is.
#[tokio::test]
async fn who_does_not_get_there_is_left_for_the_active_master() {
    let stack = causal().await;
    let mut locks = Vec::new();
    for index in [2, 3] {
        let mut root = stack.sandbox.server(index).root_connection().await.expect("root's login");
        root.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("locked");
        locks.push(root);
    }
    let (mut writer, mut reader) = (stack.connect().await, connect(&stack).await);
    writer.query_drop("UPDATE beat SET n = 1 WHERE id = 1").await.expect("told");
    let question = "SELECT n FROM beat WHERE id = 1";
    assert_eq!(reader.query_first(question).await.expect("read"), Some(1));
    // What was selected is not what Tandem asked in between.
    let rows: Vec<i64> =
        reader.query("SELECT SQL_CALC_FOUND_ROWS n FROM beat LIMIT 0").await.expect("read");
    assert!(rows.is_empty());
    assert_eq!(reader.query_first("SELECT FOUND_ROWS()").await.expect("read"), Some(1));
    for mut root in locks {
        root.query_drop("UNLOCK TABLES").await.expect("unlocked");
    }
    await_readers(&stack, &[R1, R2]).await;
    writer.query_drop("UPDATE beat SET n = 2 WHERE id = 1").await.expect("told");
    assert_eq!(reader.query_first(question).await.expect("read"), Some(2));
    let prepared = reader.prep("SELECT n FROM beat WHERE id = ?").await.expect("prepared");
    writer.query_drop("UPDATE beat SET n = 3 WHERE id = 1").await.expect("told");
    assert_eq!(reader.exec_first(&prepared, (1,)).await.expect("read"), Some(3));
    tokio::time::timeout(Duration::from_secs(10), reader.disconnect())
        .await
        .expect("in time")
        .expect("goodbye");
}
