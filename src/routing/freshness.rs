//! Until when each server may be read from: looked at before every read.
//!
//! A probe says how old a server's data was then, and it grows older until the next one says more. So
//! what a probe proves has an end, and a session that is about to read compares that with the clock:
//! nothing that stands still in between (a control plane without processor time, a server that does
//! not answer) lets a read through that is too old.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::topology::ServerId;

/// A moment for each server, before which it may be read from. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Freshness {
    /// What the numbers count from.
    epoch: Instant,
    /// Microseconds.
    until: Arc<[AtomicU64]>,
}

/// It does not answer: what it was asked is not waited for.
const DOWN: u64 = 0;
/// It answers, and may not be read from.
const STALE: u64 = 1;

impl Freshness {
    /// Of `servers` servers, none of which may be read from. `epoch` is before all other moments.
    #[must_use]
    pub fn new(servers: usize, epoch: Instant) -> Self {
        Self { epoch, until: (0..servers).map(|_| AtomicU64::new(STALE)).collect() }
    }

    /// `server` may be read from until then; `None`: not at all.
    pub fn set(&self, server: ServerId, until: Option<Instant>) {
        let micros = |until: Instant| {
            let since = until.saturating_duration_since(self.epoch);
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(STALE)
        };
        self.store(server, until.map_or(STALE, micros));
    }

    /// `server` does not answer.
    pub fn set_down(&self, server: ServerId) {
        self.store(server, DOWN);
    }

    /// Whether `server` may be read from at `now`.
    #[inline]
    #[must_use]
    pub fn is_fresh(&self, server: ServerId, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.epoch) + Duration::from_micros(1);
        now.as_micros() < u128::from(self.load(server))
    }

    /// Whether `server` does not answer.
    #[must_use]
    pub fn is_down(&self, server: ServerId) -> bool {
        self.load(server) == DOWN
    }

    fn load(&self, server: ServerId) -> u64 {
        self.until.get(server.index()).map_or(STALE, |until| until.load(Ordering::Relaxed))
    }

    fn store(&self, server: ServerId, micros: u64) {
        if let Some(until) = self.until.get(server.index()) {
            until.store(micros, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]
mod tests {
    use super::*;

    #[test]
    fn what_was_proven_has_an_end() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let (freshness, first, second) = (Freshness::new(2, start), ServerId(0), ServerId(1));
        assert!(!freshness.is_fresh(first, start) && !freshness.is_down(first));
        freshness.set(first, Some(ms(10)));
        assert!(freshness.is_fresh(first, start) && freshness.is_fresh(first, ms(9)));
        assert!(!freshness.is_fresh(first, ms(10)) && !freshness.is_fresh(second, start));
        freshness.set_down(first);
        assert!(!freshness.is_fresh(first, start) && freshness.is_down(first));
        freshness.set(first, Some(start));
        assert!(!freshness.is_fresh(first, start) && !freshness.is_down(first));
        assert!(!freshness.is_fresh(ServerId(7), start), "nobody knows it");
    }
}
