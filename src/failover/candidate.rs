//! Judge: which standby may become active, and why each of the others may not.

use super::assessment::{Verdict, assess, in_words};
use super::links::Links;
use super::policy::Policy;
use super::quarantine::Quarantine;
use crate::topology::{Channel, Facts, GtidSet, ServerId, ThreadState, Topology};

/// The outcome of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The first master, in order of preference, that nothing speaks against.
    pub chosen: Option<ServerId>,
    /// The masters that were looked at before it, each with what speaks against it.
    pub rejected: Vec<(ServerId, String)>,
}

/// Chooses the next active master.
///
/// `old` is the master that is to be replaced; `None` when there never was an active one. Then a
/// candidate need not be anybody's slave (the pair may not be set up yet), but if it is one, it must
/// be able to finish what it received.
#[must_use]
pub fn choose(
    topology: &Topology,
    links: &Links,
    quarantine: &Quarantine,
    policy: &Policy,
    old: Option<ServerId>,
) -> Choice {
    let mut rejected = Vec::new();
    for master in topology.servers().masters().filter(|master| Some(master.id) != old) {
        match objection(topology, links, quarantine, policy, master.id, old) {
            Some(reason) => rejected.push((master.id, reason)),
            None => return Choice { chosen: Some(master.id), rejected },
        }
    }
    Choice { chosen: None, rejected }
}

/// What speaks against `server`, to follow its name.
pub(super) fn objection(
    topology: &Topology,
    links: &Links,
    quarantine: &Quarantine,
    policy: &Policy,
    server: ServerId,
    old: Option<ServerId>,
) -> Option<String> {
    let verdict = assess(topology, server, policy);
    let (Verdict::Alive, Some(facts)) = (&verdict, topology.facts(server)) else {
        return Some(in_words(&verdict, policy));
    };
    if let Some(stopped) = facts.channels.iter().find_map(|channel| applier(channel, facts, old)) {
        return Some(stopped);
    }
    let old = old?;
    if channel_from(topology, server, old).is_none() {
        return Some(format!("receives nothing from {}", topology.servers().name(old)));
    }
    let deaf = not_long_enough(topology, policy, server, old);
    let missing = || missing_for_good(topology, links, server, old);
    deaf.or_else(missing).or_else(|| {
        let name = |server| topology.servers().name(server);
        quarantine.objection(server, name(server), name(old))
    })
}

/// A standby that is back just now says nothing yet of whether it still hears a master that does
/// not answer us: for that it has to be looked at for as long as a suspicion takes.
fn not_long_enough(
    topology: &Topology,
    policy: &Policy,
    server: ServerId,
    old: ServerId,
) -> Option<String> {
    let Verdict::Down(evidence) = assess(topology, old, policy) else { return None };
    let hearing = topology.hearing(server, old).filter(|hearing| hearing.connected)?;
    // A bit less: looks take time, and the last of them begins before the last probe has failed.
    let enough = policy.timeout * (policy.fall - 1) * 3 / 4;
    (evidence.is_doubtful() && hearing.watched_for() < enough).then(|| {
        let old = topology.servers().name(old);
        format!("is back only now and may still receive from {old}")
    })
}

/// Why a channel's applier will not execute what was received.
fn applier(channel: &Channel, facts: &Facts, old: Option<ServerId>) -> Option<String> {
    let (code, message) = &channel.sql_error;
    if *code != 0 {
        return Some(format!("has an applier that stopped with error {code}: {message}"));
    }
    let pending = !facts.executed.contains(&channel.received);
    // Before there is any active master an idle applier is just a pair that is not set up.
    if channel.sql != ThreadState::Yes && (old.is_some() || pending) {
        return Some(format!(
            "has an applier that is stopped (Slave_SQL_Running: {})",
            channel.sql
        ));
    }
    None
}

/// A standby whose receiver had stopped while its source still took writes lacks those for good.
/// That is known only as far as the source was looked at: one that was connected to the end may
/// lack the last instant, which is what asynchronous replication means, and is no objection.
fn missing_for_good(
    topology: &Topology,
    links: &Links,
    server: ServerId,
    old: ServerId,
) -> Option<String> {
    let io = links.when_last_up(server, old)?;
    let missing = missing(topology, server, old);
    (io != ThreadState::Yes && !missing.is_empty()).then(|| {
        let old = topology.servers().name(old);
        format!("was not receiving from {old} when {old} was last up (Slave_IO_Running: {io}) and lacks {missing}")
    })
}

/// What `old` had executed when last seen, and `server` has neither executed nor received.
pub(super) fn missing(topology: &Topology, server: ServerId, old: ServerId) -> GtidSet {
    let (Some(ours), Some(theirs)) = (topology.facts(server), topology.facts(old)) else {
        return GtidSet::empty();
    };
    let received = ours.channels.iter().map(|channel| &channel.received);
    let known = received.fold(ours.executed.clone(), |known, received| known.union(received));
    theirs.executed.subtract(&known)
}

/// The channel by which `receiver` is the slave of `source`.
///
/// Told by the source's server id where both are known; else by a channel that never had contact;
/// else a channel that is the only one can have no other source in a pair.
pub(super) fn channel_from(
    topology: &Topology,
    receiver: ServerId,
    source: ServerId,
) -> Option<&Channel> {
    let channels = &topology.facts(receiver)?.channels;
    let Some(source) = topology.facts(source) else {
        return channels.first();
    };
    channels
        .iter()
        .find(|channel| channel.source_server_id == source.server_id)
        .or_else(|| channels.iter().find(|channel| channel.source_server_id == 0))
}
