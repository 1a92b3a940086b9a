//! Read: what the probes say about one server. A pure function of the picture.

use std::fmt;

use super::policy::Policy;
use crate::topology::{Outcome, ServerId, Topology, UnreachableKind};

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
    /// Some probes failed, fewer than `fall`.
    Suspect(Evidence),
    /// `fall` probes in a row failed.
    Down(Evidence),
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

/// Judges one server.
///
/// The seam for the second opinion: `Evidence::kind == Silent` is the one kind of evidence that
/// another master can contradict, by the heartbeats that its replication connection still receives
/// (`Channel::heartbeats` in `topology`). A verdict `Isolated` between `Suspect` and `Down` would be
/// given here, and nowhere else does anybody conclude that a server is down.
#[must_use]
pub fn assess(topology: &Topology, server: ServerId, policy: &Policy) -> Verdict {
    let seen = topology.seen(server);
    let Some(last) = &seen.last else {
        return Verdict::Unseen;
    };
    match &last.outcome {
        Outcome::Alive(_) => Verdict::Alive,
        Outcome::SaysNo { code, message } => {
            Verdict::SaysNo { code: *code, message: message.clone() }
        }
        Outcome::Unreachable { kind, detail } => {
            let evidence = Evidence { kind: *kind, detail: detail.clone() };
            if seen.failures >= policy.fall {
                Verdict::Down(evidence)
            } else {
                Verdict::Suspect(evidence)
            }
        }
    }
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
    }
}
