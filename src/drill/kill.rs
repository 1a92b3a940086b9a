//! kill -9 of the active master under writing clients.

use std::time::Duration;

use super::load::{Told, Traffic};
use super::output::Output;
use super::parts::{CATCHING_UP, NOTICING, PROMOTING, REST, RESUMING, SEALING, note_parts};
use super::proxy::Counters;
use super::report::{Measure, Report, Run};
use super::stage::{Kind, Moment, Stage, when};
use super::transfers::Transferred;
use super::{DrillError, conclude, ms, within};
use crate::checker::Kill;

/// How long clients write before it.
const WARM: Duration = Duration::from_millis(1500);

/// The same where it is the point how far behind the standby is: a backlog takes time to grow, and the
/// control that bounds it takes time to settle.
const LOADED: Duration = Duration::from_secs(3);

/// The end of that, in which the load is measured.
const MEASURED: Duration = Duration::from_secs(1);

/// A master that comes back counts at its first answer: how long it has to prove itself first would only
/// be waited for between two runs.
const RISE: u32 = 1;

/// So many rows of the new master, at most, before a run ends.
const ENOUGH: u64 = 200;

const CLOSED: Measure = Measure { key: "closed", name: "    until the system closed a connection" };
pub(super) const GAP: Measure =
    Measure { key: "gap", name: "gap: last acknowledged to first after" };

const WRITES: Measure = Measure { key: "writes_a_second", name: "writes" };
const WAIT: Measure =
    Measure { key: "wait_milliseconds", name: "milliseconds that each waited: pace" };

/// Runs it `runs` times, first one master, then the other, and so on.
pub(super) async fn drill(
    kind: &Kind,
    runs: u32,
    found: &mut Option<Report>,
    out: &mut Output,
) -> Result<bool, DrillError> {
    const MEASURES: &[Measure] =
        &[GAP, REST, NOTICING, CLOSED, CATCHING_UP, SEALING, PROMOTING, RESUMING];
    let kind = kind.with_slow_transfers();
    let mut stage = Stage::set(&kind, out, |config| config.monitor.rise = RISE).await?;
    let setting = vec![
        format!("kill -9 of the active master, {runs} times"),
        stage.text(&kind),
        kind.load.text(),
    ];
    let report = found.insert(Report::new("crash", MEASURES, setting).with_load(&[WRITES, WAIT]));
    out.begin(report)?;
    let mut transferred = Transferred::default();
    for number in 1..=runs {
        let (run, told) = once(&mut stage, &kind, report).await?;
        transferred.add(&told.transferred);
        report.add(&run);
        out.run(
            number,
            runs,
            &format!(
                "gap {:.1} ms ({:.1} without catch-up), held {}, unknown {}, lost {}",
                run.value(GAP),
                run.value(REST),
                run.counts.held,
                run.counts.unknown,
                run.counts.lost + run.counts.lost_transfers
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
) -> Result<(Run, Told), DrillError> {
    let traffic = stage.traffic(&kind.load).await?;
    let old = stage.active()?;
    stage.await_semi_sync(kind, old).await?;
    let warm = if kind.pace.is_some() { LOADED } else { WARM };
    tokio::time::sleep(warm - MEASURED).await;
    let earlier = Written::so_far(stage, &traffic).await?;
    tokio::time::sleep(MEASURED).await;
    let before = stage.proxy.counters().await?;
    let load = Written::with(&before, &traffic).since(&earlier);
    stage.transitions();
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
        run.time(CLOSED, when(&rows, killed, "suspect"));
        run.time(GAP, ms(gap.length()));
        note_parts(&mut run, ms(gap.length()), killed, gap.first, &rows);
    }
    run.load(WRITES, load.a_second());
    run.load(WAIT, load.wait());
    let lost = (run.counts.lost + run.counts.lost_transfers) as u64;
    run.counts.named = named.unwrap_or_default();
    if named != Some(lost) {
        let named = named.map_or_else(|| "no exact number".to_owned(), |named| named.to_string());
        report.faults.push(format!("{lost} transactions are lost, and the proxy names {named}"));
    }
    Ok((run, told))
}

/// What clients have written, or wrote within a while.
struct Written {
    at: Duration,
    rows: f64,
    /// Rows, and transactions as a whole: what pacing makes wait.
    all: f64,
    /// Of all of them together.
    waited_seconds: f64,
}

impl Written {
    async fn so_far(stage: &mut Stage, traffic: &Traffic) -> Result<Self, DrillError> {
        let counters = stage.proxy.counters().await?;
        Ok(Self::with(&counters, traffic))
    }

    /// So far, of which the proxy has just counted this.
    fn with(counters: &Counters, traffic: &Traffic) -> Self {
        let (rows, transfers) = traffic.written();
        Self {
            at: traffic.book.now(),
            rows: rows as f64,
            all: (rows + transfers) as f64,
            waited_seconds: counters.paced_seconds,
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            at: self.at - earlier.at,
            rows: self.rows - earlier.rows,
            all: self.all - earlier.all,
            waited_seconds: self.waited_seconds - earlier.waited_seconds,
        }
    }

    fn a_second(&self) -> f64 {
        self.rows / self.at.as_secs_f64()
    }

    /// Of each, in milliseconds.
    fn wait(&self) -> f64 {
        self.waited_seconds * 1000.0 / self.all.max(1.0)
    }
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
