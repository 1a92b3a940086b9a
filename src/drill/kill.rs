//! kill -9 of the active master under writing clients.

use std::time::Duration;

use super::load::{Told, Traffic};
use super::output::Output;
use super::report::{Measure, Report, Run};
use super::stage::{Kind, Moment, Stage, when};
use super::transfers::Transferred;
use super::{DrillError, ms, within};
use crate::checker::{Gap, Kill};
use crate::coordinator::JournalRow;

/// How long clients write before it.
const WARM: Duration = Duration::from_millis(1500);

/// So many rows of the new master, at most, before a run ends.
const ENOUGH: u64 = 200;

pub(super) const GAP: Measure =
    Measure { key: "gap", name: "gap: last acknowledged to first after" };
const REST: Measure = Measure { key: "gap_without_catch_up", name: "gap without the catch-up" };
const NOTICING: Measure = Measure { key: "noticing", name: "  noticing: kill to held" };
const CLOSED: Measure = Measure { key: "closed", name: "    until the system closed a connection" };
const CATCHING_UP: Measure = Measure { key: "catching_up", name: "  catching up" };
const SEALING: Measure = Measure { key: "sealing", name: "  sealing: receiver stopped, drained" };
const PROMOTING: Measure = Measure { key: "promoting", name: "  promoting: term, read_only=0" };
const RESUMING: Measure = Measure { key: "resuming", name: "  resuming: to first acknowledged" };

/// Runs it `runs` times, first one master, then the other, and so on.
pub(super) async fn drill(kind: &Kind, runs: u32, out: &mut Output) -> Result<bool, DrillError> {
    const MEASURES: &[Measure] =
        &[GAP, REST, NOTICING, CLOSED, CATCHING_UP, SEALING, PROMOTING, RESUMING];
    let kind = kind.with_slow_transfers();
    let mut stage = Stage::set(&kind, out, |_| {}).await?;
    let setting = vec![
        format!("kill -9 of the active master, {runs} times"),
        stage.text(&kind),
        kind.load.text(),
    ];
    let mut report = Report::new("crash", MEASURES, setting);
    out.begin(&report)?;
    let mut transferred = Transferred::default();
    for number in 1..=runs {
        let (run, told) = once(&mut stage, &kind, &mut report).await?;
        transferred.add(&told.transferred);
        out.run(&format!(
            "{number:>4}/{runs}: gap {:.1} ms, {:.1} without the catch-up; held {}, unknown {}, lost {} (named {})",
            run.value(GAP), run.value(REST), run.counts.held, run.counts.unknown,
            run.counts.lost + run.counts.lost_transfers, run.counts.named
        ))?;
        out.figures(&report, &run)?;
        report.add(&run);
    }
    report.remark_on(&transferred);
    out.end(&report)?;
    Ok(report.is_sound())
}

async fn once(
    stage: &mut Stage,
    kind: &Kind,
    report: &mut Report,
) -> Result<(Run, Told), DrillError> {
    let traffic = stage.traffic(&kind.load).await?;
    let old = stage.active()?;
    tokio::time::sleep(WARM).await;
    stage.transitions();
    let before = stage.proxy.counters().await?;
    let killed = Moment::now(&traffic.book);
    stage.sandbox.server_mut(old).kill().await?;
    until_acknowledged(&traffic, 1 - old, kind.load.a_second_or(ENOUGH)).await?;
    let told = traffic.stop().await;
    let rows = stage.transitions();
    stage.check_total(1 - old, &told.tables, report).await?;
    // Before the old master brings it back.
    let term = stage.app.handles().routes.borrow().term.0;
    let named = stage.proxy.lost_by(term).await?;
    let kill = Kill { master: old, at: killed.at };
    let (mut run, gap) = stage.judge(&told, kill, before, kind, report).await?;
    if let Some(gap) = gap {
        note_gap(&mut run, gap, killed, &rows);
    }
    let lost = (run.counts.lost + run.counts.lost_transfers) as u64;
    run.counts.named = named.unwrap_or_default();
    if named != Some(lost) {
        let named = named.map_or_else(|| "no exact number".to_owned(), |named| named.to_string());
        report.faults.push(format!("{lost} transactions are lost, and the proxy names {named}"));
    }
    Ok((run, told))
}

/// Waits for `count` more rows of this master.
pub(super) async fn until_acknowledged(
    traffic: &Traffic,
    master: usize,
    count: u64,
) -> Result<(), DrillError> {
    let mut counts = traffic.book.counts();
    let enough = counts.borrow()[master] + count;
    within("writes on the new master", async {
        // The book lives as long as the traffic.
        let _ = counts.wait_for(|counts| counts[master] >= enough).await;
        Ok(())
    })
    .await
}

/// The gap and its parts.
fn note_gap(run: &mut Run, gap: Gap, killed: Moment, rows: &[JournalRow]) {
    let at = |phase| when(rows, killed, phase);
    run.time(CLOSED, at("suspect"));
    let (catching, sealing, promoting, steady) =
        (at("catching up"), at("sealing"), at("promoting"), at("steady"));
    let whole = ms(gap.length());
    run.time(GAP, whole);
    run.time(REST, whole - (sealing - catching));
    run.time(NOTICING, catching);
    run.time(CATCHING_UP, sealing - catching);
    run.time(SEALING, promoting - sealing);
    run.time(PROMOTING, steady - promoting);
    run.time(RESUMING, killed.to(gap.first) - steady);
}
