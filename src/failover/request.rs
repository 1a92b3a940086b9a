//! What an operator asks for, and what is answered.
//!
//! A request is answered exactly once, when it is carried out or when it is clear that it is not: an
//! operator who reads "done" can go on to the next step, and one who reads an error knows that all is
//! as before, and why.

use crate::topology::ServerId;

/// Names one request among all that were ever made. Whoever makes it chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Another active master, without an error at any client: `SWITCHOVER TO m2`.
    Switchover {
        /// Whom.
        to: ServerId,
        /// Sessions that cannot let go within `drain` are broken off, and do not stop it.
        force: bool,
    },
    /// Another active master although the present one may be dead, or cut off: `FAILOVER TO m2`.
    Failover {
        /// Whom.
        to: ServerId,
        /// What speaks against it, and what it has received and not executed, does not stop it.
        force: bool,
    },
    /// Nobody takes writes until further notice, however long the present active master lives.
    Pause,
    /// The end of a returned master's quarantine: `RELEASE m1`.
    Release {
        /// Whose.
        server: ServerId,
        /// What is to become of what is stranded there.
        how: Release,
    },
    /// The end of `Pause`, and the acknowledgement that automatic failovers may go on.
    Resume,
}

/// What is to become of what a returned master has and the active one lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Replication delivers it to the active master.
    Merge {
        /// Also what is in conflict with what stands there, or cannot be judged.
        force: bool,
    },
    /// It is undone where it is, and never enters the pair.
    Discard,
}

/// What a request came to: a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Carried out.
    Done(String),
    /// Not carried out; all is as it was before, or will be within moments.
    Refused(String),
}
