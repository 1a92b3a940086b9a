//! The latest picture of all servers.

use std::time::{Duration, Instant};

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
    /// How far behind each source it was at the last look, by the heartbeat rows of that source; the
    /// source by its server id. Nothing where there is no such row.
    pub lags: Vec<(u32, Duration)>,
    /// It answers but could not write, as often in a row, and what it said.
    pub unwritable: Option<Unwritable>,
}

/// A server that answers and cannot write.
#[derive(Clone, Debug)]
pub struct Unwritable {
    /// How often in a row a heartbeat could not be written.
    pub failures: u32,
    /// The server's words.
    pub reason: String,
    /// What its heartbeat row said then: when that changes, somebody could write.
    beat: Option<u64>,
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

    /// What `receiver` hears from `source`. Of a source that was never seen the server id is not known;
    /// then it is what the receiver hears from nobody else that is known, and of several such the one
    /// that was heard last: any of them may be it.
    #[must_use]
    pub fn hearing(&self, receiver: ServerId, source: ServerId) -> Option<&Hearing> {
        let hearing = &self.seen(receiver).hearing;
        match (self.facts(source), hearing.as_slice()) {
            (Some(facts), all) => {
                all.iter().find(|hearing| hearing.source_server_id == facts.server_id)
            }
            (None, all) => {
                let known = |id: u32| {
                    let mut seen = self.seen.iter().filter_map(|seen| seen.facts.as_ref());
                    seen.any(|(_, facts)| facts.server_id == id)
                };
                let strange = all.iter().filter(|hearing| !known(hearing.source_server_id));
                strange.max_by_key(|hearing| (hearing.heard_after(), hearing.connected))
            }
        }
    }

    /// How far behind its sources a server is by what it was just seen to have: not at all, if it has the
    /// row that its source was last seen with; else the age of the row that it has. Ages are differences
    /// of readings of one clock, the source's, carried on by our own between two looks.
    fn lags(&self, look: &Observation) -> Vec<(u32, Duration)> {
        let Outcome::Alive(facts) = &look.outcome else { return Vec::new() };
        let Some(beats) = &facts.beats else { return Vec::new() };
        let of_source = |(source, facts): (&Instant, &Facts)| {
            let theirs = facts.beats.as_ref()?;
            let (written, executed) = (theirs.of(facts.server_id)?, beats.of(facts.server_id)?);
            let since = Duration::from_micros(theirs.clock.saturating_sub(executed));
            let lag = if executed >= written {
                Duration::ZERO
            } else {
                since + look.at.saturating_duration_since(*source)
            };
            Some((facts.server_id, lag))
        };
        let sources = self.servers.masters().filter(|source| source.id != look.server);
        let seen = sources.filter_map(|source| self.seen(source.id).facts.as_ref());
        seen.filter_map(|(at, facts)| of_source((at, facts.as_ref()))).collect()
    }

    /// How far behind the server with this id `receiver` was when it was last seen.
    #[must_use]
    pub fn lag(&self, receiver: ServerId, source_server_id: u32) -> Option<Duration> {
        let lags = &self.seen(receiver).lags;
        lags.iter().find(|(source, _)| *source == source_server_id).map(|(_, lag)| *lag)
    }

    /// Takes a probe's result in. What sessions report is evidence for the machine but no
    /// measurement: it is not counted. An observation older than the last one is dropped.
    pub fn record(&mut self, observation: Observation) {
        if observation.source == Source::Session {
            return;
        }
        let lags = self.lags(&observation);
        let seen = &mut self.seen[observation.server.index()];
        if let Outcome::CannotWrite { reason } = &observation.outcome {
            seen.could_not_write(reason);
            return;
        }
        if seen.last.as_ref().is_some_and(|last| observation.at < last.at) {
            return;
        }
        let began = observation.at.checked_sub(observation.took).unwrap_or(observation.at);
        match &observation.outcome {
            Outcome::Alive(facts) => {
                seen.listen(facts, began, observation.at);
                seen.lags = lags;
                seen.note_writes(facts);
                seen.facts = Some((observation.at, facts.clone()));
                seen.answered();
            }
            Outcome::SaysNo { .. } | Outcome::CannotWrite { .. } => seen.answered(),
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

    fn could_not_write(&mut self, reason: &str) {
        let failures = self.unwritable.as_ref().map_or(0, |unwritable| unwritable.failures);
        let facts = self.facts.as_ref().map(|(_, facts)| facts);
        let beat = facts.and_then(|facts| facts.beats.as_ref()?.of(facts.server_id));
        let failures = failures.saturating_add(1);
        self.unwritable = Some(Unwritable { failures, reason: reason.to_owned(), beat });
    }

    /// Whoever wrote the row: the server can write. One that is closed need not.
    fn note_writes(&mut self, facts: &Facts) {
        let beat = facts.beats.as_ref().and_then(|beats| beats.of(facts.server_id));
        let written = |unwritable: &Unwritable| unwritable.beat != beat;
        if facts.read_only || self.unwritable.as_ref().is_some_and(written) {
            self.unwritable = None;
        }
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
