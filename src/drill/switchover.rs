//! Planned switchovers under load, to and fro: nobody may see an error, and how long statements wait
//! is what it costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mysql_async::prelude::*;

use super::ledger::Ledger;
use super::spread::{Spread, head, line};
use super::stage::{Kind, Moment, Stage, ms, when};
use super::transfers::Transfers;
use super::writers::{WRITERS, Write, Writers};

/// Between two switchovers, for the load to be what it was.
const BETWEEN: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Pauses {
    /// Each client's longest statement of each switchover.
    statement: Spread,
    /// The longest of all clients, per switchover.
    longest: Spread,
    /// From draining to steady: for how long anybody could have to wait.
    held: Spread,
    approaching: Spread,
    draining: Spread,
    freezing: Spread,
    promoting: Spread,
}

/// Switches over `runs` times. `rate` is the number of writes a second of all clients together.
pub(super) async fn drill(kind: Kind, runs: u32, rate: Option<u32>) -> bool {
    let load =
        rate.map_or_else(|| "as fast as they can".to_owned(), |rate| format!("{rate} a second"));
    println!("\n== switchover, {WRITERS} clients writing {load}, 4 transferring, {runs} runs");
    let mut stage = Stage::set(kind, |_| {}).await;
    let table = stage.table().await;
    let transfers = Transfers::start(&stage).await;
    let mut writers = Writers::start_paced(&stage.opts(), &table, rate);
    let mut console = stage.console().await;
    let (mut pauses, mut undone, mut windows) = (Pauses::default(), BTreeMap::new(), Vec::new());
    for _ in 0..runs {
        let go = Instant::now() + BETWEEN;
        writers.until(|write| write.ended > go).await;
        stage.transitions();
        let to = stage
            .sandbox
            .configured()
            .get(crate::topology::ServerId(u16::from(stage.active() == Some(0))))
            .name
            .clone();
        let asked = Moment::now();
        let answer = console.query_drop(format!("SWITCHOVER TO {to}")).await;
        windows.push((asked.at, Instant::now()));
        match answer {
            Ok(()) => pauses.add_parts(&stage, asked),
            Err(error) => *undone.entry(error.to_string()).or_insert(0) += 1,
        }
    }
    let go = Instant::now() + BETWEEN;
    writers.until(|write| write.ended > go).await;
    let writes = writers.stop().await;
    let transfers = transfers.stop(&stage).await;
    stage.await_equal(&table).await;
    for window in &windows {
        pauses.add_statements(&writes, *window);
    }
    pauses.print();
    let active = stage.active().expect("somebody is active");
    let mut ledger = Ledger::draw(&writes, stage.sandbox.server(active), &table).await;
    let other = Ledger::draw(&writes, stage.sandbox.server(1 - active), &table).await;
    ledger.missing_later = other.missing;
    println!("\n{ledger}");
    println!("{transfers}");
    println!("undone: {undone:?}");
    let seconds = writes.iter().map(|w| w.ended).max().zip(writes.iter().map(|w| w.began).min());
    if let Some((last, first)) = seconds {
        println!("{:.0} writes a second", writes.len() as f64 / (last - first).as_secs_f64());
    }
    ledger.is_sound(false) && ledger.errors.is_empty() && transfers.is_sound() && undone.is_empty()
}

impl Pauses {
    fn add_parts(&mut self, stage: &Stage, asked: Moment) {
        let rows = stage.app.handles().journal.rows_after(0);
        let at = |phase| when(&rows, asked, phase).unwrap_or(f64::NAN);
        let phases = ["approaching", "draining", "freezing", "promoting", "steady"].map(at);
        let [approaching, draining, freezing, promoting, steady] = phases;
        self.approaching.add(draining - approaching);
        self.draining.add(freezing - draining);
        self.freezing.add(promoting - freezing);
        self.promoting.add(steady - promoting);
        self.held.add(steady - draining);
    }

    fn add_statements(&mut self, writes: &[Write], (from, to): (Instant, Instant)) {
        let mut longest: BTreeMap<u32, f64> = BTreeMap::new();
        for write in writes.iter().filter(|write| write.ended > from && write.began < to) {
            let took = ms(write.ended - write.began);
            let of_writer = longest.entry(write.writer).or_default();
            *of_writer = of_writer.max(took);
        }
        longest.values().for_each(|took| self.statement.add(*took));
        self.longest.add(longest.values().copied().fold(0.0, f64::max));
    }

    fn print(&self) {
        head("milliseconds");
        line("pause: a client's longest statement", &self.statement);
        line("the longest of all clients", &self.longest);
        line("approaching: nobody waits", &self.approaching);
        line("held: drained to published", &self.held);
        line("  draining: open transactions end", &self.draining);
        line("  freezing: fence, exact position", &self.freezing);
        line("  promoting: term, read_only=0", &self.promoting);
    }
}
