//! Both masters down, or none up yet.

use std::time::{Duration, Instant};

use mysql_async::prelude::*;
use tandem::sandbox::Sandbox;
use tandem::session::Activity;

use crate::patience::{PATIENCE, await_activity, eventually, told, within};
use crate::process::Process;
use crate::support::{Stack, config_for};

#[tokio::test]
async fn clients_wait_for_the_hold_are_told_why_and_work_on() {
    let mut stack = Stack::start_with(Default::default(), |config| {
        config.failover.hold = Duration::from_secs(2);
    })
    .await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    client.query_drop("SET @mine = 'kept'").await.expect("set");
    for index in [1, 0] {
        stack.sandbox.server_mut(index).kill().await.expect("killed");
    }
    let asked = Instant::now();
    let (code, state, words) = told(client.query_drop("INSERT INTO t VALUES (1)").await);
    assert!(asked.elapsed() >= Duration::from_secs(2), "it has waited");
    assert_eq!((code, state.as_str()), (1927, "08S01"), "{words}");
    assert!(words.contains("No active master for 2.0 s"), "{words}");
    assert!(words.contains("m1 refuses connections"), "{words}");
    assert!(words.contains("m2 refuses connections"), "{words}");
    assert!(words.ends_with("waiting for one that can be active"), "{words}");
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    stack.await_active(Some("m1")).await;
    client.query_drop("INSERT INTO t VALUES (2)").await.expect("the same connection");
    let row: Option<(String, u32)> =
        client.query_first("SELECT @mine, MAX(a) FROM t").await.expect("asked");
    assert_eq!(row, Some(("kept".into(), 2)));
}

/// Runs as a process of its own: its processor time can be told from the test's.
#[tokio::test]
async fn nobody_is_waited_for_without_a_busy_loop() {
    let mut sandbox = Sandbox::start(Default::default()).await.expect("a pair");
    let proxy = Process::before(&sandbox, "hold = \"30s\"");
    let mut client = within("a login", proxy.connect()).await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    for index in [1, 0] {
        sandbox.server_mut(index).kill().await.expect("killed");
    }
    let write = tokio::spawn(async move { client.query_drop("INSERT INTO t VALUES (1)").await });
    eventually("both seen down", async || {
        let status = proxy.http("/status").await;
        (status.matches("\"state\":\"down\"").count() == 2
            || status.matches("refuses connections").count() >= 2)
            .then_some(())
    })
    .await;
    let (probes, busy, began) = (proxy.probes().await, proxy.cpu_time(), Instant::now());
    // A stretch of time is what is looked at here; nothing is waited for.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (probes, busy) = (proxy.probes().await - probes, proxy.cpu_time() - busy);
    let elapsed = began.elapsed();
    assert!(busy.as_secs_f64() < 0.2 * elapsed.as_secs_f64(), "{busy:?} in {elapsed:?}");
    // Two masters, one probe a second each.
    let most = 4.0 * elapsed.as_secs_f64() + 4.0;
    assert!(
        f64::from(u32::try_from(probes).expect("few")) <= most,
        "{probes} probes in {elapsed:?}"
    );
    sandbox.server_mut(0).restart().await.expect("started again");
    within("the write", write).await.expect("ran").expect("written");
}

