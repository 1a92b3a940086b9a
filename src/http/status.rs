//! The status document: what the routing table and the topology say, as JSON.

use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::coordinator::{Accounts, ToldEvent, ToldLoss};
use crate::pair::check::{Checked, Finding, Severity};
use crate::routing::{Decision, RoutingTable, Writer};
use crate::session::StandbyLogin;
use crate::topology::{Channel, Role, Server, ServerId, Servers, TermStore, Topology};

/// Who is active, or why nobody is, and what is known of each server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Of Tandem.
    pub version: &'static str,
    /// Of the routing table.
    pub generation: u64,
    /// The decision that is followed; 0 before the first.
    pub term: u64,
    /// The name of the active master.
    pub active: Option<String>,
    /// Why nobody is active, while nobody is.
    pub held: Option<HeldStatus>,
    /// The masters in order of preference, then the replicas.
    pub servers: Vec<ServerStatus>,
    /// Users of the active master that a standby does not let in: their sessions would not outlive a
    /// failover to it.
    pub refused_logins: Vec<RefusedLogin>,
    /// Users whom no fence stops: they may write to a master that is read-only.
    pub unfenced_logins: Vec<UnfencedLogin>,
    /// What the last changes of the active master cost, oldest first.
    pub lost_writes: Vec<ToldLoss>,
    /// What the checks of the servers came to.
    pub checks: ChecksStatus,
    /// The last events, oldest first.
    pub events: Vec<ToldEvent>,
}

/// What the last look at the servers found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ChecksStatus {
    /// How long ago that was; absent before the first.
    pub age_seconds: Option<f64>,
    /// How many findings are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// How many are notices.
    pub notices: usize,
    /// The findings, the gravest first.
    pub findings: Vec<Finding>,
}

impl ChecksStatus {
    pub(super) fn of(standing: &Checked, now: SystemTime) -> Self {
        let age = standing.at.map(|at| now.duration_since(at).unwrap_or_default());
        Self {
            age_seconds: age.map(|age| age.as_secs_f64()),
            errors: standing.count(Severity::Error),
            warnings: standing.count(Severity::Warning),
            notices: standing.count(Severity::Notice),
            findings: standing.findings.iter().map(|stood| stood.finding.clone()).collect(),
        }
    }
}

/// A user that a standby refuses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusedLogin {
    /// Who.
    pub user: String,
    /// The schema of the login; empty for none.
    pub schema: String,
    /// The name of the standby.
    pub server: String,
    /// Its words.
    pub refusal: String,
    /// How long ago it was asked.
    pub age_seconds: f64,
}

/// A user whom no fence stops.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnfencedLogin {
    /// Who.
    pub user: String,
    /// The name of the standby that said so.
    pub server: String,
    /// The privilege that lets it write.
    pub privilege: &'static str,
    /// The statement that takes it away.
    pub mend: String,
}

/// Nobody takes writes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldStatus {
    /// The cause.
    pub reason: String,
    /// For how long.
    pub seconds: f64,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerStatus {
    /// As configured.
    pub name: String,
    /// As configured.
    pub address: String,
    /// `master` or `replica`.
    pub role: &'static str,
    /// Whether it takes writes.
    pub active: bool,
    /// Whether it answers.
    pub state: ServerState,
    /// What the last probe found, in words.
    pub why: String,
    /// How long nothing has answered, if nothing does.
    pub down_seconds: Option<f64>,
    /// The last probe.
    pub probe: Option<ProbeStatus>,
    /// The version of its greeting. This and what follows is from when it last answered.
    pub server_version: Option<String>,
    /// `@@server_id`
    pub server_id: Option<u32>,
    /// `@@read_only`
    pub read_only: Option<bool>,
    /// The class of keys that it hands out.
    pub auto_increment: Option<AutoIncrement>,
    /// The highest term that it knows.
    pub term: Option<u64>,
    /// What it has executed.
    pub executed: Option<String>,
    /// What it receives from others.
    pub channels: Vec<ChannelStatus>,
    /// `off`, `on`, or `fell back` to asynchronous.
    pub semi_sync: Option<String>,
    /// Whether it serves reads, and how old its data is. Nothing without a reads listener.
    pub reads: Option<ReadsStatus>,
    /// Of a standby: acknowledged writes that it had not received when it was last looked at.
    pub at_risk: Option<WritesAtRisk>,
}

/// How a server stands with the reads listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReadsStatus {
    /// Whether sessions go there.
    pub serving: bool,
    /// Why it could not serve; nothing if it could.
    pub why_not: Option<String>,
    /// How old its data is at most.
    pub age_seconds: Option<f64>,
}

/// Acknowledged writes that a failover would lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WritesAtRisk {
    /// How many.
    pub writes: u64,
    /// There may be more.
    pub at_least: bool,
}

/// `offset`, `offset + increment`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AutoIncrement {
    /// `@@auto_increment_increment`
    pub increment: u32,
    /// `@@auto_increment_offset`
    pub offset: u32,
}

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// The last probe was answered.
    Up,
    /// It was not.
    Down,
    /// There was none yet.
    Unknown,
}

/// The last probe of a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeStatus {
    /// How long ago.
    pub age_seconds: f64,
    /// How long it took.
    pub round_trip_ms: f64,
}

/// One replication channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelStatus {
    /// Its name; empty for the default one.
    pub name: String,
    /// The name of the configured server that it receives from, else `host:port`.
    pub source: String,
    /// `Yes`, `Connecting` or `No`.
    pub io: String,
    /// What stopped the receiver.
    pub io_error: Option<String>,
    /// `Yes` or `No`.
    pub sql: String,
    /// What stopped the applier.
    pub sql_error: Option<String>,
    /// How far behind; unknown is not zero.
    pub seconds_behind: Option<u64>,
    /// The same by the heartbeat row, where there is one.
    pub lag_seconds: Option<f64>,
}

