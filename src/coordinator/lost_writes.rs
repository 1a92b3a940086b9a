//! What a change of the active master cost: the writes that clients were told are committed and that the
//! new one lacks. Data, and the sentence for people.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::topology::{GtidSet, Numbering, ServerId, Servers, Term, Topology};

/// GTIDs that a sentence names; the console has all of them.
const LONG: usize = 500;

/// One change of the active master, accounted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostWrites {
    /// When it was found.
    pub at: SystemTime,
    /// The master that acknowledged the writes.
    pub from: ServerId,
    /// The one that is active now.
    pub to: ServerId,
    /// By which decision.
    pub term: Term,
    /// What is missing.
    pub finding: Finding,
    /// Sessions that have not let go of the old master: what it still acknowledges to them will be added. 0:
    /// the numbers are final.
    pub sessions_left: usize,
    /// How many of them the active master has received since, by a release of the old one.
    pub came_back: u64,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// These.
    Counted(Missing),
    /// Nobody knows.
    Unknown(Unaccountable),
}

/// Acknowledged writes that the new active master lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Which transactions; empty for none.
    pub writes: GtidSet,
    /// When the first and the last of them was acknowledged. Where much was kept for long this is
    /// a little wider.
    pub span: Option<(SystemTime, SystemTime)>,
    /// How many each user wrote.
    pub users: Vec<(String, u64)>,
    /// How many are of several users of whom it is no longer known who wrote which.
    pub shared: u64,
    /// There may be more.
    pub at_least: bool,
}

/// Why nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unaccountable {
    /// MySQL without GTIDs.
    #[error("{0} gives transactions no GTIDs (gtid_mode)")]
    NoGtids(String),
    /// No binary log.
    #[error("{0} has no binary log")]
    NoLog(String),
    /// MariaDB masters that number into one domain: the same number may be two transactions.
    #[error("{0} and {1} number their transactions in the same gtid_domain_id, {2}")]
    SharedDomain(String, String, u32),
    /// It was never seen.
    #[error("{0} has never been asked how it numbers transactions")]
    NeverAsked(String),
    /// Another change came first.
    #[error("{0} was not active for long enough to be asked what it has")]
    NotAsked(String),
}

impl Unaccountable {
    /// Why the writes of `from` cannot be told apart, if so.
    pub(super) fn of(topology: &Topology, from: ServerId) -> Option<Self> {
        let servers = topology.servers();
        let name = |server: ServerId| servers.name(server).to_owned();
        let numbering = |server| topology.facts(server).map(|facts| facts.sending.numbering);
        match numbering(from).unwrap_or_default() {
            Numbering::Unknown => Some(Self::NeverAsked(name(from))),
            Numbering::NoGtids => Some(Self::NoGtids(name(from))),
            Numbering::NoLog => Some(Self::NoLog(name(from))),
            Numbering::Own => None,
            Numbering::Domain(domain) => {
                let same = |id: &ServerId| numbering(*id) == Some(Numbering::Domain(domain));
                let mut others = servers.masters().map(|master| master.id).filter(|id| *id != from);
                let other = others.find(same)?;
                Some(Self::SharedDomain(name(from), name(other), domain))
            }
        }
    }
}

