//! What is done to servers while clients read: nobody notices, and nothing is too old.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use tandem::pair::dialect;
use tandem::topology::Flavor;

use super::load::Load;
use super::support::eventually;
use super::{M1, M2, R1, R2, Stack, await_readers, sessions_on, start};

const READERS: usize = 8;
const MAX_LAG: Duration = Duration::from_secs(1);

#[tokio::test]
async fn slaves_are_hurt_under_load() {
    let mut stack = start(|_| {}).await;
    await_readers(&stack, &[R1, R2]).await;
    let load = Load::start(&stack, READERS, MAX_LAG).await;
    load.go_on(200).await;
    let spread = [sessions_on(&stack, R1), sessions_on(&stack, R2)];
    assert_eq!(spread, [READERS / 2; 2], "fewest first");
    stopped(&stack, &load).await;
    delayed(&stack, &load).await;
    locked(&stack, &load).await;
    killed(&mut stack, &load).await;
    frozen(&stack, &load).await;
    println!("{:?}", load.end());
}

#[tokio::test]
async fn others_stand_in_and_a_failover_is_no_event() {
    let mut stack = start(|_| {}).await;
    await_readers(&stack, &[R1, R2]).await;
    let load = Load::start(&stack, READERS, MAX_LAG).await;
    load.go_on(100).await;
    for (index, serve) in [(2, &[R2][..]), (3, &[M2]), (1, &[M1])] {
        stop(&stack, index).await;
        await_readers(&stack, serve).await;
        load.go_on(100).await;
    }
    for (index, serve) in [(1, &[M2][..]), (2, &[R1]), (3, &[R1, R2])] {
        go(&stack, index).await;
        await_readers(&stack, serve).await;
        load.go_on(100).await;
    }
    stack.await_replicated(0).await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.await_active(Some("m2")).await;
    await_readers(&stack, &[R1, R2]).await;
    load.go_on(200).await;
    println!("{:?}", load.end());
}

async fn go(stack: &Stack, index: usize) {
    let flavor = stack.sandbox.binaries().flavor();
    stack.sandbox.server(index).execute(&[dialect::start(flavor)]).await.expect("started");
}

/// As docs/reads.md says: MariaDB's appliers are stopped when none is in the middle of a transaction.
async fn stop(stack: &Stack, index: usize) {
    let (server, flavor) = (stack.sandbox.server(index), stack.sandbox.binaries().flavor());
    if flavor == Flavor::MariaDb {
        let mut root = server.root_connection().await.expect("root's login");
        for channel in stack.sandbox.replication(server).await.expect("its channels") {
            let name = channel.channel;
            let statement = format!("STOP SLAVE '{name}' IO_THREAD");
            root.query_drop(statement).await.expect("nothing more is received");
        }
        let mut before = None;
        eventually("nothing more is applied", async || {
            let query = "SELECT @@GLOBAL.gtid_slave_pos, SLEEP(0.05)";
            let now: Option<(String, u8)> = root.query_first(query).await.expect("a position");
            let rests = now == before;
            before = now;
            rests.then_some(())
        })
        .await;
    }
    server.execute(&[dialect::stop(flavor)]).await.expect("stopped");
}

async fn stopped(stack: &Stack, load: &Load) {
    stop(stack, 2).await;
    await_readers(stack, &[R2]).await;
    load.go_on(100).await;
    assert_eq!(sessions_on(stack, R1), 0, "they have left");
    go(stack, 2).await;
    await_readers(stack, &[R1, R2]).await;
}

/// Both channels, since what one brings late the other would bring.
async fn delayed(stack: &Stack, load: &Load) {
    delay(stack, 10).await;
    await_readers(stack, &[R2]).await;
    load.go_on(100).await;
    delay(stack, 0).await;
    await_readers(stack, &[R1, R2]).await;
}

async fn delay(stack: &Stack, seconds: u32) {
    stop(stack, 2).await;
    for master in ["m1", "m2"] {
        let statement = match stack.sandbox.binaries().flavor() {
            Flavor::MariaDb => format!("CHANGE MASTER '{master}' TO MASTER_DELAY = {seconds}"),
            Flavor::MySql => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds} FOR CHANNEL '{master}'"
            ),
        };
        stack.sandbox.server(2).execute(&[&statement]).await.expect("changed");
    }
    go(stack, 2).await;
}

/// Its threads run, its clients read, and nothing is applied.
async fn locked(stack: &Stack, load: &Load) {
    let mut root = stack.sandbox.server(2).root_connection().await.expect("root's login");
    root.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("locked");
    await_readers(stack, &[R2]).await;
    load.go_on(100).await;
    root.query_drop("UNLOCK TABLES").await.expect("unlocked");
    await_readers(stack, &[R1, R2]).await;
}

async fn killed(stack: &mut Stack, load: &Load) {
    eventually("somebody is on r2", async || (sessions_on(stack, R2) > 0).then_some(())).await;
    stack.sandbox.server_mut(3).kill().await.expect("killed");
    await_readers(stack, &[R1]).await;
    load.go_on(100).await;
    stack.sandbox.server_mut(3).restart().await.expect("restarted");
    await_readers(stack, &[R1, R2]).await;
}

async fn frozen(stack: &Stack, load: &Load) {
    stack.sandbox.server(2).freeze().await.expect("frozen");
    await_readers(stack, &[R2]).await;
    load.go_on(100).await;
    stack.sandbox.server(2).thaw().expect("thawed");
    await_readers(stack, &[R1, R2]).await;
    load.go_on(100).await;
}
