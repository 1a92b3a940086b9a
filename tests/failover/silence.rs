//! A master that does not answer: frozen, or only out of this proxy's sight.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::routing::Writer;
use tandem::sandbox::SandboxOptions;
use tandem::topology::{Flavor, ServerId, ThreadState};

use crate::patience::{ask, eventually, told, within};
use crate::support::Stack;

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);

/// The reason why nobody takes writes, once it is one that has these words.
async fn held(stack: &Stack, words: &str) -> String {
    let mut routes = stack.app.handles().routes.clone();
    eventually(words, async || match &routes.borrow_and_update().writer {
        Writer::Held { reason, .. } if reason.contains(words) => Some(reason.to_string()),
        _ => None,
    })
    .await
}

/// Has m2 receive from m1 past the forwarder, so that this cuts off the proxy alone.
async fn pass_the_forwarder(stack: &Stack) {
    let port = stack.sandbox.server(0).direct().port();
    let statements = match stack.sandbox.binaries().flavor() {
        Flavor::MariaDb => [
            "STOP SLAVE".to_owned(),
            format!(
                "CHANGE MASTER TO MASTER_PORT={port}, MASTER_USE_GTID=slave_pos, \
                 MASTER_HEARTBEAT_PERIOD=1"
            ),
            "START SLAVE".to_owned(),
        ],
        Flavor::MySql => [
            "STOP REPLICA".to_owned(),
            format!("CHANGE REPLICATION SOURCE TO SOURCE_PORT={port}, SOURCE_HEARTBEAT_PERIOD=1"),
            "START REPLICA".to_owned(),
        ],
    };
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    stack.sandbox.server(1).execute(&statements).await.expect("another port");
    let mut topology = stack.app.handles().topology.clone();
    let connected = topology.wait_for(|seen| {
        let channels = seen.facts(M2).map(|facts| facts.channels.as_slice()).unwrap_or_default();
        channels.iter().any(|c| c.source_port == port && c.io == ThreadState::Yes)
    });
    within("m2 receives past the forwarder", connected).await.expect("the proxy runs");
}

fn terms(stack: &Stack) -> Option<u64> {
    stack.app.handles().status.borrow().decision.as_ref().map(|(term, _)| term.0)
}

/// Nothing is written, so that all that arrives at m2 are heartbeats of its replication, one a second.
#[tokio::test]
async fn a_proxy_that_is_cut_off_alone_holds_and_fails_nobody_over() {
    let options = SandboxOptions { forwarders: true, ..Default::default() };
    let mut stack = Stack::start_with(options, |config| {
        config.failover.hold = Duration::from_secs(3);
        config.monitor.heartbeat = false;
    })
    .await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    pass_the_forwarder(&stack).await;
    let before = terms(&stack);
    stack.sandbox.server_mut(0).cut_off().expect("a forwarder");
    let reason = held(&stack, "only this proxy is cut off").await;
    assert!(reason.contains("m2 still receives from it"), "{reason}");
    let (_, _, words) = told(client.query_drop("INSERT INTO t VALUES (1)").await);
    assert!(words.contains("only this proxy is cut off"), "{words}");

    // What freezes now is a real death: m2 hears nothing more.
    stack.sandbox.server(0).freeze().await.expect("frozen");
    stack.await_active(Some("m2")).await;
    // The table comes first, the status behind it.
    eventually("a new term", async || (terms(&stack) > before).then_some(())).await;
    stack.sandbox.server(0).thaw().expect("thawed");
}

#[tokio::test]
async fn a_proxy_that_was_cut_off_alone_goes_on_with_the_same_master() {
    let options = SandboxOptions { forwarders: true, ..Default::default() };
    let mut stack = Stack::start_with(options, |_| {}).await;
    let mut client = stack.connect().await;
    client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
    pass_the_forwarder(&stack).await;
    let before = terms(&stack);
    stack.sandbox.server_mut(0).cut_off().expect("a forwarder");
    held(&stack, "only this proxy is cut off").await;
    let read_only: u8 = ask(stack.sandbox.server(0), "SELECT @@GLOBAL.read_only").await;
    assert_eq!(read_only, 0, "nobody fenced it");
    stack.sandbox.server_mut(0).reconnect().expect("a forwarder");
    stack.await_active(Some("m1")).await;
    stack.connect().await.query_drop("INSERT INTO t VALUES (1)").await.expect("written");
    assert_eq!(terms(&stack), before, "no decision was made");
}

#[tokio::test]
async fn a_frozen_master_is_failed_over_although_its_slave_stays_connected() {
    for pace in [None, Some(Duration::from_millis(200))] {
        let mut stack = Stack::start_with(Default::default(), |config| {
            if let Some(pace) = pace {
                (config.monitor.interval, config.monitor.timeout) = (pace, pace);
            }
        })
        .await;
        let mut client = stack.connect().await;
        client.query_drop("CREATE TABLE t (a INT)").await.expect("made");
        stack.sandbox.server(0).freeze().await.expect("frozen");
        let frozen = std::time::Instant::now();
        let waiting = tokio::spawn(async move {
            let answer: Result<Option<u8>, _> = client.query_first("SELECT 1").await;
            answer
        });
        stack.await_active(Some("m2")).await;
        println!("{pace:?}: m2 was active {:?} after m1 froze", frozen.elapsed());
        let io = stack.app.handles().topology.borrow().seen(M1).failures;
        assert!(io >= 2);
        let answer = waiting.await.expect("ran").expect("run again on m2");
        assert_eq!(answer, Some(1));
        stack.sandbox.server_mut(0).thaw().expect("thawed");
    }
}
