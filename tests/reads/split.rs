//! `[reads] split`: which reads of the main port go to a reader, and what clients notice of it.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};
use tokio::task::JoinSet;

use super::support::eventually;
use super::{M1, R1, R2, Stack, await_readers, start};

/// Tells which server was read from; each has its own row, and no log has that.
const WHERE: &str = "SELECT name FROM here";

async fn split() -> Stack {
    let stack = start(|config| config.reads.split = true).await;
    for server in stack.sandbox.servers() {
        let name = format!("INSERT INTO app.here VALUES ('{}')", server.name());
        let make = [
            "SET SESSION sql_log_bin = 0",
            "CREATE TABLE app.here (name VARCHAR(20) PRIMARY KEY)",
            &name,
        ];
        server.execute(&make).await.expect("a row of its own");
    }
    await_readers(&stack, &[R1, R2]).await;
    stack
}

async fn place(client: &mut Conn, sql: &str) -> String {
    client.query_first(sql).await.expect(sql).expect("a row")
}

/// Whether the client's reads come from a replica.
async fn is_elsewhere(client: &mut Conn) -> bool {
    place(client, WHERE).await.starts_with('r')
}

#[tokio::test]
async fn reads_go_to_replicas_and_all_else_to_the_active_master() {
    let stack = split().await;
    let mut client = stack.connect().await;
    assert!(is_elsewhere(&mut client).await);
    for sql in [
        "SELECT name FROM here FOR UPDATE",
        "SELECT name FROM here LOCK IN SHARE MODE",
        "SELECT CONCAT(name) FROM here WHERE @a IS NULL",
        "SELECT name FROM here WHERE SLEEP(0) = 0",
    ] {
        assert_eq!(place(&mut client, sql).await, "m1", "{sql}");
    }
    let prepared = client.prep(WHERE).await.expect("prepared");
    let found: Option<String> = client.exec_first(&prepared, ()).await.expect("executed");
    assert_eq!(found.as_deref(), Some("m1"), "prepared statements stay");

    // A transaction, and what is like one.
    client.query_drop("BEGIN").await.expect("begun");
    assert_eq!(place(&mut client, WHERE).await, "m1");
    client.query_drop("COMMIT").await.expect("committed");
    assert!(is_elsewhere(&mut client).await);
    client.query_drop("SET autocommit = 0").await.expect("set");
    assert_eq!(place(&mut client, WHERE).await, "m1");
    client.query_drop("SET autocommit = 1").await.expect("set");
    assert!(is_elsewhere(&mut client).await);

    // A table of the session's own stands before the one of the schema.
    client.query_drop("CREATE TEMPORARY TABLE here SELECT 'mine' AS name").await.expect("made");
    assert_eq!(place(&mut client, WHERE).await, "mine");
    client.query_drop("DROP TEMPORARY TABLE here").await.expect("dropped");

    // What a reader has not, or refuses, the master has.
    let only_there = ["SET SESSION sql_log_bin = 0", "CREATE TABLE app.late SELECT 'm1' AS name"];
    stack.sandbox.server(M1.index()).execute(&only_there).await.expect("made");
    assert_eq!(place(&mut client, "SELECT name FROM late").await, "m1");
    let back = stack.app.handles().metrics.reads.split_back.get();
    assert!(back > 0, "a reader was asked first");
    let error = client.query_drop("SELECT name FROM nowhere").await.expect_err("no such table");
    assert!(matches!(&error, Error::Server(error) if error.code == 1146), "{error}");
}

#[tokio::test]
async fn the_session_is_the_same_there() {
    let stack = split().await;
    let mut client = stack.connect().await;
    let elsewhere = "SELECT LEFT(name, 1) FROM here";
    assert_eq!(place(&mut client, elsewhere).await, "r");
    client.query_drop("SET SESSION group_concat_max_len = 4").await.expect("set");
    let cut = "SELECT GROUP_CONCAT(REVERSE('abcdefgh')) FROM here";
    assert_eq!(place(&mut client, cut).await, "hgfe");
    let make = [
        "CREATE DATABASE other",
        "GRANT ALL ON other.* TO app@'%'",
        "CREATE TABLE other.here (name VARCHAR(20) PRIMARY KEY)",
        "INSERT INTO other.here VALUES ('replicated')",
    ];
    stack.sandbox.server(M1.index()).execute(&make).await.expect("another schema");
    stack.await_replicated(0).await;
    client.query_drop("USE other").await.expect("used");
    assert_eq!(place(&mut client, WHERE).await, "replicated");
    client.query_drop("USE app").await.expect("used");
    assert_eq!(place(&mut client, elsewhere).await, "r");

    // What asks about a read asks where it was.
    client.query_drop("INSERT INTO beat VALUES (2, 0), (3, 0), (4, 0)").await.expect("inserted");
    let limited: Vec<u32> = client
        .query("SELECT SQL_CALC_FOUND_ROWS id FROM beat ORDER BY id LIMIT 1")
        .await
        .expect("read");
    assert_eq!(limited, [1]);
    assert_eq!(place(&mut client, "SELECT FOUND_ROWS()").await, "4");
    client.query_drop("SELECT 1 / 0 FROM here").await.expect("divided");
    let warnings: Vec<(String, u16, String)> = client.query("SHOW WARNINGS").await.expect("shown");
    assert_eq!(warnings.len(), 1, "{warnings:?}");

    // And a session that begins anew begins anew there.
    client.query_drop("SET SESSION group_concat_max_len = 5").await.expect("set");
    assert_eq!(place(&mut client, cut).await, "hgfed");
    assert!(client.reset().await.expect("reset"));
    assert_eq!(place(&mut client, cut).await, "hgfedcba");
}

