//! How many sessions of the reads listener each server has from this proxy.
//!
//! A seat is taken when a server is chosen, before the login: many sessions that move at the same time
//! spread as they would one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use crate::topology::ServerId;

/// The seats of all servers. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Seats {
    /// Counted where they are shown.
    taken: Arc<[Gauge]>,
    /// Where to begin to look, so that equals take turns.
    turn: Arc<AtomicUsize>,
}

/// A place at a server, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) server: ServerId,
    taken: Gauge,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.taken.dec();
    }
}

impl Seats {
    /// Of servers whose seats are counted there.
    #[must_use]
    pub fn new(taken: Vec<Gauge>) -> Self {
        Self { taken: taken.into(), turn: Arc::new(AtomicUsize::new(0)) }
    }

    fn taken(&self, server: ServerId) -> i64 {
        self.taken[server.index()].get()
    }

    /// One at the server that has the fewest of those among `servers` that are `fit`.
    pub(super) fn take(
        &self,
        servers: &[ServerId],
        fit: impl Fn(ServerId) -> bool,
    ) -> Option<Seat> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (behind, before) = servers.split_at(turn % servers.len().max(1));
        let in_turn = before.iter().chain(behind).copied();
        let server =
            in_turn.filter(|server| fit(*server)).min_by_key(|server| self.taken(*server))?;
        let taken = self.taken[server.index()].clone();
        taken.inc();
        Some(Seat { server, taken })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ServerId; 3] = [ServerId(2), ServerId(3), ServerId(4)];

    #[test]
    fn whoever_has_the_fewest_is_next_and_equals_take_turns() {
        let seats = Seats::new((0..5).map(|_| Gauge::default()).collect());
        let taken: Vec<Seat> = (0..6).filter_map(|_| seats.take(&ALL, |_| true)).collect();
        assert!(ALL.iter().all(|server| seats.taken(*server) == 2));
        drop(taken);
        assert_eq!(seats.taken(ALL[0]), 0);
        let mut one_by_one: Vec<u16> =
            (0..3).filter_map(|_| seats.take(&ALL, |_| true)).map(|seat| seat.server.0).collect();
        one_by_one.sort_unstable();
        assert_eq!(one_by_one, [2, 3, 4]);
    }

    #[test]
    fn only_who_is_fit_is_taken() {
        let seats = Seats::new((0..5).map(|_| Gauge::default()).collect());
        let seat = seats.take(&ALL, |server| server == ALL[1]).expect("one is fit");
        assert_eq!((seat.server, seats.taken(ALL[1])), (ALL[1], 1));
        assert!(seats.take(&ALL, |_| false).is_none() && seats.take(&[], |_| true).is_none());
    }
}
