//! Looking at the servers: one task each, probes in, observations out.
//!
//! A [`Prober`] runs a [`Probe`] every interval and on request and sends what it saw to the
//! coordinator. [`MysqlProbe`] is the real one: a persistent connection and one round trip, so that
//! two hundred sidecars may watch one pair. A scripted one takes its place in tests.
//!
//! What counts here is whose failure a failure is, since a failover hangs on it: a refusal, a
//! reset, a silence, and an error of the server, which is a sign of life, are told apart; a broken
//! connection is tried anew before anything is concluded; and a process that was itself stalled, or
//! out of descriptors, says nothing. What follows from an observation is decided elsewhere
//! (`failover`), and carried out elsewhere (`coordinator`, which shares [`Dialer`] and [`Connection`]
//! with this module).
//!
//! [`AccountReader`] reads, besides, how the masters' accounts authenticate, and [`HeartbeatWriter`]
//! writes to the active one, to see whether it can be written to.

mod accounts;
mod columns;
mod connection;
mod grants;
mod greeting;
mod heartbeat;
mod mysql;
mod prober;
mod replication;
mod tunnel;
mod waiting_for_room;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

pub use accounts::AccountReader;
pub use columns::Columns;
pub use connection::{Answers, Connection, ConnectionError, Dialer, IDLE_SECONDS};
pub use grants::missing_privileges;
pub use heartbeat::HeartbeatWriter;
pub use mysql::MysqlProbe;
pub use prober::{Look, Probe, Prober};
pub use replication::{ReplicationChannel, read_channels};
pub use waiting_for_room::WaitingForRoom;

use crate::config;
use crate::metrics::MonitorMetrics;
use crate::topology::{Observation, Server, ServerId, Servers};

/// Asks for probes outside the interval. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProbeRequests(Arc<[Arc<Notify>]>);

impl ProbeRequests {
    /// Has `server` probed now; once more, if a probe of it is running.
    pub fn probe_now(&self, server: ServerId) {
        if let Some(requested) = self.0.get(server.index()) {
            requested.notify_one();
        }
    }
}

/// The probers of all servers. Dropping it ends them.
#[derive(Debug)]
pub struct Monitor {
    requests: ProbeRequests,
    /// End with it.
    _tasks: JoinSet<()>,
}

impl Monitor {
    /// Starts a prober for every server, in the rhythm of `[monitor]`, connected to by `dialer`.
    /// What it does not observe, because this process is at fault, it counts in `metrics`.
    #[must_use]
    pub fn start(
        servers: &Servers,
        settings: &config::Monitor,
        dialer: &Dialer,
        observations: &mpsc::Sender<Observation>,
        metrics: &MonitorMetrics,
    ) -> Self {
        Self::start_with(servers, settings, observations, metrics, |server| {
            MysqlProbe::new(server.clone(), dialer.clone(), settings.timeout)
        })
    }

    /// Starts a prober for every server with the probe that `probe_of` makes for it.
    #[must_use]
    pub fn start_with<P: Probe + 'static>(
        servers: &Servers,
        settings: &config::Monitor,
        observations: &mpsc::Sender<Observation>,
        metrics: &MonitorMetrics,
        probe_of: impl Fn(&Server) -> P,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let requests = servers
            .iter()
            .map(|server| {
                let requested = Arc::new(Notify::new());
                let prober = Prober {
                    server: server.id,
                    probe: probe_of(server),
                    interval: settings.interval,
                    timeout: settings.timeout,
                    requested: requested.clone(),
                    observations: observations.clone(),
                    metrics: metrics.server(&server.name),
                    abstained: 0,
                };
                tasks.spawn(prober.run());
                requested
            })
            .collect();
        Self { requests: ProbeRequests(requests), _tasks: tasks }
    }

    /// A handle for asking for probes.
    #[must_use]
    pub fn requests(&self) -> ProbeRequests {
        self.requests.clone()
    }
}
