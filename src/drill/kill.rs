//! kill -9 of the active master under writing clients.

use std::time::Duration;

use super::ledger::Ledger;
use super::spread::{Spread, head, line};
use super::stage::{Kind, Moment, Stage, when};
use super::writers::{WRITERS, Write, Writers};

/// The parts of one gap, in milliseconds.
struct Gap {
    whole: f64,
    /// Kill to "held".
    noticing: f64,
    /// The candidate executes what it received; the fence is tried beside it.
    catch_up: f64,
    /// Stopping the receiver, and a last drain.
    sealing: f64,
    /// The term and `read_only=0`.
    promoting: f64,
    /// Published to the first acknowledgement.
    resuming: f64,
}

#[derive(Default)]
struct Gaps {
    whole: Spread,
    noticing: Spread,
    catch_up: Spread,
    sealing: Spread,
    promoting: Spread,
    resuming: Spread,
    rest: Spread,
}

/// Runs it `runs` times, first one master, then the other, and so on.
pub(super) async fn drill(kind: Kind, runs: u32) -> bool {
    println!("\n== kill -9 of the active master, {WRITERS} writing clients, {runs} runs");
    let mut stage = Stage::set(kind, |_| {}).await;
    let mut gaps = Gaps::default();
    let mut sum = Ledger::default();
    let held_before = stage.held().await;
    println!(
        "{:>4}{:>9}{:>10}{:>10}{:>9}{:>10}{:>10}{:>8}{:>9}",
        "run",
        "gap",
        "noticing",
        "catch up",
        "sealing",
        "promoting",
        "resuming",
        "acked",
        "missing"
    );
    for run in 1..=runs {
        let (gap, ledger) = once(&mut stage).await;
        println!(
            "{run:>4}{:>9.1}{:>10.1}{:>10.1}{:>9.1}{:>10.1}{:>10.1}{:>8}{:>9}",
            gap.whole,
            gap.noticing,
            gap.catch_up,
            gap.sealing,
            gap.promoting,
            gap.resuming,
            ledger.acknowledged,
            ledger.missing
        );
        gaps.add(&gap);
        sum.add(ledger);
    }
    gaps.print();
    let held = stage.held().await - held_before;
    println!("\n{sum}; statements held {held}");
    sum.is_sound(!kind.semi_sync)
}

async fn once(stage: &mut Stage) -> (Gap, Ledger) {
    let table = stage.table().await;
    let old = stage.active().expect("somebody is active");
    let new = 1 - old;
    let mut writers = Writers::start(&stage.opts(), &table);
    let warm = std::time::Instant::now() + Duration::from_millis(1500);
    writers.until(|write| write.ended > warm).await;
    stage.transitions();
    let killed = Moment::now();
    stage.sandbox.server_mut(old).kill().await.expect("killed");
    writers.until_acknowledged(200, Stage::is_key_of(new)).await;
    let writes = writers.stop().await;
    let rows = stage.transitions();
    let mut ledger = Ledger::draw(&writes, stage.sandbox.server(new), &table).await;
    stage.rejoin(old, &table).await;
    let later = Ledger::draw(&writes, stage.sandbox.server(new), &table).await;
    ledger.missing_later = later.missing;
    ledger.rows_twice = ledger.rows_twice.max(later.rows_twice);
    let at = |phase| when(&rows, killed, phase).unwrap_or(f64::NAN);
    let (last, first) = edges(&writes, killed, new);
    let (catching, sealing, promoting, steady) =
        (at("catching up"), at("sealing"), at("promoting"), at("steady"));
    let gap = Gap {
        whole: first - last,
        noticing: catching,
        catch_up: sealing - catching,
        sealing: promoting - sealing,
        promoting: steady - promoting,
        resuming: first - steady,
    };
    (gap, ledger)
}

/// The last acknowledgement by the old master and the first one by the new, after `killed`.
pub(super) fn edges(writes: &[Write], killed: Moment, new: usize) -> (f64, f64) {
    let is_new = Stage::is_key_of(new);
    let signed = |write: &&Write| {
        if write.ended >= killed.at {
            killed.to(write.ended)
        } else {
            -super::stage::ms(killed.at - write.ended)
        }
    };
    let acknowledged = |by_new: bool| {
        writes
            .iter()
            .filter(move |write| write.outcome.as_ref().is_ok_and(|key| is_new(*key) == by_new))
    };
    let last = acknowledged(false).map(|write| signed(&write)).fold(f64::NEG_INFINITY, f64::max);
    let first = acknowledged(true).map(|write| signed(&write)).fold(f64::INFINITY, f64::min);
    (last, first)
}

impl Gaps {
    fn add(&mut self, gap: &Gap) {
        self.whole.add(gap.whole);
        self.noticing.add(gap.noticing);
        self.catch_up.add(gap.catch_up);
        self.sealing.add(gap.sealing);
        self.promoting.add(gap.promoting);
        self.resuming.add(gap.resuming);
        self.rest.add(gap.whole - gap.catch_up);
    }

    fn print(&self) {
        head("milliseconds");
        line("gap: last acknowledged to first after", &self.whole);
        line("  noticing: kill to held", &self.noticing);
        line("  catching up", &self.catch_up);
        line("  sealing: receiver stopped, drained", &self.sealing);
        line("  promoting: term, read_only=0", &self.promoting);
        line("  resuming: published to first acknowledged", &self.resuming);
        line("everything but the catch-up", &self.rest);
    }
}
