//! A clean shutdown of the active master under writing clients.

use std::time::{Duration, Instant};

use super::kill::edges;
use super::ledger::Ledger;
use super::spread::{Spread, head, line};
use super::stage::{Kind, Moment, Stage};
use super::writers::Writers;

/// Runs it `runs` times.
pub(super) async fn drill(kind: Kind, runs: u32) -> bool {
    println!("\n== clean shutdown of the active master, {runs} runs");
    let mut stage = Stage::set(kind, |_| {}).await;
    let mut gaps = Spread::default();
    let mut sum = Ledger::default();
    for _ in 0..runs {
        let table = stage.table().await;
        let old = stage.active().expect("somebody is active");
        let new = 1 - old;
        let mut writers = Writers::start(&stage.opts(), &table);
        let warm = Instant::now() + Duration::from_secs(1);
        writers.until(|write| write.ended > warm).await;
        let stopped = Moment::now();
        let (ended, _) = tokio::join!(
            stage.sandbox.server_mut(old).stop(),
            writers.until_acknowledged(200, Stage::is_key_of(new))
        );
        ended.expect("stopped");
        let writes = writers.stop().await;
        let (last, first) = edges(&writes, stopped, new);
        gaps.add(first - last);
        sum.add(Ledger::draw(&writes, stage.sandbox.server(new), &table).await);
        stage.rejoin(old, &table).await;
    }
    head("milliseconds");
    line("gap: last acknowledged to first after", &gaps);
    println!("\n{sum}");
    sum.is_sound(!kind.semi_sync)
}
