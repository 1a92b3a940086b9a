//! Whether replication was connected while its source was still up.
//!
//! The state of a receiver is telling only as long as there is somebody to receive from: once the
//! source is dead every receiver is disconnected. So a receiver's state counts from the moment that
//! its source answered a look which began later, and what it was then is remembered.

use std::collections::BTreeMap;
use std::time::Instant;

use super::candidate::channel_from;
use crate::topology::{Observation, Outcome, ServerId, ThreadState, Topology};

/// The receiver states of the pair while both ends were up.
#[derive(Clone, Debug, Default)]
pub struct Links(BTreeMap<(ServerId, ServerId), Link>);

#[derive(Clone, Debug, Default)]
struct Link {
    /// The receiver's state and when it was seen; the source may have been dead already.
    latest: Option<(Instant, ThreadState)>,
    /// The state that the source outlived.
    confirmed: Option<ThreadState>,
}

impl Links {
    /// Takes a probe in; `topology` holds it already.
    pub(super) fn record(&mut self, topology: &Topology, look: &Observation) {
        if matches!(look.outcome, Outcome::Unreachable { .. }) {
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
                link.latest = channel_from(topology, receiver, source.id)
                    .map(|channel| (look.at, channel.io));
            }
        }
    }

    /// The state of `receiver`'s connection to `source` when `source` was last up.
    #[must_use]
    pub fn when_last_up(&self, receiver: ServerId, source: ServerId) -> Option<ThreadState> {
        self.0.get(&(receiver, source)).and_then(|link| link.confirmed)
    }
}
