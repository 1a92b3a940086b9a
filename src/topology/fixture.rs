//! A pair as it may be seen, for the tests of what shows it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Channel, Facts, Flavor, GtidSet, Identity, Observation, Outcome, ServerAddress, ServerId,
    Servers, Source, Term, TermStore, ThreadState, Topology, UnreachableKind,
};

/// The first and the second master.
pub(crate) const M1: ServerId = ServerId(0);
pub(crate) const M2: ServerId = ServerId(1);

/// `m1` and `m2`.
pub(crate) fn servers() -> Servers {
    let address = |host: &str| ServerAddress::Tcp { host: host.into(), port: 3306 };
    let masters = [("m1".into(), address("10.0.0.11")), ("m2".into(), address("10.0.0.12"))];
    Servers::new(masters, [])
}

/// `server` at `at`, healthy, receiving from the other one; `m1` is active by term 5.
pub(crate) fn alive(server: ServerId, at: Instant) -> Observation {
    let own_id = u32::from(server.0) + 1;
    let set = |text: &str| GtidSet::parse(Flavor::MariaDb, text).unwrap();
    let facts = Facts {
        identity: Arc::new(Identity {
            flavor: Flavor::MariaDb,
            version: "5.5.5-10.11.19-MariaDB-log".into(),
            capabilities: 0,
            collation: 45,
            plugin: "mysql_native_password".into(),
        }),
        server_id: own_id,
        uptime: Duration::from_secs(3600),
        read_only: server != M1,
        auto_increment_increment: 2,
        auto_increment_offset: own_id,
        executed: set("1-1-120,2-2-7"),
        channels: vec![Channel {
            name: String::new(),
            source_host: "10.1.0.1".into(),
            source_port: 3306,
            source_server_id: if own_id == 1 { 2 } else { 1 },
            io: ThreadState::Yes,
            io_error: (0, String::new()),
            sql: ThreadState::Yes,
            sql_error: (0, String::new()),
            received: set("1-1-120,2-2-7"),
            uses_gtid: true,
            seconds_behind: Some(0),
            heartbeats: Some(12),
            heartbeat_period: Some(Duration::from_secs(1)),
        }],
        claimed: false,
        draining: None,
        connection: 1,
        planned: false,
        terms: TermStore::Present(Some((Term(5), "m1".into()))),
        beats: None,
        sending: Default::default(),
    };
    let took = Duration::from_micros(1250);
    Observation {
        server,
        at,
        took,
        source: Source::Probe,
        outcome: Outcome::Alive(Box::new(facts)),
    }
}

/// `server` at `at`, refusing connections.
pub(crate) fn refused(server: ServerId, at: Instant) -> Observation {
    let detail = "connection refused".into();
    let outcome = Outcome::Unreachable { kind: UnreachableKind::Refused, detail };
    Observation { server, at, took: Duration::from_micros(80), source: Source::Probe, outcome }
}

/// Both masters alive at `at`, and `m1` gone since `gone`, with `m2`'s receiver looking for it and
/// its applier stopped by an error.
pub(crate) fn half_gone(at: Instant, gone: Instant) -> Topology {
    let mut topology = healthy(at);
    topology.record(refused(M1, gone));
    let mut standby = alive(M2, gone);
    if let Outcome::Alive(facts) = &mut standby.outcome {
        let channel = &mut facts.channels[0];
        channel.io = ThreadState::Connecting;
        channel.io_error = (2003, "Can't connect to server on '10.1.0.1'".into());
        channel.sql = ThreadState::No;
        channel.sql_error = (1062, "Duplicate entry '7' for key 'PRIMARY'".into());
        channel.seconds_behind = None;
    }
    topology.record(standby);
    topology
}

/// Both masters alive at `at`.
pub(crate) fn healthy(at: Instant) -> Topology {
    let mut topology = Topology::new(servers());
    topology.record(alive(M1, at));
    topology.record(alive(M2, at));
    topology
}
