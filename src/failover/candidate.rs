//! Judge: which standby may become active, and why each of the others may not.

use super::assessment::{Verdict, asked_about, assess, in_words};
use super::delivery::{Hop, has, way};
use super::links::Links;
use super::policy::Policy;
use super::quarantine::Quarantine;
use crate::topology::{Channel, Facts, GtidSet, ServerId, ThreadState, Topology};

/// The outcome of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The first master, in order of preference, that nothing speaks against. Whether another has
    /// received more is seen when none of them receives any more (`comparing.rs`).
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
    // A ring is broken at whoever is away; what had passed it is there.
    let Some(way) = way(topology, server, old, |_| true) else {
        return Some(format!("receives nothing from {}", topology.servers().name(old)));
    };
    let deaf = not_long_enough(topology, policy, server, old);
    let missing = || missing_for_good(topology, links, &way, old);
    deaf.or_else(missing).or_else(|| unasked(topology, policy, server, old)).or_else(|| {
        let name = |server| topology.servers().name(server);
        quarantine.objection(server, name(server), name(old))
    })
}

/// A standby that is back just now says nothing yet of whether it still hears a master that does
/// not answer us: for that it has to be looked at for as long as a suspicion takes. That goes for any
/// of them, not only for the one that is to take over.
fn not_long_enough(
    topology: &Topology,
    policy: &Policy,
    server: ServerId,
    old: ServerId,
) -> Option<String> {
    let Verdict::Down(evidence) = assess(topology, old, policy) else { return None };
    // A bit less: looks take time, and the last of them begins before the last probe has failed.
    let enough = policy.timeout * (policy.fall - 1) * 3 / 4;
    let is_new = |other: &ServerId| {
        topology.hearing(*other, old).is_some_and(|hearing| hearing.watched_for() < enough)
    };
    let mut witnesses = asked_about(topology, old);
    witnesses.sort_by_key(|other| *other != server);
    let new = witnesses.into_iter().find(is_new).filter(|_| evidence.is_doubtful())?;
    let name = |server| topology.servers().name(server);
    let may = format!("is back only now and may still receive from {}", name(old));
    Some(match new == server {
        true => may,
        false => format!("has to wait for a witness: {} {may}", name(new)),
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
///
/// What comes by way of another master is lost where any of the receivers on the way had stopped.
fn missing_for_good(
    topology: &Topology,
    links: &Links,
    way: &[Hop],
    old: ServerId,
) -> Option<String> {
    let (server, _) = way.first()?;
    let missing = missing(topology, *server, old);
    let stopped = |(receiver, source): &Hop| {
        let io = links.when_last_up(*receiver, *source)?;
        (io != ThreadState::Yes).then_some((*receiver, *source, io))
    };
    let (receiver, source, io) = way.iter().find_map(stopped).filter(|_| !missing.is_empty())?;
    let name = |server| topology.servers().name(server);
    let by = if receiver == *server {
        String::new()
    } else {
        format!("gets it by {}, which ", name(receiver))
    };
    let source = name(source);
    Some(format!(
        "{by}was not receiving from {source} when {source} was last up (Slave_IO_Running: {io}) and \
         lacks {missing}"
    ))
}

/// A third master that lives and does not answer this proxy may be made active by others, who see it.
/// While the old one lives this is not to be feared: then nobody decides.
fn unasked(
    topology: &Topology,
    policy: &Policy,
    server: ServerId,
    old: ServerId,
) -> Option<String> {
    if matches!(assess(topology, old, policy), Verdict::Alive) {
        return None;
    }
    let others = topology.servers().masters().filter(|other| ![server, old].contains(&other.id));
    others.into_iter().find_map(|other| {
        let verdict = assess(topology, other.id, policy);
        matches!(verdict, Verdict::Isolated { .. }).then(|| {
            let words = in_words(&verdict, policy);
            format!("may not be the only one: {} {words}", other.name)
        })
    })
}

/// What `old` had executed when last seen, and `server` has neither executed nor received.
pub(super) fn missing(topology: &Topology, server: ServerId, old: ServerId) -> GtidSet {
    match topology.facts(old) {
        Some(theirs) if topology.facts(server).is_some() => {
            theirs.executed.subtract(&has(topology, server))
        }
        _ => GtidSet::empty(),
    }
}

/// The channel by which `receiver` is the slave of `source`.
///
/// Told by the source's server id where both are known; else by a channel that never had contact;
/// of a source that was never seen, by a channel that is no other's.
pub(super) fn channel_from(
    topology: &Topology,
    receiver: ServerId,
    source: ServerId,
) -> Option<&Channel> {
    let channels = &topology.facts(receiver)?.channels;
    let Some(source) = topology.facts(source) else {
        let is_others = |channel: &&Channel| topology.source_of(channel).is_some();
        return channels.iter().find(|channel| !is_others(channel));
    };
    channels
        .iter()
        .find(|channel| channel.source_server_id == source.server_id)
        .or_else(|| channels.iter().find(|channel| channel.source_server_id == 0))
}
