//! What sessions of the reads listener may not do, whoever serves them, and what is said when nobody does.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Error, Row};
use std::time::Duration;
use tandem::pair::dialect;

use super::{M1, M2, R1, R2, Stack, await_readers, connect, opts, start};

/// ER_OPTION_PREVENTS_STATEMENT of a server that is read_only, where it looks at that first, and
/// ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION.
const REFUSALS: [u16; 2] = [1290, 1792];

#[tokio::test]
async fn writes_are_refused_whoever_serves() {
    let stack = start(|_| {}).await;
    await_readers(&stack, &[R1, R2]).await;
    refused(&stack).await;
    let flavor = stack.sandbox.binaries().flavor();
    for (index, serve) in [(2, R2), (3, M2), (1, M1)] {
        stack.sandbox.server(index).execute(&[dialect::stop(flavor)]).await.expect("stopped");
        await_readers(&stack, &[serve]).await;
        refused(&stack).await;
    }
    let mut client = stack.connect().await;
    let rows: Vec<i64> = client.query("SELECT n FROM beat").await.expect("read");
    assert_eq!(rows, [0], "nothing was written");
    shown(&stack).await;
}

async fn refused(stack: &Stack) {
    let mut client = connect(stack).await;
    for statement in [
        "INSERT INTO beat VALUES (2, 2)",
        "UPDATE beat SET n = 7",
        "CREATE TABLE other (a INT)",
        "START TRANSACTION READ WRITE",
        "SET SESSION TRANSACTION READ WRITE; UPDATE beat SET n = 7",
    ] {
        assert_refused(client.query_drop(statement).await, statement);
    }
    for mode in [
        "SET SESSION TRANSACTION READ WRITE",
        "SET TRANSACTION READ WRITE",
        "SET session_track_schema = ON",
        "BEGIN",
    ] {
        client.query_drop(mode).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert_refused(client.query_drop("UPDATE beat SET n = 7").await, mode);
        client.query_drop("ROLLBACK").await.expect("rolled back");
    }
    client.reset().await.expect("reset");
    assert_refused(client.query_drop("UPDATE beat SET n = 7").await, "reset");
    client.change_user(mysql_async::ChangeUserOpts::default()).await.expect("changed");
    client.query_drop("USE app").await.expect("used");
    assert_refused(client.query_drop("UPDATE beat SET n = 7").await, "changed user");
    let update = client.prep("UPDATE beat SET n = ?").await;
    if let Ok(update) = update {
        assert_refused(client.exec_drop(&update, (7,)).await, "prepared");
    }
    let rows: Vec<i64> = client.query("SELECT n FROM beat").await.expect("it reads on");
    assert_eq!(rows, [0]);
}

fn assert_refused(result: Result<(), Error>, what: &str) {
    match result {
        Err(Error::Server(error)) => assert!(REFUSALS.contains(&error.code), "{what}: {error}"),
        other => panic!("{what}: {other:?}"),
    }
}

/// The active master serves here, and the replicas and the standby say why they do not.
async fn shown(stack: &Stack) {
    let client = connect(stack).await;
    let mut console = stack.console().await;
    let of = |row: &Row, column: &str| {
        row.get::<Option<String>, _>(column).flatten().unwrap_or_default()
    };
    let rows: Vec<Row> = console.query("SHOW READS").await.expect("shown");
    let serves: Vec<_> = rows.iter().map(|row| (of(row, "Server"), of(row, "Serves"))).collect();
    let expected = [("r1", "No"), ("r2", "No"), ("m2", "No"), ("m1", "Yes")];
    assert_eq!(serves, expected.map(|(server, serves)| (server.to_owned(), serves.to_owned())));
    let why = of(&rows[0], "Why_Not");
    assert!(why.starts_with("does not replicate: "), "{why}");
    let sessions: Vec<Row> = console.query("SHOW SESSIONS").await.expect("shown");
    let id = client.id().to_string();
    let own = sessions.iter().find(|row| of(row, "Id") == id).expect("listed");
    assert_eq!(of(own, "Port"), "reads");
    assert_eq!(of(own, "Server"), "m1");
    let replicas: Vec<Row> = console.query("SHOW REPLICAS").await.expect("shown");
    assert_eq!(replicas.len(), 2);
    console.query_drop(format!("KILL {id}")).await.expect("killed");
}

#[tokio::test]
async fn when_nobody_serves_everybody_is_named() {
    let stack = start(|config| {
        config.reads.standbys = false;
        config.reads.active = false;
        config.failover.hold = Duration::from_secs(6);
    })
    .await;
    await_readers(&stack, &[R1, R2]).await;
    let mut client = connect(&stack).await;
    let flavor = stack.sandbox.binaries().flavor();
    for index in [2, 3] {
        stack.sandbox.server(index).execute(&[dialect::stop(flavor)]).await.expect("stopped");
    }
    await_readers(&stack, &[]).await;
    let error = client.query_drop("SELECT n FROM beat").await.expect_err("nobody serves");
    let words = error.to_string();
    for part in
        ["No server for reads for ", "r1 does not replicate", "r2 does not replicate", "active"]
    {
        assert!(words.contains(part), "{words}");
    }
    stack.sandbox.server(3).execute(&[dialect::start(flavor)]).await.expect("started");
    await_readers(&stack, &[R2]).await;
    let mut client = mysql_async::Conn::new(opts(&stack)).await.expect("a login");
    client.query_drop("SELECT n FROM beat").await.expect("served");
}
