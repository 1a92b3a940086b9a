//! What is stranded on the master that died is undone there, and nobody else ever gets it.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::sandbox::{SandboxOptions, SandboxServer};
use tandem::stranded::{End, Returned, discard};
use tandem::topology::{Dialect, Flavor, Term};

use crate::patience::{ask, eventually};
use crate::support::Stack;

const TABLES: [&str; 9] = [
    "CREATE TABLE app.t (id INT PRIMARY KEY, a INT)",
    "CREATE TABLE app.u (id INT PRIMARY KEY, e VARCHAR(20) UNIQUE, g INT AS (id * 2) STORED)",
    "CREATE TABLE app.parent (id INT PRIMARY KEY)",
    "CREATE TABLE app.child (id INT AUTO_INCREMENT PRIMARY KEY, p INT, \
     FOREIGN KEY (p) REFERENCES app.parent (id))",
    "CREATE TABLE app.types (id BIGINT UNSIGNED PRIMARY KEY, ti TINYINT, tu TINYINT UNSIGNED, \
     mu MEDIUMINT UNSIGNED, de DECIMAL(20,6), fl FLOAT, db DOUBLE, \
     ch CHAR(10) CHARACTER SET latin1, vc VARCHAR(300) CHARACTER SET utf8mb4, tx TEXT, \
     bi BINARY(8), vb VARBINARY(20), bl BLOB, en ENUM('x','y','z'), st SET('p','q','r'), \
     bt BIT(10), ye YEAR, da DATE, dt DATETIME(6), tm TIME(3), ts TIMESTAMP(6) NULL, \
     t0 TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, js JSON, po POINT)",
    "INSERT INTO app.t VALUES (1, 10), (2, 20), (3, 30), (4, 40)",
    "INSERT INTO app.u (id, e) VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    "INSERT INTO app.parent VALUES (1), (2)",
    "INSERT INTO app.types VALUES (18446744073709551615, -128, 255, 16777215, -12345.678900, 1.1, \
     0.1, _latin1 X'E4E4', 'h\u{e4}user \u{1f980} ', 'it''s \\\\ text', X'0102', X'0100', X'00FF00', \
     'y', 'p,r', b'1000000001', 2026, '2026-02-28', '2026-02-28 12:34:56.123456', '-26:03:04.500', \
     '2026-02-28 12:34:56.5', '2026-02-28 12:34:56', \
     '{\"b\": [1, 2.5, null, \"\u{fc}\"], \"a\": {\"c\": true}}', ST_GeomFromText('POINT(1 2)')), \
     (7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
];

const NAMES: &str = "app.t, app.u, app.parent, app.child, app.types";

/// What m1 writes and m2 never receives.
const STRANDED: [&str; 17] = [
    "INSERT INTO app.t VALUES (11, 1), (13, 1)",
    "UPDATE app.t SET a = 5 WHERE id = 1",
    "UPDATE app.t SET a = 6 WHERE id = 1",
    "DELETE FROM app.t WHERE id = 2",
    "UPDATE app.t SET id = 15 WHERE id = 3",
    "DELETE FROM app.t WHERE id = 13",
    // Two unique values change their places.
    "BEGIN",
    "UPDATE app.u SET e = 'none' WHERE id = 1",
    "UPDATE app.u SET e = 'one' WHERE id = 2",
    "UPDATE app.u SET e = 'two' WHERE id = 1",
    "INSERT INTO app.parent VALUES (5)",
    "INSERT INTO app.child (p) VALUES (5), (1)",
    "COMMIT",
    "DELETE FROM app.parent WHERE id = 2",
    "DELETE FROM app.types WHERE id > 7",
    "UPDATE app.types SET ti = 1, vc = 'x', js = '[]', bl = REPEAT('a', 60000), de = 1 WHERE id = 7",
    "INSERT INTO app.types (id, tx) VALUES (9, 'new')",
];

/// Past the log, and on MySQL past what keeps a standby's root from writing.
async fn root(server: &SandboxServer, statements: &[&str]) {
    let mut conn = server.root_connection().await.expect("root");
    let version: Option<String> = conn.query_first("SELECT VERSION()").await.expect("asked");
    let mysql = Dialect::of_version(&version.expect("a version")).flavor == Flavor::MySql;
    let closed: Option<bool> = match mysql {
        true => conn.query_first("SELECT @@GLOBAL.super_read_only").await.expect("asked"),
        false => None,
    };
    let (opens, closes) = match closed {
        Some(true) => ("SET GLOBAL super_read_only = 0", "SET GLOBAL super_read_only = 1"),
        _ => ("DO 0", "DO 0"),
    };
    let mut all = vec!["SET SESSION sql_log_bin = 0", opens];
    all.extend(statements);
    all.push(closes);
    server.execute(&all).await.expect("root may");
}

