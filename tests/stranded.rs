//! What a master has that the other one never received, read and judged, with real servers: whichever
//! `TANDEM_SERVER` names, or the installed one.

#![allow(clippy::unwrap_used, reason = "what a test calls may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, SystemTime};

use mysql_async::prelude::Queryable;
use support::eventually;
use tandem::sandbox::{Sandbox, SandboxOptions, SandboxServer};
use tandem::stranded::{End, InspectError, inspect};
use tandem::topology::{Dialect, Flavor, MergeVerdict, Stranded};

async fn end(server: &SandboxServer) -> End {
    let mut conn = server.root_connection().await.unwrap();
    let version: Option<String> = conn.query_first("SELECT VERSION()").await.unwrap();
    let dialect = Dialect::of_version(&version.unwrap());
    End { conn, dialect, account: "root@localhost".to_owned() }
}

async fn stranded(sandbox: &Sandbox) -> Result<Stranded, InspectError> {
    inspect(end(sandbox.server(0)).await, end(sandbox.server(1)).await).await
}

/// Nobody receives anything any more.
async fn cut(sandbox: &Sandbox) {
    let stop = match sandbox.binaries().flavor() {
        Flavor::MariaDb => "STOP ALL SLAVES",
        Flavor::MySql => "STOP REPLICA",
    };
    for server in sandbox.servers() {
        server.execute(&[stop]).await.unwrap();
    }
}

async fn pair(tables: &[&str]) -> Sandbox {
    let sandbox = match Sandbox::start(SandboxOptions::default()).await {
        Ok(sandbox) => sandbox,
        Err(error) => panic!("the sandbox did not start: {error}"),
    };
    sandbox.server(0).execute(tables).await.unwrap();
    sandbox.server(0).execute(&["CREATE TABLE app.arrived (id INT PRIMARY KEY)"]).await.unwrap();
    eventually("m2 has the tables", async || {
        let mut root = sandbox.server(1).root_connection().await.unwrap();
        root.query_drop("SELECT 1 FROM app.arrived").await.ok()
    })
    .await;
    sandbox
}

/// A line for each transaction: its tables with rows and keys, and its verdict.
fn lines(stranded: &Stranded) -> Vec<String> {
    let line = |transaction: &tandem::topology::StrandedTransaction| {
        let tables: Vec<String> = transaction
            .tables
            .iter()
            .map(|table| {
                format!(
                    "{}.{} +{} ~{} -{} [{}]",
                    table.schema,
                    table.table,
                    table.inserted,
                    table.updated,
                    table.deleted,
                    table.keys.join(" ")
                )
            })
            .chain(transaction.statements.iter().map(|statement| format!("`{statement}`")))
            .collect();
        format!("{}: {}", tables.join(", "), transaction.verdict)
    };
    stranded.transactions.iter().map(line).collect()
}

