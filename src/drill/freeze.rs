//! SIGSTOP of the active master under writing clients, then SIGCONT.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;

use super::kill::until_acknowledged;
use super::output::Output;
use super::parts::{CATCHING_UP, NOTICING, PROMOTING, REST, RESUMING, SEALING, note_parts};
use super::report::{Measure, Report, Run};
use super::stage::{Kind, Moment, Stage};
use super::transfers::Transferred;
use super::{DrillError, conclude, ms, within};
use crate::checker::{Gap, Kill};

/// How long clients write before it.
const WARM: Duration = Duration::from_secs(1);

/// So many rows of the new master, at most, before the old one goes on, and after that.
const ENOUGH: [u64; 2] = [200, 500];

const GAP: Measure = Measure { key: "gap", name: "gap: SIGSTOP to first acknowledged" };
const FENCED: Measure = Measure { key: "fenced", name: "SIGCONT to read_only" };

const MEASURES: &[Measure] =
    &[GAP, REST, NOTICING, CATCHING_UP, SEALING, PROMOTING, RESUMING, FENCED];

/// With the default settings, then with short ones.
pub(super) async fn drill(
    kind: &Kind,
    runs: u32,
    found: &mut Option<Report>,
    out: &mut Output,
) -> Result<bool, DrillError> {
    let (second, half, short) =
        (Duration::from_secs(1), Duration::from_millis(500), Duration::from_millis(200));
    let defaults = freeze(kind, runs, (second, half), "default settings", found, out).await?;
    let short = freeze(kind, runs, (short, short), "short settings", found, out).await?;
    Ok(defaults && short)
}

async fn freeze(
    kind: &Kind,
    runs: u32,
    (interval, timeout): (Duration, Duration),
    name: &str,
    found: &mut Option<Report>,
    out: &mut Output,
) -> Result<bool, DrillError> {
    let kind = kind.with_slow_transfers();
    let mut stage = Stage::set(&kind, out, |config| {
        config.monitor.interval = interval;
        config.monitor.timeout = timeout;
    })
    .await?;
    let (interval, timeout) =
        (humantime::format_duration(interval), humantime::format_duration(timeout));
    let setting = vec![
        format!("SIGSTOP of the active master, {runs} times"),
        format!("{name}: interval {interval}, timeout {timeout}, fall 2"),
        stage.text(&kind),
        kind.load.text(),
    ];
    let report = found.insert(Report::new("freeze", MEASURES, setting));
    out.begin(report)?;
    let mut transferred = Transferred::default();
    for number in 1..=runs {
        let (run, done) = once(&mut stage, &kind, report).await?;
        transferred.add(&done);
        report.add(&run);
        out.run(
            number,
            runs,
            &format!(
                "gap {:.0} ms ({:.0} without catch-up), fenced {:.1} ms after, held {}, unknown {}, lost {}",
                run.value(GAP),
                run.value(REST),
                run.value(FENCED),
                run.counts.held,
                run.counts.unknown,
                run.counts.lost
            ),
        )?;
        out.figures(report, &run)?;
    }
    report.remark_on(&transferred);
    conclude(found, out)
}

async fn once(
    stage: &mut Stage,
    kind: &Kind,
    report: &mut Report,
) -> Result<(Run, Transferred), DrillError> {
    let traffic = stage.traffic(&kind.load).await?;
    let old = stage.active()?;
    tokio::time::sleep(WARM).await;
    let before = stage.proxy.counters().await?;
    stage.transitions();
    let frozen = Moment::now(&traffic.book);
    stage.sandbox.server(old).freeze().await?;
    until_acknowledged(&traffic, 1 - old, kind.load.a_second_or(ENOUGH[0])).await?;
    let rows = stage.transitions();
    stage.check_total(1 - old, &traffic.tables, report).await?;
    let thawed = Instant::now();
    stage.sandbox.server(old).thaw()?;
    let fenced = fenced_after(stage, old, thawed).await?;
    // While it is fenced on sight, clients go on.
    until_acknowledged(&traffic, 1 - old, kind.load.a_second_or(ENOUGH[1])).await?;
    let told = traffic.stop().await;
    // The two have each other's rows again, and the thawed one those that nobody received.
    stage.await_equal(&told.tables).await?;
    let kill = Kill { master: old, at: frozen.at };
    let (mut run, gap) = stage.judge(&told, kill, before, kind, report).await?;
    if let Some(Gap { first, .. }) = gap {
        run.time(GAP, frozen.to(first));
        note_parts(&mut run, frozen.to(first), frozen, first, &rows);
    }
    run.time(FENCED, fenced);
    Ok((run, told.transferred))
}

/// How long after the thaw the server is read-only, in milliseconds.
async fn fenced_after(stage: &Stage, index: usize, thawed: Instant) -> Result<f64, DrillError> {
    within("read_only on the thawed master", async {
        let mut root = stage.sandbox.server(index).root_connection().await?;
        loop {
            let read_only: Option<u8> = root.query_first("SELECT @@GLOBAL.read_only").await?;
            if read_only == Some(1) {
                return Ok(ms(thawed.elapsed()));
            }
        }
    })
    .await
}
