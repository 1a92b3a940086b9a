//! The decision in a world of crashes, lag, partitions and other proxies.
//!
//! Seeded: a run is its seed. `SIMULATION_SEED=17` plays one run and prints what happens in it;
//! `SIMULATION_RUNS=100000` plays more of them.

mod cluster;
mod world;

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
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let began = Instant::now();
    let sums = std::thread::scope(|scope| {
        let start = |first| scope.spawn(move || play((first..runs).step_by(threads as usize)));
        let playing: Vec<_> = (0..threads).map(start).collect();
        playing.into_iter().map(|thread| thread.join().expect("a run failed, see above")).collect()
    });
    let [promotions, switchovers, steps] = add(sums);
    let rate = runs as f64 / began.elapsed().as_secs_f64();
    println!(
        "{runs} runs, {rate:.0} a second; {promotions} promotions, {switchovers} of them planned, {steps} steps"
    );
    assert!(
        promotions > runs && switchovers > runs / 5,
        "the runs were too quiet to show anything"
    );
}

/// Promotions, the planned ones among them, and steps of so many runs.
fn play(seeds: impl Iterator<Item = u64>) -> [u64; 3] {
    add(seeds
        .map(|seed| {
            let outcome = std::panic::catch_unwind(|| {
                let mut world = World::new(seed, false);
                world.run();
                [world.promotions, world.switchovers, world.steps]
            });
            outcome.unwrap_or_else(|_| {
                panic!("run {seed} failed; play it again with SIMULATION_SEED={seed}")
            })
        })
        .collect())
}

fn add(sums: Vec<[u64; 3]>) -> [u64; 3] {
    sums.iter().fold([0; 3], |all, one| std::array::from_fn(|place| all[place] + one[place]))
}

/// Kinds of trouble that a run may have; named here so that the table of them is in one place.
const TROUBLES: [Kind; 14] = [
    Kind::Crash,
    Kind::Crash,
    Kind::Freeze,
    Kind::CutProxy,
    Kind::CutLink,
    Kind::BreakApplier,
    Kind::SlowApplier,
    Kind::RestartProxy,
    Kind::OpenStandby,
    Kind::FastRestart,
    Kind::Switchover,
    Kind::Switchover,
    Kind::OrderedFailover,
    Kind::Pause,
];