impl Status {
    /// The document at `now`, without the events.
    #[must_use]
    pub fn of(
        routing: &RoutingTable,
        topology: &Topology,
        logins: &[StandbyLogin],
        now: Instant,
    ) -> Self {
        let refused = |login: &StandbyLogin| {
            Some(RefusedLogin {
                user: login.user.clone(),
                schema: login.schema.clone(),
                server: routing.servers.name(login.server).to_owned(),
                refusal: login.refusal.clone()?,
                age_seconds: seconds(login.asked, now),
            })
        };
        let unfenced = |login: &StandbyLogin| {
            let unfenced = login.unfenced.clone()?;
            Some(UnfencedLogin {
                user: login.user.clone(),
                server: routing.servers.name(login.server).to_owned(),
                privilege: unfenced.privilege,
                mend: unfenced.mend,
            })
        };
        let held = match &routing.writer {
            Writer::Active(_) => None,
            Writer::Held { since, reason } => {
                Some(HeldStatus { reason: reason.to_string(), seconds: seconds(*since, now) })
            }
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            generation: routing.generation,
            term: routing.term.0,
            active: routing.active().map(|active| routing.servers.name(active).to_owned()),
            held,
            servers: topology
                .servers()
                .iter()
                .map(|server| ServerStatus::of(server, routing, topology, now))
                .collect(),
            refused_logins: logins.iter().filter_map(refused).collect(),
            unfenced_logins: logins.iter().filter_map(unfenced).collect(),
            lost_writes: Vec::new(),
            checks: ChecksStatus::default(),
            events: Vec::new(),
        }
    }

    /// Adds who serves reads.
    pub(super) fn add_reads(&mut self, decision: &Decision, servers: &Servers) {
        for standing in &decision.standings {
            let name = servers.name(standing.server);
            if let Some(server) = self.servers.iter_mut().find(|server| server.name == name) {
                server.reads = Some(ReadsStatus {
                    serving: decision.readers.contains(&standing.server),
                    why_not: standing.until.as_ref().err().cloned(),
                    age_seconds: standing.age.map(|age| age.as_secs_f64()),
                });
            }
        }
    }

    /// Adds what is known of acknowledged writes.
    pub(super) fn add_accounts(&mut self, accounts: &Accounts, servers: &Servers) {
        self.lost_writes = accounts.losses.iter().map(|loss| loss.told(servers)).collect();
        for (standby, count, at_least) in &accounts.at_risk.standbys {
            let name = servers.name(*standby);
            if let Some(server) = self.servers.iter_mut().find(|server| server.name == name) {
                server.at_risk = Some(WritesAtRisk { writes: *count, at_least: *at_least });
            }
        }
    }
}

impl ServerStatus {
    fn of(server: &Server, routing: &RoutingTable, topology: &Topology, now: Instant) -> Self {
        let seen = topology.seen(server.id);
        let facts = topology.facts(server.id);
        Self {
            name: server.name.clone(),
            address: server.address.to_string(),
            role: match server.role {
                Role::Master => "master",
                Role::Replica => "replica",
            },
            active: routing.active() == Some(server.id),
            state: match &seen.last {
                None => ServerState::Unknown,
                Some(_) if seen.answers() => ServerState::Up,
                Some(_) => ServerState::Down,
            },
            why: seen.last.as_ref().map_or_else(
                || "has not been probed yet".to_owned(),
                |observation| observation.outcome.to_string(),
            ),
            down_seconds: seen.failing_since.map(|since| seconds(since, now)),
            probe: seen.last.as_ref().map(|last| ProbeStatus {
                age_seconds: seconds(last.at, now),
                round_trip_ms: last.took.as_secs_f64() * 1000.0,
            }),
            server_version: facts.map(|facts| facts.identity.version.clone()),
            server_id: facts.map(|facts| facts.server_id),
            read_only: facts.map(|facts| facts.read_only),
            auto_increment: facts.map(|facts| AutoIncrement {
                increment: facts.auto_increment_increment,
                offset: facts.auto_increment_offset,
            }),
            term: facts.and_then(|facts| match &facts.terms {
                TermStore::Present(Some((term, _))) => Some(term.0),
                _ => None,
            }),
            executed: facts.map(|facts| facts.executed.to_string()),
            channels: facts
                .map(|facts| &facts.channels)
                .into_iter()
                .flatten()
                .map(|channel| ChannelStatus::of(server.id, channel, topology))
                .collect(),
            semi_sync: facts.map(|facts| facts.sending.semi_sync.to_string()),
            reads: None,
            at_risk: None,
        }
    }
}

impl ChannelStatus {
    fn of(receiver: ServerId, channel: &Channel, topology: &Topology) -> Self {
        let source = topology.source_of(channel).map_or_else(
            || format!("{}:{}", channel.source_host, channel.source_port),
            |source| topology.servers().name(source).to_owned(),
        );
        let error = |(code, message): &(u16, String)| {
            (*code != 0).then(|| format!("error {code}: {message}"))
        };
        Self {
            name: channel.name.clone(),
            source,
            io: channel.io.to_string(),
            io_error: error(&channel.io_error),
            sql: channel.sql.to_string(),
            sql_error: error(&channel.sql_error),
            seconds_behind: channel.seconds_behind,
            lag_seconds: topology
                .lag(receiver, channel.source_server_id)
                .map(|lag| lag.as_secs_f64()),
        }
    }
}

fn seconds(since: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(since).as_secs_f64()
}