/// A pair whose m1 has come back with `stranded`, while m2 has done `since`, and is in quarantine.
async fn returned(stranded: &[&str], since: &[&str], granted: bool) -> Stack {
    let mut stack = Stack::start_with(SandboxOptions::default(), |config| {
        // So that no probe comes between what is stranded and the end of m1.
        config.monitor.interval = Duration::from_secs(3);
        config.monitor.rise = 1;
        // And a second failover may follow the first.
        config.failover.min_interval = Duration::ZERO;
    })
    .await;
    stack.sandbox.server(0).execute(&TABLES).await.expect("made");
    if granted {
        grant(&stack).await;
    }
    eventually("m2 has the rows", async || {
        let mut root = stack.sandbox.server(1).root_connection().await.ok()?;
        let rows: Option<u32> = root.query_first("SELECT COUNT(*) FROM app.types").await.ok()?;
        (rows == Some(2)).then_some(())
    })
    .await;
    let stop = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => "STOP SLAVE IO_THREAD",
        Flavor::MySql => "STOP REPLICA IO_THREAD",
    };
    stack.sandbox.server(1).execute(&[stop]).await.expect("stopped");
    stack.sandbox.server(0).execute(stranded).await.expect("written");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let mut client = stack.connect().await;
    for statement in since {
        client.query_drop(*statement).await.expect("on m2");
    }
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    let mut console = stack.console().await;
    eventually("m1 is in quarantine", async || {
        let rows: Vec<mysql_async::Row> = console.query("SHOW STRANDED m1").await.expect("shown");
        (!rows.is_empty()).then_some(())
    })
    .await;
    stack
}

/// What the account may not do by default.
async fn grant(stack: &Stack) {
    let user = &stack.sandbox.monitor().user;
    let mut grants =
        vec![format!("GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON app.* TO '{user}'@'%'")];
    if stack.sandbox.binaries().flavor() == Flavor::MariaDb {
        grants.push(format!("GRANT BINLOG ADMIN ON *.* TO '{user}'@'%'"));
    }
    let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
    for server in stack.sandbox.servers() {
        root(server, &grants).await;
    }
}

async fn sums(server: &SandboxServer) -> Vec<(String, Option<u64>)> {
    let mut root = server.root_connection().await.expect("root");
    root.query(format!("CHECKSUM TABLE {NAMES}")).await.expect("checked")
}

async fn rows(server: &SandboxServer) -> String {
    ask(server, "SELECT GROUP_CONCAT(id, ':', a ORDER BY id) FROM app.t").await
}

/// Both masters have the same, and receive from each other.
async fn are_alike(stack: &Stack) {
    stack.sandbox.await_replication().await.expect("both threads say Yes");
    let (m1, m2) = (stack.sandbox.server(0), stack.sandbox.server(1));
    eventually("both masters have the same", async || {
        (sums(m1).await == sums(m2).await).then_some(())
    })
    .await;
}

/// m2 has since changed a row that m1 has, put another in the place of one that m1 has, and deleted
/// one that m1 has: m1's applier has overwritten the first and stopped at the second.
#[tokio::test]
async fn what_is_stranded_is_undone_and_both_masters_are_alike() {
    let since = [
        "UPDATE t SET a = 7 WHERE id = 1",
        "INSERT INTO t VALUES (12, 1)",
        "INSERT INTO t VALUES (11, 9)",
        "DELETE FROM t WHERE id = 3",
        "UPDATE u SET e = 'drei' WHERE id = 3",
        "INSERT INTO child (p) VALUES (2)",
    ];
    let mut stack = returned(&STRANDED, &since, true).await;
    let mut console = stack.console().await;
    let on_m2 = sums(stack.sandbox.server(1)).await;
    let done: Option<String> = console.query_first("RELEASE m1 DISCARD").await.expect("discarded");
    let done = done.expect("an answer");
    assert!(done.contains("app.t (+2 ~3 -2) id=1 "), "{done}");
    are_alike(&stack).await;
    assert_eq!(rows(stack.sandbox.server(0)).await, "1:7,2:20,4:40,11:9,12:1");
    assert_eq!(sums(stack.sandbox.server(1)).await, on_m2, "m2 got nothing of it");
    let shown: Vec<mysql_async::Row> = console.query("SHOW STRANDED").await.expect("shown");
    assert!(shown.is_empty(), "nobody is in quarantine any more");
    let events: Vec<mysql_async::Row> = console.query("SHOW EVENTS").await.expect("shown");
    let text = |value: mysql_async::Value| match value {
        mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => format!("{other:?}"),
    };
    let events: Vec<String> =
        events.into_iter().flat_map(|row| row.unwrap().into_iter().map(text)).collect();
    let told = |text: &String| text.contains("m1 has discarded what m2 never received");
    assert!(events.iter().any(told), "it is written down: {events:#?}");

    // And back again: m1 is a master like any other.
    stack.sandbox.server_mut(1).kill().await.expect("killed");
    let mut client = stack.connect().await;
    client.query_drop("INSERT INTO t VALUES (21, 1)").await.expect("on m1");
    stack.sandbox.server_mut(1).restart().await.expect("started again");
    are_alike(&stack).await;
    assert_eq!(rows(stack.sandbox.server(1)).await, "1:7,2:20,4:40,11:9,12:1,21:1");
}