#[tokio::test]
async fn a_proxy_starts_while_no_master_is_up_and_serves_as_soon_as_one_is() {
    let mut sandbox = Sandbox::start(Default::default()).await.expect("a pair");
    for index in [1, 0] {
        sandbox.server_mut(index).stop().await.expect("stopped");
    }
    let app = tandem::app::App::start(config_for(&sandbox)).expect("it starts");
    let handles = app.handles().clone();
    let stack = Stack::of(app, sandbox);
    let opts = stack.opts();
    let early = tokio::spawn(async move {
        let mut client = mysql_async::Conn::new(opts).await?;
        client.query_first::<u32, _>("SELECT @@server_id").await
    });
    let mut routes = handles.routes.clone();
    let reason = eventually("a reason", async || match &routes.borrow_and_update().writer {
        tandem::routing::Writer::Held { reason, .. } => {
            (reason.contains("m1 ") && reason.contains("m2 ")).then(|| reason.to_string())
        }
        tandem::routing::Writer::Active(_) => None,
    })
    .await;
    assert!(reason.contains("refuses connections"), "{reason}");
    let said = handles.journal.rows_after(0);
    assert!(said.iter().any(|row| row.transition.reason == reason), "{said:?}");
    let mut stack = stack;
    stack.sandbox.server_mut(1).restart().await.expect("started");
    let served = within("the early client", early).await.expect("ran").expect("greeted");
    assert_eq!(served, Some(2));
    let mut later = stack.connect().await;
    later.query_drop("CREATE TABLE t (a INT)").await.expect("written");
}

#[tokio::test]
async fn what_comes_while_nobody_is_active_waits_and_works() {
    let mut stack = Stack::start_with(Default::default(), |config| {
        config.failover.hold = PATIENCE;
    })
    .await;
    let mut held = stack.connect().await;
    let table = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)";
    held.query_drop(table).await.expect("made");
    for index in [1, 0] {
        stack.sandbox.server_mut(index).kill().await.expect("killed");
    }
    let mut routes = stack.app.handles().routes.clone();
    let nobody = routes.wait_for(|table| table.active().is_none());
    within("nobody is active", nobody).await.expect("the proxy runs");
    let waiting = tokio::spawn(async move {
        held.query_drop("INSERT INTO t (a) VALUES (1)").await?;
        held.query_first::<u64, _>("SELECT COUNT(*) FROM t").await
    });
    await_activity(&stack, Activity::Held, 1).await;
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    let count = within("the insert", waiting).await.expect("ran").expect("worked");
    assert_eq!(count, Some(1));
}

/// m2 was away while m1 took writes. When m1 dies too and m2 is the first to come back, it must not
/// serve as if nothing were missing.
#[tokio::test]
async fn who_was_away_does_not_take_over_what_it_never_received() {
    let mut stack = Stack::start_with(Default::default(), |config| {
        config.monitor.interval = Duration::from_millis(200);
    })
    .await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    eventually("the table is on m2 too", async || {
        let server = stack.sandbox.server(1);
        server.execute(&["SELECT * FROM app.t"]).await.ok()
    })
    .await;
    let topology = stack.app.handles().topology.clone();
    let (m1, m2) = (tandem::topology::ServerId(0), tandem::topology::ServerId(1));
    stack.sandbox.server_mut(1).kill().await.expect("killed");
    eventually("m2 seen down", async || (topology.borrow().seen(m2).failures >= 2).then_some(()))
        .await;
    client.query_drop("INSERT INTO t VALUES (1)").await.expect("acknowledged by m1 alone");
    let written = Instant::now();
    eventually("m1 seen after that", async || {
        let picture = topology.borrow();
        let last = picture.seen(m1).last.as_ref()?;
        (last.at - last.took > written).then_some(())
    })
    .await;
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    stack.sandbox.server_mut(1).restart().await.expect("started again");
    eventually("m2 is judged", async || {
        let routes = stack.app.handles().routes.borrow().clone();
        match &routes.writer {
            tandem::routing::Writer::Held { reason, .. } => {
                reason.contains("m2 was not receiving from m1").then_some(())
            }
            tandem::routing::Writer::Active(active) => {
                let said = stack.app.handles().journal.rows_after(0);
                assert_ne!(*active, m2, "m2 serves without the row: {said:#?}");
                None
            }
        }
    })
    .await;
    stack.sandbox.server_mut(0).restart().await.expect("started again");
    let rows: Option<u64> = client.query_first("SELECT COUNT(*) FROM t").await.expect("served");
    assert_eq!(rows, Some(1), "by the one that has it");
}
