//! Writers are slowed down while the standby is too far behind, and only then.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::metrics::encode;
use tandem::topology::Flavor;

use crate::patience::eventually;
use crate::support::Stack;

/// Has m2 execute everything so many seconds late: a standby that is behind, and works.
async fn delay(stack: &Stack, seconds: u32) {
    let statements = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => [
            "STOP SLAVE".into(),
            format!("CHANGE MASTER TO MASTER_DELAY={seconds}"),
            "START SLAVE".into(),
        ],
        Flavor::MySql => [
            "STOP REPLICA".into(),
            format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY={seconds}"),
            "START REPLICA".into(),
        ],
    };
    let statements: [String; 3] = statements;
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    stack.sandbox.server(1).execute(&statements).await.expect("another delay");
}

fn sample(stack: &Stack, name: &str) -> f64 {
    let samples = encode(&stack.app.handles().metrics.registry);
    let line = samples.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a sample")
}

#[tokio::test]
async fn writers_wait_while_the_standby_is_too_far_behind() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.failover.pace = Some(Duration::from_millis(200));
    })
    .await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    stack.sandbox.await_replication().await.expect("both threads run");
    for _ in 0..50 {
        client.query_drop("INSERT INTO t VALUES (1)").await.expect("written");
    }
    delay(&stack, 2).await;
    eventually("writers wait", async || {
        client.query_drop("INSERT INTO t VALUES (2)").await.expect("written");
        // How long each one waits goes up and down.
        let waits = sample(&stack, "tandem_pace_seconds") > 0.0;
        (waits && sample(&stack, "tandem_session_paced_total") > 5.0).then_some(())
    })
    .await;
    assert!(sample(&stack, "tandem_session_paced_seconds_total") > 0.0);
    // Reads do not.
    let before = sample(&stack, "tandem_session_paced_total");
    for _ in 0..20 {
        client.query_drop("SELECT a FROM t LIMIT 1").await.expect("read");
    }
    assert_eq!(sample(&stack, "tandem_session_paced_total"), before);

    delay(&stack, 0).await;
    eventually("nobody waits any more", async || {
        client.query_drop("INSERT INTO t VALUES (3)").await.expect("written");
        (sample(&stack, "tandem_pace_seconds") == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_for_a_standby_that_cannot_catch_up() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.failover.pace = Some(Duration::from_millis(100));
    })
    .await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    delay(&stack, 2).await;
    eventually("writers wait", async || {
        client.query_drop("INSERT INTO t VALUES (1)").await.expect("written");
        (sample(&stack, "tandem_pace_seconds") > 0.0).then_some(())
    })
    .await;
    let stop = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => "STOP SLAVE SQL_THREAD",
        Flavor::MySql => "STOP REPLICA SQL_THREAD",
    };
    stack.sandbox.server(1).execute(&[stop]).await.expect("stopped");
    eventually("nobody waits", async || {
        (sample(&stack, "tandem_pace_seconds") == 0.0).then_some(())
    })
    .await;
}
