//! Whether replication was connected while its source was still up.
//!
//! The state of a receiver is telling only as long as there is somebody to receive from: once the
//! source is dead every receiver is disconnected. So a receiver's state counts from the moment that
//! its source answered a look which began later, and what it was then is remembered. A receiver that
//! is itself away counts as one that does not run: what its source wrote meanwhile it never got.

use std::collections::BTreeMap;
use std::time::Instant;

use super::candidate::channel_from;
use crate::topology::{Observation, Outcome, ServerId, ThreadState, Topology};

/// The receiver states of the pair while both ends were up.
#[derive(Clone, Debug, Default)]
pub struct Links(BTreeMap<(ServerId, ServerId), Link>);

#[derive(Clone, Debug, Default)]
struct Link {
    /// The receiver's state and when it was first seen in it; the source may have been dead already.
    latest: Option<(Instant, ThreadState)>,
    /// The state that the source outlived.
    confirmed: Option<ThreadState>,
}

impl Link {
    /// Only a change begins anew: both ends are probed at the same ticks, so that a look at the
    /// source hardly ever begins after the very last one at the receiver.
    fn note(&mut self, at: Instant, io: Option<ThreadState>) {
        if self.latest.map(|(_, io)| io) != io {
            self.latest = io.map(|io| (at, io));
        }
    }
}

impl Links {
    /// Takes a probe in; `topology` holds it already.
    pub(super) fn record(&mut self, topology: &Topology, look: &Observation) {
        if matches!(look.outcome, Outcome::Unreachable { .. }) {
            // Who is away receives nothing, whatever it said when it was last seen.
            for ((receiver, _), link) in &mut self.0 {
                if *receiver == look.server {
                    link.note(look.at, Some(ThreadState::No));
                }
            }
            return;
        }
        let began = look.at.checked_sub(look.took).unwrap_or(look.at);
        for ((_, source), link) in &mut self.0 {
            if let (true, Some((at, io))) = (*source == look.server, link.latest)
                && at <= began
            {
                link.confirmed = Some(io);
            }
        }
        if let Outcome::Alive(_) = look.outcome {
            let receiver = look.server;
            for source in topology.servers().masters().filter(|source| source.id != receiver) {
                let link = self.0.entry((receiver, source.id)).or_default();
                let channel = channel_from(topology, receiver, source.id);
                link.note(look.at, channel.map(|channel| channel.io));
            }
        }
    }

    /// The state of `receiver`'s connection to `source` when `source` was last up.
    #[must_use]
    pub fn when_last_up(&self, receiver: ServerId, source: ServerId) -> Option<ThreadState> {
        self.0.get(&(receiver, source)).and_then(|link| link.confirmed)
    }
}
