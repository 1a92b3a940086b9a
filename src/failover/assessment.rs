//! Read: what the probes say about one server. A pure function of the picture.

use std::fmt;
use std::time::Duration;

use super::policy::Policy;
use crate::topology::{Outcome, Server, ServerId, Topology, UnreachableKind};

/// What the probes say about one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No probe has ended yet.
    Unseen,
    /// It answered the last probe with facts.
    Alive,
    /// It answered the last probe with an error: alive, and nothing else is known.
    SaysNo {
        /// The server's code and words.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// It answers, but `fall` heartbeats in a row could not be written: no good as an active master.
    Unwritable(String),
    /// Some probes failed, fewer than `fall`.
    Suspect(Evidence),
    /// `fall` probes in a row failed, and nothing speaks for it.
    Down(Evidence),
    /// `fall` probes in a row got no answer, but another server still receives from it: it is this
    /// proxy that is cut off.
    Isolated {
        /// What spoke against it.
        evidence: Evidence,
        /// The name of the server that hears it.
        witness: String,
    },
}

/// What speaks against a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How the last probe failed. A refusal is the word of the kernel over there; a silence may be
    /// the fault of the network or of this process.
    pub kind: UnreachableKind,
    /// The operating system's words.
    pub detail: String,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => self.kind.fmt(f),
            detail => write!(f, "{} ({detail})", self.kind),
        }
    }
}

impl Evidence {
    /// Whether it may be the fault of the network between us, so that others are to be asked. A
    /// refusal and a reset are the word of the other machine.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        match self.kind {
            UnreachableKind::Silent | UnreachableKind::NoRoute | UnreachableKind::Unresolvable => {
                true
            }
            UnreachableKind::Refused | UnreachableKind::Reset => false,
        }
    }
}

/// Servers are probed at the same ticks: looks at two of them that began within this time count as
/// simultaneous.
const TOGETHER: Duration = Duration::from_millis(20);
/// A heartbeat period that is not known, or too long to be waited for, is taken for this.
pub(super) const ASSUMED_PERIOD: Duration = Duration::from_secs(1);
/// The longest period that is waited for.
const LONGEST_PERIOD: Duration = Duration::from_secs(5);
/// So much later than its time a heartbeat may come.
const HEARTBEAT_MARGIN: Duration = Duration::from_millis(250);

/// Judges one server. Nowhere else does anybody conclude that a server is down.
///
/// A silence is contradicted by what *arrives* elsewhere: another server whose receiver has grown
/// since the silence began is a witness that the master lives. One whose receiver stands still
/// is no witness, for as little traffic and a long heartbeat period look the same as a dead source;
/// and one that has heard something stops being a witness when a heartbeat is overdue.
#[must_use]
pub fn assess(topology: &Topology, server: ServerId, policy: &Policy) -> Verdict {
    let seen = topology.seen(server);
    let Some(last) = &seen.last else {
        return Verdict::Unseen;
    };
    match &last.outcome {
        Outcome::Alive(_) | Outcome::CannotWrite { .. } => match &seen.unwritable {
            Some(unwritable) if unwritable.failures >= policy.fall => {
                Verdict::Unwritable(unwritable.reason.clone())
            }
            _ => Verdict::Alive,
        },
        Outcome::SaysNo { code, message } => {
            Verdict::SaysNo { code: *code, message: message.clone() }
        }
        Outcome::Unreachable { kind, detail } => {
            let evidence = Evidence { kind: *kind, detail: detail.clone() };
            if seen.failures < policy.fall {
                return Verdict::Suspect(evidence);
            }
            match witness(topology, server, policy).filter(|_| evidence.is_doubtful()) {
                Some(witness) => Verdict::Isolated { evidence, witness: witness.name.clone() },
                None => Verdict::Down(evidence),
            }
        }
    }
}

/// A server that hears `server` although we do not. That one of its own looks was lost does not take back
/// what it has said; that it is down does.
fn witness<'a>(topology: &'a Topology, server: ServerId, policy: &Policy) -> Option<&'a Server> {
    let since = topology.seen(server).silent_from?.checked_sub(TOGETHER)?;
    topology.servers().iter().find(|other| {
        let seen = topology.seen(other.id);
        let answers = match seen.last.as_ref().map(|last| &last.outcome) {
            Some(Outcome::Alive(_)) => true,
            Some(Outcome::Unreachable { .. }) => seen.failures < policy.fall,
            _ => false,
        };
        answers
            && topology.hearing(other.id, server).is_some_and(|hearing| {
                let period = hearing.period.filter(|period| *period <= LONGEST_PERIOD);
                let due = period.unwrap_or(ASSUMED_PERIOD) + HEARTBEAT_MARGIN;
                hearing.connected && hearing.heard_since(since) && hearing.quiet_for() < due
            })
    })
}

/// Whose word counts when `server` does not answer.
pub(super) fn asked_about(topology: &Topology, server: ServerId) -> Vec<ServerId> {
    let others = topology.servers().iter().map(|other| other.id);
    let hears = |other: &ServerId| {
        topology.seen(*other).answers()
            && topology.hearing(*other, server).is_some_and(|hearing| hearing.connected)
    };
    others.filter(hears).collect()
}

/// A server's state in words, to follow its name: "m1 *refuses connections*".
pub(super) fn in_words(verdict: &Verdict, policy: &Policy) -> String {
    match verdict {
        Verdict::Unseen => "has not answered yet".to_owned(),
        Verdict::Alive => "answers".to_owned(),
        Verdict::SaysNo { code, message } => format!("answers with error {code}: {message}"),
        Verdict::Suspect(evidence) | Verdict::Down(evidence) => match evidence.kind {
            UnreachableKind::Silent => {
                format!("does not answer within {}", humantime::format_duration(policy.timeout))
            }
            _ => evidence.to_string(),
        },
        Verdict::Unwritable(reason) => format!("answers but cannot write: {reason}"),
        Verdict::Isolated { witness, .. } => format!(
            "does not answer this proxy, but {witness} still receives from it: only this proxy is \
             cut off"
        ),
    }
}
