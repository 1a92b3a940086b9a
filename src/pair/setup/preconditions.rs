//! What has to be so before servers can be joined, whatever they hold. Pure.

use super::joining;
use super::refusal::Refusal;
use super::request::Request;
use super::state::State;
use crate::pair::Shape;
use crate::pair::dialect;
use crate::topology::{Flavor, ServerAddress};

/// What speaks against the servers themselves, and the logins.
#[must_use]
pub(super) fn of_servers(states: &[State], request: &Request) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let of = |flavor| states.iter().filter(move |state| state.flavor() == flavor).count();
    if of(Flavor::MySql) > 0 && of(Flavor::MariaDb) > 0 {
        let version = |state: &State| {
            let family = match state.flavor() {
                Flavor::MySql => "MySQL",
                Flavor::MariaDb => "MariaDB",
            };
            (state.name().to_owned(), format!("{family} {}", short(&state.facts.version)))
        };
        refusals.push(Refusal::TwoFamilies { versions: states.iter().map(version).collect() });
    }
    for (place, state) in states.iter().enumerate() {
        let server = state.name().to_owned();
        if let Err(reason) = dialect::dialect_of(&state.facts.version) {
            refusals.push(Refusal::Version { server: server.clone(), reason });
        }
        if let address @ ServerAddress::Unix(_) = &state.facts.address {
            refusals.push(Refusal::NotTcp { server: server.clone(), address: address.clone() });
        }
        if !state.lacks.is_empty() {
            let (account, lacks) = (state.facts.account.clone(), state.lacks.clone());
            refusals.push(Refusal::Privileges { server: server.clone(), account, lacks });
        }
        // MariaDB's server_uid is no identity: it is made of the machine's.
        let twin = |other: &&State| {
            state.flavor() == Flavor::MySql
                && !state.facts.uuid().is_empty()
                && other.facts.uuid() == state.facts.uuid()
        };
        if let Some(other) = states[..place].iter().find(twin) {
            let (first, uuid) = (other.name().to_owned(), state.facts.uuid().to_owned());
            refusals.push(Refusal::OneIdentity { first, second: server, uuid });
        }
    }
    if request.monitor.password.reveal().is_empty() {
        refusals.push(Refusal::MonitorWithoutPassword);
    }
    refusals
}

/// A version without what a distribution puts behind it.
#[must_use]
pub(super) fn short(version: &str) -> &str {
    version.split('-').next().unwrap_or(version)
}

/// What speaks against the channels that they have.
#[must_use]
pub(super) fn of_channels(states: &[State], shape: Shape) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (place, state) in states.iter().enumerate() {
        let planned = joining::planned(states, shape, place);
        for (following, source) in state.channels() {
            let channel = following.channel();
            let (server, name) = (state.name().to_owned(), channel.name.clone());
            let address = format!("{}:{}", channel.source_host, channel.source_port);
            let ends = dialect::end(state.flavor(), &name);
            match source {
                None => refusals.push(Refusal::FollowsStranger {
                    server,
                    channel: name,
                    source: address,
                    ends,
                }),
                Some(source) if planned.iter().all(|(_, wanted)| *wanted != source) => {
                    refusals.push(Refusal::FollowsAnother {
                        server,
                        channel: name,
                        source: states[source].name().to_owned(),
                        shape: match shape {
                            Shape::Ring => "ring",
                            Shape::Mesh => "mesh",
                        },
                        ends,
                    });
                }
                Some(_) => {}
            }
        }
    }
    refusals
}
