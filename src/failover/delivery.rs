//! Who gets whose writes, and by which way.
//!
//! In a mesh every master receives from every other one. In a ring each receives from one only, and
//! passes on what it gets (`log_slave_updates`): the third has the writes of the first by way of the
//! second. What a master *has* is the same question in both: the GTIDs tell.

use std::collections::{BTreeMap, VecDeque};

use super::candidate::channel_from;
use crate::topology::{GtidSet, ServerId, Topology};

/// A receiver, and the master that it receives from directly.
pub(super) type Hop = (ServerId, ServerId);

/// The shortest way by which `receiver` gets what `source` writes, beginning with its own channel;
/// `None` if there is none. The masters in between must be `open` to pass something on.
pub(super) fn way(
    topology: &Topology,
    receiver: ServerId,
    source: ServerId,
    open: impl Fn(ServerId) -> bool,
) -> Option<Vec<Hop>> {
    let mut from: BTreeMap<ServerId, ServerId> = BTreeMap::new();
    let mut next = VecDeque::from([receiver]);
    while let Some(at) = next.pop_front() {
        if at == source {
            let mut way = Vec::new();
            let mut at = at;
            while at != receiver {
                way.push((from[&at], at));
                at = from[&at];
            }
            way.reverse();
            return Some(way);
        }
        if at != receiver && !open(at) {
            continue;
        }
        // The direct way first: in a mesh there is no other that counts.
        let mut sources: Vec<ServerId> =
            topology.servers().masters().map(|master| master.id).collect();
        sources.sort_by_key(|id| *id != source);
        for to in sources {
            let known = to == receiver || from.contains_key(&to);
            if !known && channel_from(topology, at, to).is_some() {
                from.insert(to, at);
                next.push_back(to);
            }
        }
    }
    None
}

/// What `server` had received from others when it was last seen.
pub(super) fn received(topology: &Topology, server: ServerId) -> GtidSet {
    let channels = topology.facts(server).map_or(&[][..], |facts| facts.channels.as_slice());
    channels.iter().fold(GtidSet::empty(), |all, channel| all.union(&channel.received))
}

/// What `server` had executed when it was last seen.
pub(super) fn executed(topology: &Topology, server: ServerId) -> GtidSet {
    topology.facts(server).map_or_else(GtidSet::empty, |facts| facts.executed.clone())
}

/// What `server` had, executed or not, when it was last seen.
pub(super) fn has(topology: &Topology, server: ServerId) -> GtidSet {
    executed(topology, server).union(&received(topology, server))
}
