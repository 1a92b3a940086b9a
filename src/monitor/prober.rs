//! One server's probes: when they run, and what becomes of their results.
//!
//! A prober runs a probe every interval and whenever somebody asks; requests that arrive while one
//! runs make one more run, however many they are. Each probe is bounded by the timeout. When the
//! timer itself fires late by more than a timeout, this process was stalled (a starved machine, a
//! stopped container) and the failure says nothing about the server: the prober abstains and asks
//! again at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use crate::topology::{Observation, Outcome, ServerId, Source, UnreachableKind};

/// A way to look at a server.
#[async_trait]
pub trait Probe: Send {
    /// Looks once. The prober drops the future when it takes too long; the next call must then
    /// start from a clean state.
    async fn probe(&mut self) -> Look;
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
}

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
            let began = Instant::now();
            let look = timeout(self.timeout, self.probe.probe()).await;
            let ended = Instant::now();
            let took = ended - began;
            let outcome = match look {
                Ok(Look::Seen(outcome)) => outcome,
                Ok(Look::Abstained(why)) => {
                    warn!(server = self.server.0, why, "the probe says nothing about the server");
                    return None;
                }
                Err(_) => Outcome::Unreachable {
                    kind: UnreachableKind::Silent,
                    detail: format!(
                        "no answer within {}",
                        humantime::format_duration(self.timeout)
                    ),
                },
            };
            let stalled = took > self.timeout * 2;
            if stalled && matches!(outcome, Outcome::Unreachable { .. }) {
                debug!(server = self.server.0, ?took, "this process stalled; probing again");
                continue;
            }
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

#[cfg(test)]
#[path = "prober_tests.rs"]
mod tests;
