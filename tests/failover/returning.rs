//! The master that died comes back; the proxy itself restarts.

use mysql_async::prelude::*;
use tandem::app::App;

use crate::patience::{ask, eventually};
use crate::support::{Stack, config_for};

#[tokio::test]
async fn a_master_that_comes_back_is_fenced_and_rejoins() {
    let mut stack = Stack::start().await;
    let mut client = stack.connect().await;
    let table = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)";
    client.query_drop(table).await.expect("made");
    client.query_drop("INSERT INTO t (a) VALUES (1), (2)").await.expect("inserted");
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
    stack.sandbox.server(0).freeze().await.expect("frozen");
    stack.await_active(Some("m2")).await;
    client.query_drop("INSERT INTO t (a) VALUES (3)").await.expect("on m2");
    stack.sandbox.server(0).thaw().expect("thawed");
    m1_is_fenced_and_rejoins(&stack, &mut client).await;
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
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.await_active(Some("m2")).await;
    let term = stack.app.handles().routes.borrow().term;
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    stack.sandbox.await_replication().await.expect("both threads say Yes");
    let Stack { app, sandbox } = stack;
    tokio::task::spawn_blocking(move || app.stop()).await.expect("stopped");
    let app = App::start(config_for(&sandbox)).expect("a proxy");
    let stack = Stack { app, sandbox };
    stack.await_active(None).await;
    let mut client = stack.connect().await;
    let server: Option<u32> = client.query_first("SELECT @@server_id").await.expect("asked");
    assert_eq!(server, Some(2), "not back to the preferred one");
    assert_eq!(stack.app.handles().routes.borrow().term, term, "nothing was decided");
}
