//! A clean shutdown of the active master under writing clients.

use std::time::Duration;

use super::kill::{GAP, until_acknowledged};
use super::output::Output;
use super::report::{Counts, Report};
use super::stage::{Kind, Moment, Stage};
use super::transfers::Transferred;
use super::{DrillError, conclude, ms};
use crate::checker::{Gap, Kill};

/// How long clients write before it.
const WARM: Duration = Duration::from_secs(1);

/// So many rows of the new master, at most, before a run ends.
const ENOUGH: u64 = 200;

/// Runs it `runs` times.
pub(super) async fn drill(
    kind: &Kind,
    runs: u32,
    found: &mut Option<Report>,
    out: &mut Output,
) -> Result<bool, DrillError> {
    let kind = kind.with_slow_transfers();
    let mut stage = Stage::set(&kind, out, |_| {}).await?;
    let setting = vec![
        format!("clean shutdown of the active master, {runs} times"),
        stage.text(&kind),
        kind.load.text(),
    ];
    let report = found.insert(Report::new("stop", &[GAP], setting));
    out.begin(report)?;
    let mut transferred = Transferred::default();
    for number in 1..=runs {
        let traffic = stage.traffic(&kind.load).await?;
        let old = stage.active()?;
        tokio::time::sleep(WARM).await;
        let before = stage.proxy.counters().await?;
        let stopped = Moment::now(&traffic.book);
        let enough = kind.load.a_second_or(ENOUGH);
        let (ended, written) = tokio::join!(
            stage.sandbox.server_mut(old).stop(),
            until_acknowledged(&traffic, 1 - old, enough)
        );
        ended?;
        written?;
        let told = traffic.stop().await;
        stage.check_total(1 - old, &told.tables, report).await?;
        let kill = Kill { master: old, at: stopped.at };
        let (mut run, gap) = stage.judge(&told, kill, before, &kind, report).await?;
        let gap = gap.map_or(f64::NAN, |gap| ms(Gap::length(gap)));
        run.time(GAP, gap);
        report.add(&run);
        let Counts { held, unknown, lost, .. } = run.counts;
        let line = format!("gap {gap:.1} ms, held {held}, unknown {unknown}, lost {lost}");
        out.run(number, runs, &line)?;
        out.figures(report, &run)?;
        transferred.add(&told.transferred);
    }
    report.remark_on(&transferred);
    conclude(found, out)
}
