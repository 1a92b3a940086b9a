//! Whether a server still hears from the one that it receives from: the second opinion about a
//! master that does not answer us.
//!
//! A receiver that is connected proves nothing: with a frozen source it stays `Yes` until
//! `slave_net_timeout`. What proves that the source lives is that something *arrives*: transactions,
//! or the heartbeats that a source sends when it has none (`Slave_received_heartbeats`, MySQL:
//! `COUNT_RECEIVED_HEARTBEATS`). A look tells how much has arrived, not when; so two looks tell that
//! something arrived between the beginning of the first and the end of the second.

use std::time::{Duration, Instant};

use super::{Channel, GtidSet, ThreadState};

/// What one server hears from one source, over the last looks at it.
#[derive(Clone, Debug)]
pub struct Hearing {
    /// `Channel::source_server_id`.
    pub source_server_id: u32,
    /// Whether its receiver is connected, by its own account.
    pub connected: bool,
    /// How often its source sends a heartbeat when there is nothing else to send; `None` when that
    /// is not known or switched off.
    pub period: Option<Duration>,
    received: GtidSet,
    heartbeats: Option<u64>,
    /// When the last look began.
    looked: Instant,
    /// When the first of an unbroken row of looks ended.
    watched_from: Instant,
    /// The receiver itself did not answer the last look.
    broken: bool,
    /// When the look ended that first showed what the last one showed.
    still_since: Instant,
    /// Something arrived after this moment, the latest for which that is known.
    heard_after: Option<Instant>,
}

impl Hearing {
    /// Takes in what a look from `began` to `ended` found, after `previous` looks.
    pub(super) fn record(
        previous: Option<&Self>,
        channel: &Channel,
        began: Instant,
        ended: Instant,
    ) -> Self {
        let mut hearing = Self {
            source_server_id: channel.source_server_id,
            connected: channel.io == ThreadState::Yes,
            period: channel.heartbeat_period.filter(|period| !period.is_zero()),
            received: channel.received.clone(),
            heartbeats: channel.heartbeats,
            looked: began,
            watched_from: ended,
            broken: false,
            still_since: ended,
            heard_after: None,
        };
        if let Some(previous) = previous {
            if !previous.broken {
                hearing.watched_from = previous.watched_from;
            }
            if hearing.grew_over(previous) {
                hearing.heard_after = Some(previous.looked);
            } else {
                hearing.heard_after = previous.heard_after;
                hearing.still_since = previous.still_since;
            }
        }
        hearing
    }

    /// Notes that a look at the receiver failed.
    pub(super) fn interrupt(&mut self) {
        self.broken = true;
    }

    /// A counter that starts anew and a position that is set back are no growth: whoever restarts a
    /// receiver does that.
    fn grew_over(&self, previous: &Self) -> bool {
        let beats = self.heartbeats.zip(previous.heartbeats);
        beats.is_some_and(|(now, before)| now > before)
            || !previous.received.contains(&self.received)
    }

    /// The latest moment after which something arrived, as far as that is proven.
    #[must_use]
    pub fn heard_after(&self) -> Option<Instant> {
        self.heard_after
    }

    /// Whether it is proven that something arrived after `moment`.
    #[must_use]
    pub fn heard_since(&self, moment: Instant) -> bool {
        self.heard_after.is_some_and(|after| after >= moment)
    }

    /// For how long the receiver has been looked at without a break, up to the last look.
    #[must_use]
    pub fn watched_for(&self) -> Duration {
        self.looked.saturating_duration_since(self.watched_from)
    }

    /// For how long it is proven that nothing arrived.
    #[must_use]
    pub fn quiet_for(&self) -> Duration {
        self.looked.saturating_duration_since(self.still_since)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]
mod tests {
    use super::*;
    use crate::topology::fixture::{M2, alive};
    use crate::topology::{Flavor, Outcome};

    const LOOK: Duration = Duration::from_millis(2);

    /// Looks of 2 ms that began at these milliseconds and found this.
    fn hearing(start: Instant, looks: &[(u64, u64, &str)]) -> Hearing {
        let Outcome::Alive(facts) = alive(M2, start).outcome else { unreachable!() };
        let mut heard: Option<Hearing> = None;
        for (at, heartbeats, received) in looks {
            let mut channel = facts.channels[0].clone();
            channel.heartbeats = Some(*heartbeats);
            channel.received = GtidSet::parse(Flavor::MariaDb, received).expect("a position");
            let began = start + Duration::from_millis(*at);
            heard = Some(Hearing::record(heard.as_ref(), &channel, began, began + LOOK));
        }
        heard.expect("a look")
    }

    #[test]
    fn growth_proves_life_since_the_look_before() {
        let start = Instant::now();
        for grown in [(1000, 8, "1-1-5"), (1000, 7, "1-1-6")] {
            let heard = hearing(start, &[(0, 7, "1-1-5"), grown]);
            assert!(heard.heard_since(start));
            assert!(!heard.heard_since(start + LOOK), "it may have come before that");
            assert_eq!(heard.quiet_for(), Duration::ZERO);
        }
    }

    #[test]
    fn one_look_and_one_that_finds_the_same_prove_nothing() {
        let start = Instant::now();
        assert!(!hearing(start, &[(0, 7, "1-1-5")]).heard_since(start));
        let heard = hearing(start, &[(0, 7, "1-1-5"), (1000, 7, "1-1-5"), (2000, 7, "1-1-5")]);
        assert!(!heard.heard_since(start));
        assert_eq!(heard.quiet_for(), Duration::from_secs(2) - LOOK);
    }

    #[test]
    fn a_look_that_fails_breaks_the_row() {
        let start = Instant::now();
        let mut before = hearing(start, &[(0, 7, "1-1-5"), (1000, 7, "1-1-5")]);
        assert_eq!(before.watched_for(), Duration::from_secs(1) - LOOK);
        before.interrupt();
        let Outcome::Alive(facts) = alive(M2, start).outcome else { unreachable!() };
        let back = start + Duration::from_secs(3);
        let back = Hearing::record(Some(&before), &facts.channels[0], back, back + LOOK);
        assert_eq!(back.watched_for(), Duration::ZERO);
        assert!(back.heard_since(start + Duration::from_secs(1)), "12 is more than 7");
    }

    #[test]
    fn a_receiver_that_starts_anew_has_heard_nothing() {
        let start = Instant::now();
        let heard = hearing(start, &[(0, 7, "1-1-5"), (1000, 0, "1-1-3")]);
        assert!(!heard.heard_since(start));
        let heard = hearing(start, &[(0, 7, "1-1-5"), (1000, 0, "1-1-3"), (2000, 1, "1-1-3")]);
        assert!(heard.heard_since(start + Duration::from_secs(1)), "but then it has");
    }
}
