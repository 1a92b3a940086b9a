//! SIGSTOP of the active master under writing clients, then SIGCONT.

use std::time::{Duration, Instant};

use mysql_async::prelude::*;

use super::kill::edges;
use super::ledger::Ledger;
use super::spread::{Spread, head, line};
use super::stage::{Kind, Moment, Stage};
use super::writers::Writers;

/// With the default settings, then with short ones.
pub(super) async fn drill(kind: Kind, runs: u32) -> bool {
    let short = Duration::from_millis(200);
    let with = async |name: &str, interval: Duration, timeout: Duration| {
        println!("\n== SIGSTOP of the active master, {name}, fall 2, {runs} runs");
        let stage = Stage::set(kind, |config| {
            config.monitor.interval = interval;
            config.monitor.timeout = timeout;
        });
        freeze(kind, stage.await, runs).await
    };
    let defaults =
        with("interval 1s, timeout 500ms", Duration::from_secs(1), Duration::from_millis(500))
            .await;
    with("interval 200ms, timeout 200ms", short, short).await && defaults
}

async fn freeze(kind: Kind, mut stage: Stage, runs: u32) -> bool {
    let (mut until_writes, mut until_fenced) = (Spread::default(), Spread::default());
    let mut sum = Ledger::default();
    for _ in 0..runs {
        let table = stage.table().await;
        let old = stage.active().expect("somebody is active");
        let new = 1 - old;
        let mut writers = Writers::start(&stage.opts(), &table);
        let warm = Instant::now() + Duration::from_secs(1);
        writers.until(|write| write.ended > warm).await;
        stage.transitions();
        let frozen = Moment::now();
        stage.sandbox.server(old).freeze().await.expect("frozen");
        writers.until_acknowledged(200, Stage::is_key_of(new)).await;
        let thawed = Instant::now();
        stage.sandbox.server(old).thaw().expect("thawed");
        until_fenced.add(fenced_after(&stage, old, thawed).await);
        // While it is fenced on sight, clients go on.
        writers.until_acknowledged(500, Stage::is_key_of(new)).await;
        let writes = writers.stop().await;
        stage.await_equal(&table).await;
        let late = writes.iter().filter(|write| {
            write.began > thawed
                && write.outcome.as_ref().is_ok_and(|key| !Stage::is_key_of(new)(*key))
        });
        println!("  acknowledged by the old master after it thawed: {}", late.count());
        until_writes.add(edges(&writes, frozen, new).1);
        sum.add(Ledger::draw(&writes, stage.sandbox.server(new), &table).await);
    }
    head("milliseconds");
    line("SIGSTOP to the first acknowledged write", &until_writes);
    line("SIGCONT to read_only", &until_fenced);
    println!("\n{sum}");
    sum.is_sound(!kind.semi_sync)
}

/// How long after the thaw the server is read-only.
async fn fenced_after(stage: &Stage, index: usize, thawed: Instant) -> f64 {
    let mut connection = stage.sandbox.server(index).root_connection().await.expect("root's login");
    loop {
        let read_only: Option<u8> =
            connection.query_first("SELECT @@GLOBAL.read_only").await.expect("an answer");
        if read_only == Some(1) {
            return super::stage::ms(thawed.elapsed());
        }
        assert!(thawed.elapsed() < Duration::from_secs(30), "the thawed master is not fenced");
    }
}