impl LostWrites {
    /// How many, as far as that is known.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        match &self.finding {
            Finding::Counted(missing) => Some(missing.writes.count()),
            Finding::Unknown(_) => None,
        }
    }

    /// The number for people: `12`, `at least 12`, `unknown`.
    #[must_use]
    pub fn number(&self) -> String {
        match &self.finding {
            Finding::Counted(missing) => counted(missing.writes.count(), missing.at_least),
            Finding::Unknown(_) => "unknown".to_owned(),
        }
    }

    /// Who wrote how many: `app 10, batch 2`.
    #[must_use]
    pub fn users(&self) -> String {
        let Finding::Counted(missing) = &self.finding else { return String::new() };
        let mut users: Vec<String> =
            missing.users.iter().map(|(user, count)| format!("{user} {count}")).collect();
        if missing.shared > 0 {
            users.push(format!("(of several users) {}", missing.shared));
        }
        users.join(", ")
    }

    /// All of it in a sentence.
    #[must_use]
    pub fn sentence(&self, servers: &Servers) -> String {
        let (from, to) = (servers.name(self.from), servers.name(self.to));
        let mut text = match &self.finding {
            Finding::Unknown(why) => {
                format!("it is not known which writes that {from} acknowledged {to} lacks: {why}")
            }
            Finding::Counted(missing) if missing.writes.is_empty() && missing.at_least => {
                format!("{to} lacks no acknowledged write of {from} that is known; not all are")
            }
            Finding::Counted(missing) if missing.writes.is_empty() => {
                format!("{to} lacks no write that {from} acknowledged through this proxy")
            }
            Finding::Counted(missing) => {
                let plural = if missing.writes.count() == 1 { "" } else { "s" };
                let mut text = format!(
                    "{to} lacks {} write{plural} that {from} acknowledged: {}",
                    self.number(),
                    in_short(&missing.writes)
                );
                if let Some((first, last)) = missing.span {
                    let _ = write!(text, ", between {} and {}", time(first), time(last));
                }
                let _ = write!(text, ", by {}", self.users());
                text
            }
        };
        match self.sessions_left {
            0 => {}
            1 => text.push_str("; not final, 1 session is still there"),
            left => {
                let _ = write!(text, "; not final, {left} sessions are still there");
            }
        }
        text
    }

    /// The same for programs.
    #[must_use]
    pub fn told(&self, servers: &Servers) -> ToldLoss {
        let (missing, unknown) = match &self.finding {
            Finding::Counted(missing) => (Some(missing), None),
            Finding::Unknown(why) => (None, Some(why.to_string())),
        };
        let span = missing.and_then(|missing| missing.span);
        ToldLoss {
            time: time(self.at),
            from: servers.name(self.from).to_owned(),
            to: servers.name(self.to).to_owned(),
            term: self.term.0,
            lost: self.count(),
            at_least: missing.is_some_and(|missing| missing.at_least),
            gtids: missing.map(|missing| missing.writes.to_string()),
            first: span.map(|(first, _)| time(first)),
            last: span.map(|(_, last)| time(last)),
            users: missing.map(|missing| missing.users.clone()).unwrap_or_default(),
            shared: missing.map_or(0, |missing| missing.shared),
            unknown,
            is_final: self.sessions_left == 0,
            came_back: self.came_back,
        }
    }
}

/// [`LostWrites`] with names and texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldLoss {
    /// When it was found: RFC 3339, UTC, as all times here.
    pub time: String,
    /// The master that acknowledged the writes.
    pub from: String,
    /// The one that is active now.
    pub to: String,
    /// By which decision.
    pub term: u64,
    /// How many; `None` where that is unknown.
    pub lost: Option<u64>,
    /// There may be more.
    pub at_least: bool,
    /// Which, as a set in the servers' notation.
    pub gtids: Option<String>,
    /// The first acknowledgement.
    pub first: Option<String>,
    /// The last acknowledgement.
    pub last: Option<String>,
    /// How many each user wrote.
    pub users: Vec<(String, u64)>,
    /// How many are of several users of whom it is no longer known who wrote which.
    pub shared: u64,
    /// Why it is unknown.
    pub unknown: Option<String>,
    /// Whether every session has let go of the old master.
    pub is_final: bool,
    /// How many of them the active master has received since.
    pub came_back: u64,
}

/// What a failover would cost now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtRisk {
    /// Why nobody knows.
    pub unknown: Option<String>,
    /// For each standby how many writes had been acknowledged when it was last looked at that it had not
    /// received; of one that does not answer, all since then as well. And whether there may be more.
    pub standbys: Vec<(ServerId, u64, bool)>,
}

impl AtRisk {
    /// The number for a standby: `12`, `at least 12`; `None` where it is unknown.
    #[must_use]
    pub fn number(&self, standby: ServerId) -> Option<String> {
        let (_, count, at_least) = self.standbys.iter().find(|(id, ..)| *id == standby)?;
        Some(counted(*count, *at_least))
    }
}

/// What is known of acknowledged writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// What a failover would cost now.
    pub at_risk: AtRisk,
    /// What the last changes of the active master cost, oldest first.
    pub losses: Vec<LostWrites>,
}

fn counted(count: u64, at_least: bool) -> String {
    if at_least { format!("at least {count}") } else { count.to_string() }
}

fn in_short(writes: &GtidSet) -> String {
    let text = writes.to_string();
    match text.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}… (SHOW LOST WRITES has all)", &text[..end]),
        None => text,
    }
}

fn time(at: SystemTime) -> String {
    // To the millisecond, and never after the fact.
    let whole = at - Duration::from_nanos(u64::from(nanos(at) % 1_000_000));
    humantime::format_rfc3339_millis(whole).to_string()
}

fn nanos(at: SystemTime) -> u32 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
}