#[tokio::test]
async fn each_transaction_is_listed_and_judged() {
    let mut sandbox = pair(&[
        "CREATE TABLE app.t (id INT PRIMARY KEY, a INT, e VARCHAR(20) UNIQUE)",
        "CREATE TABLE app.parent (id INT PRIMARY KEY)",
        "CREATE TABLE app.child (id INT PRIMARY KEY, p INT, \
         CONSTRAINT child_parent FOREIGN KEY (p) REFERENCES app.parent (id))",
        "CREATE TABLE app.keyless (a INT)",
        "INSERT INTO app.parent VALUES (1), (2), (3)",
        "INSERT INTO app.t VALUES (1, 10, 'one'), (2, 20, 'two'), (3, 30, 'three'), (4, 40, 'four')",
    ])
    .await;
    // What is seen there may be counted a moment later.
    eventually("m2 has all", async || stranded(&sandbox).await.unwrap().is_empty().then_some(()))
        .await;
    cut(&sandbox).await;
    let begin = SystemTime::now();
    let (m1, m2) = (sandbox.server(0), sandbox.server(1));
    m1.execute(&[
        "INSERT INTO app.t VALUES (11, 1, 'a'), (13, 1, 'b')",
        "UPDATE app.t SET a = 2 WHERE id = 11",
        "UPDATE app.t SET a = 11 WHERE id = 1",
        "UPDATE app.t SET a = 21 WHERE id = 2",
        "DELETE FROM app.t WHERE id = 3",
        "INSERT INTO app.t VALUES (15, 1, 'taken')",
        "INSERT INTO app.t VALUES (17, 1, 'same')",
        "UPDATE app.t SET a = 3 WHERE id = 17",
        "BEGIN",
        "INSERT INTO app.parent VALUES (5)",
        "INSERT INTO app.child VALUES (1, 5)",
        "COMMIT",
        "INSERT INTO app.child VALUES (3, 2)",
        "DELETE FROM app.parent WHERE id = 3",
        "INSERT INTO app.keyless VALUES (1)",
        "ALTER TABLE app.t ADD c INT",
        "INSERT INTO app.t VALUES (19, 1, 'late', 1)",
    ])
    .await
    .unwrap();
    m2.execute(&[
        "UPDATE app.t SET a = 22 WHERE id = 2",
        "DELETE FROM app.t WHERE id = 3",
        "INSERT INTO app.t VALUES (15, 9, 'mine')",
        "INSERT INTO app.t VALUES (16, 9, 'SAME')",
        "INSERT INTO app.child VALUES (2, 3)",
        "DELETE FROM app.parent WHERE id = 2",
    ])
    .await
    .unwrap();
    sandbox.server_mut(0).kill().await.unwrap();
    sandbox.server_mut(0).restart().await.unwrap();

    let found = stranded(&sandbox).await.unwrap();
    assert_eq!(
        lines(&found),
        [
            "app.t +2 ~0 -0 [id=11 id=13]: safe",
            "app.t +0 ~1 -0 [id=11]: safe",
            "app.t +0 ~1 -0 [id=1]: safe",
            "app.t +0 ~1 -0 [id=2]: conflict: app.t id=2: a was 20 and is 22",
            "app.t +0 ~0 -1 [id=3]: conflict: app.t id=3: the row is gone",
            "app.t +1 ~0 -0 [id=15]: conflict: app.t id=15: the key is taken",
            "app.t +1 ~0 -0 [id=17]: conflict: app.t id=16: has the same e",
            &format!(
                "app.t +0 ~1 -0 [id=17]: conflict: app.t id=17: builds on {}, which may not be merged",
                found.transactions[6].gtid
            ),
            "app.parent +1 ~0 -0 [id=5], app.child +1 ~0 -0 [id=1]: safe",
            "app.child +1 ~0 -0 [id=3]: conflict: app.child id=3: its parent in app.parent is gone \
             (child_parent)",
            "app.parent +0 ~0 -1 [id=3]: cannot be judged: rows of app.child refer to the row \
             (child_parent)",
            "app.keyless +1 ~0 -0 []: cannot be judged: app.keyless has no primary key",
            "`ALTER TABLE app.t ADD c INT`: cannot be judged: it has a statement instead of rows: \
             ALTER TABLE app.t ADD c INT",
            &format!(
                "app.t +1 ~0 -0 [id=19]: cannot be judged: it follows {}, of which it is not known \
                 what it changes",
                found.transactions[12].gtid
            ),
        ]
    );
    assert_eq!(found.more, 0);
    assert!(!found.is_safe() && !found.is_own());
    for transaction in &found.transactions {
        let slack = Duration::from_secs(2);
        assert!(transaction.at + slack >= begin && transaction.at <= SystemTime::now() + slack);
        assert!(transaction.bytes > 0);
    }
    // Nothing was written: the next look finds the same.
    assert_eq!(stranded(&sandbox).await.unwrap(), found);
}

