//! How long writers are made to wait so that a standby stays as close behind as `[failover] pace` says.
//!
//! What is bounded is the time that a failover would wait for the standby: what it has received and
//! not executed, at the rate at which it executes. Both are counted in transactions ([`Backlog`]), so
//! no clock of a server has a part in it, and a reading is as old as one round trip.
//!
//! The rate at which transactions arrive is what can be influenced. It is steered to the rate of
//! execution, a little below while the backlog is above its target and a little above while it is
//! below, so that the backlog settles there instead of swinging; the target is half of the bound. A
//! writer that waits `pace` before each write writes once in `pace` and the time of the write: to
//! multiply the rate is to divide this sum, of which the second part is assumed.
//!
//! Writers always get at least half of what the standby executes, also when it has hours to catch
//! up, and no write waits longer than [`MOST`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The longest that a write is made to wait.
const MOST: Duration = Duration::from_secs(1);
/// What a write takes by itself, where nobody knows: too much makes the first step too large, too
/// little makes it take more steps.
const ASSUMED_WRITE: f64 = 0.002;
/// Steps up and down in one period, as factors of the rate.
const STEEPEST: (f64, f64) = (0.5, 4.0);
/// How much of a step is made: up (writers wait longer), and down. The rates are noisy.
const UP: f64 = 0.5;
const DOWN: f64 = 0.25;
/// So many periods the rate of execution is averaged over, and a deviation is taken back in about half
/// of them.
const PERIODS: usize = 8;
const BACK_WITHIN: f64 = 4.0;

/// What a standby had at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// When it was asked.
    pub at: Instant,
    /// Transactions that it has received and not executed.
    pub waiting: u64,
    /// All that it has executed, ever.
    pub executed: u64,
}

/// How far one standby is behind, and by which rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// How long it would take for what it has received.
    pub behind: Duration,
    /// Transactions a second, since the reading before.
    received: f64,
    /// The same, within the last periods.
    executed: f64,
}

/// Reads the backlogs of one standby.
#[derive(Clone, Debug, Default)]
pub struct BacklogGauge {
    last: VecDeque<Backlog>,
}

impl BacklogGauge {
    /// Takes what a standby has. `None` while that says nothing of how long it would take: at first,
    /// and while it executes one long transaction.
    pub fn take(&mut self, backlog: Backlog) -> Option<Reading> {
        let before = self.last.back().copied();
        // Another binary log, or one that was reset.
        if before.is_some_and(|before| before.executed > backlog.executed) {
            self.last.clear();
        }
        self.last.push_back(backlog);
        while self.last.len() > PERIODS + 1 {
            self.last.pop_front();
        }
        let (before, first) = (before?, *self.last.front()?);
        let seconds = |from: Backlog| backlog.at.saturating_duration_since(from.at).as_secs_f64();
        let executed = (backlog.executed - first.executed) as f64 / seconds(first);
        let arrived = backlog.executed + backlog.waiting;
        let arrived = arrived.saturating_sub(before.executed + before.waiting);
        let received = arrived as f64 / seconds(before);
        let behind = match backlog.waiting {
            0 => 0.0,
            waiting => waiting as f64 / executed,
        };
        let behind = Duration::try_from_secs_f64(behind).ok()?;
        received.is_finite().then_some(Reading { behind, received, executed })
    }
}

/// Finds how long writers wait.
#[derive(Clone, Debug)]
pub struct Pacer {
    bound: Duration,
    /// In seconds.
    pace: f64,
}

impl Pacer {
    /// For a standby that is to be no further behind than `bound`.
    #[must_use]
    pub fn new(bound: Duration) -> Self {
        Self { bound, pace: 0.0 }
    }

    /// The time between two readings.
    #[must_use]
    pub fn period(&self) -> Duration {
        (self.bound / 4).clamp(Duration::from_millis(25), Duration::from_millis(200))
    }

    /// How long every write is to wait from now on, by what the standby that is least behind has.
    /// `None`: nothing is known of it; then it stays as it is.
    pub fn adjust(&mut self, reading: Option<Reading>) -> Duration {
        if let Some(reading) = reading {
            let target = self.bound.as_secs_f64() / 2.0;
            let behind = reading.behind.as_secs_f64();
            let back = (target - behind) / (BACK_WITHIN * self.period().as_secs_f64());
            let wanted = reading.executed * (1.0 + back.clamp(-0.5, 0.5));
            if wanted > 0.0 && reading.received > 0.0 {
                let step = (reading.received / wanted).clamp(STEEPEST.0, STEEPEST.1);
                let weight = match step > 1.0 {
                    true if reading.behind > self.bound => 1.0,
                    true => UP,
                    false => DOWN,
                };
                let pace = (self.pace + ASSUMED_WRITE) * step.powf(weight) - ASSUMED_WRITE;
                self.pace = pace.clamp(0.0, MOST.as_secs_f64());
            } else if behind < target {
                self.pace /= 2.0;
            }
        }
        Duration::from_secs_f64(self.pace)
    }

    /// There is no standby that could catch up: waiting for it would be for nothing.
    pub fn release(&mut self) {
        self.pace = 0.0;
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]
mod tests {
    use super::*;

