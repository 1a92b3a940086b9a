//! The master that died comes back; the proxy itself restarts.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::app::App;
use tandem::sandbox::{SandboxOptions, SandboxServer};

use crate::patience::{ask, eventually};
use crate::support::{Stack, config_for};

#[tokio::test]
async fn a_master_that_comes_back_is_fenced_and_rejoins() {
    let mut stack = Stack::start().await;
    let mut client = stack.connect().await;
    let table = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)";
    client.query_drop(table).await.expect("made");
    client.query_drop("INSERT INTO t (a) VALUES (1), (2)").await.expect("inserted");
    await_two_rows(stack.sandbox.server(1)).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    client.query_drop("INSERT INTO t (a) VALUES (3)").await.expect("on m2");
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    // As if its my.cnf did not say read_only.
    let open = match stack.sandbox.binaries().flavor() {
        tandem::topology::Flavor::MariaDb => "SET GLOBAL read_only=0",
        tandem::topology::Flavor::MySql => "SET GLOBAL super_read_only=0, GLOBAL read_only=0",
    };
    stack.sandbox.server(0).execute(&[open]).await.expect("opened");
    m1_is_fenced_and_rejoins(&stack, &mut client).await;
}

/// One that was frozen comes back as it was: writable, with its connections, and without having
/// heard that another took over.
#[tokio::test]
async fn a_master_that_thaws_is_fenced_and_rejoins() {
    let stack = Stack::start().await;
    let mut client = stack.connect().await;
    let table = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)";
    client.query_drop(table).await.expect("made");
    client.query_drop("INSERT INTO t (a) VALUES (1), (2)").await.expect("inserted");
    await_two_rows(stack.sandbox.server(1)).await;
    stack.sandbox.server(0).freeze().await.expect("frozen");
    stack.await_active(Some("m2")).await;
    client.query_drop("INSERT INTO t (a) VALUES (3)").await.expect("on m2");
    stack.sandbox.server(0).thaw().expect("thawed");
    m1_is_fenced_and_rejoins(&stack, &mut client).await;
}

/// What m2 does not have when m1 goes would keep m1 in quarantine.
async fn await_two_rows(m2: &SandboxServer) {
    eventually("m2 has both rows", async || {
        let mut root = m2.root_connection().await.ok()?;
        let rows: Option<u32> = root.query_first("SELECT COUNT(*) FROM app.t").await.ok()?;
        (rows == Some(2)).then_some(())
    })
    .await;
}

/// Three rows were written, the third on m2, and m1 is there again, open.
async fn m1_is_fenced_and_rejoins(stack: &Stack, client: &mut mysql_async::Conn) {
    let fence = match stack.sandbox.binaries().flavor() {
        tandem::topology::Flavor::MariaDb => "SELECT @@GLOBAL.read_only",
        tandem::topology::Flavor::MySql => "SELECT @@GLOBAL.super_read_only",
    };
    eventually("m1 is fenced", async || {
        (ask::<u8>(stack.sandbox.server(0), fence).await == 1).then_some(())
    })
    .await;
    stack.sandbox.await_replication().await.expect("both threads say Yes");
    client.query_drop("INSERT INTO t (a) VALUES (4)").await.expect("still on m2");
    eventually("both masters have the same", async || {
        let sum = "SELECT GROUP_CONCAT(id, ':', a ORDER BY id) FROM app.t";
        let of_m1 = ask::<String>(stack.sandbox.server(0), sum).await;
        let of_m2 = ask::<String>(stack.sandbox.server(1), sum).await;
        (of_m1 == of_m2 && of_m1.matches(':').count() == 4).then_some(())
    })
    .await;
    let active = stack.app.handles().routes.borrow().active();
    assert_eq!(active.map(|active| active.index()), Some(1), "nobody switched back");
}

#[tokio::test]
async fn a_proxy_that_restarts_follows_the_term() {
    let mut stack = Stack::start().await;
    // A term that m2 never received would be stranded, and keep m1 in quarantine.
    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.await_active(Some("m2")).await;
    let term = stack.app.handles().routes.borrow().term;
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    stack.sandbox.await_replication().await.expect("both threads say Yes");
    let Stack { app, sandbox, .. } = stack;
    tokio::task::spawn_blocking(move || app.stop()).await.expect("stopped");
    let app = App::start(config_for(&sandbox)).expect("a proxy");
    let stack = Stack::of(app, sandbox);
    stack.await_active(None).await;
    let mut client = stack.connect().await;
    let server: Option<u32> = client.query_first("SELECT @@server_id").await.expect("asked");
    assert_eq!(server, Some(2), "not back to the preferred one");
    assert_eq!(stack.app.handles().routes.borrow().term, term, "nothing was decided");
}