/// A row of every type that is known, updated twice: what one server has in its log must equal what
/// the other one selects.
#[tokio::test]
async fn values_of_every_type_are_compared() {
    let sandbox = pair(&[
        "CREATE TABLE app.types (id BIGINT UNSIGNED PRIMARY KEY, ti TINYINT, tu TINYINT UNSIGNED, \
         mu MEDIUMINT UNSIGNED, iu INT UNSIGNED, de DECIMAL(20,6), fl FLOAT, db DOUBLE, \
         ch CHAR(10) CHARACTER SET latin1, vc VARCHAR(300) CHARACTER SET utf8mb4, tx TEXT, \
         bi BINARY(8), vb VARBINARY(20), bl BLOB, en ENUM('x','y','z'), st SET('p','q','r'), \
         bt BIT(10), ye YEAR, da DATE, dt DATETIME(6), d0 DATETIME, tm TIME(3), ts TIMESTAMP(6) NULL, \
         t0 TIMESTAMP NULL, js JSON, po POINT, n INT)",
        "INSERT INTO app.types VALUES (18446744073709551615, -128, 255, 16777215, 4294967295, \
         -12345.678900, 1.1, 0.1, _latin1 X'E4E4', 'häuser ', 'text', X'0102', X'0100', X'00FF00', \
         'y', 'p,r', b'1000000001', 2026, '2026-02-28', '2026-02-28 12:34:56.123456', \
         '2026-02-28 12:34:56', '-26:03:04.500', '2026-02-28 12:34:56.5', '2026-02-28 12:34:56', \
         '{\"b\": [1, 2.5, null, \"ü\"], \"a\": {\"c\": true}}', ST_GeomFromText('POINT(1 2)'), NULL)",
        "CREATE TABLE app.keys_of_types (c CHAR(10) CHARACTER SET latin1, b BINARY(8), \
         d DATE, s TIMESTAMP, e ENUM('x','y'), m DECIMAL(10,2), n INT, PRIMARY KEY (c, b, d, s, e, m))",
        "SET time_zone = '+05:00'",
        "INSERT INTO app.keys_of_types VALUES (_latin1 X'E4E4', X'0102', '2026-02-28', \
         '2026-02-28 12:34:56', 'y', 1.5, 1)",
    ])
    .await;
    cut(&sandbox).await;
    let m1 = sandbox.server(0);
    m1.execute(&[
        "UPDATE app.types SET n = 1",
        "UPDATE app.types SET n = 2",
        "UPDATE app.keys_of_types SET n = 2",
        "DELETE FROM app.keys_of_types",
    ])
    .await
    .unwrap();
    let found = stranded(&sandbox).await.unwrap();
    assert!(found.is_safe(), "{:#?}", lines(&found));
    assert_eq!(found.transactions.len(), 4);
    assert_eq!(found.transactions[0].tables[0].keys, ["id=18446744073709551615"]);
    // Each of them makes a difference.
    for (column, value) in [
        ("ti", "-127"),
        ("tu", "254"),
        ("mu", "1"),
        ("iu", "1"),
        ("de", "-12345.678901"),
        ("fl", "1.2"),
        ("db", "0.2"),
        ("ch", "'a'"),
        ("vc", "'Häuser '"),
        ("tx", "'Text'"),
        ("bi", "X'0103'"),
        ("vb", "X'01'"),
        ("bl", "X'00FF'"),
        ("en", "'x'"),
        ("st", "'p'"),
        ("bt", "b'1'"),
        ("ye", "2025"),
        ("da", "'2026-02-27'"),
        ("dt", "'2026-02-28 12:34:56.123457'"),
        ("d0", "'2026-02-28 12:34:57'"),
        ("tm", "'-26:03:04.501'"),
        ("ts", "'2026-02-28 12:34:56.6'"),
        ("t0", "NULL"),
        ("js", "'{}'"),
        ("po", "ST_GeomFromText('POINT(1 3)')"),
        ("n", "5"),
    ] {
        let m2 = sandbox.server(1);
        m2.execute(&[
            "DROP TABLE IF EXISTS app.kept",
            "CREATE TABLE app.kept AS SELECT * FROM app.types",
            &format!("UPDATE app.types SET {column} = {value}"),
        ])
        .await
        .unwrap();
        let found = stranded(&sandbox).await.unwrap();
        let MergeVerdict::Conflict(conflicts) = &found.transactions[0].verdict else {
            panic!("{column}: {:?}", found.transactions[0].verdict);
        };
        let what = &conflicts[0].what;
        assert!(what.starts_with(&format!("{column} was ")), "{what}");
        m2.execute(&["DELETE FROM app.types", "INSERT INTO app.types SELECT * FROM app.kept"])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_log_that_is_gone_is_said_to_be_gone() {
    let sandbox = pair(&["CREATE TABLE app.t (id INT PRIMARY KEY)"]).await;
    cut(&sandbox).await;
    let m1 = sandbox.server(0);
    m1.execute(&[
        "INSERT INTO app.t VALUES (1)",
        "FLUSH BINARY LOGS",
        "INSERT INTO app.t VALUES (3)",
    ])
    .await
    .unwrap();
    let mut root = m1.root_connection().await.unwrap();
    let logs: Vec<mysql_async::Row> = root.query("SHOW BINARY LOGS").await.unwrap();
    assert_eq!(stranded(&sandbox).await.unwrap().len(), 2, "over the end of a file");
    let last: String = logs.last().unwrap().get(0).unwrap();
    // MariaDB keeps a log that a dump may still be reading.
    eventually("the logs are purged", async || {
        root.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).await.unwrap();
        let logs: Vec<mysql_async::Row> = root.query("SHOW BINARY LOGS").await.unwrap();
        (logs.len() == 1).then_some(())
    })
    .await;
    let gone = stranded(&sandbox).await.unwrap_err();
    assert!(matches!(gone, InspectError::Purged(_)), "{gone:?}");
}
