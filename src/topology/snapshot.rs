//! The latest picture of all servers.

use std::time::Instant;

use super::{Channel, Facts, Observation, Outcome, ServerId, Servers, Source};

/// What is known of one server now.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The last probe, whatever it found.
    pub last: Option<Observation>,
    /// The facts of the last probe that was answered, and when that was. They stay when the server
    /// goes silent: a failover judges the pair by what it was when last seen.
    pub facts: Option<(Instant, Box<Facts>)>,
    /// Probes in a row that nothing answered.
    pub failures: u32,
    /// Probes in a row that were answered, with facts or with an error.
    pub successes: u32,
    /// When the present row of failures began.
    pub failing_since: Option<Instant>,
}

/// The latest picture of all servers: built from observations, in any order.
#[derive(Clone, Debug)]
pub struct Topology {
    servers: Servers,
    seen: Vec<Seen>,
}

impl Topology {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(servers: Servers) -> Self {
        let seen = vec![Seen::default(); servers.len()];
        Self { servers, seen }
    }

    /// The configured servers.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// What is known of `server`.
    #[must_use]
    pub fn seen(&self, server: ServerId) -> &Seen {
        &self.seen[server.index()]
    }

    /// The facts of `server` when it last answered.
    #[must_use]
    pub fn facts(&self, server: ServerId) -> Option<&Facts> {
        self.seen(server).facts.as_ref().map(|(_, facts)| facts.as_ref())
    }

    /// The configured server that `channel` receives from: the one with its server id, for a host may
    /// have as many names as it likes. `None` for a server that is not configured or was never seen.
    #[must_use]
    pub fn source_of(&self, channel: &Channel) -> Option<ServerId> {
        let is_source = |id: ServerId| {
            self.facts(id).is_some_and(|facts| facts.server_id == channel.source_server_id)
        };
        self.servers.iter().map(|server| server.id).find(|id| is_source(*id))
    }

    /// Takes a probe's result in. What sessions report is evidence for the machine but no
    /// measurement: it is not counted. An observation older than the last one is dropped.
    pub fn record(&mut self, observation: Observation) {
        if observation.source == Source::Session {
            return;
        }
        let seen = &mut self.seen[observation.server.index()];
        if seen.last.as_ref().is_some_and(|last| observation.at < last.at) {
            return;
        }
        match &observation.outcome {
            Outcome::Alive(facts) => {
                seen.facts = Some((observation.at, facts.clone()));
                seen.answered();
            }
            Outcome::SaysNo { .. } => seen.answered(),
            Outcome::Unreachable { .. } => {
                seen.failures = seen.failures.saturating_add(1);
                seen.successes = 0;
                seen.failing_since.get_or_insert(observation.at);
            }
        }
        seen.last = Some(observation);
    }
}

impl Seen {
    fn answered(&mut self) {
        self.successes = self.successes.saturating_add(1);
        self.failures = 0;
        self.failing_since = None;
    }

    /// Whether the last probe was answered, with facts or with an error.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.successes > 0
    }
}
