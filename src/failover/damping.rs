//! Flap damping: how soon another automatic failover may follow the last ones.
//!
//! A failover that is followed by another one within minutes did not mend what was wrong, and each of
//! them may cost transactions. So the pause until the next one doubles with each, and after a few
//! within an hour it is a person who says that they may go on.

use std::time::{Duration, Instant};

/// A failover that is longer ago than this is forgotten.
const MEMORY: Duration = Duration::from_secs(60 * 60);
/// The pause doubles this often at most.
const DOUBLINGS: u32 = 3;

/// The failovers of the last hour, and what follows from them.
#[derive(Clone, Debug)]
pub struct Damping {
    min_interval: Duration,
    acknowledge_after: u32,
    /// The changes of the active master that nobody acknowledged, oldest first.
    failovers: Vec<Instant>,
}

impl Damping {
    /// `min_interval` is the pause after the first failover; `acknowledge_after` of them within an
    /// hour are the last ones until [`Damping::acknowledge`], 0 for without end.
    #[must_use]
    pub fn new(min_interval: Duration, acknowledge_after: u32) -> Self {
        Self { min_interval, acknowledge_after, failovers: Vec::new() }
    }

    /// Another master was made active at `now`, by whatever proxy. The same moment counts once.
    pub fn failed_over(&mut self, now: Instant) {
        self.failovers.retain(|at| now.saturating_duration_since(*at) < MEMORY);
        if self.failovers.last() != Some(&now) {
            self.failovers.push(now);
        }
    }

    /// A person knows of the failovers so far: the next one may be at once.
    pub fn acknowledge(&mut self) {
        self.failovers.clear();
    }

    /// Why there may be no automatic failover at `now`, in words to follow what is wrong.
    #[must_use]
    pub fn forbids(&self, now: Instant) -> Option<String> {
        let recent = self.recent(now);
        if self.acknowledge_after > 0 && recent >= self.acknowledge_after {
            return Some(format!(
                "there were {recent} failovers within the last hour; automatic failover is off until \
                 RESUME on the console"
            ));
        }
        let left = self.not_before()?.saturating_duration_since(now);
        // In steps, or every probe would make another reason of it.
        let step = if left > Duration::from_secs(10) { 10 } else { 2 };
        let left = left.as_millis().div_ceil(step * 1000) * step;
        (left > 0).then(|| {
            let pause = humantime::format_duration(self.pause());
            format!("the last failover was less than {pause} ago, the next one may be in {left}s")
        })
    }

    /// When it is worth asking again.
    #[must_use]
    pub fn not_before(&self) -> Option<Instant> {
        Some(*self.failovers.last()? + self.pause())
    }

    fn pause(&self) -> Duration {
        let before = self.failovers.last().map_or(0, |last| self.recent(*last)).saturating_sub(1);
        let doublings = before.min(DOUBLINGS);
        self.min_interval * 2u32.pow(doublings)
    }

    fn recent(&self, now: Instant) -> u32 {
        let recent = |at: &&Instant| now.saturating_duration_since(**at) < MEMORY;
        u32::try_from(self.failovers.iter().filter(recent).count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_pause_doubles_and_has_an_upper_bound() {
        let mut now = Instant::now();
        let mut damping = Damping::new(MINUTE, 0);
        assert_eq!(damping.forbids(now), None);
        for minutes in [1, 2, 4, 8, 8] {
            damping.failed_over(now);
            let pause = MINUTE * minutes;
            assert_eq!(damping.not_before(), Some(now + pause));
            assert!(damping.forbids(now + pause - Duration::from_secs(1)).is_some());
            now += pause;
            assert_eq!(damping.forbids(now), None, "after {minutes} minutes");
        }
    }

    #[test]
    fn a_quiet_hour_makes_it_forget() {
        let start = Instant::now();
        let mut damping = Damping::new(MINUTE, 2);
        damping.failed_over(start);
        damping.failed_over(start + MINUTE * 5);
        assert!(damping.forbids(start + MINUTE * 59).is_some_and(|why| why.contains("RESUME")));
        assert_eq!(damping.forbids(start + MINUTE * 61), None, "the first one is forgotten");
        damping.failed_over(start + MINUTE * 70);
        assert_eq!(damping.not_before(), Some(start + MINUTE * 71), "and the second one");
    }

    #[test]
    fn repeated_failovers_want_to_be_acknowledged() {
        let start = Instant::now();
        let mut damping = Damping::new(Duration::ZERO, 3);
        for second in 0..3 {
            let now = start + Duration::from_secs(second);
            assert_eq!(damping.forbids(now), None, "{second} so far");
            damping.failed_over(now);
            damping.failed_over(now); // told twice
        }
        let later = start + MINUTE * 30;
        let mut patient = Damping::new(MINUTE, 3);
        patient.failed_over(start);
        let soon = patient.forbids(start + MINUTE / 2).expect("too soon");
        assert_eq!(soon, "the last failover was less than 1m ago, the next one may be in 30s");
        let why = damping.forbids(later).expect("three within an hour");
        assert!(why.contains("3 failovers") && why.contains("RESUME"), "{why}");
        damping.acknowledge();
        assert_eq!(damping.forbids(later), None);
    }
}