/// Whatever is not as the log says ends it, and nothing was done; the last time all is well.
#[tokio::test]
async fn it_is_refused_with_the_reason_and_nothing_is_done() {
    let stack = returned(&STRANDED, &["UPDATE t SET a = 7 WHERE id = 1"], false).await;
    let m1 = stack.sandbox.server(0);
    eventually("m1 has m2's update", async || rows(m1).await.contains("1:7").then_some(())).await;
    let mut console = stack.console().await;
    let mut refused = async |why: &str| {
        let (before, rows_before) = (sums(m1).await, rows(m1).await);
        let refused = console.query_drop("RELEASE m1 DISCARD").await.expect_err(why).to_string();
        assert!(refused.contains(why), "{refused}");
        assert_eq!((sums(m1).await, rows(m1).await), (before, rows_before), "untouched");
        let shown: Vec<mysql_async::Row> = console.query("SHOW STRANDED m1").await.expect("shown");
        assert!(!shown.is_empty(), "still in quarantine");
    };
    refused("GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER").await;
    grant(&stack).await;
    root(m1, &["UPDATE app.t SET a = 99 WHERE id = 11"]).await;
    refused("app.t id=11: a is 99, and by the log 1").await;
    root(m1, &["UPDATE app.t SET a = 1 WHERE id = 11", "DELETE FROM app.u WHERE id = 1"]).await;
    refused("app.u id=1: the row is gone").await;
    root(
        m1,
        &[
            "INSERT INTO app.u (id, e) VALUES (1, 'two')",
            "CREATE TRIGGER app.noted BEFORE DELETE ON app.t FOR EACH ROW SET @gone = OLD.id",
        ],
    )
    .await;
    refused("app.t has triggers (noted)").await;
    root(m1, &["DROP TRIGGER app.noted"]).await;
    let done: Option<String> = console.query_first("RELEASE m1 DISCARD").await.expect("discarded");
    assert!(done.is_some_and(|done| done.contains("set back")));
    are_alike(&stack).await;
    assert_eq!(rows(m1).await, "1:7,2:20,3:30,4:40");
}

#[tokio::test]
async fn what_is_no_row_is_not_undone() {
    let stranded = ["INSERT INTO app.t VALUES (11, 1)", "ALTER TABLE app.u ADD c INT"];
    let stack = returned(&stranded, &[], true).await;
    let mut console = stack.console().await;
    let refused = console.query_drop("RELEASE m1 DISCARD").await.expect_err("DDL").to_string();
    assert!(refused.contains("a statement instead of rows: ALTER TABLE"), "{refused}");
    assert_eq!(rows(stack.sandbox.server(0)).await, "1:10,2:20,3:30,4:40,11:1", "untouched");
    let shown: Vec<mysql_async::Row> = console.query("SHOW STRANDED m1").await.expect("shown");
    assert!(!shown.is_empty(), "still in quarantine");
}

/// Somebody has undone it and died before m2 heard of it.
#[tokio::test]
async fn a_discard_that_was_broken_off_is_done_again() {
    let stack = returned(&STRANDED, &["INSERT INTO t VALUES (11, 9)"], true).await;
    let (m1, m2) = (stack.sandbox.server(0), stack.sandbox.server(1));
    let highest = "SELECT active FROM tandem.term ORDER BY term DESC LIMIT 1";
    eventually("m1 knows that m2 is active", async || {
        (ask::<String>(m1, highest).await == "m2").then_some(())
    })
    .await;
    let before = sums(m1).await;
    let late = discard(ends(m1).await, end(m2).await, Term(1)).await;
    let late = late.expect_err("somebody was made active since").to_string();
    assert!(late.ends_with(" made m2 active"), "{late}");
    assert_eq!(sums(m1).await, before, "untouched");
    let half = discard(ends(m1).await, end(m2).await, Term(u64::MAX)).await.expect("undone");
    assert!(half.rows > 5, "{half}");
    let mut console = stack.console().await;
    let done: Option<String> = console.query_first("RELEASE m1 DISCARD").await.expect("discarded");
    assert!(done.as_ref().is_some_and(|done| done.contains(" 0 rows set back")), "{done:?}");
    are_alike(&stack).await;
    assert_eq!(rows(m1).await, "1:10,2:20,3:30,4:40,11:9");
}

async fn ends(m1: &SandboxServer) -> Returned {
    Returned { end: end(m1).await, log: end(m1).await.conn, attempts: vec![end(m1).await.conn] }
}

async fn end(server: &SandboxServer) -> End {
    let mut conn = server.root_connection().await.expect("root");
    let version: Option<String> = conn.query_first("SELECT VERSION()").await.expect("asked");
    let dialect = Dialect::of_version(&version.expect("a version"));
    End { conn, dialect, account: "root@localhost".to_owned() }
}
