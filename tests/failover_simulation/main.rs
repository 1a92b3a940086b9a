//! The decision in a world of crashes, lag, partitions and other proxies.
//!
//! Seeded: a run is its seed. `SIMULATION_SEED=17` plays one run and prints what happens in it;
//! `SIMULATION_RUNS=100000` plays more of them, and `SIMULATION_FIRST=100000` others.

mod cluster;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use world::{Kind, World};

/// Some seconds in the dev profile, on two slow cores. `make test` plays 100 000.
const RUNS: u64 = 5000;

#[test]
fn no_run_breaks_a_promise() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("SIMULATION_SEED") {
        World::new(seed, true).run();
        return;
    }
    let runs = number("SIMULATION_RUNS").unwrap_or(RUNS);
    let seeds = number("SIMULATION_FIRST").unwrap_or(0);
    let seeds = seeds..seeds + runs;
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let began = Instant::now();
    // Runs that fail are named at the end, and played again to see why.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let all = std::thread::scope(|scope| {
        let start = |first| {
            let seeds = seeds.clone().skip(first).step_by(threads);
            scope.spawn(|| play(seeds))
        };
        let playing: Vec<_> = (0..threads).map(start).collect();
        let played = playing.into_iter().map(|thread| thread.join().expect("the thread ends"));
        played.fold(Played::default(), Played::and)
    });
    std::panic::set_hook(usual);
    let rate = runs as f64 / began.elapsed().as_secs_f64();
    let Played { promotions, switchovers, steps, failed } = all;
    println!(
        "{runs} runs, {rate:.0} a second; {promotions} promotions, {switchovers} of them planned, {steps} steps"
    );
    for (why, seeds) in &failed {
        println!("SIMULATION_SEED={} shows one of {}: {why}", seeds[0], seeds.len());
    }
    assert!(failed.is_empty(), "runs broke a promise, see above");
    assert!(
        promotions > runs && switchovers > runs / 10,
        "the runs were too quiet to show anything"
    );
}

/// What came of some runs.
#[derive(Default)]
struct Played {
    promotions: u64,
    /// The planned ones among them.
    switchovers: u64,
    steps: u64,
    /// The seeds of those that broke a promise, by which one.
    failed: BTreeMap<String, Vec<u64>>,
}

impl Played {
    fn and(mut self, other: Self) -> Self {
        self.promotions += other.promotions;
        self.switchovers += other.switchovers;
        self.steps += other.steps;
        for (why, seeds) in other.failed {
            let all = self.failed.entry(why).or_default();
            all.extend(seeds);
            all.sort_unstable();
        }
        self
    }
}

fn play(seeds: impl Iterator<Item = u64>) -> Played {
    let mut played = Played::default();
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, false);
            world.run();
            [world.promotions, world.switchovers, world.steps]
        });
        match outcome {
            Ok([promotions, switchovers, steps]) => {
                played.promotions += promotions;
                played.switchovers += switchovers;
                played.steps += steps;
            }
            Err(panic) => played.failed.entry(promise(&*panic)).or_default().push(seed),
        }
    }
    played
}

/// The words of a failed assertion, without its numbers and its details.
fn promise(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
    let words = words.unwrap_or_default();
    let words = words.split(['{', '\n', ';']).next().unwrap_or_default();
    words.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// Kinds of trouble that a run may have; named here so that the table of them is in one place.
const TROUBLES: [Kind; 18] = [
    Kind::Crash,
    Kind::Crash,
    Kind::Freeze,
    Kind::Crowd,
    Kind::CutProxy,
    Kind::CutLink,
    Kind::CutLink,
    Kind::Stall,
    Kind::BreakApplier,
    Kind::SlowApplier,
    Kind::RestartProxy,
    Kind::OpenStandby,
    Kind::FastRestart,
    Kind::Switchover,
    Kind::Switchover,
    Kind::OrderedFailover,
    Kind::Pause,
    Kind::Discard,
];
