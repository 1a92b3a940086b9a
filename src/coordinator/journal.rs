//! What happened, for people: the last transitions.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::watch;

use crate::failover::Transition;
use crate::topology::Servers;

/// One transition and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// Counts from 1 and never repeats, so that a reader knows what it has seen and what it missed.
    pub number: u64,
    /// By the clock on the wall.
    pub at: SystemTime,
    /// Since the journal began, by the clock that never jumps: differences are durations.
    pub since_start: Duration,
    /// Since the row before this one, also if that is no longer kept; `None` for the first.
    pub pause: Option<Duration>,
    /// What happened.
    pub transition: Transition,
}

/// A row as it is told to others, names and all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToldEvent {
    /// See [`JournalRow::number`].
    pub number: u64,
    /// By the clock on the wall: RFC 3339, UTC, to the millisecond.
    pub time: String,
    /// Since the row before, to a tenth.
    pub milliseconds: Option<f64>,
    /// The phase that was left.
    pub from: &'static str,
    /// The phase that was entered.
    pub to: &'static str,
    /// The server it is about, if it is about one.
    pub server: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
}

impl JournalRow {
    /// The row for others.
    #[must_use]
    pub fn told(&self, servers: &Servers) -> ToldEvent {
        let Transition { from, to, reason, server } = &self.transition;
        let tenths = |pause: Duration| (pause.as_micros() as f64 / 100.0).round() / 10.0;
        ToldEvent {
            number: self.number,
            time: humantime::format_rfc3339_millis(self.at).to_string(),
            milliseconds: self.pause.map(tenths),
            from,
            to,
            server: server.map(|server| servers.name(server).to_owned()),
            reason: reason.clone(),
        }
    }
}

/// The last transitions: written by the coordinator, read by whoever shows them.
#[derive(Debug)]
pub struct Journal {
    began: Instant,
    capacity: usize,
    pages: Mutex<Pages>,
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Pages {
    rows: VecDeque<JournalRow>,
    written: u64,
    last: Option<Duration>,
}

impl Journal {
    /// An empty one that keeps the last `capacity` rows.
    #[must_use]
    pub fn new(capacity: usize, now: Instant) -> Self {
        Self { began: now, capacity, pages: Mutex::default(), last: watch::Sender::default() }
    }

    /// Writes a row; the oldest one goes when there is no room.
    pub fn record(&self, now: Instant, at: SystemTime, transition: Transition) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let since_start = now.saturating_duration_since(self.began);
        let last = pages.last.replace(since_start);
        pages.written += 1;
        let row = JournalRow {
            number: pages.written,
            at,
            since_start,
            pause: last.map(|last| since_start.saturating_sub(last)),
            transition,
        };
        pages.rows.push_back(row);
        while pages.rows.len() > self.capacity {
            pages.rows.pop_front();
        }
        self.last.send_replace(pages.written);
    }

    /// Tells of each row that is written, by the number of the last one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// The rows after number `after` that are still there, oldest first; all of them after 0.
    #[must_use]
    pub fn rows_after(&self, after: u64) -> Vec<JournalRow> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.rows.iter().filter(|row| row.number > after).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go() {
        let began = Instant::now();
        let journal = Journal::new(2, began);
        for (ms, to) in [(1, "holding"), (5, "steady"), (9, "holding")] {
            let transition =
                Transition { from: "somewhere", to, reason: String::new(), server: None };
            journal.record(began + Duration::from_millis(ms), SystemTime::UNIX_EPOCH, transition);
        }
        let rows = journal.rows_after(0);
        let seen: Vec<_> =
            rows.iter().map(|row| (row.number, row.since_start.as_millis())).collect();
        assert_eq!(seen, [(2, 5), (3, 9)]);
        assert_eq!(journal.rows_after(2).len(), 1);
        assert_eq!(rows[0].pause, Some(Duration::from_millis(4)), "although the first is gone");
    }
}
