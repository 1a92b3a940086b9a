//! Planned switchovers under load, to and fro: nobody may see an error, and how long statements wait
//! is what it costs.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::load::{Contents, Told, Traffic};
use super::output::Output;
use super::proxy::Proxy;
use super::report::{Counts, Measure, Report, Run};
use super::stage::{Kind, Stage};
use super::transfers::Transfers;
use super::{DrillError, conclude, ms};
use crate::checker::{Book, Ledger, Row, Token, Verdict};
use crate::console::AskError;

/// After each switchover, for the load to be what it was.
const AFTER: Duration = Duration::from_millis(150);
/// Before each: about as long as a switchover takes, to be compared with it.
const BEFORE: Duration = Duration::from_millis(650);

const STATEMENT: Measure =
    Measure { key: "statement", name: "pause: a client's longest statement" };
const LONGEST: Measure = Measure { key: "longest_statement", name: "  the longest of all clients" };
const STATEMENT_BEFORE: Measure =
    Measure { key: "statement_before", name: "the same, in as long a time before" };
const LONGEST_BEFORE: Measure =
    Measure { key: "longest_statement_before", name: "  the longest of all clients" };
const HELD: Measure = Measure { key: "held", name: "held: drained to published" };
const DRAINING: Measure = Measure { key: "draining", name: "  draining: open transactions end" };
const FREEZING: Measure = Measure { key: "freezing", name: "  freezing: fence, exact position" };
const PROMOTING: Measure = Measure { key: "promoting", name: "  promoting: term, read_only=0" };
const APPROACHING: Measure = Measure { key: "approaching", name: "approaching: nobody waits" };

pub(super) const MEASURES: &[Measure] = &[
    STATEMENT,
    LONGEST,
    STATEMENT_BEFORE,
    LONGEST_BEFORE,
    HELD,
    DRAINING,
    FREEZING,
    PROMOTING,
    APPROACHING,
];

/// One switchover, until the next begins.
pub(super) struct Window {
    /// By the book.
    asked: Duration,
    run: Run,
}

/// Switches a pair of its own over `runs` times.
pub(super) async fn drill(
    kind: &Kind,
    runs: u32,
    found: &mut Option<Report>,
    out: &mut Output,
) -> Result<bool, DrillError> {
    let mut stage = Stage::set(kind, out, |_| {}).await?;
    let setting = vec![format!("switchover, {runs} times"), stage.text(kind), kind.load.text()];
    let report = found.insert(Report::new("switchover", MEASURES, setting));
    out.begin(report)?;
    let traffic = stage.traffic(&kind.load).await?;
    let windows = to_and_fro(&mut stage.proxy, &traffic, runs, report, out).await?;
    out.doing("comparing the tables of both masters…")?;
    let told = traffic.stop().await;
    stage.await_equal(&told.tables).await?;
    let mut contents = Vec::new();
    for master in [0, 1] {
        contents.push(stage.contents(master, &told.tables).await?);
    }
    judge(&told, windows, contents, report, out)?;
    conclude(found, out)
}

/// Switches over `runs` times, from one master to the next. What is refused is a fault of the report.
pub(super) async fn to_and_fro(
    proxy: &mut Proxy,
    traffic: &Traffic,
    runs: u32,
    report: &mut Report,
    out: &mut Output,
) -> Result<Vec<Window>, DrillError> {
    let mut windows = Vec::new();
    for number in 1..=runs {
        tokio::time::sleep(BEFORE).await;
        let (from, to) = proxy.active_and_next().await?;
        let (before, event) = (proxy.counters().await?, proxy.last_event().await?);
        let asked = traffic.book.now();
        let answer = proxy.switch_over(&to).await;
        let answered = traffic.book.now();
        tokio::time::sleep(AFTER).await;
        let after = proxy.counters().await?;
        let mut run = Run::default();
        run.counts.held = after.held - before.held;
        run.counts.retried = after.retried - before.retried;
        let line = match answer {
            Ok(()) => {
                note_phases(&mut run, proxy, event).await?;
                note_statements(&mut run, &traffic.book, asked, answered);
                let (held, longest) = (run.value(HELD), run.value(LONGEST));
                format!("{from} → {to}: held for {held:.1} ms, longest statement {longest:.1} ms")
            }
            Err(AskError::Refused { words }) => {
                report.faults.push(format!("not switched over to {to}: {words}"));
                format!("{from} → {to}: {words}")
            }
            Err(error) => return Err(error.into()),
        };
        report.add_times(&run);
        out.run(number, runs, &line)?;
        run.masters = Some((from, to));
        windows.push(Window { asked, run });
    }
    Ok(windows)
}

async fn note_phases(run: &mut Run, proxy: &mut Proxy, event: u64) -> Result<(), AskError> {
    let phases = proxy.phases_after(event).await?;
    let [draining, freezing, promoting] =
        ["draining", "freezing", "promoting"].map(|phase| phases.took(phase));
    run.time(HELD, draining + freezing + promoting);
    run.time(DRAINING, draining);
    run.time(FREEZING, freezing);
    run.time(PROMOTING, promoting);
    run.time(APPROACHING, phases.took("approaching"));
    Ok(())
}

