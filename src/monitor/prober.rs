//! One server's probes: when they run, and what becomes of their results.
//!
//! A prober runs a probe every interval and whenever somebody asks; requests that arrive while one
//! runs make one more run, however many they are. Each probe is bounded by the timeout.
//!
//! A silence says something about the server only if this process was there to hear. So while a probe
//! waits, the prober also waits for a short timer, again and again: what that one fires late adds up to
//! the time for which this process wanted to run and did not (a starved machine, a stopped container,
//! something that blocked the event loop). When that is more than a third of the timeout, the prober
//! abstains and asks again at once. It does so a few times in a row only: on a machine that is
//! starved for good a dead master is to be found as well, later.
//!
//! A server that is silent is asked a second time before the first question has failed, over another
//! connection ([`Probe::asked_since`]). The next probe then begins with that question, which is out
//! already: it has its own full timeout, but that began earlier. So `fall` silent probes take less
//! than `fall` timeouts. Each is still evidence of its own: another connection, another question,
//! asked at another moment, and waited for as long as any. What they share is what all of them
//! are there to find out: that the server says nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::metrics::ServerMetrics;
use crate::topology::{Observation, Outcome, ServerId, Source, UnreachableKind};

/// A way to look at a server.
#[async_trait]
pub trait Probe: Send {
    /// Looks once. The prober drops the future when it takes too long; the next call must then
    /// start from a clean state.
    async fn probe(&mut self) -> Look;

    /// When a question was asked that the last look left unanswered, and that the next one begins
    /// with.
    fn asked_since(&self) -> Option<Instant> {
        None
    }

    /// Forgets such a question: this process was not there to hear.
    fn forget(&mut self) {}
}

/// What a probe has to say.
#[derive(Clone, Debug)]
pub enum Look {
    /// This was seen.
    Seen(Outcome),
    /// Nothing can be said of the server, for a reason that lies with this process.
    Abstained(String),
}

/// Runs the probes of one server.
pub struct Prober<P> {
    /// Whose.
    pub server: ServerId,
    /// How.
    pub probe: P,
    /// Between two probes.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// Asks for a probe now.
    pub requested: Arc<Notify>,
    /// Where the results go.
    pub observations: mpsc::Sender<Observation>,
    /// Where it is counted when there is no result.
    pub metrics: ServerMetrics,
    /// How often in a row this process was stalled; 0 at first.
    pub abstained: u32,
}

/// So often in a row a silence is not counted because this process was stalled.
const MOST_ABSTENTIONS: u32 = 5;
/// Timers are late by this much on a machine that has nothing to do.
const ORDINARY_DELAY: Duration = Duration::from_millis(5);

impl<P: Probe> Prober<P> {
    /// Probes until nobody listens to the results any more.
    pub async fn run(mut self) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.requested.notified() => {}
                () = self.observations.closed() => return,
            }
            let Some(observation) = self.observe().await else { continue };
            if self.observations.send(observation).await.is_err() {
                return;
            }
        }
    }

    /// One observation, or nothing where this process is the one at fault.
    async fn observe(&mut self) -> Option<Observation> {
        loop {
            let began = self.begin();
            let (look, lost) = self.look(began).await;
            let ended = Instant::now();
            let took = ended - began;
            let outcome = match look {
                Some(Look::Seen(outcome)) => outcome,
                Some(Look::Abstained(why)) => {
                    self.metrics.abstained();
                    warn!(server = self.server.0, why, "the probe says nothing about the server");
                    return None;
                }
                None => Outcome::Unreachable {
                    kind: UnreachableKind::Silent,
                    detail: format!(
                        "no answer within {}",
                        humantime::format_duration(self.timeout)
                    ),
                },
            };
            let stalled = match &outcome {
                // Being late does not make anybody refuse.
                Outcome::Unreachable { kind: UnreachableKind::Silent, .. } => {
                    lost > self.timeout / 3 || took > self.timeout * 2
                }
                Outcome::Unreachable { .. } => took > self.timeout * 2,
                _ => false,
            };
            if stalled && self.abstained < MOST_ABSTENTIONS {
                self.abstained += 1;
                self.metrics.abstained();
                self.probe.forget();
                info!(server = self.server.0, ?took, ?lost, "this process stalled; probing again");
                continue;
            }
            self.abstained = 0;
            return Some(Observation {
                server: self.server,
                at: ended.into_std(),
                took,
                source: Source::Probe,
                outcome,
            });
        }
    }
}

impl<P: Probe> Prober<P> {
    /// When the next look begins: now, or when its question was asked. One that nobody has waited
    /// for meanwhile is not gone on with.
    fn begin(&mut self) -> Instant {
        let now = Instant::now();
        match self.probe.asked_since() {
            Some(asked) if asked + self.timeout * 3 / 4 > now => asked,
            Some(_) => {
                self.probe.forget();
                now
            }
            None => now,
        }
    }

    /// Probes once; `None` when that takes too long. Tells besides for how long this process did not
    /// run meanwhile although it wanted to.
    async fn look(&mut self, began: Instant) -> (Option<Look>, Duration) {
        let pause = (self.timeout / 20).max(ORDINARY_DELAY * 2);
        let mut probe = pin!(timeout_at(began + self.timeout, self.probe.probe()));
        let mut lost = Duration::ZERO;
        loop {
            let due = Instant::now() + pause;
            let ended = tokio::select! {
                biased;
                look = &mut probe => Some(look.ok()),
                () = sleep_until(due) => None,
            };
            let late = Instant::now().saturating_duration_since(due);
            if late > ORDINARY_DELAY {
                lost += late;
            }
            if let Some(look) = ended {
                return (look, lost);
            }
        }
    }
}

#[cfg(test)]
#[path = "prober_tests.rs"]
mod tests;
