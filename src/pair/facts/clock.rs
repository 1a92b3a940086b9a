//! A server's clock, as far as it can be known from here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Seen, Unseen};
use crate::monitor::{Columns, Connection, ConnectionError};

/// A server's clock, read over a round trip: it stood somewhere between the two ends of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead of this process's clock, in microseconds; below zero, behind.
    pub ahead: i64,
    /// How far off `ahead` may be: half of the round trip.
    pub uncertain: Duration,
}

impl Clock {
    /// From what the server said (microseconds since 1970, UTC), this clock before and after.
    #[must_use]
    pub fn between(said: i64, before: SystemTime, took: Duration) -> Self {
        let half = took / 2;
        let since = (before + half).duration_since(UNIX_EPOCH).unwrap_or_default();
        let here = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Self { ahead: said.saturating_sub(here), uncertain: half }
    }
}

pub(super) async fn read(connection: &mut Connection) -> Result<Seen<Clock>, ConnectionError> {
    const QUESTION: &str =
        "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS clock";
    let (before, began) = (SystemTime::now(), Instant::now());
    let answers = connection.ask(QUESTION).await?;
    let took = began.elapsed();
    let row = answers.sets.iter().flatten().next().map(Columns);
    Ok(row
        .and_then(|row| row.number(&["clock"]).ok())
        .map(|said| Clock::between(said, before, took))
        .ok_or_else(|| Unseen::because("the server did not tell the time")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_round_trip_is_the_best_guess() {
        let before = UNIX_EPOCH + Duration::from_secs(100);
        let clock = Clock::between(100_350_000, before, Duration::from_millis(100));
        assert_eq!(clock, Clock { ahead: 300_000, uncertain: Duration::from_millis(50) });
        let behind = Clock::between(98_000_000, before, Duration::ZERO);
        assert_eq!(behind.ahead, -2_000_000);
    }
}