/// Of each client the longest statement that met the switchover, and before that one of the load alone.
fn note_statements(run: &mut Run, book: &Book, asked: Duration, answered: Duration) {
    let ledger = book.ledger();
    let before = asked.saturating_sub((answered - asked).min(BEFORE));
    let times =
        [(STATEMENT, LONGEST, asked, answered), (STATEMENT_BEFORE, LONGEST_BEFORE, before, asked)];
    for (each, most, from, to) in times {
        let longest = longest_of_each(&ledger, from, to);
        run.time(most, longest.iter().copied().fold(f64::NAN, f64::max));
        run.times.push((each.key, longest));
    }
}

/// Of each client the longest statement that was under way at some time between these.
fn longest_of_each(ledger: &Ledger, from: Duration, to: Duration) -> Vec<f64> {
    let mut longest: BTreeMap<u16, f64> = BTreeMap::new();
    let recent = ledger.acknowledged.iter().rev().take_while(|entry| entry.at > from);
    for entry in recent.filter(|entry| entry.sent < to) {
        let of_writer = longest.entry(entry.row.token.writer).or_default();
        *of_writer = of_writer.max(ms(entry.at.saturating_sub(entry.sent)));
    }
    longest.into_values().collect()
}

/// Compares what clients were told with what the masters have, together and run by run.
pub(super) fn judge(
    told: &Told,
    windows: Vec<Window>,
    contents: Vec<Contents>,
    report: &mut Report,
    out: &mut Output,
) -> Result<(), DrillError> {
    for Contents { total, .. } in &contents {
        if *total != Transfers::TOTAL {
            report.faults.push(format!("the accounts have {total}, not {}", Transfers::TOTAL));
        }
    }
    for Contents { transfers, .. } in &contents {
        let missing = told.transferred.missing_from(transfers);
        report.fault(missing, "committed transfers are missing");
    }
    let tables: Vec<Vec<Row>> = contents.into_iter().map(|contents| contents.rows).collect();
    let verdict = Verdict::of(&told.ledger, None, &tables);
    report.faults.extend(verdict.faults());
    report.fault(verdict.errors_seen(), "writes came to nothing at a client");
    let failed = usize::try_from(told.transferred.failed()).unwrap_or(usize::MAX);
    report.fault(failed, "transfers came to nothing at a client");
    let began: Vec<Duration> = windows.iter().map(|window| window.asked).collect();
    let parts = by_run(&told.ledger, &tables, &began);
    for (window, (ledger, tables)) in windows.into_iter().zip(parts) {
        let mut run = window.run;
        let Counts { held, retried, .. } = run.counts;
        let counts = Counts::of(&Verdict::of(&ledger, None, &tables));
        run.counts = Counts { held, retried, ..counts };
        out.figures(report, &run)?;
        report.add_counts(&run);
    }
    let seconds = told.ledger.acknowledged.last().map_or(0.0, |entry| entry.at.as_secs_f64());
    let rate = verdict.acknowledged as f64 / seconds.max(f64::MIN_POSITIVE);
    report.remarks.push(format!(
        "{} writes acknowledged, {rate:.0} a second; {}",
        verdict.acknowledged, told.transferred
    ));
    Ok(())
}

/// The account cut up: what was answered before the second run began is the first one's, and so on.
fn by_run(
    ledger: &Ledger,
    tables: &[Vec<Row>],
    began: &[Duration],
) -> Vec<(Ledger, Vec<Vec<Row>>)> {
    let run_at = |at: Duration| began.partition_point(|began| *began <= at).saturating_sub(1);
    let mut parts = vec![(Ledger::default(), vec![Vec::new(); tables.len()]); began.len()];
    let mut run_of: HashMap<Token, usize> = HashMap::new();
    for entry in &ledger.acknowledged {
        let run = run_at(entry.at);
        run_of.insert(entry.row.token, run);
        parts[run].0.acknowledged.push(*entry);
    }
    for failed in &ledger.failed {
        let run = run_at(failed.at);
        run_of.insert(failed.token, run);
        parts[run].0.failed.push(*failed);
    }
    for (number, table) in tables.iter().enumerate() {
        for row in table {
            // Of a row that nobody sent, the whole account has the word.
            let run = run_of.get(&row.token).copied().unwrap_or_default();
            parts[run].1[number].push(*row);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Acknowledged, Cause, Failed};

    fn acknowledged(key: u64, number: u32, at: u64) -> Acknowledged {
        let row = Row { key, token: Token { writer: 1, number } };
        Acknowledged { row, sent: Duration::ZERO, at: Duration::from_millis(at) }
    }

    #[test]
    fn every_loss_belongs_to_a_run() {
        let entries = [(1, 1, 5), (3, 2, 15), (4, 3, 25), (6, 4, 35)]
            .map(|(key, number, at)| acknowledged(key, number, at));
        let token = Token { writer: 1, number: 5 };
        let (at, cause) = (Duration::from_millis(36), Cause::Broken);
        let ledger =
            Ledger { acknowledged: entries.to_vec(), failed: vec![Failed { token, at, cause }] };
        // The third one is not there.
        let table = [0, 1, 3].map(|index: usize| entries[index].row).to_vec();
        let began = [10, 20, 30].map(Duration::from_millis);
        let parts = by_run(&ledger, &[table], &began);
        let counts: Vec<_> = parts
            .iter()
            .map(|(ledger, tables)| Counts::of(&Verdict::of(ledger, None, tables)))
            .map(|counts| (counts.acknowledged, counts.lost, counts.unknown, counts.duplicated))
            .collect();
        assert_eq!(counts, [(2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0)]);
    }
}