#[tokio::test]
async fn a_session_finds_its_own_writes() {
    const CLIENTS: usize = 8;
    const PAIRS: usize = 300;
    let stack = split().await;
    let before = stack.app.handles().metrics.reads.split.get();
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let mut client = stack.connect().await;
        clients.spawn(async move {
            let id = 100 + id;
            client.query_drop(format!("INSERT INTO beat VALUES ({id}, 0)")).await.expect("told");
            let mut missed = 0;
            for n in 1..=PAIRS {
                let update = format!("UPDATE beat SET n = {n} WHERE id = {id}");
                client.query_drop(update).await.expect("told");
                let select = format!("SELECT n FROM beat WHERE id = {id}");
                let found: Option<usize> = client.query_first(select).await.expect("read");
                missed += usize::from(found != Some(n));
            }
            missed
        });
    }
    let missed: usize = clients.join_all().await.into_iter().sum();
    let reads = &stack.app.handles().metrics.reads;
    println!(
        "{} pairs: {missed} missed, {} read elsewhere, {} waited, {} in vain",
        CLIENTS * PAIRS,
        reads.split.get() - before,
        reads.causal_waits.get(),
        reads.causal_timeouts.get()
    );
    assert_eq!(missed, 0);
    assert!(reads.split.get() - before > 0, "some were read elsewhere");
}

#[tokio::test]
async fn who_loses_its_reader_is_answered_by_the_master() {
    let mut stack = split().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = stack.connect().await;
        assert!(is_elsewhere(&mut client).await);
        clients.push(client);
    }
    for index in [R1.index(), R2.index()] {
        stack.sandbox.server_mut(index).kill().await.expect("killed");
    }
    for client in &mut clients {
        let found = place(client, WHERE).await;
        assert!(found.starts_with('m'), "{found}");
        client.query_drop("UPDATE beat SET n = n + 1 WHERE id = 1").await.expect("written");
    }
    for index in [R1.index(), R2.index()] {
        stack.sandbox.server_mut(index).restart().await.expect("restarted");
    }
    await_readers(&stack, &[R1, R2]).await;
    let client = &mut clients[0];
    eventually("it reads from a replica again", async || is_elsewhere(client).await.then_some(()))
        .await;

    // One that is frozen with a read is left as soon as it counts as down.
    let mut frozen = Vec::new();
    for index in [R1.index(), R2.index()] {
        stack.sandbox.server(index).freeze().await.expect("frozen");
        frozen.push(index);
    }
    let found = tokio::time::timeout(Duration::from_secs(20), place(client, WHERE));
    let found = found.await.expect("within the time that a probe takes");
    assert!(found.starts_with('m'), "{found}");
    for index in frozen {
        stack.sandbox.server(index).thaw().expect("thawed");
    }
    await_readers(&stack, &[R1, R2]).await;

    // A failover is none of its readers' business.
    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.await_active(Some("m2")).await;
    for client in &mut clients {
        client.query_drop("UPDATE beat SET n = n + 1 WHERE id = 1").await.expect("written");
        eventually("it reads elsewhere", async || is_elsewhere(client).await.then_some(())).await;
    }
}

#[tokio::test]
async fn a_read_that_is_killed_there_is_not_run_again() {
    let stack = split().await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE many (n INT PRIMARY KEY)").await.expect("made");
    let rows: Vec<String> = (0..2000).map(|n| format!("({n})")).collect();
    client.query_drop(format!("INSERT INTO many VALUES {}", rows.join(","))).await.expect("rows");
    assert!(is_elsewhere(&mut client).await);
    let id = client.id();
    let long = tokio::spawn(async move {
        client.query_drop("SELECT COUNT(*) FROM many a, many b, many c WHERE a.n + b.n = c.n").await
    });
    let mut killer = stack.connect().await;
    let sessions = &stack.app.handles().sessions;
    eventually("the read runs on a replica", async || {
        let entry = sessions.registry.get(id)?;
        entry.server().filter(|server| [R1, R2].contains(server)).map(|_| ())
    })
    .await;
    killer.query_drop(format!("KILL QUERY {id}")).await.expect("killed");
    let error = tokio::time::timeout(Duration::from_secs(20), long).await.expect("at once");
    let error = error.expect("joined").expect_err("interrupted");
    assert!(matches!(&error, Error::Server(error) if error.code == 1317), "{error}");
}
