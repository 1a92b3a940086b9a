//! The latest picture of all servers.

use std::time::Instant;

use super::{Channel, Facts, Hearing, Observation, Outcome, ServerId, Servers, Source};

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
    /// When the first probe of that row was begun: what the server sent later it sent although it did
    /// not answer.
    pub silent_from: Option<Instant>,
    /// What it hears from those that it receives from.
    pub hearing: Vec<Hearing>,
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

    /// What `receiver` hears from `source`. Of a source that was never seen its server id is not
    /// known; then it can only be an only one.
    #[must_use]
    pub fn hearing(&self, receiver: ServerId, source: ServerId) -> Option<&Hearing> {
        let hearing = &self.seen(receiver).hearing;
        match (self.facts(source), hearing.as_slice()) {
            (Some(facts), all) => {
                all.iter().find(|hearing| hearing.source_server_id == facts.server_id)
            }
            (None, [only]) => Some(only),
            (None, _) => None,
        }
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
        let began = observation.at.checked_sub(observation.took).unwrap_or(observation.at);
        match &observation.outcome {
            Outcome::Alive(facts) => {
                seen.listen(facts, began, observation.at);
                seen.facts = Some((observation.at, facts.clone()));
                seen.answered();
            }
            Outcome::SaysNo { .. } => seen.answered(),
            Outcome::Unreachable { .. } => {
                seen.failures = seen.failures.saturating_add(1);
                seen.successes = 0;
                seen.failing_since.get_or_insert(observation.at);
                seen.hearing.iter_mut().for_each(Hearing::interrupt);
                seen.silent_from.get_or_insert(began);
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
        self.silent_from = None;
    }

    /// Takes in what its channels have received by a look from `began` to `ended`.
    fn listen(&mut self, facts: &Facts, began: Instant, ended: Instant) {
        let next = |channel: &Channel| {
            let of = |hearing: &&Hearing| hearing.source_server_id == channel.source_server_id;
            Hearing::record(self.hearing.iter().find(of), channel, began, ended)
        };
        self.hearing = facts.channels.iter().map(next).collect();
    }

    /// Whether the last probe was answered, with facts or with an error.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.successes > 0
    }
}