/// m1 dies with two transactions that m2 never received; one of them has since become a conflict.
/// Nothing of it reaches m2 before it is released.
#[tokio::test]
async fn what_is_stranded_stays_out_until_it_is_released() {
    let mut stack = Stack::start_with(SandboxOptions::default(), |config| {
        // So that no probe comes between what is stranded and the end of m1.
        config.monitor.interval = Duration::from_secs(3);
        config.monitor.rise = 1;
    })
    .await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await.expect("made");
    client.query_drop("INSERT INTO t VALUES (1, 1), (2, 2)").await.expect("inserted");
    let grant = format!("GRANT SELECT ON app.* TO '{}'@'%'", stack.sandbox.monitor().user);
    stack.sandbox.server(0).execute(&[&grant]).await.expect("granted");
    let position = "SELECT COUNT(*) FROM app.t";
    eventually("m2 has the rows", async || {
        let mut root = stack.sandbox.server(1).root_connection().await.ok()?;
        let rows: Option<u32> = root.query_first(position).await.ok()?;
        let account = format!("SHOW GRANTS FOR '{}'@'%'", stack.sandbox.monitor().user);
        let grants: Vec<String> = root.query(account).await.ok()?;
        (rows == Some(2) && grants.iter().any(|grant| grant.contains("`app`"))).then_some(())
    })
    .await;
    let stop = match stack.sandbox.binaries().flavor() {
        tandem::topology::Flavor::MariaDb => "STOP SLAVE IO_THREAD",
        tandem::topology::Flavor::MySql => "STOP REPLICA IO_THREAD",
    };
    stack.sandbox.server(1).execute(&[stop]).await.expect("stopped");
    let stranded = ["INSERT INTO app.t VALUES (11, 1)", "UPDATE app.t SET a = 5 WHERE id = 1"];
    stack.sandbox.server(0).execute(&stranded).await.expect("written");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    client.query_drop("UPDATE t SET a = 7 WHERE id = 1").await.expect("on m2");
    stack.sandbox.server_mut(0).restart().await.expect("started again");

    let mut console = stack.console().await;
    let listed = eventually("m1 is in quarantine", async || {
        let rows: Vec<mysql_async::Row> = console.query("SHOW STRANDED m1").await.expect("shown");
        let line = |row: &mysql_async::Row| {
            let cell = |name| row.get::<Option<String>, _>(name).flatten().unwrap_or_default();
            format!("{} {}: {}", cell("Tables"), cell("Keys"), cell("Verdict"))
        };
        (rows.len() == 2).then(|| rows.iter().map(line).collect::<Vec<_>>())
    })
    .await;
    assert_eq!(
        listed,
        [
            "app.t (+1 ~0 -0) id=11: safe",
            "app.t (+0 ~1 -0) id=1: conflict: app.t id=1: a was 1 and is 7"
        ]
    );
    let refused = console.query_drop("RELEASE m1").await.expect_err("there is a conflict");
    assert!(refused.to_string().contains("1 safe to merge, 1 in conflict"), "{refused}");
    let refused = console.query_drop("SWITCHOVER TO m1").await.expect_err("in quarantine");
    assert!(refused.to_string().contains("m1"), "{refused}");
    let rows = "SELECT GROUP_CONCAT(id, ':', a ORDER BY id) FROM app.t";
    assert_eq!(ask::<String>(stack.sandbox.server(1), rows).await, "1:7,2:2");
    let done: Option<String> =
        console.query_first("RELEASE m1 MERGE FORCE").await.expect("released");
    assert!(done.as_deref().is_some_and(|done| done.contains("2 transactions")), "{done:?}");
    eventually("m2 has what was stranded", async || {
        let found = ask::<String>(stack.sandbox.server(1), rows).await;
        (found == "1:5,2:2,11:1").then_some(())
    })
    .await;
    let shown: Vec<mysql_async::Row> = console.query("SHOW STRANDED").await.expect("shown");
    assert!(shown.is_empty(), "nobody is in quarantine any more");
}
