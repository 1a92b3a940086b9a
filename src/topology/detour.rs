//! Having a server receive from another one instead: what mends a ring in which one is missing.
//!
//! In a ring A-B-C-A, C has A's writes by way of B. While B is down C gets nothing, until it is told to
//! follow A itself; and when B is back it follows B again. Everything else of the channel stays: the
//! account and its password, GTID positions, TLS. Only the heartbeat has to be said again: MariaDB sets
//! it back whenever it is not named (<https://mariadb.com/kb/en/change-master-to/#master_heartbeat_period>).

use super::{Channel, Flavor, ServerAddress, ServerId, Topology};

/// The statements that lead a receiver around a server, and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// Who carries them out.
    pub on: ServerId,
    /// While the server in between is away.
    pub around: String,
    /// When it is back.
    pub back: String,
}

impl Detour {
    /// Leads `on`, which receives from `past`, to `to`. `None` where it follows by file and position, which
    /// are others on another server, or where an address is not known.
    #[must_use]
    pub fn find(topology: &Topology, on: ServerId, past: ServerId, to: ServerId) -> Option<Self> {
        let facts = topology.facts(on)?;
        let channel = facts
            .channels
            .iter()
            .find(|channel| topology.source_of(channel) == Some(past) && channel.uses_gtid)?;
        let flavor = facts.identity.flavor;
        let (host, port) = replication_address(topology, to)?;
        let back = follow_instead(flavor, channel, &channel.source_host, channel.source_port);
        Some(Self { on, around: follow_instead(flavor, channel, &host, port), back })
    }
}

/// Where other servers receive from `server`: it may have another address for them than for clients.
fn replication_address(topology: &Topology, server: ServerId) -> Option<(String, u16)> {
    let servers = topology.servers();
    let channels =
        servers.iter().filter_map(|it| topology.facts(it.id)).flat_map(|it| &it.channels);
    let known = channels
        .filter(|channel| topology.source_of(channel) == Some(server))
        .map(|channel| (channel.source_host.clone(), channel.source_port))
        .next();
    known.or_else(|| match &servers.get(server).address {
        ServerAddress::Tcp { host, port } => Some((host.clone(), *port)),
        ServerAddress::Unix(_) => None,
    })
}

/// The statements, in one line, that have `channel` received from this address from now on.
///
/// MySQL keeps what it has received while its applier runs. MariaDB wants both threads stopped and forgets what
/// was not executed; by GTID it gets that again, from whoever has it.
#[must_use]
pub fn follow_instead(flavor: Flavor, channel: &Channel, host: &str, port: u16) -> String {
    let literal = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let name = literal(&channel.name);
    let period = channel.heartbeat_period.filter(|period| !period.is_zero());
    let period = period.map(|period| period.as_secs_f64());
    let host = literal(host);
    match flavor {
        Flavor::MariaDb => {
            let name = if channel.name.is_empty() { String::new() } else { format!(" {name}") };
            let heartbeat =
                period.map_or_else(String::new, |it| format!(", MASTER_HEARTBEAT_PERIOD={it}"));
            format!(
                "STOP SLAVE{name}; \
                 CHANGE MASTER{name} TO MASTER_HOST={host}, MASTER_PORT={port}{heartbeat}; \
                 START SLAVE{name}"
            )
        }
        Flavor::MySql => {
            let heartbeat =
                period.map_or_else(String::new, |it| format!(", SOURCE_HEARTBEAT_PERIOD={it}"));
            format!(
                "STOP REPLICA IO_THREAD FOR CHANNEL {name}; \
                 CHANGE REPLICATION SOURCE TO SOURCE_HOST={host}, SOURCE_PORT={port}{heartbeat} \
                 FOR CHANNEL {name}; START REPLICA IO_THREAD FOR CHANNEL {name}"
            )
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::topology::{Outcome, fixture};

    #[test]
    fn the_statements_keep_what_they_do_not_name() {
        let Outcome::Alive(facts) = fixture::alive(fixture::M1, Instant::now()).outcome else {
            panic!("alive")
        };
        let channel = |name: &str, period| Channel {
            name: name.to_owned(),
            heartbeat_period: period,
            ..facts.channels[0].clone()
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(
            follow_instead(Flavor::MariaDb, &channel("", second), "10.0.0.11", 3306),
            "STOP SLAVE; CHANGE MASTER TO MASTER_HOST='10.0.0.11', MASTER_PORT=3306, \
             MASTER_HEARTBEAT_PERIOD=1; START SLAVE"
        );
        assert_eq!(
            follow_instead(Flavor::MariaDb, &channel("m'2", None), "a", 1),
            "STOP SLAVE 'm\\'2'; CHANGE MASTER 'm\\'2' TO MASTER_HOST='a', MASTER_PORT=1; \
             START SLAVE 'm\\'2'"
        );
        assert_eq!(
            follow_instead(Flavor::MySql, &channel("", second), "a", 1),
            "STOP REPLICA IO_THREAD FOR CHANNEL ''; CHANGE REPLICATION SOURCE TO SOURCE_HOST='a', \
             SOURCE_PORT=1, SOURCE_HEARTBEAT_PERIOD=1 FOR CHANNEL ''; \
             START REPLICA IO_THREAD FOR CHANNEL ''"
        );
    }
}