    /// A pair by rates: `writers` write once in `write` and the pace, the standby executes
    /// `capacity` transactions a second.
    struct Pair {
        writers: f64,
        write: f64,
        capacity: f64,
        received: f64,
        executed: f64,
        at: Instant,
        /// A generator's state, for how unevenly transactions come.
        noise: u64,
    }

    impl Pair {
        fn new(writers: u32, write_ms: f64, capacity: f64) -> Self {
            let (received, executed, at) = (0.0, 0.0, Instant::now());
            let (writers, write) = (f64::from(writers), write_ms / 1000.0);
            Self { writers, write, capacity, received, executed, at, noise: 88_172_645_463_325_252 }
        }

        /// Between 0.7 and 1.3.
        fn uneven(&mut self) -> f64 {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            0.7 + 0.6 * (self.noise % 1000) as f64 / 1000.0
        }

        fn pass(&mut self, time: Duration, pace: Duration) -> Backlog {
            let rate = self.writers / (self.write + pace.as_secs_f64());
            self.received += rate * self.uneven() * time.as_secs_f64();
            let most = self.executed + self.capacity * self.uneven() * time.as_secs_f64();
            self.executed = most.min(self.received);
            self.at += time;
            let (received, executed) = (self.received as u64, self.executed as u64);
            Backlog { at: self.at, waiting: received - executed, executed }
        }

        /// How far behind it is, in milliseconds, after each period of some seconds; and which part of
        /// its capacity it used.
        fn run(&mut self, pacer: &mut Pacer, seconds: u32) -> (Vec<f64>, f64) {
            let (mut gauge, mut pace) = (BacklogGauge::default(), Duration::ZERO);
            let (began, from) = (self.at, self.executed);
            let mut behind = Vec::new();
            while self.at < began + Duration::from_secs(seconds.into()) {
                let reading = gauge.take(self.pass(pacer.period(), pace));
                pace = pacer.adjust(reading);
                behind.push((self.received - self.executed) / self.capacity * 1000.0);
            }
            let used = (self.executed - from) / self.capacity / f64::from(seconds);
            (behind, used)
        }
    }

    #[test]
    fn a_backlog_settles_below_the_bound_and_the_standby_has_work() {
        for bound in [100_u32, 500, 2000] {
            for (writers, write_ms, capacity) in
                [(16, 4.0, 1000.0), (16, 1.0, 4000.0), (200, 20.0, 3000.0), (16, 4.0, 3500.0)]
            {
                let mut pacer = Pacer::new(Duration::from_millis(bound.into()));
                let mut pair = Pair::new(writers, write_ms, capacity);
                let (behind, used) = pair.run(&mut pacer, 30);
                let case = format!("{bound} ms, {writers} writers of {write_ms} ms");
                let settled = &behind[behind.len() / 5..];
                let most = settled.iter().copied().fold(0.0, f64::max);
                assert!(most < f64::from(bound) * 1.3, "{case}: {most} ms behind");
                let mean = settled.iter().sum::<f64>() / settled.len() as f64;
                assert!(mean < f64::from(bound) * 0.7, "{case}: {mean} ms behind in the mean");
                assert!(used > 0.8, "{case}: {used} of what the standby could");
            }
        }
    }

    #[test]
    fn whoever_writes_less_than_the_standby_executes_does_not_wait() {
        let mut pacer = Pacer::new(Duration::from_millis(500));
        Pair::new(16, 4.0, 8000.0).run(&mut pacer, 10);
        assert_eq!(pacer.pace, 0.0);
    }

    #[test]
    fn the_wait_ends_with_the_load() {
        let mut pacer = Pacer::new(Duration::from_millis(100));
        let mut pair = Pair::new(16, 1.0, 2000.0);
        pair.run(&mut pacer, 5);
        assert!(pacer.pace > 0.004, "{}", pacer.pace);
        pair.writers = 1.0;
        pair.run(&mut pacer, 5);
        assert!(pacer.pace < 0.001, "{}", pacer.pace);
    }

    #[test]
    fn a_standby_that_was_away_for_long_leaves_writers_half_of_its_rate() {
        let mut pacer = Pacer::new(Duration::from_millis(500));
        let mut pair = Pair::new(16, 1.0, 2000.0);
        pair.received = 10_000_000.0;
        let began = pair.received;
        pair.run(&mut pacer, 30);
        let rate = (pair.received - began) / 30.0;
        assert!((800.0..2000.0).contains(&rate), "{rate} writes a second");
    }

    #[test]
    fn one_long_transaction_teaches_nothing() {
        let mut gauge = BacklogGauge::default();
        let at = Instant::now();
        let backlog =
            |ms, waiting| Backlog { at: at + Duration::from_millis(ms), waiting, executed: 7 };
        assert_eq!(gauge.take(backlog(0, 1)), None);
        assert_eq!(gauge.take(backlog(25, 300)), None);
        let mut pacer = Pacer { pace: 0.01, ..Pacer::new(Duration::from_millis(100)) };
        assert_eq!(pacer.adjust(None), Duration::from_millis(10));
        pacer.release();
        assert_eq!(pacer.adjust(None), Duration::ZERO);
        let idle = gauge.take(backlog(50, 0)).expect("nothing to execute is known to take no time");
        assert_eq!(idle.behind, Duration::ZERO);
    }
}
