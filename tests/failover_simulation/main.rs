//! The decision in a world of crashes, lag, partitions and other proxies.
//!
//! Seeded: a run is its seed. `SIMULATION_SEED=17` plays one run and prints what happens in it;
//! `SIMULATION_RUNS=100000` plays more of them.

mod cluster;
mod world;

use std::time::Instant;

use world::{Kind, World};

/// About ten seconds in the dev profile, on one of two slow cores.
const RUNS: u64 = 5000;

#[test]
fn no_run_breaks_a_promise() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("SIMULATION_SEED") {
        World::new(seed, true).run();
        return;
    }
    let runs = number("SIMULATION_RUNS").unwrap_or(RUNS);
    let began = Instant::now();
    let (mut promotions, mut switchovers, mut steps) = (0, 0, 0);
    for seed in 0..runs {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, false);
            world.run();
            (world.promotions, world.switchovers, world.steps)
        });
        match outcome {
            Ok((promoted, switched, stepped)) => {
                promotions += promoted;
                switchovers += switched;
                steps += stepped;
            }
            Err(_) => panic!("run {seed} failed; play it again with SIMULATION_SEED={seed}"),
        }
    }
    let rate = runs as f64 / began.elapsed().as_secs_f64();
    println!(
        "{runs} runs, {rate:.0} a second; {promotions} promotions, {switchovers} of them planned, {steps} steps"
    );
    assert!(
        promotions > runs && switchovers > runs / 5,
        "the runs were too quiet to show anything"
    );
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
